"""Uploads of one model: a file, several shards, a zip; whatever comes of them, they are removed."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from compression.core.errors import InputError
from compression.library import user_entries
from compression.library.uploads import received_files
from models import registry
from models.user.kept_models import incoming
from tests.models.own_things import KIND, network

GIVEN = {"architecture": KIND, "num_classes": 10}
ALLOWED = (".safetensors", ".pth", ".json", ".zip")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path))


def shards() -> dict[str, bytes]:
    items = [(f"model.{key}", value.clone().half() if value.is_floating_point() else value.clone())
             for key, value in network(10).state_dict().items()]
    names = ("w-00001-of-00002.safetensors", "w-00002-of-00002.safetensors")
    files = {name: save(dict(items[i::2])) for i, name in enumerate(names)}
    mapped = {key: names[number % 2] for number, (key, _) in enumerate(items)}
    return files | {"w.safetensors.index.json": json.dumps({"weight_map": mapped}).encode()}


@pytest.mark.parametrize("form", ["files", "files without index", "zip"])
def test_shards_become_one_model(form: str) -> None:
    files = shards()
    if form == "files without index":
        del files["w.safetensors.index.json"]
    if form == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"checkpoint/{name}", content)
        files = {"checkpoint.zip": buffer.getvalue()}
    path, shown = received_files([(name, io.BytesIO(content)) for name, content in files.items()], ALLOWED)
    kept = user_entries.add_uploaded_model("mine", GIVEN, path, shown, "digits")
    theirs = network(10).half().float().eval()
    x = torch.randn(2, *kept.info.input_shape)
    torch.testing.assert_close(registry.load_model("mine")(x), theirs(x))
    said = " ".join(kept.imported.lines())
    assert "Read from 2 files." in said and "prefix 'model.'" in said and "of float16" in said
    assert list(incoming().iterdir()) == []


def test_what_is_refused_is_removed_too() -> None:
    path, shown = received_files([("a.zip", io.BytesIO(b"nothing"))], ALLOWED)
    with pytest.raises(InputError, match=r"a\.zip cannot be unpacked"):
        user_entries.add_uploaded_model("mine", GIVEN, path, shown, "digits")
    with pytest.raises(InputError, match="each is a weights file"):
        received_files([("a.pth", io.BytesIO(b"")), ("b.py", io.BytesIO(b""))], ALLOWED)
    two = [("w-00001-of-00003.safetensors", io.BytesIO(b"")), ("w-00003-of-00003.safetensors", io.BytesIO(b""))]
    path, shown = received_files(two, ALLOWED)
    with pytest.raises(InputError, match="2 of 3 shards are there; number 2 is missing"):
        user_entries.add_uploaded_model("mine", GIVEN, path, shown, "digits")
    assert list(incoming().iterdir()) == []
