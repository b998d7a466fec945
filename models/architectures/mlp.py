"""Fully connected network, the classic subject of pruning and low rank."""

import itertools

from torch import Tensor, nn

from models.registry import ModelInfo, register_model


class Perceptron(nn.Module):
    """Linear layers with ReLU and dropout between them.

    Args:
        widths: Inputs, hidden layers, classes.
        dropout: Share of hidden units dropped while training.
    """

    def __init__(self, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths[:-1]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-2], widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.hidden(x.flatten(1)))


@register_model(
    ModelInfo(
        name="fashion_mlp", title="Perceptron on Fashion-MNIST", task="image_classification",
        dataset="fashion_mnist", input_shape=(1, 28, 28), num_classes=10, family="mlp", mean=(0.286,), std=(0.353,),
        description="Three hidden layers of 512, 256 and 128 units.",
    ),
    half_width=lambda: Perceptron((784, 256, 128, 64, 10), 0.2),
)
def fashion_mlp() -> nn.Module:
    """784-512-256-128-10."""
    return Perceptron((784, 512, 256, 128, 10), 0.2)
