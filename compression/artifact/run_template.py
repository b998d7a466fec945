"""Runs model.onnx; needs onnxruntime and numpy, and Pillow to read image files.

    python run.py                     classify the stored samples and time the model
    python run.py photo.jpg more.png  classify images; text models take a text instead
    python run.py input.npy           uint8 samples (N, C, H, W), or what the model takes as float32 or int64
    python run.py --check             compare predictions on the stored samples with those that were exported
    python run.py --benchmark         print the latency as JSON
"""

import argparse
import base64
import ctypes
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
SPEC = json.loads((HERE / "input_spec.json").read_text(encoding="utf-8"))
WARM_UP_S, BLOCKS, BLOCK_S, TOP = 0.5, 15, 0.15, 3
LUMA = (19_595, 38_470, 7_471)  # ITU-R 601-2, times 2^16, as Pillow's convert("L")
ORIENTATION = 0x0112


def stop(message: str) -> NoReturn:
    """End with one line."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(2)


def numbers(version: str) -> tuple[int, ...]:
    """"1.17.3" as (1, 17)."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])


def open_model() -> ort.InferenceSession:
    """The session, with the threads that the stated latency was measured with."""
    needed = SPEC["requires"]["onnxruntime"]
    if numbers(ort.__version__) < numbers(needed):
        stop(f"onnxruntime: {ort.__version__} is not allowed; at least {needed} is needed for opset "
             f"{SPEC['requires']['opset']}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = SPEC["runtime"]["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(HERE / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common class of its errors
        reason = " ".join(str(error).split())[:160]
        stop(f"onnxruntime {ort.__version__} cannot load model.onnx, which was tested with "
             f"{SPEC['stated']['onnxruntime']}: {reason}")


def has_exact_products() -> bool | None:
    """Whether integer kernels multiply 8-bit weights exactly, by the instruction sets; None if that is unknown."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    system = platform.system()
    if system == "Linux":
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        flags = set(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())
        return not flags & {"avx2"} or bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8"}) if flags else None
    if system == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.leaf7_features"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.upper().split()
        return "AVX2" not in found or "AVX512VNNI" in found if found else None
    if system == "Windows":  # PF_AVX2_INSTRUCTIONS_AVAILABLE is 40; the function knows no number for VNNI
        return None if ctypes.windll.kernel32.IsProcessorFeaturePresent(40) else True  # type: ignore[attr-defined]
    return None


def measured_exact() -> bool:
    """Whether ONNX Runtime's product of the largest unsigned and signed bytes is exact here."""
    session = ort.InferenceSession(base64.b64decode(SPEC["kernel_probe"]), providers=["CPUExecutionProvider"])
    inputs = np.full((1, 64), 255, np.uint8)
    return bool((session.run(None, {"input": inputs})[0] == 64 * 255 * 127).all())


def warn_of_overflow() -> None:
    """Say where 8-bit weights beside 8-bit activations are not multiplied exactly."""
    if not SPEC.get("wide_integer_weights"):
        return
    known, measured = has_exact_products(), measured_exact()
    if known is None:
        print(f"VNNI: unknown on this system; a test product is {'exact' if measured else 'not exact'}")
    if not measured or known is False:
        print("this processor's integer kernels overflow with 8-bit weights (x86 without VNNI): predictions may "
              "differ, see README.md")


def read_image(path: Path) -> np.ndarray:
    """An image file resized and cut as in the evaluation, uint8 (C, H, W)."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        stop(f"{path.name}: Pillow is needed to read image files (pip install pillow), or a .npy file is taken")
    view = SPEC["image"]
    try:
        image = Image.open(path)
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        stop(f"{path.name} cannot be read as an image: {' '.join(str(error).split())[:120]}")
    orientation = image.getexif().get(ORIENTATION, 1)
    if image.mode.startswith("I") or image.mode == "F":
        low, high = view["float_range"] if image.mode == "F" else (0, 65_535)
        scaled = (np.asarray(image).astype(np.float64) - low) * (255.0 / (high - low))
        image = Image.fromarray(np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8))
    if view["apply_exif"] and orientation not in (0, 1):
        image.getexif()[ORIENTATION] = orientation
        image = ImageOps.exif_transpose(image)
    width, height = image.size
    side, crop = view["resize_size"], view["crop_size"]
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    resized = image.convert("RGB").resize(size, Image.Resampling[view["interpolation"].upper()])
    left, top = (round((length - crop) / 2.0) for length in size)
    return np.asarray(resized.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1)


def prepare(samples: np.ndarray) -> np.ndarray:
    """Raw samples as the model takes them: channels, scale, mean and std of images; ids as they are."""
    if SPEC["dtype"] == "int64":
        return samples.astype(np.int64)
    if samples.dtype != np.uint8:
        return samples.astype(np.float32)
    wanted = SPEC["shape"][0]
    if samples.shape[1] == 3 and wanted == 1:
        planes = samples.astype(np.int64)
        luma = sum(weight * planes[:, i] for i, weight in enumerate(LUMA))
        samples = ((luma + 2**15) >> 16).astype(np.uint8)[:, None]
    batch = np.broadcast_to(samples, (len(samples), wanted, *samples.shape[2:])) / np.float32(SPEC["scale"])
    if SPEC["channel_order"] == "BGR" and wanted == 3:
        batch = batch[:, ::-1]
    if SPEC["mean"]:
        mean, std = (np.float32(SPEC[name]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
        batch = (batch - mean) / std
    return np.ascontiguousarray(batch, dtype=np.float32)


def read_array(path: Path) -> np.ndarray:
    """Samples of a .npy file with a batch dimension: raw uint8 images, prepared float images, or token ids."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        stop(f"{path.name} cannot be read as an array: {' '.join(str(error).split())[:120]}")
    shape, ids = SPEC["shape"], SPEC["dtype"] == "int64"
    found = found if found.ndim > len(shape) else found[None]
    if found.dtype.kind not in ("iu" if ids else "f") and (ids or found.dtype != np.uint8):
        needed = "whole numbers are" if ids else "uint8 (raw) or floats (normalised) are"
        stop(f"{path.name}: type {found.dtype} is not allowed; {needed} needed")
    planes = not ids and len(shape) == 3 and found.dtype == np.uint8 and found.shape[1:2] in ((1,), (3,))
    if found.ndim != 1 + len(shape) or list(found.shape[1 + planes:]) != shape[planes:]:
        stop(f"{path.name}: shape {list(found.shape[1:])} is not allowed; {shape} is needed")
    return found


def read_input(argument: str) -> tuple[np.ndarray, int]:
    """A file or a text as raw samples with a batch dimension, and how many tokens of each are of a text."""
    path = Path(argument)
    if path.suffix.lower() == ".npy":
        if not path.is_file():
            stop(f"{argument}: there is no such file")
        return read_array(path), SPEC["shape"][0]
    if "text" in SPEC:
        sys.path.insert(0, str(HERE))
        from text_input import encode

        ids, length = encode(argument, SPEC, HERE)
        return ids[None], length
    if "image" not in SPEC:
        stop(f"{argument}: token ids as .npy of shape (N, {SPEC['shape'][0]}) are needed")
    if not path.is_file():
        stop(f"{argument}: there is no such file")
    return read_image(path)[None], 0


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Of classes, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def describe(output: np.ndarray) -> str:
    """The most probable classes of one sample, or its value."""
    if SPEC["task"] == "regression":
        return f"{float(output.ravel()[0]):.5g}"
    names = SPEC["classes"]
    if SPEC["task"] == "binary_classification":  # one logit, of the second class
        output = np.concatenate([np.zeros(1, output.dtype), output.reshape(1)])
    found = probabilities(output)
    best = np.argsort(-found)[:TOP]
    return ", ".join(f"{names[i] if names else i} {100 * found[i]:.1f} %" for i in best)


def last(output: np.ndarray, length: int) -> np.ndarray:
    """Logits of one sample: of a language model those that follow its last token."""
    return output if output.ndim == 1 else output[max(1, length) - 1]


def decided(outputs: np.ndarray) -> np.ndarray:
    """Class of each sample, or its value."""
    if SPEC["task"] == "regression":
        return outputs.reshape(len(outputs))
    return (outputs.reshape(len(outputs)) > 0).astype(np.int64) if outputs.shape[-1] == 1 else outputs.argmax(-1)


def check(session: ort.InferenceSession) -> int:
    """Compare predictions on the stored samples with those that were exported."""
    probe = load_probe()
    found = session.run(["output"], {"input": prepare(probe["inputs"])})[0]
    found = decided(found)
    same = np.isclose(found, probe["predictions"], rtol=1e-3, atol=1e-4)
    print(f"same predictions {int(same.sum())} of {same.size}")
    if "targets" in probe and found.dtype.kind == "i":
        print(f"right on stored samples {int((found == probe['targets']).sum())} of {same.size}")
    return 0 if same.all() else 1


def load_probe() -> dict[str, np.ndarray]:
    """Stored samples, their targets and the exported predictions."""
    with np.load(HERE / "probe.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def benchmark(session: ort.InferenceSession) -> dict[str, Any]:
    """Median latency in milliseconds with a 95 % interval, after a warm-up."""
    inputs = load_probe()["inputs"]
    batch = prepare(inputs[np.arange(SPEC["runtime"]["batch_size"]) % len(inputs)])
    timed(session, batch, WARM_UP_S)
    times = [timed(session, batch, BLOCK_S) for _ in range(BLOCKS)]
    medians = sorted(float(np.median(block)) for block in times)
    runs = np.concatenate(times)
    return {
        "latency_ms": {"median": float(np.median(runs)), "low": medians[3], "high": medians[-4],
                       "p95": float(np.percentile(runs, 95))},
        "runs": len(runs), "batch_size": len(batch), "threads": SPEC["runtime"]["threads"],
        "onnxruntime": ort.__version__, "machine": platform.machine(), "system": platform.system(),
        "stated": SPEC.get("stated"),
    }


def timed(session: ort.InferenceSession, batch: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of each run within a time, at least ten runs."""
    found, end = [], time.perf_counter() + seconds
    while len(found) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(["output"], {"input": batch})
        found.append(1000 * (time.perf_counter() - start))
    return found


def show_latency(session: ort.InferenceSession) -> None:
    """The latency here beside the stated one."""
    found = benchmark(session)
    own, stated = found["latency_ms"], found["stated"] or {}
    line = f"latency {own['median']:.3f} ms ({own['low']:.3f} to {own['high']:.3f}), {found['threads']} thread(s)"
    if stated.get("latency_ms"):
        line += f"; stated {stated['latency_ms']:.3f} ms on {stated['processor']}"
    print(line)


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", help="image files, .npy files or texts")
    parser.add_argument("--check", action="store_true", help="compare with the exported predictions")
    parser.add_argument("--benchmark", action="store_true", help="print the latency as JSON")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="replace")  # a console may lack a letter of a class name
    session = open_model()
    if options.benchmark:
        print(json.dumps(benchmark(session)))
        return 0
    warn_of_overflow()
    if options.check:
        return check(session)
    for argument in options.inputs:
        samples, length = read_input(argument)
        outputs = session.run(["output"], {"input": prepare(samples)})[0]
        for number, output in enumerate(outputs):
            name = f"{argument}[{number}]" if len(samples) > 1 else argument
            print(f"{name}: {describe(last(output, length))}")
    if not options.inputs:
        outputs = session.run(["output"], {"input": prepare(load_probe()["inputs"])})[0]
        for number, output in enumerate(outputs):
            print(f"stored sample {number}: {describe(last(output, SPEC['shape'][0]))}")
    show_latency(session)
    return 0


if __name__ == "__main__":
    sys.exit(main())
