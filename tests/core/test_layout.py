"""Where modules lie and what they may import: arrows run downward, without circles, also inside functions."""

import ast
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from compression.experiments.code_version import ABOVE_EXPERIMENTS

ROOT = Path(__file__).resolve().parents[2]
BELOW_EXPERIMENTS = (
    ("core",), ("knobs", "problems", "state"), ("context", "grids", "layers", "other_weights"),
    ("artifact", "calibration", "metrics", "solvers", "structure", "techniques", "training"), ("recipe", "targets"),
)
ORDER = (*BELOW_EXPERIMENTS, ("experiments",), *((package,) for package in ABOVE_EXPERIMENTS))
RANK = {name: place for place, names in enumerate(ORDER) for name in names}
MOST_FILES = 20


@lru_cache(maxsize=1)
def modules() -> dict[str, Path]:
    """All modules of the project by dotted name."""
    found = {}
    for top in ("compression", "models", "pages"):
        for path in (ROOT / top).rglob("*.py"):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@lru_cache(maxsize=1)
def imports() -> dict[str, set[str]]:
    """The project's modules that each module imports, anywhere in it."""
    return {name: _imported(path) - {name} for name, path in modules().items()}


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.update({whole} & modules().keys() or {node.module} & modules().keys())
    return found


def test_there_is_no_circle() -> None:
    waiting = {name: set(found) for name, found in imports().items()}
    while free := {name for name, found in waiting.items() if not found & waiting.keys()}:
        waiting = {name: found for name, found in waiting.items() if name not in free}
    assert not waiting, sorted(waiting)


@pytest.mark.parametrize("package", [name for names in ORDER for name in names])
def test_imports_run_downward(package: str) -> None:
    for name, found in imports().items():
        parts = name.split(".")
        if parts[0] == "compression" and len(parts) > 1 and parts[1] == package:
            reached = {other.split(".")[1] for other in found if other.startswith("compression.")}
            assert all(RANK[other] <= RANK[package] for other in reached), (name, reached)
            if RANK[package] < RANK["experiments"]:
                assert not any(other.split(".")[0] == "models" for other in found), name


def test_every_package_has_its_place() -> None:
    packages = {name.split(".")[1] for name in modules() if name.startswith("compression.")}
    assert packages - {"__main__"} <= RANK.keys()


def test_a_page_imports_nothing_of_another_page() -> None:
    for name, found in imports().items():
        if name.startswith("pages."):
            page = name.split(".")[1]
            others = {other.split(".")[1] for other in found if other.startswith("pages.")}
            assert page == "main" or others <= {page, "shared"}, (name, others)


def test_folders_stay_small() -> None:
    counts = Counter(path.parent for path in modules().values() if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}
