"""What is not read, in one line, with the lines of Python that write it in a form that is read."""

import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError

from models.errors import ModelError

_SCRIPT = "import torch; "
_BARE = re.compile(r"Unsupported global: GLOBAL (\w+) was not")
_GLOBAL = re.compile(r"(?:GLOBAL|global|class|type) '?([A-Za-z_][\w]*(?:\.[\w]+)+)'?")
_MODULES = ("torch.nn.", "torchvision.", "timm.", "transformers.", "__main__.", "models.", "ultralytics.")


def unsafe_error(error: Exception, path: Path, shown: str) -> ModelError | None:
    """The refusal of a pickle that holds objects, which only executing it would read; None for another error.

    Args:
        error: What PyTorch's safe unpickler raised.
        path: The file.
        shown: What the user calls it.
    """
    text = " ".join(str(error).split())
    if "weights_only" not in text and "Weights only" not in text and "Unsupported" not in text:
        return None
    names = [name for name in _GLOBAL.findall(text) if not name.startswith(("torch.serialization", "torch.load"))]
    names = _BARE.findall(text) or names
    if not names:
        if not isinstance(error, UnpicklingError):
            return None
        again = "load it and save its tensors alone with torch.save or safetensors"
        if zipfile.is_zipfile(path):
            again = f'save it again: {_loading(shown)}; torch.save(checkpoint, "weights.pth")'
        return ModelError(
            f"{shown} cannot be read as weights: it is damaged, or a pickle of another form than torch.save writes by "
            f"default; where you trust the file, {again}"
        )
    model = names[0].startswith(_MODULES)
    kept = 'checkpoint.state_dict() if hasattr(checkpoint, "state_dict") else checkpoint["state_dict"]'
    what = "a whole pickled model" if model else "pickled objects"
    script = f'{_loading(shown)}; torch.save({kept}, "weights.pth")'
    return ModelError(
        f"{shown} holds {what} ({names[0]}), and loading it would execute code; "
        f"where you trust the file, save its tensors alone: {script}"
    )


def _loading(shown: str) -> str:
    """The first two lines of a script."""
    return f'{_SCRIPT}checkpoint = torch.load("{shown}", map_location="cpu", weights_only=False)'


def check_archive(path: Path, shown: str) -> None:
    """Refuse programs, which are executed rather than read.

    Raises:
        ModelError: for a TorchScript archive or an exported program.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError):
        return
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise ModelError(
            f"{shown} is a TorchScript archive, which is a program; save its tensors alone: {_SCRIPT}"
            f'model = torch.jit.load("{shown}", map_location="cpu"); torch.save(model.state_dict(), "weights.pth")'
        )
    if "archive_format" in names or "archive_version" in names:
        raise ModelError(
            f"{shown} is an exported program (torch.export); save its tensors alone: {_SCRIPT}"
            f'program = torch.export.load("{shown}"); torch.save(program.state_dict, "weights.pth")'
        )


def split_script(message: str) -> tuple[str, str]:
    """An error's sentence and the lines of Python in it, one statement a line; the latter may be empty."""
    before, found, after = message.partition(_SCRIPT)
    if not found:
        return message, ""
    return before.rstrip(), "\n".join(part.strip() for part in (found + after).split("; "))
