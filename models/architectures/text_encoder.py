"""A small BERT-style encoder of sentences (Devlin et al. 2019)."""

import torch
from torch import Tensor, nn

from models.architectures.transformer import FeedForward
from models.registry import ModelInfo, register_model

_PAD_ID = 0


class MaskedAttention(nn.Module):
    """Multi-head self-attention that does not look at padding; one linear layer per role.

    Args:
        width: Residual width.
        heads: Number of heads; head size is width / heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        q, k, v = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
        mixed = scores.masked_fill(padding[:, None, None], -1e9).softmax(-1) @ v
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block with dropout."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = MaskedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), padding))
        return x + self.dropout(self.mlp(self.norm2(x)))


class SentenceEncoder(nn.Module):
    """Token ids (N, T), padded with 0, to classes: embedding, blocks, the mean over the words, a linear layer.

    Args:
        vocabulary: Number of tokens.
        length: Longest input.
        width: Residual width.
        depth: Blocks.
        heads: Heads per block.
        num_classes: Classes.
        dropout: Share of embeddings and of residual branches dropped while training.
    """

    def __init__(
        self, vocabulary: int, length: int, width: int, depth: int, heads: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == _PAD_ID
        x = self.dropout(self.embedding(ids) + self.position[:, : ids.shape[1]])
        for block in self.blocks:
            x = block(x, padding)
        words = (~padding).to(x.dtype)[..., None]
        mean = (self.norm(x) * words).sum(1) / words.sum(1).clamp(min=1.0)
        return self.classifier(mean)


@register_model(
    ModelInfo(
        name="sst2_encoder", title="Sentence encoder on SST-2", task="text_classification", dataset="sst2",
        input_shape=(64,), input_dtype="int64", num_classes=2, family="transformer",
        description="A BERT-style encoder of two blocks that tells positive from negative sentences.",
    ),
    half_width=lambda: SentenceEncoder(8000, 64, width=64, depth=2, heads=2, num_classes=2, dropout=0.2),
)
def sst2_encoder() -> nn.Module:
    """An encoder of about 1.3 M parameters on 8,000 word pieces."""
    return SentenceEncoder(8000, 64, width=128, depth=2, heads=4, num_classes=2, dropout=0.3)
