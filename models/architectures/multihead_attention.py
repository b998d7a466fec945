"""`nn.MultiheadAttention` with one linear layer per role, so that techniques see every layer and head.

PyTorch's module holds the weights of query, key and value in one tensor and does not call its layers, so that none of
them could be observed, quantized or pruned. What is computed here is the same, and its weights load into this.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROLES = ("query", "key", "value")


class MultiheadAttention(nn.Module):
    """Stands in for an `nn.MultiheadAttention` without added biases of keys and values (Vaswani et al., 1706.03762).

    Args:
        original: The module whose settings and weights are taken.
    """

    in_proj_bias = None  # so that encoders of PyTorch take no fast path, which would read weights directly
    _qkv_same_embed_dim = True

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.head_dim = original.embed_dim, original.head_dim
        self.dropout, self.batch_first = original.dropout, original.batch_first
        biased, widths = original.in_proj_bias is not None, (original.embed_dim, original.kdim, original.vdim)
        self.query, self.key, self.value = (nn.Linear(width, self.embed_dim, biased) for width in widths)
        self.output = nn.Linear(self.embed_dim, self.embed_dim, original.out_proj.bias is not None)
        state = original.state_dict()
        self.adapt_state(state, "")
        self.load_state_dict(state, assign=True)
        self.train(original.training)

    @property
    def num_heads(self) -> int:
        """Heads that are left."""
        return self.query.out_features // self.head_dim

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `nn.MultiheadAttention`; `is_causal` only describes the mask that is given."""
        del is_causal
        batched = query.dim() == 3
        tokens = [self._batch_first(x, batched) for x in (query, key, value)]
        q, k, v = (self._heads(layer(x)) for layer, x in zip((self.query, self.key, self.value), tokens, strict=True))
        mask = self._mask(attn_mask, key_padding_mask, q)
        if mask is not None and not need_weights:
            dropped = self.dropout if self.training else 0.0
            mixed, weights = F.scaled_dot_product_attention(q, k, v, mask, dropped), None
        else:
            scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            weights = F.dropout(weights, self.dropout) if self.training and self.dropout else weights
            mixed = weights @ v
        output = self.output(mixed.transpose(1, 2).flatten(2))
        if not batched:
            output = output.squeeze(0)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        if not need_weights or weights is None:
            return output, None
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights if batched else weights.squeeze(0)

    def _batch_first(self, x: Tensor, batched: bool) -> Tensor:
        """(N, T, C)."""
        if not batched:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _heads(self, x: Tensor) -> Tensor:
        """(N, heads, T, head_dim)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """What is added to the scores, broadcastable to (N, heads, T, S); None without masks."""
        total = None
        if attn_mask is not None:
            total = _added(attn_mask, q)
            if total.dim() == 3:  # one per sample and head, or one for all
                total = total if len(total) == 1 else total.unflatten(0, (q.shape[0], -1))
        if padding is not None:
            padding = _added(padding if padding.dim() == 2 else padding.unsqueeze(0), q)[:, None, None]
            total = padding if total is None else total + padding
        return total

    def adapt_state(self, state: dict[str, Tensor], prefix: str) -> None:
        """Split the tensors of `nn.MultiheadAttention`, in place."""
        for kind in ("weight", "bias"):
            split(state, f"{prefix}in_proj_{kind}", prefix, kind)
            rename(state, f"{prefix}out_proj.{kind}", f"{prefix}output.{kind}")
        for role in ROLES:
            rename(state, f"{prefix}{role[0]}_proj_weight", f"{prefix}{role}.weight")


def _added(mask: Tensor, q: Tensor) -> Tensor:
    """A mask of booleans, True where nothing is seen, as what is added to the scores."""
    if mask.dtype != torch.bool:
        return mask.to(q.dtype)
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, float("-inf"))


def split(state: dict[str, Tensor], name: str, prefix: str, kind: str) -> None:
    """Give each role its third of a tensor, in place."""
    if name in state:
        for role, part in zip(ROLES, state.pop(name).chunk(3), strict=True):
            state[f"{prefix}{role}.{kind}"] = part


def rename(state: dict[str, Tensor], theirs: str, ours: str) -> None:
    """Give a tensor another name, in place, where it is there."""
    if theirs in state:
        state[ours] = state.pop(theirs)


def replaceable(module: nn.Module) -> bool:
    """Whether a module is PyTorch's attention as it is, without biases added to keys and values."""
    return type(module) is nn.MultiheadAttention and module.bias_k is None and not module.add_zero_attn
