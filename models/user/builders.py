"""Architectures by name, with any number of classes: the registered ones, torchvision's, and timm's if it is there."""

import difflib
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from models import registry
from models.errors import FieldError
from models.info import ModelInfo
from models.preparing import prepare
from models.tasks import outputs_of
from models.user.foreign_names import explained, plain_name
from models.user.metadata import family_of, timm_states, torchvision_states

_TORCHVISION = """
alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 densenet201
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf
regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf regnet_y_1_6gf
regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50
resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13
vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""  # copied, so that naming them need not import torchvision; a test compares
TORCHVISION = tuple(_TORCHVISION.split())
TORCHVISION_PREFIX, TIMM_PREFIX = "torchvision:", "timm:"
_WITH_HELPERS = ("inception_v3", "googlenet")


@dataclass(frozen=True)
class Architecture:
    """What an architecture expects where a user says nothing else.

    Attributes:
        name: Its name.
        task: Name of its task, see `models.info.ModelInfo`.
        family: "cnn", "transformer" or "mlp".
        dataset: Usual dataset; empty where there is none.
        input_shape: Without the batch dimension.
        input_dtype: "float32" or "int64".
        num_classes: Usual number of classes.
        mean: Usual normalisation per channel.
        std: Usual normalisation per channel.
        scale: What raw bytes are divided by.
        interpolation: How photographs are resized.
        resize_size: Their shorter side before the centre is cut; None: images are taken whole.
        source: Where the preprocessing is stated, in words.
        config: Content of config.json where transformers builds it; else None.
        labels: Names of its classes, where its source gives them.
    """

    name: str
    task: str
    family: str
    dataset: str
    input_shape: tuple[int, ...]
    input_dtype: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    interpolation: str = "bilinear"
    resize_size: int | None = None
    source: str = ""
    config: dict[str, Any] | None = None
    labels: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Numbers that it usually gives per input."""
        return outputs_of(self.task, self.num_classes)


def list_architectures() -> list[str]:
    """Names that can be built here, the registered ones first; timm's are not listed."""
    return list(dict.fromkeys([*(info.name for info in registry.registered_models()), *TORCHVISION]))


def architecture(name: object) -> Architecture:
    """What is known of an architecture.

    Args:
        name: A registered name, else one of torchvision's, else one of timm's. ``timm:`` or ``torchvision:`` before it
            picks the library where both have it.

    Raises:
        FieldError: if there is none of that name.
    """
    info = registry.registered(name) if isinstance(name, str) else None
    if info is not None:
        return Architecture(
            info.name, info.task, info.family, info.dataset, info.input_shape, info.input_dtype, info.num_classes,
            info.mean, info.std, info.scale, info.interpolation, info.resize_size,
            f"the record of the model {info.name}",
        )
    stated = None
    if isinstance(name, str) and in_torchvision(name):
        stated = torchvision_states(name.removeprefix(TORCHVISION_PREFIX))
    elif isinstance(name, str) and in_timm(name):
        stated = timm_states(name.removeprefix(TIMM_PREFIX))
    if stated is None:
        raise FieldError("architecture", name, _suggestion(str(name)))
    shape = (stated.channels, stated.input_size, stated.input_size)
    return Architecture(
        name, "image_classification", family_of(name.rpartition(":")[2]), "", shape, "float32", stated.num_classes,
        stated.mean, stated.std, 255.0, stated.interpolation, stated.resize_size, stated.source,
    )


def in_torchvision(name: str) -> bool:
    """Whether a name means an architecture of torchvision."""
    return name.removeprefix(TORCHVISION_PREFIX) in TORCHVISION


def in_timm(name: str) -> bool:
    """Whether a name means an architecture of timm, and timm is installed."""
    if name.startswith(TORCHVISION_PREFIX) or find_spec("timm") is None:
        return False
    import timm

    return bool(timm.is_model(name.removeprefix(TIMM_PREFIX)))


def _suggestion(name: str) -> str:
    known = list_architectures()
    if name.startswith(TIMM_PREFIX) and not find_spec("timm"):
        return "a name after timm: needs the package timm, which is not installed here"
    here = f"; {len(known)} are known: those of this project and torchvision's classifiers"
    foreign = "" if find_spec("timm") else explained(name, known)
    if foreign:
        return foreign + here
    near = difflib.get_close_matches(plain_name(name), known, 5, 0.5) or known[:5]
    timm = "" if find_spec("timm") else "; other names need the package timm, which is not installed here"
    return f"near it: {', '.join(near)}{here}{timm}"


def build(kind: Architecture, num_classes: int, size: int | None) -> nn.Module:
    """An architecture with untrained weights.

    Args:
        kind: Which one.
        num_classes: Classes of its last layer.
        size: Side of its input, pixels; None for text.

    Raises:
        FieldError: if it cannot be built for so many classes.
    """
    if kind.config is not None:
        from models.huggingface import build_network

        return build_network(kind.config)
    registered = registry.registered(kind.name)
    if registered is not None and kind.name not in TORCHVISION:
        return with_classes(registry.build_model(kind.name), registered, num_classes)
    if in_torchvision(kind.name):
        return _from_torchvision(kind.name.removeprefix(TORCHVISION_PREFIX), num_classes, size)
    return prepare(_from_timm(kind, num_classes, size))


def _from_timm(kind: Architecture, num_classes: int, size: int | None) -> nn.Module:
    """Networks with position embeddings are built for the size; others take any."""
    import timm

    name, usual = kind.name.removeprefix(TIMM_PREFIX), kind.input_shape[-1]
    if size is None or size == usual:
        return timm.create_model(name, pretrained=False, num_classes=num_classes)
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, img_size=size)
    except TypeError:  # it has no such argument
        return timm.create_model(name, pretrained=False, num_classes=num_classes)


def _from_torchvision(name: str, num_classes: int, size: int | None) -> nn.Module:
    from torchvision import models

    more: dict[str, Any] = {"image_size": size} if name.startswith("vit_") and size else {}
    if name in _WITH_HELPERS:
        more = {"aux_logits": False, "init_weights": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = prepare(models.get_model(name, weights=None, num_classes=num_classes, **more))
    if name in _WITH_HELPERS:
        model.adapt_state = _without_helpers
    return model


def _without_helpers(state: dict[str, Tensor], prefix: str) -> None:
    """Classifiers that only help in training are in the files, but not in the network."""
    for key in [key for key in state if key.startswith((f"{prefix}AuxLogits.", f"{prefix}aux1.", f"{prefix}aux2."))]:
        del state[key]


def with_classes(model: nn.Module, usual: ModelInfo, wanted: int) -> nn.Module:
    """Give a classifier another number of classes by a new last layer, in place; returns the model.

    Args:
        model: Of the usual number of classes.
        usual: The record of its architecture.
        wanted: Number of classes.

    Raises:
        FieldError: if no last layer makes the classes alone.
    """
    if usual.outputs == wanted:
        return model
    fqn = last_layer(model, usual.input_shape, usual.input_dtype)
    layer = None if fqn is None else model.get_submodule(fqn)
    if isinstance(layer, nn.Linear) and layer.out_features == usual.outputs:
        model.set_submodule(fqn, nn.Linear(layer.in_features, wanted, layer.bias is not None))
    else:
        raise FieldError("num_classes", wanted, f"this architecture has {usual.outputs}")
    return model


@torch.no_grad()
def last_layer(model: nn.Module, input_shape: tuple[int, ...], input_dtype: str = "float32") -> str | None:
    """Name of the linear or convolutional layer that is executed last; None where none is, or the model cannot run.

    Args:
        model: Any weights; left in the mode that it is in.
        input_shape: Of one input, without the batch dimension.
        input_dtype: "float32" or "int64".
    """
    executed: list[str] = []
    handles = [
        module.register_forward_hook(lambda m, args, out, fqn=fqn: executed.append(fqn))
        for fqn, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    training = model.training
    try:
        model.eval()(torch.zeros((1, *input_shape), dtype=getattr(torch, input_dtype)))
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError):
        return None
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return executed[-1] if executed else None
