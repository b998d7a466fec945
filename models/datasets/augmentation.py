"""Augmentation of raw uint8 image batches."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def shift_and_flip(batch: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Random crops of black-padded images and random horizontal flips, per image (He et al. 2016)."""
    n, _, height, width = batch.shape
    padded = F.pad(batch, (padding,) * 4)
    top = torch.randint(0, 2 * padding + 1, (n,), generator=generator)
    left = torch.randint(0, 2 * padding + 1, (n,), generator=generator)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    flip = torch.rand(n, generator=generator) < 0.5
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    images = torch.arange(n)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def small_affine(batch: Tensor, generator: torch.Generator, degrees: float = 12.0, shift: float = 0.12) -> Tensor:
    """Random rotations, scalings and shifts, per image."""
    n = len(batch)

    def spread(amount: float) -> Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * amount

    angle, zoom = spread(degrees * math.pi / 180), 1 + spread(0.12)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [torch.stack([cosine, -sine, spread(shift)], 1), torch.stack([sine, cosine, spread(shift)], 1)], 1
    )
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    moved = F.grid_sample(batch.float(), grid, align_corners=False, padding_mode="zeros")
    return moved.round().clamp(0, 255).to(torch.uint8)
