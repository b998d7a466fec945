"""What reproduces a result: a Python script, command lines, and how each runtime loads its file."""

import pprint

from compression.experiments.results import ExperimentResult, plain_model
from compression.experiments.wording import file_stem
from compression.recipe import recipe_from_dict, recipe_to_dict
from models.info import ModelInfo


def python_snippet(result: ExperimentResult) -> str:
    """A script that compresses the model by the recipe and measures it; to be run in the project's folder."""
    recipe = pprint.pformat(recipe_to_dict(recipe_from_dict(result.recipe)), sort_dicts=False, width=100)
    return f'''"""Compresses {plain_model(result.recipe["model"])} and measures it; run it in the project's folder."""

from compression.service import ResultStore, home, recipe_from_dict, run_experiment

recipe = recipe_from_dict(
{_indented(recipe)}
)

if __name__ == "__main__":
    result = run_experiment(recipe, ResultStore(home()))
    figures = result.figures
    print("result", result.key)
    print(figures.quality, figures.accuracy, "from", figures.accuracy_low, "to", figures.accuracy_high)
    print("packed bytes", figures.size_bytes)
    print("latency ms", figures.latency_ms_p50, "speed-up", figures.speedup)
'''


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def command_lines(result: ExperimentResult) -> list[str]:
    """Commands that measure the downloaded recipe, write the bundle, and compare the bundle with what it says."""
    stem = file_stem(result)
    return [
        f"python -m compression run {stem}.yaml --out {stem}.zip",
        f"python -m compression verify {stem}.zip",
    ]


_OPENED = {
    "onnxruntime": ("onnxruntime as ort", '''
options = ort.SessionOptions()
options.intra_op_num_threads = {threads}
options.inter_op_num_threads = 1
options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
session = ort.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
outputs = session.run(["output"], {{"input": batch}})[0]
'''),
    "openvino": ("openvino as ov", '''
settings = {{"INFERENCE_PRECISION_HINT": "f32",  # else floats become bfloat16 where the processor has it
            "INFERENCE_NUM_THREADS": {threads}, "PERFORMANCE_HINT": "LATENCY"}}
model = ov.Core().compile_model("model.xml", "CPU", settings)
outputs = model(batch)[0]
'''),
    "torch": ("torch", '''
torch.set_num_threads({threads})
program = torch.export.load("model.pt2").module()
outputs = program(torch.from_numpy(batch)).detach().numpy()
'''),
}


_CLASSES = 'print(outputs.shape, "best", outputs.argmax(-1).ravel()[:10])'
_PRINTED = {
    "binary_classification": 'print("probability of the second class", 1 / (1 + np.exp(-outputs.ravel()[:10])))',
    "regression": 'print("values", outputs.ravel()[:10])',
}


def runtime_snippet(info: ModelInfo, runtime: str, threads: int = 1) -> str:
    """A script that loads a runtime's file, gives it a batch and prints what it predicts.

    Args:
        info: The model.
        runtime: "onnxruntime", "openvino" or "torch".
        threads: Those of the measured latency.
    """
    package, opened = _OPENED[runtime]
    opened = opened.format(threads=threads)
    return f'''import numpy as np
import {package}

{_prepared(info)}{opened}{_PRINTED.get(info.task, _CLASSES)}
'''


def _prepared(info: ModelInfo) -> str:
    """Lines that make a batch of one as the model wants it."""
    shape = ", ".join(map(str, (1, *info.input_shape)))
    if info.input_dtype == "int64":
        return f"batch = np.zeros(({shape}), np.int64)  # token ids\n"
    lines = [f"pixels = np.zeros(({shape}), np.uint8)", f"batch = pixels / np.float32({info.scale:g})"]
    if info.channel_order == "BGR":
        lines.append("batch = batch[:, ::-1]  # the network takes blue, green, red")
    if info.mean:
        mean, std = (f"np.float32({list(values)}).reshape(1, -1, 1, 1)" for values in (info.mean, info.std))
        lines.append(f"batch = (batch - {mean}) / {std}")
    return "\n".join(lines) + "\n"
