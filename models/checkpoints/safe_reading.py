"""Tensor files read safely: safetensors, and PyTorch's pickles by its restricted unpickler."""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.checkpoints.content import check_content, check_pickles, is_safetensors
from models.checkpoints.refusals import check_archive, unsafe_error
from models.errors import ModelError

_ERRORS = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, IndexError, AttributeError, TypeError, AssertionError,
    pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError, RecursionError, OverflowError, MemoryError,
)
_OF_DAMAGE = (KeyError, IndexError, EOFError, AttributeError, TypeError, AssertionError, UnicodeDecodeError)


class Ignored:
    """Stands in for an object of another package beside the tensors; it takes its state and does nothing with it."""

    def __init__(self, *arguments: object) -> None:
        del arguments

    def __setstate__(self, state: object) -> None:
        del state


_STAND_INS = (
    "argparse.Namespace", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray",
    "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
)


def read_tensors(path: Path, shown: str) -> Any:
    """What a file holds, nothing in it executed.

    Objects of argparse, numpy and pathlib, as training scripts keep them beside the tensors, become `Ignored`; neither
    these packages nor anything else that the file names is called.

    Args:
        path: The file.
        shown: What the user calls it.

    Raises:
        ModelError: if it is damaged, a program, or holds objects of other types.
    """
    try:
        if path.name.lower().endswith(".safetensors") or is_safetensors(path):
            return load_file(path)
        check_content(path, shown)
        check_archive(path, shown)
        check_pickles(path, shown)
        with warnings.catch_warnings(), torch.serialization.safe_globals([(Ignored, name) for name in _STAND_INS]):
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except _ERRORS as error:
        refused = unsafe_error(error, path, shown)
        if refused is not None:
            raise refused from None
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        if isinstance(error, _OF_DAMAGE):
            reason = f"it is damaged ({type(error).__name__}: {reason})"
        raise ModelError(f"{shown} cannot be read as weights: {reason}") from None
