"""Small seeded networks with the structures that matter: residual, depthwise, attention."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Convolutions with batch norm around a residual addition, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.bn2 = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)) + x)
        return self.linear(x.mean((2, 3)))


class Attention(nn.Module):
    """One pre-norm attention block on tokens, heads of size 4."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.norm = nn.LayerNorm(16)
        self.query, self.key, self.value = (nn.Linear(16, width) for _ in range(3))
        self.output = nn.Linear(width, 16)
        self.head = nn.Linear(16, 11)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        q, k, v = (m(self.norm(x)).unflatten(-1, (-1, 4)).transpose(1, 2) for m in (self.query, self.key, self.value))
        mixed = ((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v
        return self.head(x + self.output(mixed.transpose(1, 2).flatten(2)))


def residual(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Network with random batch-norm statistics, some multipliers negative, and a batch of 64 inputs."""
    torch.manual_seed(seed)
    model = Residual()
    for bn in (model.bn1, model.bn2):
        nn.init.normal_(bn.weight, 0.3, 1.0)
        nn.init.normal_(bn.bias)
        nn.init.normal_(bn.running_mean)
        nn.init.uniform_(bn.running_var, 0.5, 2.0)
    return model.eval(), torch.randn(64, 3, 8, 8)


def attention(width: int = 16, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Attention block and a batch of 64 windows of 6 ids."""
    torch.manual_seed(seed)
    return Attention(width).eval(), torch.randint(0, 11, (64, 6))
