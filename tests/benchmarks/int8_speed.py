"""8-bit weights and activations against fp32 on the embedded models: measured latency and the kernels chosen.

    python -m tests.benchmarks.int8_speed
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.recipe import recipe_from_dict
from models.registry import model_info

MODELS = ("digits_resnet", "digits_mobilenet", "digits_vit", "python_gpt", "fashion_resnet20")
TARGETS = {"digits_resnet": 1.5}


def main() -> int:
    """Run the benchmark."""
    row = "{:<18} {:>10} {:>10} {:>22} {:>17}   {}\n"
    sys.stdout.write(row.format("model", "fp32 ms", "int8 ms", "speed-up (95 %)", "accuracy", "layers by kernel"))
    with tempfile.TemporaryDirectory() as folder:
        store = ResultStore(Path(folder))
        for name in MODELS:
            steps = [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]
            recipe = recipe_from_dict({"model": name, "dataset": model_info(name).dataset, "steps": steps})
            result = run_experiment(recipe, store)
            own, base = result.figures, result.baseline
            speed = f"{own.speedup:.2f} ({own.speedup_low:.2f} to {own.speedup_high:.2f})"
            if name in TARGETS:
                speed += " met" if (own.speedup or 0) >= TARGETS[name] else " MISSED"
            kernels = ", ".join(f"{n} {kind}" for kind, n in Counter(layer.kernel for layer in result.layers).items())
            accuracy = f"{100 * base.accuracy:.2f} -> {100 * own.accuracy:.2f}"
            sys.stdout.write(row.format(
                name, f"{base.latency_ms_p50:.3f}", f"{own.latency_ms_p50:.3f}", speed, accuracy, kernels
            ))
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
