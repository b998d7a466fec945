"""One comparison of what an exported bundle states with what was found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One comparison: what the bundle states, what was found, whether they agree, and why they might not."""

    name: str
    stated: str
    found: str
    passed: bool
    note: str = ""


def equal(name: str, stated: str, found: str) -> Check:
    """A check that passes where both are equal."""
    return Check(name, stated, found, stated == found)
