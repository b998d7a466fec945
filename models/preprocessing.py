"""Raw samples to model input."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.datasets.views import ImageView
from models.errors import ModelError
from models.info import ModelInfo

IMAGE_CHANNELS = (1, 3)
_LUMA = (19_595, 38_470, 7_471)  # 0.299, 0.587 and 0.114, times 2^16


def image_view(info: ModelInfo) -> ImageView | None:
    """How photographs are resized and cut for a model: small ones are taken whole; None where it takes no images."""
    if info.input_dtype == "int64":
        return None
    if info.resize_size is None:
        return ImageView(info.input_shape[-1], info.input_shape[-1], info.interpolation)
    return ImageView(info.resize_size, info.input_shape[-1], info.interpolation)


def with_channels(images: Tensor, channels: int, model: str) -> Tensor:
    """Images (N, C, H, W) with as many channels as a model takes.

    Gray from colour is the luma of ITU-R 601-2, rounded as Pillow's ``convert("L")`` and so torchvision's
    ``Grayscale`` do it.

    Args:
        images: uint8.
        channels: Those of the model.
        model: Its name, for the error.

    Raises:
        ModelError: if neither has one channel and the other three.
    """
    given = images.shape[1]
    if given == channels:
        return images
    if {given, channels} != set(IMAGE_CHANNELS):
        raise ModelError(f"channels: {given} is not allowed; {model} takes {channels}")
    if given == 1:
        return images.expand(-1, channels, -1, -1)
    red, green, blue = images.int().unbind(1)
    luma = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue + 2**15) >> 16
    return luma.unsqueeze(1).to(images.dtype)


def prepare_inputs(info: ModelInfo, batch: Tensor) -> Tensor:
    """Turn a raw batch into what the model takes.

    Images: uint8 (N, C, H, W) to float32, divided by the model's scale, normalised; gray is repeated for a model of
    three channels, colour becomes gray for one of a single channel, and another size is resized (bilinear) where the
    model needs it. Token ids pass through.

    Args:
        info: The model.
        batch: uint8 images or int64 ids (N, T).

    Raises:
        ModelError: if the images have channels that the model cannot take.
    """
    if info.input_dtype == "int64":
        return batch.long()
    channels, height, width = info.input_shape
    images = with_channels(batch, channels, info.name).float() / info.scale
    if info.channel_order == "BGR" and channels == 3:
        images = images.flip(1)
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
    order = ", channels in the order BGR" if info.channel_order == "BGR" else ""
    return f"{cut} pixels ({view.interpolation}), {scaled}, {normalized}{order}"
