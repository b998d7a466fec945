"""Errors that are shown to the user as they are."""

import reprlib

_SHORT = reprlib.Repr()  # a few lines of YAML can name lists within lists whose full form fills the memory
_SHORT.maxlevel = 4
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = 12
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120


class InputError(ValueError):
    """Wrong input, told in one line: which field, which value, what is allowed.

    Args:
        field: Name of the field as the user knows it (``quantization.weight_bits``).
        value: What was given.
        allowed: What would have been accepted, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        shown = _SHORT.repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{field}: {shown} is not allowed; {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.allowed)


class NotApplicableError(ValueError):
    """A technique cannot act on this model; the message says why."""


class GraphError(ValueError):
    """A written graph does not compute what the model does; one line that names the first layer that differs.

    Args:
        graph: Which graph.
        layer: fqn of the layer, or where else it differs.
        reason: What is known of the cause.
    """

    def __init__(self, graph: str, layer: str, reason: str) -> None:
        super().__init__(f"{graph} does not compute what the model does; first difference: {layer} ({reason})")
        self.graph, self.layer, self.reason = graph, layer, reason

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.graph, self.layer, self.reason)


class CancelledError(RuntimeError):
    """The user cancelled the running work."""
