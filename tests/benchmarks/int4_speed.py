"""4-bit weights with float activations against fp32: latency, ONNX size and peak memory by kernel of linear layers.

    python -m tests.benchmarks.int4_speed
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.recipe import recipe_from_dict
from models.registry import model_info

MODELS = ("digits_vit", "python_gpt")
KERNELS = ("float", "integer")


def main() -> int:
    """Run the benchmark."""
    row = "{:<12} {:<8} {:>8} {:>9} {:>20} {:>16} {:>15} {:>12}   {}\n"
    sys.stdout.write(row.format(
        "model", "kernel", "fp32 ms", "4-bit ms", "speed-up (95 %)", "accuracy", "ONNX kB", "peak MB",
        "layers by kernel",
    ))
    with tempfile.TemporaryDirectory() as folder:
        store = ResultStore(Path(folder))
        for name in MODELS:
            for kernel in KERNELS:
                step = {"technique": "quantization", "weight_bits": 4, "linear_kernel": kernel}
                recipe = recipe_from_dict({"model": name, "dataset": model_info(name).dataset, "steps": [step]})
                result = run_experiment(recipe, store)
                own, base = result.figures, result.baseline
                peaks = [(f.peak_memory_bytes or 0) / 1e6 for f in (base, own)]
                sys.stdout.write(row.format(
                    name, kernel, f"{base.latency_ms_p50:.3f}", f"{own.latency_ms_p50:.3f}",
                    f"{own.speedup:.2f} ({own.speedup_low:.2f} to {own.speedup_high:.2f})",
                    f"{100 * base.accuracy:.2f} -> {100 * own.accuracy:.2f}",
                    f"{base.runtime_size_bytes / 1e3:.0f} -> {own.runtime_size_bytes / 1e3:.0f}",
                    f"{peaks[0]:.1f} -> {peaks[1]:.1f}",
                    ", ".join(f"{n} {kind}" for kind, n in Counter(layer.kernel for layer in result.layers).items()),
                ))
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
