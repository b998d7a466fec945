"""What a bundle's run.py needs beside the graph: how inputs are made, class names, stored samples, tokenizer."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from compression.analysis.samples import class_names
from compression.artifact.bundle import program_files
from compression.artifact.graph.execution import open_session
from compression.artifact.graph.opset import least_runtime, model_opset
from compression.experiments.results import ExperimentResult
from compression.experiments.tasks import Task
from compression.recipe import recipe_from_dict
from compression.reports import text
from models.datasets import python_source, sst2, wordpieces
from models.datasets.image_files import ImageReading
from models.datasets.photographs import PhotographDataset
from models.datasets.sentences import read_tokenizer
from models.preprocessing import image_view
from models.source_code import PROJECT, digest_of
from models.sources.locations import find_data
from models.tasks import REGRESSION
from models.user import kept_text

_MOST_PROBES, _LEAST_PROBES, _PROBE_BYTES = 32, 4, 1_500_000
SPEC_FORMAT = 3


def input_spec(task: Task, result: ExperimentResult, proto: onnx.ModelProto, *, wide_weights: bool) -> dict[str, Any]:
    """The content of input_spec.json.

    Args:
        task: The result's model and data.
        result: What was measured.
        proto: The graph that was measured.
        wide_weights: Whether integer weights have the whole range of 8 bits beside 8-bit activations.
    """
    info, runtime, figures = task.info, recipe_from_dict(result.recipe).runtime, result.figures
    outputs = open_session(proto).run(None, {"input": task.example_input().numpy()})[0]
    spec = {
        "format": SPEC_FORMAT, "exporter": exporter(), "task": info.task,
        "shape": list(info.input_shape), "dtype": info.input_dtype,
        "scale": info.scale, "mean": list(info.mean), "std": list(info.std), "channel_order": info.channel_order,
        "num_classes": info.num_classes,
        "classes": list(class_names(task.dataset.info)),
        "output": {
            "name": "output", "shape": ["batch", *outputs.shape[1:]],
            "values": "values" if info.task == REGRESSION else "logits",
        },
        "runtime": {"threads": runtime.threads, "batch_size": runtime.batch_size},
        "requires": {
            "onnxruntime": least_runtime(proto), "opset": model_opset(proto), "ir_version": proto.ir_version,
        },
        "stated": {
            "latency_ms": figures.latency_ms_p50, "low": figures.latency_low, "high": figures.latency_high,
            "accuracy": figures.accuracy, "processor": result.environment.get("cpu", ""),
            "onnxruntime": result.environment.get("onnxruntime", ""), "system": result.environment.get("system", ""),
        },
        "wide_integer_weights": wide_weights,
        **_image(task), **_text(task),
    }
    if wide_weights:
        spec["kernel_probe"] = base64.b64encode(_integer_product().SerializeToString()).decode()
    return spec


def exporter() -> str:
    """Version of what writes the programs and the README of bundles; 12 hexadecimal digits."""
    return digest_of(PROJECT, [*program_files(), Path(text.__file__)])[:12]


def _image(task: Task) -> dict[str, Any]:
    """How an image file becomes a sample; empty for models of text."""
    view = image_view(task.info)
    if view is None:
        return {}
    listings = task.dataset.listings if isinstance(task.dataset, PhotographDataset) else ()
    reading = listings[1].reading if listings else ImageReading()
    return {"image": {
        "resize_size": view.resize_size, "crop_size": view.crop_size, "interpolation": view.interpolation,
        "apply_exif": reading.apply_exif, "float_range": list(reading.float_range),
    }}


def _text(task: Task) -> dict[str, Any]:
    """How a text becomes token ids, where that is known."""
    if task.dataset.info.name == python_source.INFO.name:
        return {"text": {"kind": "characters", "vocabulary": python_source.VOCABULARY}}
    tokenizer = _tokenizer(task)
    if tokenizer is None:
        return {}
    marks = tokenizer.encode("").ids
    return {"text": {"kind": "word pieces", "first": marks[: (len(marks) + 1) // 2],
                     "last": marks[(len(marks) + 1) // 2 :]}}


def _tokenizer_path(task: Task) -> Path | None:
    if task.dataset.info.name == sst2.INFO.name:
        return sst2.TOKENIZER
    if task.dataset.info.name == wordpieces.INFO.name:
        return find_data(wordpieces.TOKENIZER)
    return kept_text.word_piece_tokenizer(task.dataset.info.name)


def _tokenizer(task: Task) -> Tokenizer | None:
    path = _tokenizer_path(task)
    return None if path is None else read_tokenizer(path)


def extra_members(task: Task, result: ExperimentResult, proto: onnx.ModelProto) -> dict[str, bytes]:
    """Files of a bundle that run.py reads: stored samples, and the tokenizer of a model of text."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **probe(task, result, proto))
    return {"probe.npz": buffer.getvalue(), **tokenizer_member(task)}


def tokenizer_member(task: Task) -> dict[str, bytes]:
    """The tokenizer of a model of text; empty for others."""
    path = _tokenizer_path(task)
    if path is None:
        return {}
    return {"tokenizer.json": json.dumps(json.loads(path.read_text(encoding="utf-8"))).encode()}


def probe(task: Task, result: ExperimentResult, proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Some scored samples as they are before the preprocessing, their targets and this graph's predictions."""
    whole = task.scoring_split(recipe_from_dict(result.recipe).n_samples)
    each = int(np.prod(whole.inputs.shape[1:])) * whole.inputs[:1].element_size()
    few = whole.subset(min(len(whole), _MOST_PROBES, max(_LEAST_PROBES, _PROBE_BYTES // each)), seed=0)
    inputs = few.inputs[:]
    outputs = open_session(proto).run(["output"], {"input": task.prepare(inputs).numpy()})[0]
    predictions = _predictions(task.info.task, outputs)
    return {"inputs": inputs.numpy(), "targets": few.targets.numpy(), "predictions": predictions}


def _predictions(task: str, outputs: np.ndarray) -> np.ndarray:
    """Class of each sample, or its value."""
    if outputs.shape[-1] > 1:
        return outputs.argmax(-1)
    plain = outputs.reshape(len(outputs))
    return plain if task == REGRESSION else (plain > 0).astype(np.int64)


def _integer_product() -> onnx.ModelProto:
    """The product of 64 unsigned bytes and as many signed ones, which overflows on x86 without VNNI."""
    weights = numpy_helper.from_array(np.full((64, 16), 127, np.int8), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["input", "weights"], ["output"])], "product",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, [1, 64])],
        [helper.make_tensor_value_info("output", TensorProto.INT32, [1, 16])], [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
