"""Makes our ``compression`` importable where Python's own was imported first.

Python 3.14's standard library has a package of that name, and ``streamlit run`` imports it (through ``gzip``)
before this project's folder is on ``sys.path``. Ours joins the two when it comes first; this does when it is second.
"""

from pathlib import Path

_OURS = str(Path(__file__).resolve().parents[2] / "compression")


def join_compression() -> None:
    """Add this project's folder to the search path of the package ``compression``, whichever that is."""
    import compression

    if _OURS not in compression.__path__:
        compression.__path__.insert(0, _OURS)
