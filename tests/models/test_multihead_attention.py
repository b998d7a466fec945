"""PyTorch's attention with one layer per role: the same numbers, and checkpoints of the original load."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.architectures.attention_blocks import separate_roles
from models.architectures.multihead_attention import MultiheadAttention, replaceable
from models.checkpoints import Checkpoint, load_checkpoint


def randomized(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model.eval()


SETTINGS: list[dict[str, Any]] = [
    {}, {"batch_first": True}, {"bias": False, "batch_first": True}, {"kdim": 10, "vdim": 14, "batch_first": True},
]
PADDING = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
CAUSAL = torch.ones(5, 7, dtype=torch.bool).triu(1)
MASKS: list[dict[str, Any]] = [
    {}, {"key_padding_mask": PADDING}, {"attn_mask": CAUSAL}, {"attn_mask": torch.randn(5, 7)},
    {"attn_mask": torch.randn(6, 5, 7), "key_padding_mask": torch.randn(2, 7)},
]
WEIGHTS: list[dict[str, Any]] = [
    {"need_weights": False}, {"need_weights": True}, {"need_weights": True, "average_attn_weights": False},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_outputs_and_attention_weights_are_those_of_the_original(settings: dict[str, Any]) -> None:
    original = randomized(nn.MultiheadAttention(24, 3, **settings))
    own = separate_roles(nn.Sequential(nn.MultiheadAttention(24, 3, **settings)))
    assert isinstance(own[0], MultiheadAttention)
    load_checkpoint(own, Checkpoint(nn.Sequential(original).state_dict()), "the original")
    own.eval()
    query, key, value = torch.randn(2, 5, 24), torch.randn(2, 7, original.kdim), torch.randn(2, 7, original.vdim)
    if not original.batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    for masks in MASKS:
        for wanted in WEIGHTS:
            theirs, ours = (module(query, key, value, **masks, **wanted) for module in (original, own[0]))
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    single = (torch.randn(5, 24), torch.randn(7, original.kdim), torch.randn(7, original.vdim))
    torch.testing.assert_close(own[0](*single), original(*single), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_encoder_computes_what_pytorchs_does(batch_first: bool, activation: str, norm_first: bool) -> None:
    def encoder() -> nn.Module:
        layer = nn.TransformerEncoderLayer(
            16, 2, 32, batch_first=batch_first, activation=activation, norm_first=norm_first
        )
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first and batch_first)

    original = randomized(encoder())
    own = separate_roles(encoder())
    load_checkpoint(own, Checkpoint(original.state_dict()), "the original")
    x = torch.randn(2, 7, 16)
    x = x if batch_first else x.transpose(0, 1)
    with torch.no_grad():
        torch.testing.assert_close(own.eval()(x), original(x), rtol=1e-4, atol=1e-5)
        masked = [model(x, src_key_padding_mask=PADDING) for model in (own, original)]
        if not batch_first:
            masked = [out.transpose(0, 1) for out in masked]
        seen = [out[~PADDING] for out in masked]
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-5)


def test_a_decoder_layer_and_a_module_used_twice_load_as_they_were() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.MultiheadAttention(16, 2, batch_first=True)
            self.second = self.first
            self.decoder = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.second(self.first(x, x, x)[0], x, x)[0]
            return self.decoder(x, x.flip(1), tgt_mask=torch.ones(7, 7, dtype=torch.bool).triu(1))

    original, own = randomized(Twice()), separate_roles(Twice())
    assert own.first is own.second
    load_checkpoint(own, Checkpoint(original.state_dict()), "the original")
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(own.eval()(x), original(x), rtol=1e-4, atol=1e-5)


def test_what_computes_something_else_is_left_as_it_is() -> None:
    class Residual(nn.MultiheadAttention):
        def forward(self, query: Tensor, *others: Any, **settings: Any) -> Any:
            return super().forward(query, *others, **settings)[0] + query, None

    model = separate_roles(nn.Sequential(Residual(8, 2), nn.MultiheadAttention(8, 2, add_bias_kv=True)))
    assert [type(module) for module in model] == [Residual, nn.MultiheadAttention]
    assert not any(replaceable(module) for module in model)
