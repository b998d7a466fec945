"""Short answers to "why isn't it smaller?" and "why isn't it faster?", derived from a result's numbers."""

from collections.abc import Mapping
from types import MappingProxyType

from compression.experiments.results import Figures, LayerRecord
from compression.experiments.wording import percent
from compression.other_weights import OTHER_KINDS
from compression.recipe import Recipe

_LARGE_SHARE, _NAMED_SHARE = 0.25, 0.01
_LISTED = 4
_INTEGER = ("int8", "int4")


def explain(
    recipe: Recipe, own: Figures, baseline: Figures, layers: tuple[LayerRecord, ...], *, unchanged: bool,
    other_bytes: Mapping[str, int] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Sentences for the user; empty for the baseline itself.

    Args:
        recipe: The result's recipe.
        own: Its figures.
        baseline: Those of the uncompressed model.
        layers: Its layers.
        unchanged: Whether the recipe changed nothing.
        other_bytes: Packed bytes of what is no layer, by the name of a matrix or the class of a module.
    """
    if not recipe.steps:
        return ()
    if unchanged:
        return ("The recipe changed nothing, so size and latency are the baseline's.",)
    return (*_about_size(own, layers, other_bytes), *_about_speed(own, baseline, layers))


def _about_size(own: Figures, layers: tuple[LayerRecord, ...], other_bytes: Mapping[str, int]) -> list[str]:
    sentences = []
    total = max(own.size_bytes, 1)
    heaviest = max(layers, key=lambda layer: layer.packed_bytes, default=None)
    if heaviest is not None and heaviest.packed_bytes / total > _LARGE_SHARE:
        share = heaviest.packed_bytes / total
        sentences.append(
            f"{percent(share, 0)} of the file is one layer, {heaviest.fqn} ({heaviest.encoding}): "
            "stronger settings elsewhere bring little."
        )
    floats = sum(layer.packed_bytes for layer in layers if layer.encoding == "float32")
    if floats / total > _LARGE_SHARE:
        sentences.append(f"{percent(floats / total, 0)} of the file are float32 weights: fewer bits would shrink them.")
    sentences += _about_values_only(layers, total)
    rest = own.size_bytes - sum(layer.packed_bytes for layer in layers)
    if rest / total > _LARGE_SHARE:
        parts = {**other_bytes, "tables and headers": rest - sum(other_bytes.values())}
        listed = sorted(parts.items(), key=lambda part: -part[1])[:_LISTED]
        named = ", ".join(f"{name} {percent(size / total, 0)}" for name, size in listed if size / total >= _NAMED_SHARE)
        sentences.append(f"{percent(rest / total, 0)} of the file are not layer weights: {named}.")
    return sentences


def _about_values_only(layers: tuple[LayerRecord, ...], total: int) -> list[str]:
    """Layers whose weights can take other values, but no other shape."""
    by_kind: dict[str, list[LayerRecord]] = {}
    for layer in layers:
        if layer.kind in OTHER_KINDS:
            by_kind.setdefault(layer.kind, []).append(layer)
    found = []
    for kind, own in by_kind.items():
        share = sum(layer.packed_bytes for layer in own) / total
        if share > _LARGE_SHARE:
            named = ", ".join(layer.fqn or "the network" for layer in own[:_LISTED])
            found.append(
                f"{percent(share, 0)} of the file is {kind} ({named}): only quantization, pruning and sharing of "
                "weights act on it."
            )
    return found


def _about_speed(own: Figures, baseline: Figures, layers: tuple[LayerRecord, ...]) -> list[str]:
    if own.speedup is None or own.speedup_low is None or own.speedup_high is None:
        return []
    sentences = []
    packed = [layer for layer in layers if layer.kernel == "int4"]
    if own.speedup_low <= 1.0 <= own.speedup_high:
        sentences.append("Its latency cannot be told from the baseline's: the interval of the ratio holds 1.")
    elif own.speedup < 1.0:
        cost = "rounding activations costs more than it saves" if packed else "extra nodes cost more than they save"
        sentences.append(f"It is slower than the baseline: {cost}.")
    if packed:
        sentences.append(
            f"{len(packed)} layers multiply by 4-bit weights that stay packed in memory, which saves time only where "
            "layers have many inputs."
        )
    same_work = own.macs == baseline.macs
    zeros = 1 - own.nonzero_parameters / max(own.parameters, 1)
    if zeros > 0.2 and same_work:
        share = percent(zeros, 0)
        sentences.append(f"{share} of the weights are zero, but no kernel here skips them; remove channels.")
    narrow = [layer for layer in layers if layer.encoding != "float32" and layer.kernel == "float32"
              and layer.kind not in OTHER_KINDS]
    if narrow:
        sentences.append(
            f"{len(narrow)} layers store few bits and compute in float32: weights of at most 8 bits with 8-bit "
            "activations run on integer kernels; with float activations linear layers do, if linear_kernel asks for it."
        )
    stayed = [layer for layer in layers if layer.note and layer.kernel == "float32"]
    if any(layer.kernel in _INTEGER for layer in layers) and stayed:
        named = ", ".join(layer.fqn for layer in stayed[:3])
        sentences.append(f"{len(stayed)} layers stayed in float32 ({named}{'...' if len(stayed) > 3 else ''}).")
    return sentences
