"""Errors of the registry, told in one line."""


class ModelError(ValueError):
    """An unknown or unavailable model or dataset; the message says which, and what there is."""


class InterruptedWorkError(RuntimeError):
    """A download or a decoding was cancelled; what is done so far is kept where it can be used again."""


class FieldError(ModelError):
    """A value of a user's description that cannot be used.

    Args:
        field: Which one.
        value: What was given.
        allowed: What would have been accepted, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {value!r} is not allowed; {allowed}")
        self.field, self.value, self.allowed = field, value, allowed

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.allowed)
