"""Recipes and bundles that someone made to do harm, or that lost a piece on the way."""

import json
import time
import zipfile
from pathlib import Path

import pytest

from compression.cli.main import main
from compression.core.errors import InputError
from compression.knobs import validate
from compression.recipe import recipe_from_dict, recipe_from_yaml
from compression.techniques import list_techniques

HEAD = "model: digits_resnet\ndataset: digits\n"
MEMBERS = ("recipe.yaml", "model.onnx", "weights.packed", "result.json", "input_spec.json", "run.py", "README.md")
FIGURES = {
    "accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0, "n_samples": 40, "size_bytes": 1,
    "runtime_size_bytes": 1, "macs": 1, "parameters": 1, "nonzero_parameters": 1,
}


def laughs(levels: int = 12) -> str:
    """Lists within lists: a few hundred bytes that name 9 to the power of `levels` elements."""
    lines = ["x0: &x0 [lol]"] + [f"x{i}: &x{i} [{','.join([f'*x{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "seed: 2024-13-45", HEAD + "seed: 0b_", HEAD + "seed: " + "9" * 5000, "[" * 5000, "{a: " * 5000,
        "model: 'a\0b'", "\x80".encode("latin-1"), HEAD + "steps: [!!python/name:os.system ]",
        HEAD + "seed: !!python/object/new:int [3]", HEAD + "--- \n" + HEAD, "? [a]\n: 1",
    ],
    ids=range(11),
)
def test_text_that_yaml_chokes_on_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputError, match=r"^recipe: ") as caught:
        recipe_from_yaml(text)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["model: {a: *x11}", "steps: *x11", "seed: *x11", "runtime: {threads: *x11}"])
def test_an_explosive_value_is_told_in_a_short_line_at_once(place: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        recipe_from_yaml(laughs() + HEAD + place)
    assert time.monotonic() - start < 2
    assert len(str(caught.value)) < 300


def test_the_error_itself_stays_short_whatever_it_is_about() -> None:
    value: list[object] = ["lol"]
    for _ in range(30):
        value = [value] * 9
    assert len(str(InputError("field", value, "allowed: nothing"))) < 200
    assert str(InputError("field", "short", "allowed: nothing")) == "field: 'short' is not allowed; allowed: nothing"


@pytest.mark.parametrize("field", ["steps", "runtime"])
@pytest.mark.parametrize("value", [False, 0, "", True])
def test_an_empty_value_of_a_wrong_type_is_no_default(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        recipe_from_dict({"model": "m", "dataset": "d", field: value})


@pytest.mark.parametrize("field", ["layers", "overrides"])
@pytest.mark.parametrize("value", [False, 0, "", []])
def test_so_it_is_within_a_step(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        recipe_from_dict({"model": "m", "dataset": "d", "steps": [{"technique": "weight_pruning", field: value}]})


def test_null_means_the_default() -> None:
    step = {"technique": "weight_pruning", "layers": None, "overrides": None}
    recipe = recipe_from_dict({"model": "m", "dataset": "d", "steps": [step], "runtime": None, "n_samples": None})
    bare = {"model": "m", "dataset": "d", "steps": [{"technique": "weight_pruning"}]}
    assert recipe == recipe_from_dict(bare)


@pytest.mark.parametrize("technique", list_techniques(), ids=lambda t: t.key)
def test_a_choice_among_numbers_takes_no_other_type(technique: object) -> None:
    """4.0 equals 4, and yet counts nothing."""
    config_type = technique.config_type
    validate(config_type(), technique.key)
    for name, field in config_type.__dataclass_fields__.items():
        choices = field.metadata["knob"].choices or ()
        for choice in (c for c in choices if type(c) is int):
            with pytest.raises(InputError, match=rf"{technique.key}\.{name}: {float(choice)}"):
                config_type(**{name: float(choice)})


def bundle(path: Path, **members: object) -> Path:
    """A zip of dummy members, some of them as given (dots as double underscores)."""
    contents = dict.fromkeys(MEMBERS, b"{}") | {k.replace("__", "."): v for k, v in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    return path


def told(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["verify", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1, shown.err
    return shown.err


@pytest.mark.parametrize(
    "result",
    [
        b"[]", b"3", b"null", b"{", b"[" * 100_000, {"figures": 3}, {"figures": {}, "baseline": {}},
        {"figures": {**FIGURES, "accuracy": "high"}, "baseline": FIGURES},
        {"figures": {**FIGURES, "accuracy": None}, "baseline": FIGURES},
        {"figures": {**FIGURES, "latency_ms_p50": "fast"}, "baseline": FIGURES},
        {"figures": {**FIGURES, "n_samples": []}, "baseline": FIGURES},
    ],
    ids=range(11),
)
def test_a_result_that_is_none_is_refused(
    result: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if isinstance(result, dict):
        result = {"key": "k", "recipe": {}, "badges": {}, **result}
    assert told(bundle(tmp_path / "b.zip", result__json=result), capsys).startswith("error: result.json")


@pytest.mark.parametrize(
    ("members", "word"),
    [({"model__onnx": None}, "model.onnx"), ({"more__txt": b"x"}, "more.txt"), ({"../up.txt": b"x"}, "../up.txt")],
    ids=str,
)
def test_a_foreign_zip_is_refused(
    members: dict[str, object], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert word in told(bundle(tmp_path / "b.zip", **members), capsys)
    assert not (tmp_path.parent / "up.txt").exists()


def test_a_zip_that_unpacks_to_far_too_much_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MEMBERS:
            archive.writestr(name, bytes(2**24))
    assert "too much" in told(path, capsys)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"# a text"], ids=str)
def test_what_is_no_zip_is_refused(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    assert "b.zip" in told(tmp_path / "b.zip", capsys)


@pytest.mark.parametrize("value", ["2024-13-45", "quick", "0.5,", "[1]"])
def test_values_of_a_sweep_are_checked_before_anything_runs(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(HEAD, encoding="utf-8")
    arguments = ["sweep", str(tmp_path / "r.yaml"), "--vary", f"weight_pruning.sparsity={value}"]
    assert main([*arguments, "--store", str(tmp_path / "store")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "store" / "artifacts").exists()
