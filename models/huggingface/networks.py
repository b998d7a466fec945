"""Networks of transformers as modules that take a tensor and return logits."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError

PREFIX = "huggingface:"
IMAGES, TEXT = "image_classification", "text_classification"
_ENCODERS = (
    "albert", "bert", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "mobilebert",
    "modernbert", "mpnet", "roberta", "xlm-roberta",
)


class ImageLogits(nn.Module):
    """An image classifier: images (N, C, H, W) to logits (N, classes).

    Args:
        network: A network of transformers.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(pixel_values=images).logits


class TextLogits(nn.Module):
    """A sequence classifier: token ids (N, T), padded, to logits (N, classes).

    Args:
        network: A network of transformers.
        padding: Id of the padding, which is not attended to.
    """

    def __init__(self, network: nn.Module, padding: int) -> None:
        super().__init__()
        self.network, self.padding = network, padding

    def forward(self, ids: Tensor) -> Tensor:
        return self.network(input_ids=ids, attention_mask=(ids != self.padding).long()).logits


def require() -> None:
    """Raises a ModelError where transformers is not installed."""
    if find_spec("transformers") is None:
        raise ModelError("Hugging Face folders need transformers: pip install -r requirements-text.txt")


def task_of(config: Mapping[str, Any]) -> str:
    """The task of a configuration.

    Raises:
        ModelError: if it is neither an image classifier nor an encoder of text.
    """
    require()
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as OF_IMAGES

    kind = config.get("model_type")
    heads = " ".join(map(str, config.get("architectures") or ()))
    if "auto_map" in config:
        raise ModelError("config.json asks for code of the folder (auto_map), which is never run")
    if kind in _ENCODERS and (not heads or "ForSequenceClassification" in heads):
        return TEXT
    if kind in OF_IMAGES and (not heads or "ForImageClassification" in heads):
        return IMAGES
    found = f"model_type {kind!r}" + (f" with {heads}" if heads else "")
    raise ModelError(
        f"config.json has {found}; needed: an image classifier (ViT, DeiT, ResNet, ConvNeXT, ...) or a sequence "
        f"classifier ({', '.join(_ENCODERS)})"
    )


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """A network with untrained weights, its attention written out as matrix products.

    Args:
        config: Content of config.json.

    Raises:
        ModelError: if transformers is not installed or cannot build it.
    """
    task = task_of(config)
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    wanted = AutoModelForImageClassification if task == IMAGES else AutoModelForSequenceClassification
    try:
        settings = configuration(config)
        network = wanted.from_config(settings, attn_implementation="eager")
    except Exception as error:  # each architecture of transformers raises its own
        raise ModelError(f"config.json cannot be used: {' '.join(str(error).split())[:200]}") from None
    return wrapped(network.to(torch.float32), task, config)


def wrapped(network: nn.Module, task: str, config: Mapping[str, Any]) -> nn.Module:
    """A network of transformers as a module that returns logits."""
    return ImageLogits(network) if task == IMAGES else TextLogits(network, int(config.get("pad_token_id") or 0))


def configuration(config: Mapping[str, Any]) -> Any:
    """transformers' configuration of a config.json."""
    from transformers import AutoConfig

    plain = {key: value for key, value in config.items() if key not in ("torch_dtype", "dtype", "model_type")}
    settings = AutoConfig.for_model(config["model_type"], **plain)
    settings.architectures = settings.architectures or []
    return settings
