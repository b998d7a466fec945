"""Errors of the registry, told in one line."""


class ModelError(ValueError):
    """An unknown or unavailable model or data set; the message says which, and what there is."""


class InterruptedWorkError(RuntimeError):
    """A download or a decoding was cancelled; what is done so far is kept where it can be used again."""
