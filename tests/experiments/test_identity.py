"""A result's key changes with everything that decides the result, and with nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compression.core.errors import InputError
from compression.experiments import code_version as versions
from compression.experiments.code_version import CODE_VERSION, code_version, computing_files, process_code
from compression.experiments.stages import key_of
from compression.recipe import Recipe, recipe_from_dict
from models import registry
from models.source_code import PROJECT, architecture_code, dataset_code, digest_of

RECIPE = Recipe("digits_resnet", "digits")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's sources, to be changed."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("compression", "models", "pages"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=lambda where, names: [
            name for name in names if Path(where, name).is_file() and not name.endswith(".py")
        ])
    return root


def digests(root: Path, changed: str) -> tuple[list[str], list[str]]:
    """Digests of computing code, an architecture and a dataset, before and after a file is changed."""

    def all_of() -> list[str]:
        architecture_code.cache_clear()
        dataset_code.cache_clear()
        return [
            digest_of(root, computing_files(root)), architecture_code("models.architectures.resnet", root),
            dataset_code("models.datasets.digits", root),
        ]

    path = root / changed
    before, text = all_of(), path.read_text(encoding="utf-8")
    path.write_text(text + "\n# changed\n", encoding="utf-8")
    after = all_of()
    path.write_text(text, encoding="utf-8")
    assert all_of() == before
    return before, after


CODE, ARCHITECTURE, DATA = (True, False, False), (False, True, False), (False, False, True)
NOTHING = (False, False, False)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("compression/solvers/gptq.py", CODE), ("compression/techniques/quantization.py", CODE),
        ("compression/artifact/graph/compile.py", CODE), ("compression/experiments/tasks.py", CODE),
        ("compression/experiments/prefixes.py", CODE), ("compression/recipe.py", CODE),
        ("models/architectures/resnet.py", ARCHITECTURE), ("models/preprocessing.py", ARCHITECTURE),
        ("models/checkpoints/fitting.py", ARCHITECTURE), ("models/datasets/views.py", (False, True, True)),
        ("models/datasets/registry.py", DATA), ("models/datasets/digits.py", DATA),
        ("models/architectures/mlp.py", NOTHING), ("models/datasets/sst2.py", NOTHING),
        ("pages/explore/explore.py", NOTHING), ("compression/service/facade.py", NOTHING),
        ("compression/cli/user_entries.py", NOTHING), ("compression/reports/card.py", NOTHING),
        ("compression/__main__.py", NOTHING), ("compression/cli/search.py", NOTHING),
    ],
)
def test_what_decides_a_result_changes_its_key(changed: str, expected: tuple[bool, ...], copy: Path) -> None:
    before, after = digests(copy, changed)
    assert tuple(a != b for a, b in zip(before, after, strict=True)) == expected


@pytest.mark.parametrize("change", [{"mean": (0.9,)}, {"std": (0.7,)}, {"scale": 3.0}, {"input_shape": (1, 30, 30)}])
def test_a_bundled_models_record_is_part_of_the_key(change: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(RECIPE)
    info, factory = registry.entry("digits_resnet")
    with monkeypatch.context() as changed:
        changed.setitem(registry._MODELS, "digits_resnet", (replace(info, **change), factory))
        assert key_of(RECIPE) != before
    assert key_of(RECIPE) == before
    with monkeypatch.context() as renamed:
        renamed.setitem(registry._MODELS, "digits_resnet", (replace(info, title="Another", description="x"), factory))
        assert key_of(RECIPE) == before


def test_architecture_code_is_part_of_the_key_of_bundled_and_user_models(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(RECIPE)
    monkeypatch.setattr(registry, "architecture_code", lambda module: f"changed {module}")
    assert key_of(RECIPE) != before


def test_the_code_of_another_models_student_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"technique": "distillation", "student": "digits_mobilenet"}
    recipe = recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": [step]})
    keys = [key_of(RECIPE), key_of(recipe)]
    known = architecture_code
    monkeypatch.setattr(registry, "architecture_code", lambda module: known(module) + "x" * ("mobilenet" in module))
    assert key_of(RECIPE) == keys[0] and key_of(recipe) != keys[1]


def test_a_worker_with_other_code_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    code_version.cache_clear()
    monkeypatch.setenv(CODE_VERSION, process_code())
    assert code_version()
    code_version.cache_clear()
    monkeypatch.setenv(CODE_VERSION, "000000000000")
    with pytest.raises(InputError, match="have changed since the dashboard was started"):
        code_version()
    monkeypatch.delenv(CODE_VERSION)
    assert versions.code_version()
