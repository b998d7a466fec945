"""Errors of the import, told in one line that names the node."""

from models.errors import ModelError

_LONGEST = 60


class OnnxError(ModelError):
    """A file that cannot be imported; the message says why and what is allowed."""


class NodeError(OnnxError):
    """A node that cannot be imported.

    Args:
        node: Its name, or that of its first output.
        operator: Its operator's name.
        reason: What is wrong and what is allowed.
    """

    def __init__(self, node: str, operator: str, reason: str) -> None:
        super().__init__(f"node {shortened(node)} ({shortened(operator)}): {reason}")
        self.node, self.operator, self.reason = node, operator, reason

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.node, self.operator, self.reason)


def shortened(name: str) -> str:
    """A name of a file as it may stand in a message: quoted, on one line, of bounded length."""
    text = repr(str(name))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + "...'"
