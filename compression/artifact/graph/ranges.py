"""Grids of activations, from their values on calibration inputs."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

from compression.artifact.graph.execution import open_session
from compression.artifact.graph.exporting import INPUT
from compression.artifact.graph.quantize import Grid
from compression.calibration.batches import batch_for
from compression.state import ActivationQuantization

_BATCH = 32
_MAX_INPUTS = 128
_SAMPLES_PER_BATCH = 4096
_LEVELS = 255
_SHRINK = np.linspace(1.0, 0.4, 25)


def choose_grids(
    proto: onnx.ModelProto, values: list[str], inputs: np.ndarray, settings: ActivationQuantization
) -> dict[str, Grid]:
    """Run the float graph on calibration inputs and choose one uint8 grid per activation.

    Args:
        proto: The float graph.
        values: Activations to quantize.
        inputs: Prepared calibration inputs (N, ...), of the training split; at most 128 of them are run.
        settings: How the range is chosen: "minmax"; "percentile" of a sample of the values; "mse", the range of
            least mean squared rounding error on that sample.

    Returns:
        ``value -> (scale, zero point, 8)``.
    """
    if not values:
        return {}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in values}
    extremes = {name: [0.0, 0.0] for name in values}
    for outputs in _run(proto, values, inputs):
        for name, output in zip(values, outputs, strict=True):
            flat = output.reshape(-1)
            extremes[name][0] = min(extremes[name][0], float(flat.min()))
            extremes[name][1] = max(extremes[name][1], float(flat.max()))
            step = max(1, flat.size // _SAMPLES_PER_BATCH) | 1  # odd, so that it does not follow rows
            samples[name].append(flat[::step])
    return {
        name: _grid(np.concatenate(samples[name]), *extremes[name], settings=settings) for name in values
    }


def _run(proto: onnx.ModelProto, values: list[str], inputs: np.ndarray) -> Iterator[list[np.ndarray]]:
    wider = onnx.ModelProto()
    wider.CopyFrom(proto)
    known = {v.name for v in wider.graph.input}
    wider.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in values if n not in known)
    session = open_session(wider)
    wanted = [name for name in values if name not in known]
    inputs = inputs[:: -(-len(inputs) // _MAX_INPUTS)]
    size = batch_for(inputs.shape[1:], _BATCH)
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        found = dict(zip(wanted, session.run(wanted, {INPUT: batch}), strict=True)) if wanted else {}
        yield [batch if name in known else found[name] for name in values]


def _grid(sample: np.ndarray, low: float, high: float, settings: ActivationQuantization) -> Grid:
    if settings.range_method == "percentile":
        share = settings.percentile
        bounds = np.percentile(sample, [100 - share, share])
        low, high = max(low, min(float(bounds[0]), 0.0)), min(high, max(float(bounds[1]), 0.0))
    elif settings.range_method == "mse":
        low, high = _least_error(sample, low, high)
    return _affine(low, high)


def _affine(low: float, high: float) -> Grid:
    """uint8 grid over a range that holds zero; zero lies exactly on it."""
    scale = np.float32(max(high - low, 1e-8) / _LEVELS)
    return float(scale), int(np.clip(round(-low / float(scale)), 0, _LEVELS)), 8


def _least_error(sample: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Shrink the whole range by the factor that rounds the sample with the least squared error."""
    best, chosen = np.inf, 1.0
    for factor in _SHRINK:
        scale, zero, _ = _affine(low * factor, high * factor)
        symbols = np.clip(np.rint(sample / scale) + zero, 0, _LEVELS)
        error = float(np.square((symbols - zero) * scale - sample).mean())
        if error < best:
            best, chosen = error, float(factor)
    return low * chosen, high * chosen
