"""Identity of results: recipe, model weights, data and code together."""

import hashlib
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from compression.recipe import Recipe, recipe_hash

CODE_VERSION = "COMPRESSION_CODE_VERSION"
_PACKAGE = Path(__file__).resolve().parents[1]
_NUMERIC_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "torch-pruning", "constriction", "numpy")
_PRESENTATION = (
    "service.py", "pareto.py", "report.py", "engine.py", "__main__.py", "status.py", "sweep.py", "behaviour.py",
)


@lru_cache(maxsize=1)
def code_version() -> str:
    """Hash of the code and library versions that decide what an artifact is; 12 hexadecimal digits.

    Worker processes are told their server's, so that both give a result the same key.
    """
    told = os.environ.get(CODE_VERSION)
    if told:
        return told
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        if path.name not in _PRESENTATION:
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    for name in _NUMERIC_PACKAGES:
        digest.update(f"{name}={version(name)}".encode())
    return digest.hexdigest()[:12]


def result_key(recipe: Recipe, model_hash: str, data_hash: str) -> str:
    """Key of a recipe's result in the store; 20 hexadecimal digits."""
    parts = (recipe_hash(recipe), model_hash, data_hash, code_version())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]
