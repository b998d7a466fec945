"""A progress bar on stderr for the commands."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on stderr, moved by the function that it gives."""
    with tqdm(total=100, desc=label, file=sys.stderr, bar_format="{desc}: {percentage:3.0f} % {postfix}") as bar:

        def progress(fraction: float, message: str) -> None:
            bar.set_postfix_str(message, refresh=False)
            bar.update(round(100 * fraction) - bar.n)

        yield progress
