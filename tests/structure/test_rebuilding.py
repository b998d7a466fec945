"""Compressed networks are rebuilt from their packed files alone, and compute the same."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.structure.depth import drop_every_other_block
from compression.structure.rebuilding import rebuild
from compression.techniques import get_technique
from models.preparing import prepare
from tests.techniques.networks import KINDS, subject

STEPS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "channels": [("channel_pruning", {"pruning_ratio": 0.5, "round_to": 1, "coupled": True})],
    "low rank": [("low_rank", {"rank_ratio": 0.5, "method": "svd"})],
    "tucker": [("low_rank", {"rank_ratio": 0.6, "method": "tucker"})],
    "shared": [("block_sharing", {"n_unique_blocks": 1})],
    "all": [("channel_pruning", {"pruning_ratio": 0.3, "round_to": 1}), ("low_rank", {"rank_ratio": 0.6}),
            ("quantization", {"weight_bits": 4})],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STEPS)
def test_a_packed_network_is_rebuilt(kind: str, name: str, tmp_path: Path) -> None:
    own = subject(kind)
    model = copy.deepcopy(own.model)
    for key, knobs in STEPS[name]:
        technique = get_technique(key)
        model = technique.function(model, technique.config_type(**knobs), own.context)
    pack_model(model.eval(), tmp_path / "weights.packed")
    packed = unpack_model(tmp_path / "weights.packed")
    found = copy.deepcopy(own.model)
    rebuild(found, packed.tensors, packed.shared)
    load_packed(found, packed)
    inputs = own.context.calibration_inputs[:4]
    with torch.inference_mode():
        torch.testing.assert_close(found.eval()(inputs), model(inputs), rtol=1e-5, atol=1e-5)  # memory layouts differ
    ours, theirs = found.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    sizes = [[(type(m), {k: v for k, v in vars(m).items() if isinstance(v, int)}) for m in n.modules()]
             for n in (found, model)]
    assert sizes[0] == sizes[1]
    assert sum(p.numel() for p in found.parameters()) == sum(p.numel() for p in model.parameters())


def test_layers_left_out_of_pytorchs_encoder_stay_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    whole = prepare(nn.Sequential(nn.TransformerEncoder(layer, 3, nn.LayerNorm(16)))).eval().requires_grad_(False)
    model = copy.deepcopy(whole)
    assert drop_every_other_block(model) == ["0.layers.1"]
    pack_model(model, tmp_path / "weights.packed")
    packed = unpack_model(tmp_path / "weights.packed")
    found = copy.deepcopy(whole)
    rebuild(found, packed.tensors, packed.shared)
    load_packed(found, packed)
    tokens = torch.randn(2, 5, 16)
    assert [name for name, _ in found[0].layers.named_children()] == ["0", "2"]
    assert torch.equal(found(tokens), model(tokens)) and not torch.allclose(found(tokens), whole(tokens))


def test_left_out_blocks_stay_out(tmp_path: Path) -> None:
    own = subject("residual")
    model = copy.deepcopy(own.model)
    removed = drop_every_other_block(model)
    pack_model(model, tmp_path / "weights.packed")
    packed = unpack_model(tmp_path / "weights.packed")
    found = copy.deepcopy(own.model)
    rebuild(found, packed.tensors, packed.shared)
    load_packed(found, packed)
    assert removed == ["blocks.1"] and [name for name, _ in found.blocks.named_children()] == ["0", "2"]
    with torch.inference_mode():
        assert torch.equal(found(own.context.example_input), model(own.context.example_input))
