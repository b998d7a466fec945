"""The network compared with the file, executed by ONNX Runtime."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper
from torch import Tensor

from models.onnx_import.errors import NodeError, OnnxError
from models.onnx_import.inputs import InputPlan
from models.onnx_import.network import OnnxNetwork

TOLERANCE = 1e-4
_DRAWS, _SAMPLES = 3, 3


@dataclass(frozen=True)
class Agreement:
    """How near the network is to the file.

    Attributes:
        largest: Largest difference on random inputs, relative to the largest output.
        inputs: How many inputs were compared.
    """

    largest: float
    inputs: int


def compare(
    model: onnx.ModelProto, network: OnnxNetwork, plan: InputPlan, *, vocabulary: int | None, bytes_in: bool
) -> Agreement:
    """Run random inputs through both.

    Args:
        model: The file, in float32.
        network: In eval mode.
        plan: Of the inputs.
        vocabulary: Number of different token ids.
        bytes_in: Whether the network takes values from 0 to 255.

    Raises:
        OnnxError: if ONNX Runtime cannot run the file, a result is not finite, or the results differ; naming the first
            node whose do.
    """
    session = _session(model, [network.output_name])
    largest, count = 0.0, 0
    for seed in range(_DRAWS):
        x = random_inputs(plan, seed, vocabulary, bytes_in)
        wanted = _run(session, plan, x, [network.output_name])[0]
        with torch.inference_mode():
            found = network(x).numpy()
            alone = network(x[:1]).numpy()
        if not np.isfinite(wanted).all():
            raise OnnxError("the file's results are not finite on random inputs")
        size = max(float(np.abs(wanted).max()), 1e-6)
        off = np.inf if found.shape != wanted.shape else float(np.abs(found - wanted).max()) / size
        if not off <= TOLERANCE:
            raise _first_difference(model, network, plan, x, off)
        if float(np.abs(found[: len(alone)] - alone).max()) / size > TOLERANCE:
            raise OnnxError("the result for a sample depends on the other samples of its batch; samples must be "
                            "independent")
        largest, count = max(largest, off), count + len(x)
    return Agreement(largest, count)


def random_inputs(plan: InputPlan, seed: int, vocabulary: int | None, bytes_in: bool) -> Tensor:
    """Inputs of the network, (N, ...); of a file of a fixed batch size, a multiple of that."""
    generator = torch.Generator().manual_seed(seed)
    shape = (_SAMPLES * (plan.fixed or 1), *plan.shape)
    if plan.dtype == "int64":
        ids = torch.randint(1, max(2, vocabulary or 2), shape, generator=generator)
        ids[0, plan.shape[0] // 2 :] = 0  # padding
        return ids
    if bytes_in:
        return torch.randint(0, 256, shape, generator=generator).float()
    return torch.randn(shape, generator=generator) * (0.5 + seed)


def _session(model: onnx.ModelProto, outputs: Sequence[str]) -> onnxruntime.InferenceSession:
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    del wider.graph.output[:]
    wider.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise OnnxError(f"ONNX Runtime cannot load the file: {' '.join(str(error).split())[:200]}") from None


def _run(
    session: onnxruntime.InferenceSession, plan: InputPlan, x: Tensor, outputs: Sequence[str]
) -> list[np.ndarray]:
    """Results of a batch; of a file of a fixed batch size, its batches one after the other."""
    declared = {own.name: own.type for own in session.get_inputs()}
    size = plan.fixed or len(x)
    parts = []
    for start in range(0, len(x), size):
        feed = {}
        for step in plan.steps:
            assert step.function is not None
            value = step.function(x[start : start + size], **step.settings).contiguous().numpy()
            feed[step.outputs[0]] = value.astype(np.uint8) if "uint8" in declared[step.outputs[0]] else value
        try:
            parts.append(session.run(list(outputs), feed))
        except Exception as error:
            raise OnnxError(f"ONNX Runtime cannot run the file: {' '.join(str(error).split())[:200]}") from None
    return [np.concatenate(column) if column[0].ndim else column[0] for column in zip(*parts, strict=True)]


def _first_difference(
    model: onnx.ModelProto, network: OnnxNetwork, plan: InputPlan, x: Tensor, off: float
) -> OnnxError:
    """The first node whose result differs, on the samples of one batch of the file."""
    x = x[: plan.fixed or len(x)]
    producers = {name: node for node in model.graph.node for name in node.output}
    names = [name for step in network.steps for name in step.outputs if name in producers]
    with torch.inference_mode():
        found = network.run(x, names)
    theirs = dict(zip(names, _run(_session(model, names), plan, x, names), strict=True))
    for name in names:
        wanted, own = theirs[name], found[name].numpy()
        size = max(float(np.abs(wanted).max()), 1e-6) if wanted.size else 1.0
        if own.shape != wanted.shape or float(np.abs(own.astype(np.float64) - wanted).max()) / size > TOLERANCE:
            node = producers[name]
            reason = f"its result is not that of ONNX Runtime ({_told(own, wanted)})"
            return NodeError(node.name or name, node.op_type, reason)
    return OnnxError(f"the network's results differ from ONNX Runtime's by {off:.1e}; {TOLERANCE:.0e} is allowed")


def _told(own: np.ndarray, wanted: np.ndarray) -> str:
    if own.shape != wanted.shape:
        return f"shape {list(own.shape)} instead of {list(wanted.shape)}"
    return f"largest difference {float(np.abs(own.astype(np.float64) - wanted).max()):.1e}"


