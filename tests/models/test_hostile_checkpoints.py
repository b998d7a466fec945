"""Checkpoints that someone made to do harm: nothing is executed, memory is bounded, one line says what is wrong."""

import argparse
import pickle
import struct
import time
import zipfile
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints import content, read_checkpoint, safe_reading, split_script
from models.checkpoints.safe_reading import Ignored
from models.errors import ModelError

START = b"\x80\x02"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + b"(" + b"".join(arguments) + b"tR"


def archived(path: Path, data: bytes) -> Path:
    """The form that torch.save writes now."""
    with zipfile.ZipFile(path, "w") as archive:
        for member, value in (("data.pkl", data), ("byteorder", b"little"), ("version", b"3"), ("data/0", bytes(64))):
            archive.writestr(f"a/{member}", value)
    return path


def legacy(path: Path, data: bytes) -> Path:
    """The form that torch.save wrote before version 1.6."""
    with path.open("wb") as file:
        sizes = {"short": 2, "int": 4, "long": 4}
        for value in (torch.serialization.MAGIC_NUMBER, 1001,
                      {"little_endian": True, "protocol_version": 1001, "type_sizes": sizes}):
            pickle.dump(value, file, protocol=2)
        file.write(data)
        pickle.dump([], file, protocol=2)
    return path


NAMESPACE = name("argparse", "Namespace") + b")R"


def commands(mark: Path) -> dict[str, bytes]:
    """Pickles that would create a file, were they executed."""
    touch, opened = text(f"touch {mark}"), text(f"open({str(mark)!r}, 'w')")
    return {
        "os": call("os", "system", touch), "posix": call("posix", "system", touch),
        "eval": call("builtins", "eval", opened), "exec": call("__builtin__", "exec", opened),
        "getattr": call("builtins", "getattr", name("os", "path"), text("os")),
        "subprocess": call("subprocess", "Popen", touch), "hub": call("torch.hub", "load", touch, touch),
        "torch.load": call("torch", "load", touch), "dotted": call("torch", "os.system", touch),
        "attributes of a stand-in": call("argparse", "Namespace.__init__.__globals__"),
        "jit": call("torch.jit", "load", touch), "instance": b"(" + touch + b"ios\nsystem\n",
        "object": b"(" + name("os", "system") + touch + b"o", "extension": b"\x82\x01",
        "new object": name("os", "system") + b"(" + touch + b"t\x81",
        "nested": b"}(" + text("args") + NAMESPACE + b"}(" + text("x") + call("os", "system", touch) + b"ubu",
        "state of a stand-in": NAMESPACE + call("os", "system", touch) + b"b",
        "state of a class": name("argparse", "Namespace") + b"}(" + text("__init__") + name("os", "system") + b"ub",
        "class of a mapping": call("collections", "OrderedDict") + b"}(" + text("__class__")
        + name("argparse", "Namespace") + b"ub",
        "stand-in as a function": call("torch._tensor", "_rebuild_from_type_v2", name("argparse", "Namespace"),
                                       name("argparse", "Namespace"), b"(" + touch + b"t", b"}"),
        "storage elsewhere": b"(" + text("storage") + name("torch", "FloatStorage") + text("../../etc/passwd")
        + text("cpu") + b"K\x10tQ",
    }


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message and len(message) < 500
    return message


@pytest.mark.parametrize("write", [archived, legacy])
@pytest.mark.parametrize("case", commands(Path("x")))
def test_nothing_is_executed(case: str, write: Any, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    refused(write(tmp_path / "w.pth.tar", START + commands(mark)[case] + b"."))
    assert not mark.exists()


def dense(levels: int, width: int) -> bytes:
    """Mappings within mappings: a few kilobytes that name `width` to the power of `levels` entries."""
    body = START + b"}q\x00(" + text("leaf") + b"Nu"
    for level in range(1, levels + 1):
        entries = b"".join(text(f"k{i}") + b"h" + bytes([level - 1]) for i in range(width))
        body += b"}q" + bytes([level]) + b"(" + entries + b"u"
    return body + b"."


BOMBS = {
    "memo": START + b"Nr" + struct.pack("<I", 2**31 - 1) + b".", "no memo": START + b"j" + struct.pack("<I", 2**31 - 1),
    "text": START + b"X" + struct.pack("<I", 2**31 - 1) + b"a.", "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
    "array": b"\x80\x05\x96" + struct.pack("<Q", 2**62), "number": START + b"\x8b" + struct.pack("<i", 2**31 - 1),
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.", "marks": START + b"(" * 20_000 + b".",
    "lists": START + b"]" * 20_000 + b"a" * 19_999 + b".", "tuples": START + b"N" + b"\x85" * 20_000 + b".",
    "empty": b".", "pops": START + b"0000.", "zeros": START + call("__builtin__", "bytearray", whole(2**60)) + b".",
    "storage": START + b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + whole(2**60)
    + b"tQ.", "mappings": dense(4, 300), "protocol 4": b"\x80\x04\x95\x03\0\0\0\0\0\0\0]\x94.",
}


@pytest.mark.parametrize("write", [archived, legacy])
@pytest.mark.parametrize("case", BOMBS)
def test_bombs_are_one_line_at_once(case: str, write: Any, tmp_path: Path) -> None:
    start = time.process_time()
    refused(write(tmp_path / "w.pth", BOMBS[case]))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("write", [archived, legacy])
def test_a_list_of_tensors_that_is_too_large_is_not_built(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_LARGEST_PICKLE", 10_000)
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: pytest.fail("it was built"))
    assert "more than 0 MB" in refused(write(tmp_path / "w.pth", START + b"(" * 20_000 + b"."))


def test_a_pickle_is_not_read_by_pythons_own_unpickler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"w": torch.arange(3.0)}, "args": argparse.Namespace(a=1)}, path)
    for function in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, function, lambda *arguments, **options: pytest.fail("it was called"))
    assert torch.equal(read_checkpoint(path).tensors["w"], torch.arange(3.0))


def beside() -> dict[str, Any]:
    """What training scripts keep beside their tensors."""
    return {
        "args": argparse.Namespace(lr=0.1, nested=argparse.Namespace(path=PosixPath("/x"), best=np.float32(0.5))),
        "best": np.float64(0.93), "epoch": np.int64(3), "history": np.arange(12.0).reshape(3, 4),
        "losses": [np.float32(1.0)] * 3, "output": PosixPath("/runs"),
    }


@pytest.mark.parametrize("new_form", [True, False])
def test_objects_beside_the_tensors_become_stand_ins_that_do_nothing(
    new_form: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"w": torch.randn(4, 3), "half": torch.randn(5).half(), "n": torch.tensor(7)}
    path, others = tmp_path / "run.pth.tar", beside()
    torch.save({"state_dict": state, **others}, path, _use_new_zipfile_serialization=new_form)
    monkeypatch.setattr(argparse.Namespace, "__init__", lambda *arguments, **options: pytest.fail("it was called"))
    for function in ("scalar", "_reconstruct"):
        monkeypatch.setattr(np._core.multiarray, function, lambda *arguments: pytest.fail("it was called"))
    held = safe_reading.read_tensors(path, path.name)
    assert all(isinstance(held[key], Ignored) for key in ("args", "best", "epoch", "history", "output"))
    assert all(not vars(held[key]) for key in ("args", "best", "history"))
    read = read_checkpoint(path)
    assert read.tensors.keys() == state.keys()
    assert all(torch.equal(read.tensors[key], value) for key, value in state.items())
    assert set(read.report.ignored) == set(others)


def test_a_stand_in_in_the_place_of_a_tensor_is_no_tensor(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "b": np.float64(3.0)}, tmp_path / "w.pth")
    read = read_checkpoint(tmp_path / "w.pth")
    assert list(read.tensors) == ["w"] and read.report.dropped == {"no tensors": ["b"]}


class Model(torch.nn.Linear):
    """A user's module, pickled whole."""


@pytest.mark.parametrize("form", ["model", "in a mapping", "legacy", "protocol 4"])
def test_what_is_refused_comes_with_three_lines_that_save_it_again(form: str, tmp_path: Path) -> None:
    model, path = Model(3, 2), tmp_path / "mine.pth"
    held = {"state_dict": model.state_dict(), "model": model} if form == "in a mapping" else model
    if form == "protocol 4":
        torch.save(model.state_dict(), path, pickle_protocol=4)
    else:
        torch.save(held, path, _use_new_zipfile_serialization=form != "legacy")
    sentence, script = split_script(refused(path))
    lines = script.splitlines()
    assert len(lines) == 3 and lines[0] == "import torch" and "trust the file" in sentence
    program = script.replace("mine.pth", str(path)).replace("weights.pth", str(tmp_path / "weights.pth"))
    exec(compile(program, "script", "exec"), {})
    again: dict[str, Tensor] = read_checkpoint(tmp_path / "weights.pth").tensors
    assert torch.equal(again["weight"], model.weight) and torch.equal(again["bias"], model.bias)


def test_a_state_that_is_there_under_several_names_is_one_state(tmp_path: Path) -> None:
    state = {"w": torch.ones(2)}
    torch.save({"network": state, "module": state, "other": {"again": state}}, tmp_path / "w.pth")
    assert torch.equal(read_checkpoint(tmp_path / "w.pth").tensors["w"], torch.ones(2))
