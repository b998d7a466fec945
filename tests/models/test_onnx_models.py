"""ONNX files as models of a user: kept as they are, described in a recipe, named by the command line."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compression.cli.main import main
from models import registry
from models.errors import FieldError
from models.source_code import PROJECT, architecture_code, imported_files
from models.user import kept_models, onnx_models
from models.user.keeping import own_folder
from tests.models.onnx_import.graphs import model, named, weights
from tests.models.onnx_import.test_refusals import external

WHEN = "2026-01-01T00:00:00+00:00"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def digits_file(path: Path, front: str = "a=Identity(x)", shape: str = "N,1,32,32", end: str = "y=Softmax(l)",
                classes: int = 10, **constants: np.ndarray) -> Path:
    """A small classifier of the digits as a file."""
    body = (f"{front}\nb=Conv<strides=[2,2],pads=[1,1,1,1]>(a,w,o)\nc=Relu(b)\nd=GlobalAveragePool(c)\ne=Flatten(d)\n"
            f"l=Gemm<transB=1>(e,f,g)\n{end}")
    own = {"w": weights(6, 1, 3, 3), "o": weights(6), "f": weights(classes, 6), "g": weights(classes), **constants}
    proto = model(body, inputs=f"float[{shape}] x", constants=own)
    onnx.save(named(proto, {"w": "stem.0.weight", "o": "stem.0.bias", "f": "fc.weight", "g": "fc.bias"}), path)
    return path


def test_a_file_is_kept_under_its_own_names_and_computes_what_it_did(tmp_path: Path) -> None:
    path = digits_file(tmp_path / "digits.onnx")
    onnx_models.add_onnx_model("mine", {}, path, "digits", WHEN)
    kept = kept_models.SHELF.get("mine")
    assert kept is not None
    info = kept.info
    assert (info.input_shape, info.num_classes, info.dataset, info.family) == ((1, 32, 32), 10, "digits", "cnn")
    assert (info.mean, info.std) == ((0.5,), (0.5,)) and "record of the model" in info.preprocessing_source
    assert any("ends with a softmax" in line for line in kept.imported.lines())
    assert any("Equal to ONNX Runtime on 9 random inputs" in line for line in kept.imported.lines())
    network = registry.load_model("mine")
    assert [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)] == ["stem.0", "fc"]
    assert sum(p.numel() for p in network.parameters()) == info.parameters
    assert network(torch.zeros(3, 1, 32, 32)).shape == (3, 10)
    assert not list(own_folder("models").glob("*/*.safetensors"))
    assert registry.is_own("mine") and kept_models.remove_model("mine")


def test_the_identity_covers_the_file_and_the_preprocessing(tmp_path: Path) -> None:
    first = digits_file(tmp_path / "a.onnx")
    second = digits_file(tmp_path / "b.onnx", g=weights(10, seed=9))
    identities = []
    for number, (path, given) in enumerate(((first, {}), (second, {}), (first, {"mean": [0.4], "std": [0.5]}))):
        onnx_models.add_onnx_model(f"mine{number}", given, path, "digits", WHEN)
        identities.append(registry.model_identity(f"mine{number}"))
    onnx_models.add_onnx_model("again", {}, first, "digits", WHEN)
    assert len(set(identities)) == 3 and registry.model_identity("again") == identities[0]
    assert registry.code_of("again") == architecture_code("models.onnx_import")
    read = imported_files(PROJECT, ("models.onnx_import",), ("models.onnx_import",))
    assert set((PROJECT / "models" / "onnx_import").rglob("*.py")) <= set(read)


def test_a_recipe_names_a_file_with_data_beside_it_and_both_are_covered(tmp_path: Path) -> None:
    path = external(tmp_path, proto=onnx.load(digits_file(tmp_path / "digits.onnx")))
    given = {"onnx": str(path), "input_size": 8}
    name = registry.register_described({"onnx": str(path)}, "digits")
    network, before = registry.load_model(name), registry.model_identity(name)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
    data = bytearray((tmp_path / "model.data").read_bytes())
    data[-2] ^= 1
    (tmp_path / "model.data").write_bytes(bytes(data))
    assert registry.model_identity(name) != before
    with pytest.raises(FieldError, match="input_size: 8"):
        registry.register_described(given, "digits")


@pytest.mark.parametrize(
    ("front", "shape", "constants", "scale", "notes"),
    [
        ("a=Div(x,big)", "N,1,32,32", {"big": np.float32(255)}, 1.0, ""),
        ("s=Sub(x,half)\na=Div(s,half)", "N,1,32,32", {"half": np.float32(0.5)}, 255.0, ""),
        ("a=Transpose<perm=[0,3,1,2]>(x)", "N,32,32,1", {}, None, "channels first"),
        ("a=Reshape(x,image)", "N,1024", {"image": np.array([-1, 1, 32, 32])}, None, "1x32x32 are flattened"),
        ("a=Unsqueeze(x,one)", "N,32,32", {"one": np.array([1])}, None, ""),
        ("a=Identity(x)", "1,1,32,32", {}, None, "1 in the file, free here"),
        ("a=Identity(x)", "N,1,H,W", {}, None, ""),
    ],
)
def test_forms_of_input_and_preprocessing_inside(
    front: str, shape: str, constants: dict[str, np.ndarray], scale: float | None, notes: str, tmp_path: Path
) -> None:
    path = digits_file(tmp_path / "m.onnx", front, shape, **constants)
    onnx_models.add_onnx_model("mine", {}, path, "digits", WHEN)
    kept = kept_models.SHELF.get("mine")
    assert kept is not None and kept.info.input_shape == (1, 32, 32)
    if scale is None:
        assert kept.info.mean == (0.5,)
    else:
        assert (kept.info.mean, kept.info.scale) == ((), scale) and "normalises" in kept.info.preprocessing_source
    assert notes in " ".join(kept.imported.lines())
    assert registry.load_model("mine")(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("given", "dataset", "field", "words"),
    [
        ({"architecture": "resnet18"}, "digits", "architecture", "allowed beside an ONNX file"),
        ({"num_classes": 7}, "digits", "num_classes", "the file has 10"),
        ({"input_size": 28}, "digits", "onnx", "the file's input is 32"),
        ({"mean": [0.1, 0.2]}, "digits", "mean", "1 numbers"),
        ({}, "nothing", "dataset", "there is no dataset"),
        ({}, "sst2", "dataset", "image classification"),
        ({}, "fashion_mnist", "num_classes", "has 10 classes"),
    ],
    ids=str,
)
def test_what_does_not_fit_names_the_field(
    given: dict, dataset: str, field: str, words: str, tmp_path: Path
) -> None:
    shape = "N,1,H,W" if dataset == "fashion_mnist" else "N,1,32,32"
    classes = 9 if dataset == "fashion_mnist" else 10
    path = digits_file(tmp_path / "m.onnx", shape=shape, classes=classes, end="y=Identity(l)")
    with pytest.raises(FieldError) as caught:
        onnx_models.add_onnx_model("mine", given, path, dataset, WHEN)
    assert caught.value.field == field and words in str(caught.value) and "\n" not in str(caught.value)
    assert not list(own_folder("models").glob("*")) if own_folder("models").is_dir() else True


def test_the_command_line_adds_a_file_and_tells_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = digits_file(tmp_path / "m.onnx")
    assert main(["add-model", "mine", "--onnx", str(path), "--dataset", "digits", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["model"]["architecture"] == "onnx" and "Layers: 1 Conv2d, 1 Linear." in record["import"]["lines"]
    for more, words in ((["--architecture", "resnet18"], "architecture"), (["--ema"], "ema")):
        assert main(["add-model", "other", "--onnx", str(path), *more]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {words}: ")
    assert main(["add-model", "other"]) == 2
    assert "--onnx" in capsys.readouterr().err
    (tmp_path / "bad.onnx").write_bytes(b"no")
    assert main(["add-model", "other", "--onnx", str(tmp_path / "bad.onnx"), "--dataset", "digits"]) == 2
    assert "no ONNX file" in capsys.readouterr().err
