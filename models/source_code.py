"""Identity of source code: a module and what it imports, found in the sources without executing them."""

import ast
import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
_LIBRARIES = ("torchvision", "timm", "transformers", "tokenizers")


def module_file(root: Path, module: str) -> Path | None:
    """The source file of a module below a folder, or None."""
    path = root.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=1024)
def _imports(file: Path) -> frozenset[str]:
    """Names of the modules that a file imports, inside functions too, and of what may be modules in them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def imported_files(root: Path, starts: Iterable[str], within: Sequence[str]) -> list[Path]:
    """Source files of modules and of all that they import, directly or not; sorted.

    Args:
        root: Folder that the modules' names count from.
        starts: Names of the first modules; their imports are followed even if they are not within.
        within: Names of packages or modules; others are left out.
    """
    waiting, seen, kept = list(starts), set(), set()
    while waiting:
        name = waiting.pop()
        file = None if name in seen else module_file(root, name)
        seen.add(name)
        if file is None:
            continue
        if _is_within(name, within):
            kept.add(file)
        waiting += [own for own in _imports(file) if _is_within(own, within)]
    return sorted(kept)


def _is_within(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def digest_of(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 of source files and of the versions of libraries of networks that they import."""
    digest, libraries = hashlib.sha256(), set()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
        libraries |= {own for own in _LIBRARIES if any(_is_within(name, (own,)) for name in _imports(file))}
    for library in sorted(libraries):
        digest.update(f"{library}={_version(library)}".encode())
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


_OF_MODELS = (
    "models.architectures", "models.preprocessing", "models.checkpoints", "models.datasets.views",
    "models.huggingface", "models.onnx_import", "models.preparing", "models.parametrizations",
    "models.inputs", "models.outputs",
)
_ALWAYS = ("models.preprocessing", "models.preparing", "models.checkpoints.fitting", "models.checkpoints.files")


@lru_cache(maxsize=256)
def architecture_code(module: str, root: Path = PROJECT) -> str:
    """Digest of the code that builds, loads and feeds a network; once per process and module.

    Args:
        module: Name of the module of its factory.
        root: Folder of the project.
    """
    return digest_of(root, imported_files(root, (module, *_ALWAYS), (*_OF_MODELS, module)))


@lru_cache(maxsize=256)
def dataset_code(module: str, root: Path = PROJECT) -> str:
    """Digest of the code that reads, decodes and augments a dataset; once per process and module.

    Args:
        module: Name of the module of its loader.
        root: Folder of the project.
    """
    return digest_of(root, imported_files(root, (module,), ("models.datasets",)))
