"""Raw samples to model input."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.datasets.views import ImageView
from models.info import ModelInfo


def image_view(info: ModelInfo) -> ImageView | None:
    """How photographs are resized and cut for a model: small ones are taken whole; None where it takes no images."""
    if info.input_dtype == "int64":
        return None
    if info.resize_size is None:
        return ImageView(info.input_shape[-1], info.input_shape[-1], info.interpolation)
    return ImageView(info.resize_size, info.input_shape[-1], info.interpolation)


def prepare_inputs(info: ModelInfo, batch: Tensor) -> Tensor:
    """Turn a raw batch into what the model takes.

    Images: uint8 (N, C, H, W) to float32, divided by the model's scale, normalised; one channel is repeated and
    another size is resized (bilinear) where the model needs it. Token ids pass through.

    Args:
        info: The model.
        batch: uint8 images or int64 ids (N, T).
    """
    if info.input_dtype == "int64":
        return batch.long()
    images = batch.float() / info.scale
    channels, height, width = info.input_shape
    if images.shape[1] != channels:
        images = images.expand(-1, channels, -1, -1) if images.shape[1] == 1 else images.mean(1, keepdim=True)
    if images.shape[-2:] != (height, width):
        images = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    if not info.mean:
        return images.contiguous()
    mean = torch.tensor(info.mean).view(1, -1, 1, 1)
    std = torch.tensor(info.std).view(1, -1, 1, 1)
    return (images - mean) / std


def preprocessing_text(info: ModelInfo) -> str:
    """What is done to an image before a model sees it, in one line; empty for a model of text."""
    view = image_view(info)
    if view is None:
        return ""
    cut = f"shorter side resized to {view.resize_size}, centre crop {view.crop_size} x {view.crop_size}"
    scaled = f"divided by {info.scale:g}" if info.scale != 1 else "values 0 to 255"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (info.mean, info.std))
    normalized = f"mean {mean}, std {std}" if info.mean else "no normalization"
    return f"{cut} pixels ({view.interpolation}), {scaled}, {normalized}"
