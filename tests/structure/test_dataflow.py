"""What reads what, seen by running a model."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.structure.dataflow import record_dataflow
from compression.structure.links import Link, find_links, layer_norm_readers, normed_layers
from tests.techniques.networks import subject


class Forked(nn.Module):
    """Layers joined in ways that look alike and are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.fourth, self.fifth = nn.Conv2d(4, 4, 1), nn.Linear(4 * 9, 5)
        self.relu, self.twice = nn.ReLU(inplace=True), nn.Linear(5, 5)
        self.tied = nn.Linear(5, 5, bias=False)
        self.last = nn.Linear(5, 5, bias=False)
        self.last.weight = self.tied.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.relu(self.first(x)))  # linked
        x = F.max_pool2d(F.leaky_relu(x), 1)
        y = self.third(x)  # not linked to `second`: the addition reads it too
        x = self.fourth(F.gelu(y) + x)  # nor this to anything in front of it
        x = self.fifth(torch.flatten(F.relu(x), 1))  # linked
        x = self.twice(F.relu(self.twice(F.relu(x))))
        return self.last(F.relu(self.tied(F.relu(x))))


def test_links_join_layers_that_nothing_else_reads() -> None:
    links = find_links(record_dataflow(Forked().eval(), torch.randn(1, 4, 3, 3)))
    assert links == [Link("first", None, "second"), Link("fourth", None, "fifth")]


def test_links_of_residual_blocks_stay_within_them() -> None:
    made = subject("residual")
    flow = record_dataflow(made.model, made.context.example_input)
    wanted = [Link(f"blocks.{i}.conv1", f"blocks.{i}.bn1", f"blocks.{i}.conv2") for i in range(3)]
    assert find_links(flow) == wanted
    assert normed_layers(flow)["blocks.2.conv2"] == "blocks.2.bn2"
    assert len(normed_layers(flow)) == 7


def test_relu6_and_gelu_end_a_chain() -> None:
    for kind in ("depthwise", "vision_transformer", "gpt"):
        made = subject(kind)
        assert find_links(record_dataflow(made.model, made.context.example_input)) == []


def test_a_mean_over_the_channels_ends_a_chain() -> None:
    class Pooled(nn.Module):
        def __init__(self, axes: tuple[int, ...]) -> None:
            super().__init__()
            self.conv, self.linear, self.axes = nn.Conv2d(4, 4, 1), nn.Linear(4, 2), axes

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.conv(x).mean(self.axes))

    found = [find_links(record_dataflow(Pooled(a).eval(), torch.randn(1, 4, 4, 4))) for a in ((2, 3), (1, 2))]
    assert found == [[Link("conv", None, "linear")], []]


def test_layer_norms_that_something_else_reads_are_left_out() -> None:
    class PostNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.inner, self.fc = nn.LayerNorm(6), nn.LayerNorm(6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            return x + self.fc(self.inner(x))

    flow = record_dataflow(PostNorm().eval(), torch.randn(1, 5, 6))
    assert dict(layer_norm_readers(flow)) == {"inner": ["fc"]}
    made = subject("gpt")
    found = dict(layer_norm_readers(record_dataflow(made.model, made.context.example_input)))
    assert found["blocks.0.norm1"] == [f"blocks.0.attention.{role}" for role in ("query", "key", "value")]
    assert found["blocks.1.norm2"] == ["blocks.1.fc1"]
    assert found["norm"] == ["head"]


def test_an_output_that_the_caller_reads_has_no_single_reader() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.first(x)
            return x, self.second(x)

    assert find_links(record_dataflow(Both().eval(), torch.randn(1, 3))) == []
