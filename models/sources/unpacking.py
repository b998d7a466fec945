"""Downloaded archives unpacked so that what is there is whole: into a draft first, then moved to its place."""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from models.errors import ModelError


def unpack_tar(archive: Path, folder: str) -> None:
    """Unpack the one folder of a tar archive beside it, and remove the archive.

    Args:
        archive: Its digest has been checked.
        folder: Name of the folder in it; one of that name is replaced.

    Raises:
        ModelError: if the archive holds no such folder or would write elsewhere.
    """
    draft, target = archive.with_name(f"{folder}.{os.getpid()}.part"), archive.with_name(folder)
    try:
        with tarfile.open(archive) as held:
            held.extractall(draft, filter="data")
        if not (draft / folder).is_dir():
            raise ModelError(f"{archive.name} does not hold the folder {folder}")
        shutil.rmtree(target, ignore_errors=True)
        (draft / folder).replace(target)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise ModelError(f"{archive.name} cannot be unpacked: {' '.join(str(error).split())[:160]}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    archive.unlink()


def unpack_gzip(archive: Path) -> None:
    """Unpack ``name.gz`` to ``name`` beside it, and remove the archive.

    Raises:
        ModelError: if it is damaged.
    """
    target = archive.with_suffix("")
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with gzip.open(archive) as source, draft.open("wb") as unpacked:
            shutil.copyfileobj(source, unpacked)
        draft.replace(target)
    except (zlib.error, OSError, EOFError) as error:
        raise ModelError(f"{archive.name} cannot be unpacked: {' '.join(str(error).split())[:160]}") from None
    finally:
        draft.unlink(missing_ok=True)
    archive.unlink()
