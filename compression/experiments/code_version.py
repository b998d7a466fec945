"""Version of the code and libraries that decide what an artifact is."""

import hashlib
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from compression.core.errors import InputError
from models.source_code import PROJECT, digest_of

CODE_VERSION = "COMPRESSION_CODE_VERSION"
# Packages that read results or have them made; what changes there measures nothing again.
ABOVE_EXPERIMENTS = ("analysis", "reports", "bundles", "jobs", "library", "search", "service", "cli")
_NUMERIC_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "torch-pruning", "constriction", "numpy")


def computing_files(root: Path = PROJECT) -> list[Path]:
    """Source files that decide what an artifact and its figures are: all of `compression` up to `experiments`.

    Args:
        root: Folder of the project.
    """
    folder = root / "compression"
    above = (*ABOVE_EXPERIMENTS, "__main__.py")
    return sorted(path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in above)


@lru_cache(maxsize=1)
def code_version() -> str:
    """Hash of the code and library versions that decide what an artifact is; 12 hexadecimal digits.

    Raises:
        InputError: in a worker process whose code differs from that of the process that started it.
    """
    code = _digest(computing_files())
    started = os.environ.get(CODE_VERSION)
    if started and started != process_code():
        raise InputError("code", code, "the source files have changed since the dashboard was started; restart it")
    return code


@lru_cache(maxsize=1)
def process_code() -> str:
    """Hash of all code that worker processes must share with the process that starts them."""
    return _digest(sorted({*computing_files(), *(PROJECT / "models").rglob("*.py")}))


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256(digest_of(PROJECT, files).encode())
    for name in _NUMERIC_PACKAGES:
        digest.update(f"{name}={version(name)}".encode())
    return digest.hexdigest()[:12]
