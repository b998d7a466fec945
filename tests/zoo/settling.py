"""Random weights with which a mistake shows: batch norms have statistics near those of data, none of them 0 or 1."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


def pictures(count: int, size: int) -> Tensor:
    """Random pictures that differ from each other: coarse patterns with a little noise, (count, 3, size, size)."""
    coarse = F.interpolate(torch.randn(count, 3, 4, 4), size=(size, size), mode="bicubic", align_corners=False)
    return coarse + 0.1 * torch.randn(count, 3, size, size)


@torch.no_grad()
def settle(model: nn.Module, inputs: Tensor, noise: float = 0.02) -> None:
    """Give a network weights that no initialisation leaves at 0 or 1, and batch norms that are exact for no input.

    Statistics are those of the inputs, then moved by about a tenth of their deviation; affine parts are drawn about 1
    and 0. So a batch norm that is folded wrongly changes the output by far more than rounding does, and activations
    keep sizes as in a trained network.

    Args:
        model: In any mode; in eval mode afterwards, its parameters without gradients.
        inputs: (N, ...).
        noise: Standard deviation of what is added to each parameter.
    """
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * noise)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.affine:
            nn.init.normal_(norm.weight, 1.0, 0.2)
            nn.init.normal_(norm.bias, 0.0, 0.2)
        norm.momentum = None  # the mean over all batches
        norm.reset_running_stats()
    model.train()
    for _ in range(2):
        model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_mean.add_(torch.randn_like(norm.running_mean) * 0.1 * norm.running_var.sqrt())
        norm.running_var.mul_(torch.rand_like(norm.running_var) * 0.4 + 0.8).clamp_(min=1e-4)
    model.eval().requires_grad_(False)
