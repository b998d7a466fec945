"""DistilBERT with a classifier (Sanh et al. 2019), one linear layer per role, so that heads and neurons can be removed.

Its weights are other people's: ``python -m models.hub_encoder`` brings a checkpoint of the Hugging Face hub, or of a
folder, into these names.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.text_encoder import MaskedAttention
from models.architectures.transformer import FeedForward
from models.registry import ModelInfo, register_model

_PAD_ID, _EPS = 0, 1e-12
VOCABULARY, LENGTH = 30_522, 64


class PostNormBlock(nn.Module):
    """Transformer block that normalises after each residual sum."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = MaskedAttention(width, heads)
        self.norm1 = nn.LayerNorm(width, _EPS)
        self.mlp = FeedForward(width, hidden)
        self.norm2 = nn.LayerNorm(width, _EPS)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, padding))
        return self.norm2(x + self.mlp(x))


class DistilBert(nn.Module):
    """Token ids (N, T), padded with 0, to classes by the first token.

    Args:
        vocabulary: Number of tokens.
        positions: Longest input that it has positions for.
        width: Residual width.
        depth: Blocks.
        heads: Heads per block.
        hidden: Width within the perceptrons.
        num_classes: Classes.
    """

    def __init__(
        self, vocabulary: int, positions: int, width: int, depth: int, heads: int, hidden: int, num_classes: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, _EPS)
        self.blocks = nn.ModuleList(PostNormBlock(width, heads, hidden) for _ in range(depth))
        self.pre_classifier = nn.Linear(width, width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == _PAD_ID
        x = self.norm(self.embedding(ids) + self.position.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, padding)
        return self.classifier(F.relu(self.pre_classifier(x[:, 0])))


@register_model(
    ModelInfo(
        name="distilbert_sst2", title="DistilBERT on SST-2", task="text_classification", dataset="sst2_wordpieces",
        input_shape=(LENGTH,), input_dtype="int64", num_classes=2, family="transformer", license="Apache-2.0",
        description="Six blocks distilled from BERT, fine-tuned on SST-2; python -m models.hub_encoder brings it.",
        source="Hugging Face, distilbert-base-uncased-finetuned-sst-2-english", parameters=66_955_010,
        reference_weights="distilbert_sst2.safetensors",
    ),
    half_depth=lambda: DistilBert(VOCABULARY, 512, 768, 3, 12, 3072, 2),
    half_width=lambda: DistilBert(VOCABULARY, 512, 384, 6, 6, 1536, 2),
)
def distilbert_sst2() -> nn.Module:
    """DistilBERT base of 67 M parameters with two classes."""
    return DistilBert(VOCABULARY, 512, 768, 6, 12, 3072, 2)
