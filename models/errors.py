"""Errors of the registry, told in one line."""


class ModelError(ValueError):
    """An unknown or unavailable model or data set; the message says which, and what there is."""
