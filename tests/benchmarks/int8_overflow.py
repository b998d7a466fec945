"""What 8-bit and 7-bit weights with 8-bit activations come to on this processor's integer kernels.

    python -m tests.benchmarks.int8_overflow

On x86 without VNNI the kernels overflow with 8-bit weights; elsewhere both columns are alike. Each figure is that of
the exported artifact executed by ONNX Runtime on the whole test split.
"""

import sys
import tempfile
from pathlib import Path
from unittest import mock

from compression.artifact.graph import integers
from compression.experiments import stages
from compression.experiments.store import ResultStore
from compression.metrics.environment import environment_record, int8_weight_bits
from compression.recipe import recipe_from_dict
from compression.techniques import quantization
from models.registry import has_weights, model_info

MODELS = ("digits_resnet", "digits_mobilenet", "digits_vit", "python_gpt", "fashion_resnet20", "fashion_mobilenetv2")
_ROW = "{:<20} {:>10} {:>10} {:>10}\n"


def main() -> int:
    """Run the benchmark."""
    record = environment_record()
    sys.stdout.write(f"{record['cpu']}, {record['instructions']}: {int8_weight_bits()} bits are used here\n")
    sys.stdout.write(_ROW.format("model", "fp32 %", "8 bits %", "7 bits %"))
    for name in filter(has_weights, MODELS):
        found = [_accuracy(name, None), _accuracy(name, 8), _accuracy(name, 7)]
        sys.stdout.write(_ROW.format(name, *(f"{100 * own:.2f}" for own in found)))
        sys.stdout.flush()
    return 0


def _accuracy(name: str, weight_bits: int | None) -> float:
    """Accuracy of a model whose integer weights have so many bits; of the untouched one for None."""
    steps = [] if weight_bits is None else [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]
    recipe = recipe_from_dict({"model": name, "dataset": model_info(name).dataset, "steps": steps})
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(quantization, "int8_weight_bits", lambda: weight_bits),
        mock.patch.object(integers, "int8_symbol_limit", lambda: 127),
    ):
        store = ResultStore(Path(folder))
        key = stages.build(recipe, store)
        stages.score(recipe, store, "full")
        return float((store.get_part(key, "accuracy") or {})["accuracy"])


if __name__ == "__main__":
    sys.exit(main())
