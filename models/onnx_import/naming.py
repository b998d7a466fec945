"""Names of layers and tensors, taken from the file wherever it carries them."""

import re
from collections.abc import Iterable

from torch import nn

_TENSOR_SUFFIXES = (
    "weight", "bias", "gamma", "beta", "kernel", "weights", "scale", "w", "b", "running_mean", "running_var",
)
_TENSORFLOW = re.compile(r"/(ReadVariableOp|Conv2D|MatMul|BiasAdd|FusedBatchNormV3|Read|resource)(/.*)?$")
_GENERATED = re.compile(r"^(onnx::|val_|const|_|/|\d|new_|shape|constant|node_|tmp)", re.IGNORECASE)
_RESERVED = frozenset(dir(nn.Module())) | {"input_name", "output_name", "steps", "connect", "run"}


def is_generated(name: str) -> bool:
    """Whether a name was made up by an exporter or optimizer, and says nothing."""
    return not name or bool(_GENERATED.match(name))


def layer_name(tensors: Iterable[str | None]) -> str:
    """The layer that named tensors belong to: ``layer1.0.conv1`` of ``layer1.0.conv1.weight``; "" where none says."""
    for tensor in tensors:
        if not tensor or is_generated(tensor):
            continue
        plain = _TENSORFLOW.sub("", tensor.split(":")[0]).replace("/", ".")
        owner, _, last = plain.rpartition(".")
        if owner and last in _TENSOR_SUFFIXES:
            return owner
        joined = re.fullmatch(r"(.+?)_(?:weight|bias|gamma|beta|kernel|w|b)", plain)
        return joined[1] if joined else plain
    return ""


class Names:
    """Gives out fully qualified names that are unique and can be attributes of modules.

    A layer is never below another layer, and a tensor never takes the name of a layer.
    """

    def __init__(self) -> None:
        self._leaves: set[str] = set()
        self._containers: set[str] = set()

    def take(self, wanted: str, otherwise: str) -> str:
        """A name like the wanted one.

        Args:
            wanted: Dotted; "" where there is none.
            otherwise: Used then.
        """
        parts = [self._part(part) for part in (wanted or otherwise).split(".") if part] or ["layer"]
        for end in range(1, len(parts)):  # what is a layer already cannot hold another one
            while ".".join(parts[:end]) in self._leaves:
                parts[end - 1] += "_"
        base, name, number = ".".join(parts), ".".join(parts), 1
        while name in self._leaves or name in self._containers:
            name, number = f"{base}_{number}", number + 1
        self._leaves.add(name)
        taken = name.split(".")
        self._containers.update(".".join(taken[:end]) for end in range(1, len(taken)))
        return name

    @staticmethod
    def _part(part: str) -> str:
        plain = re.sub(r"\W", "_", part, flags=re.ASCII)[:80]
        return f"{plain}_" if plain in _RESERVED else plain
