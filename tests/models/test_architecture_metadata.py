"""Preprocessing comes from what an architecture's authors state, and says so."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from models.errors import FieldError
from models.preprocessing import preprocessing_text
from models.user import builders
from models.user.description import describe
from models.user.metadata import timm_states

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "size", "resize", "interpolation", "normalization", "source"),
    [
        ("resnet34", 224, 256, "bilinear", IMAGENET, "torchvision ResNet34_Weights.IMAGENET1K_V1"),
        ("resnet101", 224, 232, "bilinear", IMAGENET, "torchvision ResNet101_Weights.IMAGENET1K_V2"),
        ("efficientnet_b1", 240, 255, "bilinear", IMAGENET, "torchvision EfficientNet_B1_Weights.IMAGENET1K_V2"),
        ("efficientnet_v2_l", 480, 480, "bicubic", HALF, "torchvision EfficientNet_V2_L_Weights.IMAGENET1K_V1"),
        ("timm:vit_tiny_patch16_224", 224, 248, "bicubic", HALF, "timm pretrained_cfg vit_tiny_patch16_224.augreg"),
        ("timm:efficientnet_b0", 224, 256, "bicubic", IMAGENET, "timm pretrained_cfg efficientnet_b0.ra_in1k"),
        ("inception_v4", 299, 341, "bicubic", HALF, "timm pretrained_cfg inception_v4.tf_in1k"),
    ],
)
def test_a_model_is_prepared_as_its_authors_state(
    name: str, size: int, resize: int, interpolation: str, normalization: tuple, source: str
) -> None:
    pytest.importorskip("timm")
    info = describe({"architecture": name}, "photos", known=False).info("mine", "w", "w.pth")
    assert (info.input_shape, info.resize_size, info.interpolation) == ((3, size, size), resize, interpolation)
    assert (info.mean, info.std, info.scale) == (*normalization, 255.0)
    assert info.preprocessing_source.startswith(source)
    assert f"centre crop {size} x {size} pixels ({interpolation}), divided by 255" in preprocessing_text(info)


def test_what_the_user_sets_is_named_and_small_inputs_are_taken_whole() -> None:
    found = describe({"architecture": "resnet34", "input_size": 64, "mean": 0.5}, "photos", known=False)
    assert found.resize_size == 64
    assert found.preprocessing_source.endswith("IMAGENET1K_V1; set by the user: input_size, mean")


def test_networks_that_normalize_inside_are_given_what_their_weights_expect() -> None:
    """torchvision builds inception_v3 with ``transform_input`` for its weights; both ways give the same input."""
    from torchvision import models

    info = describe({"architecture": "inception_v3"}, "photos", known=False).info("mine", "w", "w.pth")
    theirs = models.inception_v3(weights=None, transform_input=True, aux_logits=False, init_weights=False)
    raw = torch.rand(1, 3, 8, 8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    ours = (raw - torch.tensor(info.mean).view(1, 3, 1, 1)) / torch.tensor(info.std).view(1, 3, 1, 1)
    torch.testing.assert_close(ours, theirs._transform_input((raw - mean) / std))


def test_a_prefix_picks_the_library_where_both_have_the_name() -> None:
    pytest.importorskip("timm")
    names = {}
    for name in ("efficientnet_b0", "torchvision:efficientnet_b0", "timm:efficientnet_b0"):
        with torch.device("meta"):
            names[name] = set(builders.build(builders.architecture(name), 10, 224).state_dict())
    assert "features.0.0.weight" in names["efficientnet_b0"] == names["torchvision:efficientnet_b0"]
    assert "conv_stem.weight" in names["timm:efficientnet_b0"]
    with pytest.raises(FieldError, match="architecture"):
        builders.architecture("torchvision:resnet10t")


def test_squashed_photographs_are_said_to_be_cropped() -> None:
    timm = pytest.importorskip("timm")
    squashed = next(name for name in timm.list_models() if timm.get_pretrained_cfg(name).crop_mode == "squash")
    assert "'squash' is not available here: a centre crop is used" in timm_states(squashed).source


def test_a_kept_models_record_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.user import kept_models

    kind = builders.architecture("resnet34")
    monkeypatch.setattr(builders, "torchvision_states", None)
    data = {"description": {"architecture": "resnet34"}, "kind": asdict(kind), "dataset": "photos",
            "file": "w", "file_name": "w.pth", "parameters": 1, "created": ""}
    assert kept_models._read(data, tmp_path).description.kind == kind
