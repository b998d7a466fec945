"""Networks of the kinds that people bring beside convolutional ones, tiny, with statistics and weights set apart."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from compression.context import CompressionContext
from compression.structure.ends import first_and_last
from models.architectures.attention_blocks import separate_roles
from tests.techniques.networks import Subject

SIDE, CLASSES, SAMPLES = 16, 10, 32


class Recurrent(nn.Module):
    """A classifier over the rows of an image."""

    def __init__(self, kind: str, **settings: bool) -> None:
        super().__init__()
        self.head = nn.Linear(12 * (1 + settings.get("bidirectional", False)), CLASSES)
        self.rnn = getattr(nn, kind)(SIDE, 12, batch_first=True, **settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.squeeze(1)[:, ::4])[0].mean(1))


class Encoder(nn.Module):
    """PyTorch's encoder layer and a cross-attention on the patches of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(SIDE, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
        self.cross = nn.MultiheadAttention(16, 2, kdim=SIDE, vdim=SIDE, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.squeeze(1)
        tokens = self.encoder(self.embed(rows))
        return self.head(self.cross(tokens, rows, rows)[0].mean(1))


class HeadFirst(nn.Module):
    """The classifier is registered before what feeds it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, CLASSES)
        self.inner, self.enter = nn.Conv2d(16, 16, 3, 2, 1), nn.Conv2d(1, 16, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(torch.relu(self.enter(x)))).mean((2, 3)))


def _one_axis() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(1, 2), nn.Conv1d(SIDE, 16, 3, 2, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 16, 3, 2, 1),
        nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, CLASSES),
    )


def _three_axes() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(2, (4, 4)), nn.Conv3d(1, 8, 3, 2, 1), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 8, 3, 2, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(32, CLASSES),
    )


def _transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 16, 2, 2),
        nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, 2, groups=2), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(32, CLASSES),
    )


def _other_norms() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.PReLU(16), nn.Conv2d(16, 32, 3, 2, 1),
        nn.InstanceNorm2d(32, affine=True), nn.PReLU(), nn.PixelShuffle(2), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES),
    )


ORDINARY: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Recurrent("LSTM", bidirectional=True),
    "gru": lambda: Recurrent("GRU"),
    "rnn": lambda: Recurrent("RNN"),
    "encoder": Encoder,
    "head_first": HeadFirst,
    "one_axis": _one_axis,
    "three_axes": _three_axes,
    "transposed": _transposed,
    "other_norms": _other_norms,
}


def ordinary_subject(name: str) -> Subject:
    """A network with random weights and statistics of its data; equal each time."""
    torch.manual_seed(0)
    model, inputs = separate_roles(ORDINARY[name]()), torch.randn(SAMPLES, 1, SIDE, SIDE)
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        for _ in range(20):
            model(inputs)
    model.eval().requires_grad_(False)
    with torch.inference_mode():
        targets = model(inputs).argmax(-1).clone()
    return Subject(model, CompressionContext(
        original=model, example_input=inputs[:1], calibration_inputs=inputs, calibration_targets=targets,
        training_batches=lambda epoch: iter([(inputs, targets)]), task="image_classification",
        model_key=f"ordinary-{name}", data_key="random", protected=first_and_last(model, inputs[:1]),
    ))
