"""Why a result is not smaller or faster: sentences from its numbers."""

from dataclasses import replace

from compression.experiments.explanation import explain
from compression.experiments.results import Figures, LayerRecord
from compression.recipe import recipe_from_dict

PRUNED = recipe_from_dict({
    "model": "digits_resnet", "dataset": "digits", "steps": [{"technique": "weight_pruning", "sparsity": 0.9}],
})
BASE = Figures(
    accuracy=0.99, accuracy_low=0.98, accuracy_high=1.0, n_samples=719, size_bytes=1000, runtime_size_bytes=1000,
    macs=10, parameters=100, nonzero_parameters=100,
)
LAYER = LayerRecord("conv1", "Conv2d", (16, 1, 3, 3), 500, 10, 0.9, "float32", "float32")


def test_shares_are_written_as_everywhere_else() -> None:
    own = replace(BASE, nonzero_parameters=10, speedup=1.0, speedup_low=0.9, speedup_high=1.1)
    said = " ".join(explain(PRUNED, own, BASE, (LAYER,), unchanged=False))
    assert "50 % of the file is one layer, conv1" in said
    assert "50 % of the file are float32 weights" in said
    assert "50 % of the file are not layer weights: tables and headers 50 %." in said
    assert "90 % of the weights are zero" in said


def test_what_no_technique_can_shrink_is_named_with_its_share() -> None:
    recurrent = replace(LAYER, fqn="rnn", kind="LSTM", packed_bytes=400)
    own = replace(BASE, size_bytes=1000)
    said = explain(PRUNED, own, BASE, (recurrent,), unchanged=False, other_bytes={"Embedding": 450, "LayerNorm": 50})
    assert "40 % of the file is LSTM (rnn): only quantization, pruning and sharing of weights act on it." in said
    assert "60 % of the file are not layer weights: Embedding 45 %, tables and headers 10 %, LayerNorm 5 %." in said
