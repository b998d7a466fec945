"""Runs model.onnx: python run.py [input.npy]. Needs onnxruntime and numpy only; input_spec.json says what it takes."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

here = Path(__file__).resolve().parent
spec = json.loads((here / "input_spec.json").read_text(encoding="utf-8"))
processor = Path("/proc/cpuinfo").read_text(errors="replace") if Path("/proc/cpuinfo").is_file() else ""
if spec.get("wide_integer_weights") and " avx2" in processor and not any(
    f" {name}" in processor for name in ("avx512_vnni", "avx_vnni", "amx_int8")
):
    print("this processor's integer kernels overflow with 8-bit weights: predictions may differ, see README.md")
session = ort.InferenceSession(str(here / "model.onnx"), providers=["CPUExecutionProvider"])
if len(sys.argv) > 1:
    batch = np.load(sys.argv[1], allow_pickle=False).astype(spec["dtype"])
else:
    batch = np.zeros((1, *spec["shape"]), dtype=spec["dtype"])
start = time.perf_counter()
output = session.run(["output"], {"input": batch})[0]
if spec.get("task") == "regression":
    print("values", output.ravel()[:10].tolist())
elif spec.get("task") == "binary_classification":
    print("probability of the second class", (1 / (1 + np.exp(-output.ravel()[:10]))).tolist())
else:
    print("output", output.shape, "best", output.argmax(-1).ravel()[:10].tolist())
print(f"{1000 * (time.perf_counter() - start):.2f} ms")
