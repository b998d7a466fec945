"""A Python file of models that the person who runs the server or the command names at the start.

Its functions carry the registry's decorators. It is code of the person who starts the program, so it is run; nothing
that comes through a page is. Worker processes find it by the same environment variable.
"""

import hashlib
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from models.errors import FieldError

VARIABLE, OPTION = "COMPRESSION_MODELS", "--models"
_MODULE = "models_of_the_user"


def named_file() -> Path | None:
    """The file that is named, or None."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else None


def file_digest() -> str:
    """SHA-256 of the file; empty where none is named."""
    path = named_file()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else ""


def run_file(path: Path) -> None:
    """Run a file of models, which registers them.

    Raises:
        FieldError: if it is missing or fails, in one line.
    """
    if path.suffix != ".py" or not path.is_file():
        raise FieldError(OPTION, str(path), "an existing Python file is needed")
    spec = spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise FieldError(OPTION, str(path), "it cannot be loaded as Python")
    module = module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[_MODULE]
        reason = " ".join(str(error).split())[:200]
        raise FieldError(OPTION, str(path), f"it fails with {type(error).__name__}: {reason}") from None
