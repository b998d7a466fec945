"""Names that other projects give to architectures and checkpoints, and what to write here instead."""

import re
from collections.abc import Sequence

_HUB = re.compile(r"^(hf[-_]hub:|https?://)|/")
_PATCHES = re.compile(r"^(?:vit|deit\d?)_(tiny|small|base|large|huge)_(?:distilled_)?patch(\d+)_")
_TWINS = {
    ("base", "16"): "vit_b_16", ("base", "32"): "vit_b_32", ("large", "16"): "vit_l_16", ("large", "32"): "vit_l_32",
    ("huge", "14"): "vit_h_14",
}


def plain_name(name: str) -> str:
    """A name without the hub, the owner and the tag of the weights: "hf-hub:timm/resnet18.a1_in1k" is "resnet18"."""
    return re.split(r"[/:]", name)[-1].partition(".")[0].lower().replace("-", "_")


def explained(name: str, known: Sequence[str]) -> str:
    """What a name of timm's or of a hub means and what is needed instead; empty where it looks like neither.

    Args:
        name: What was given as an architecture.
        known: Architectures that can be built here.
    """
    plain, on_hub = plain_name(name), bool(_HUB.search(name))
    if plain.startswith("distilbert"):
        return f"DistilBERT classifiers of the hub are brought by: python -m models.hub_encoder {name}"
    if plain in known and plain != name:
        return f"{plain} is the architecture; its weights are given as a file, they are not fetched by such a name"
    patches = _PATCHES.match(plain)
    if patches is not None:
        twin = _TWINS.get((patches[1], patches[2]))
        alike = f"; {twin} is alike, but timm's files do not fit it" if twin in known else ""
        return f"this is a name of timm's, whose package is not installed here{alike}"
    if on_hub:
        return "this is a name on a hub, from which nothing is fetched: an architecture and a weights file are needed"
    if "." in name:
        return "this looks like a name of timm's, whose package is not installed here"
    return ""
