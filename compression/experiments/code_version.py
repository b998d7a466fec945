"""Version of the code and libraries that decide what an artifact is."""

import hashlib
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

CODE_VERSION = "COMPRESSION_CODE_VERSION"
_PACKAGE = Path(__file__).resolve().parents[1]
_NUMERIC_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "torch-pruning", "constriction", "numpy")
_PRESENTATION = (
    "service.py", "pareto.py", "report.py", "engine.py", "__main__.py", "status.py", "sweep.py", "behaviour.py",
    "jobs.py", "lifeline.py", "locations.py", "commands.py", "export.py", "graphs.py", "code_version.py",
    "downloads.py", "cores.py", "workers.py",
    "runtimes.py", "runtime_records.py", "illustration.py", "side_jobs.py", "exports.py", "illustrations.py",
    "side_work.py", "comparisons.py",
    "wording.py", "pace.py",
    "sensitivity.py", "probing.py", "distribution.py", "distributions.py",
    "own.py", "own_file.py", "own_jobs.py", "own_commands.py", "own_checks.py",
    "progress_bar.py",
)
_PRESENTATION_FOLDERS = ("reports", "runtimes", "search", "library")


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
        if path.name not in _PRESENTATION and path.parent.name not in _PRESENTATION_FOLDERS:
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    for name in _NUMERIC_PACKAGES:
        digest.update(f"{name}={version(name)}".encode())
    return digest.hexdigest()[:12]
