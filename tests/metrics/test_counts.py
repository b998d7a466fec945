"""Multiply-accumulates of the shapes that are easily counted wrong."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.metrics.macs import count_macs, count_parameters


class Wrapped(nn.Module):
    """A network of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(4, 6, 3), (4, 5, 5), 6 * 9 * 4 * 9),
        (nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5), 6 * 9 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, stride=2, padding=1), (4, 5, 5), 4 * 9 * 9),
        (nn.Conv2d(4, 6, 3, dilation=2, bias=False), (4, 5, 5), 6 * 1 * 4 * 9),
        (nn.Conv2d(4, 6, (1, 3)), (4, 5, 5), 6 * 15 * 4 * 3),
        (nn.Linear(8, 3), (8,), 24),
        (nn.Linear(8, 3, bias=False), (5, 8), 5 * 24),
        (nn.Linear(8, 3), (2, 5, 8), 2 * 5 * 24),
    ],
    ids=str,
)
def test_one_layer(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    report = count_macs(nn.Sequential(layer).eval(), torch.zeros(1, *shape))
    assert report.by_layer == {"0": macs}
    assert report.total == macs


def test_a_batch_counts_as_one_sample() -> None:
    model = nn.Sequential(nn.Linear(8, 3)).eval()
    assert count_macs(model, torch.zeros(7, 8)).total == 24


def test_a_layer_that_runs_twice_counts_twice() -> None:
    layer = nn.Linear(8, 8)
    report = count_macs(nn.Sequential(layer, nn.ReLU(), layer).eval(), torch.zeros(1, 8))
    assert report.total == 128
    assert report.by_layer == {"0": 128}


@pytest.mark.parametrize(
    "attend",
    [
        lambda x: functional.scaled_dot_product_attention(x, x, x),
        lambda x: (x @ x.transpose(-2, -1)).softmax(-1) @ x,
    ],
    ids=["fused", "written out"],
)
def test_attention_is_two_products_of_tokens_by_tokens(attend: Callable[[Tensor], Tensor]) -> None:
    heads, tokens, width = 2, 5, 4
    assert count_macs(Wrapped(attend), torch.zeros(1, heads, tokens, width)).total == 2 * heads * tokens**2 * width


def test_what_multiplies_nothing_counts_nothing() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    assert count_macs(model.eval(), torch.zeros(1, 3, 4, 4)).total == 0


def test_counting_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(8, 3)).eval()
    count_macs(model, torch.zeros(1, 8))
    assert not model[0]._forward_hooks and not model[0]._forward_pre_hooks


def test_a_failing_forward_leaves_no_hooks() -> None:
    model = nn.Sequential(nn.Linear(8, 3)).eval()
    with pytest.raises(RuntimeError):
        count_macs(model, torch.zeros(1, 9))
    assert not model[0]._forward_hooks and not model[0]._forward_pre_hooks


def test_an_embedding_tied_to_the_head_counts_once() -> None:
    embedding, head = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
    head.weight = embedding.weight
    embedding.weight.data[0] = 0
    assert count_parameters(nn.ModuleList([embedding, head])) == (44, 40)
