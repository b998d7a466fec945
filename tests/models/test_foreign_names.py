"""Names of timm's and of hubs are answered with what is needed here."""

import pytest

from models.errors import FieldError
from models.user import builders
from models.user.builders import architecture


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.a1_in1k", "resnet18 is the architecture; its weights are given as a file"),
        ("hf-hub:timm/resnet50.a1_in1k", "resnet50 is the architecture"),
        ("timm/MobileNet-V2", "mobilenet_v2 is the architecture"),
        ("vit_base_patch16_224", "a name of timm's, whose package is not installed here; vit_b_16 is alike"),
        ("vit_tiny_patch16_224.augreg_in21k", "whose package is not installed here; 1"),
        ("google/vit-huge-patch14-224-in21k", "vit_h_14 is alike"),
        ("microsoft/beit-large", "a name on a hub, from which nothing is fetched"),
        ("distilbert-base-uncased", "python -m models.hub_encoder distilbert-base-uncased"),
        ("convnext_pico.d1_in1k", "looks like a name of timm's"),
        ("resnet19", "near it: resnet18"),
    ],
)
def test_foreign_names_are_explained(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    monkeypatch.setattr(builders, "find_spec", lambda package: None)  # as if timm were not installed, which it may be
    with pytest.raises(FieldError) as caught:
        architecture(name)
    assert said in str(caught.value) and "\n" not in str(caught.value) and "are known: those" in str(caught.value)
