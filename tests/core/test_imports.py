"""The package's name and the direction of imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def _reaches(path: Path, *packages: str) -> set[str]:
    return {n for n in _imports(path) if any(n == p or n.startswith(p + ".") for p in packages)}


def _sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_models_import_nothing_of_compression() -> None:
    for path in _sources("models"):
        assert not _reaches(path, "compression"), path


def test_streamlit_and_plotly_stay_in_pages() -> None:
    for folder in ("compression", "models"):
        for path in _sources(folder):
            assert not _reaches(path, "streamlit", "plotly"), path


def test_pages_import_nothing_below_experiments() -> None:
    packages = ("experiments", "analysis", "reports", "library", "search", "service")
    allowed = [f"compression.{package}" for package in packages]
    for path in [ROOT / "app.py", *_sources("pages")]:
        found = _reaches(path, "compression", "models") - {"compression"}
        assert all(any(n == a or n.startswith(a + ".") for a in allowed) for n in found), (path, found)


def test_no_technique_imports_another() -> None:
    for path in _sources("compression/techniques"):
        if path.name != "__init__.py":
            found = _reaches(path, "compression.techniques") - {"compression.techniques.registry"}
            assert not found, (path, found)


@pytest.mark.parametrize("ours_first", [True, False])
def test_both_packages_named_compression_are_importable(tmp_path: Path, ours_first: bool) -> None:
    """Python 3.14 has a standard-library package of our name; it is simulated by a folder."""
    library = tmp_path / "stdlib"
    (library / "compression" / "_common").mkdir(parents=True)
    (library / "compression" / "__init__.py").touch()
    (library / "compression" / "_common" / "__init__.py").touch()
    (library / "compression" / "_common" / "_streams.py").write_text("NAME = 'standard'\n")
    if ours_first:
        start = f"sys.path[:0] = [{str(ROOT)!r}, {str(library)!r}]\n"
    else:
        start = (
            f"sys.path.insert(0, {str(library)!r})\nimport compression\n"
            f"assert {str(ROOT)!r} not in str(compression.__path__)\nsys.path.insert(0, {str(ROOT)!r})\n"
            "from pages.shared.namesake import join_compression\njoin_compression()\n"
        )
    program = (
        "import sys, sysconfig\n"
        f"sysconfig.get_path = lambda *a, **k: {str(library)!r}\n"
        + start
        + "from compression.core.errors import InputError\n"
        "from compression._common._streams import NAME\n"
        "print(NAME, InputError.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.split() == ["standard", "InputError"], done.stderr
