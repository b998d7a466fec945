"""The data folder that the user chooses."""

from pathlib import Path

from compression.core.errors import InputError
from models import datasets
from models.errors import ModelError
from models.sources.locations import choose_data_folder


def choose_folder(text: str) -> list[str]:
    """Have data looked for in a folder of this machine, too; an empty text drops the choice.

    Returns:
        Names of the datasets and weights that are found there.

    Raises:
        InputError: if it is no folder that can be read, or holds nothing that is looked for; the old choice stays.
    """
    try:
        folder = Path(text.strip()).expanduser() if text.strip() else None
        found = [] if folder is None else _found_in(folder)
        if folder is not None and folder.is_absolute() and folder.is_dir() and not found:
            wanted = ", ".join(sorted({need for info in datasets.list_datasets() for need in info.needs}))
            raise ModelError(f"it holds nothing that is looked for: {wanted}, weights/*.safetensors")
        choose_data_folder(folder)
    except (ModelError, OSError, RuntimeError, ValueError) as error:  # no such user's home, a zero byte, a long name
        raise InputError("data folder", text.strip(), " ".join(str(error).split())) from None
    return found


def _found_in(folder: Path) -> list[str]:
    names = [info.name for info in datasets.list_datasets() if any((folder / need).exists() for need in info.needs)]
    return names + sorted(path.stem for path in (folder / "weights").glob("*.safetensors"))
