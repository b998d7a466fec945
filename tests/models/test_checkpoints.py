"""Checkpoints of users: read without executing them, and loaded as a whole or not at all."""

import argparse
import copy
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from safetensors.torch import save_file
from torch import nn

from models import registry
from models.checkpoints import Checkpoint, load_checkpoint, read_checkpoint, split_script
from models.errors import ModelError
from models.sources.releases import Release


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))


def without_counts(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("form", ["safetensors", "plain", "checkpoint", "parallel"])
def test_the_usual_forms_are_read(form: str, tmp_path: Path) -> None:
    state = without_counts(network())
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "plain":
        torch.save(OrderedDict(state), path)
    elif form == "checkpoint":
        torch.save({"epoch": 7, "state_dict": state, "best_prec1": torch.tensor(0.9)}, path)
    else:
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path)
    model = network()
    load_checkpoint(model, read_checkpoint(path), "mine")
    assert all(torch.equal(model.state_dict()[k], state[k]) for k in state)


class Trap:
    """Makes a file when it is unpickled in the ordinary way."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("content", ["trap", "noise", "list", "object", "empty"])
def test_what_is_no_weights_file_is_refused_and_not_executed(content: str, tmp_path: Path) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    if content == "trap":
        path.write_bytes(pickle.dumps({"weight": Trap(sprung)}, protocol=2))
    elif content == "noise":
        path.write_bytes(b"\x80\x02nothing")
    elif content == "empty":
        path.touch()
    else:
        torch.save([1, 2] if content == "list" else {"weight": "no tensor"}, path)
    with pytest.raises(ModelError, match=r"weights\.pth (cannot be read|holds pickled objects)") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value) and not sprung.exists()


@pytest.mark.parametrize("name", ["weights.pkl", "weights", "weights.py"])
def test_other_kinds_of_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=r"allowed: \.safetensors"):
        read_checkpoint(tmp_path / name)


def test_a_mismatch_says_which_and_how_many_and_loads_nothing() -> None:
    model, other = network(), network()
    state = without_counts(other)
    del state["3.bias"]
    state["3.weight"] = torch.zeros(5, 2)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(5)}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_checkpoint(model, Checkpoint(state), "mine")
    told = str(caught.value)
    assert "1 missing: 3.bias" in told and "5 unknown: extra.0, extra.1, extra.2 and 2 more" in told
    assert "1 of another shape: 3.weight (5x2 instead of 3x2)" in told and "\n" not in told
    assert all(torch.equal(model.state_dict()[k], before[k]) for k in before)


def test_tensors_of_a_release_get_our_names() -> None:
    release = Release("https://x/y-12345678.pt", "12345678", "a", "b", 0.5, renamed=(("fc.", "linear."),))
    theirs = {"fc.weight": torch.zeros(1), "conv": torch.zeros(1)}
    assert list(release.in_our_names(theirs)) == ["linear.weight", "conv"]


def test_a_release_goes_before_the_users_file_and_only_it_has_the_published_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESSION_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights").mkdir()
    own = tmp_path / "weights" / "imagenet_squeezenet1_1.safetensors"
    save_file({"a": torch.zeros(1)}, own, {"source": "somebody", "license": "Apache-2.0"})
    origin = registry.weights_origin("squeezenet1_1")
    assert (origin.path, origin.source, origin.license) == (own, "somebody", "Apache-2.0")
    assert origin.published_accuracy is None and not origin.ours
    release = registry.model_info("squeezenet1_1").release
    assert release is not None
    release.path().parent.mkdir(parents=True)
    release.path().touch()
    assert registry.weights_origin("squeezenet1_1").path == release.path()
    assert registry.weights_origin("squeezenet1_1").published_accuracy == release.accuracy
    assert registry.weights_origin("digits_resnet").ours


def trained() -> nn.Sequential:
    """A network with weights and statistics apart from their defaults."""
    torch.manual_seed(3)
    model = network()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else torch.randn_like(value))
    return model.eval()


State = dict[str, torch.Tensor]


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def with_masks(state: State) -> dict[str, Any]:
    """Pruned by torch.nn.utils.prune and not made permanent."""
    model = copy.deepcopy(trained())
    torch.nn.utils.prune.l1_unstructured(model[3], "weight", 2)
    return dict(model.state_dict())


def pruned() -> State:
    model = trained()
    torch.nn.utils.prune.l1_unstructured(model[3], "weight", 2)
    torch.nn.utils.prune.remove(model[3], "weight")
    return model.state_dict()


LIGHTNING = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "optimizer_states": [], "hyper_parameters": {"lr": 0.1}}
NOISE: State = {key: torch.zeros_like(value) for key, value in trained().state_dict().items()}
FORMS: dict[str, tuple[Callable[[State], Any], str]] = {
    "prefix": (lambda s: prefixed(s, "backbone."), "Stripped: the prefix 'backbone.' of 9 names."),
    "stack": (lambda s: prefixed(s, "module._orig_mod.model.net."), "'module._orig_mod.model.net.' of 9 names"),
    "inside": (lambda s: {k.replace("3.", "3._orig_mod."): v for k, v in s.items()}, "_orig_mod inside 2 names."),
    "partial": (lambda s: {(k if k.startswith("3.") else f"encoder.{k}"): v for k, v in s.items()}, "'encoder.' of 7"),
    "params": (lambda s: {"params": s}, "Opened: params."),
    "nested": (lambda s: {"model": {"state_dict": prefixed(s, "net.")}}, "Opened: model.state_dict."),
    "lightning": (
        lambda s: {**LIGHTNING, "state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(3)}},
        "Dropped, beside the network: criterion.weight.",
    ),
    "profiler": (lambda s: {**s, "total_ops": torch.ones(1), "0.total_params": torch.ones(1)}, "left by a profiler"),
    "swa": (lambda s: {**prefixed(s, "module."), "n_averaged": torch.tensor(4)}, "Dropped, counters of an averaging"),
    "double": (lambda s: {k: v.double() if v.is_floating_point() else v for k, v in s.items()}, "8 tensors of float64"),
    "scalars": (lambda s: {"state_dict": s, "best": np.float64(0.93), "epoch": np.int64(3)}, "the tensors: best"),
    "namespace": (lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, path=Path("x"))}, "tensors: args."),
    "timm_ema": (lambda s: {"state_dict": s, "state_dict_ema": NOISE}, "holds a moving average (EMA) (state_dict_ema)"),
    "only_ema": (lambda s: {"model_ema": prefixed(s, "module.")}, "Weights: moving average (EMA)."),
    "ema_names": (
        lambda s: {**prefixed(s, "model."), **prefixed(NOISE, "ema.module."), "ema.n_averaged": torch.tensor(1)},
        "Weights: plain weights; the file also holds a moving average (EMA) (ema.*).",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_wrapper_gives_the_plain_network_and_is_reported(form: str, tmp_path: Path) -> None:
    theirs, path = trained(), tmp_path / "run.ckpt"
    wrap, said = FORMS[form]
    torch.save(wrap(theirs.state_dict()), path)
    model = network().eval()
    report = load_checkpoint(model, read_checkpoint(path), "mine")
    x = torch.randn(4, 1, 3, 3)
    assert torch.equal(model(x), theirs(x)) and said in " ".join(report.lines())


@pytest.mark.parametrize("form", ["timm_ema", "ema_names"])
def test_the_moving_average_is_taken_where_it_is_asked_for(form: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pth.tar"
    torch.save(FORMS[form][0](trained().state_dict()), path)
    model = network()
    report = load_checkpoint(model, read_checkpoint(path, ema=True), "mine")
    assert not model[0].weight.any() and "Weights: moving average (EMA); the file also holds plain" in report.lines()[1]
    torch.save(trained().state_dict(), path)
    with pytest.raises(ModelError, match="plain weights only"):
        read_checkpoint(path, ema=True)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast(kind: torch.dtype, tmp_path: Path) -> None:
    theirs = trained().to(kind)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    model = network()
    report = load_checkpoint(model, read_checkpoint(tmp_path / "pytorch_model.bin"), "mine")
    assert torch.equal(model[3].weight, theirs[3].weight.float()) and list(report.cast.values()) == [8]


def test_masks_are_multiplied_in(tmp_path: Path) -> None:
    torch.save(with_masks({}), tmp_path / "w.pt")
    model = network()
    report = load_checkpoint(model, read_checkpoint(tmp_path / "w.pt"), "mine")
    assert torch.equal(model[3].weight, pruned()["3.weight"]) and int((model[3].weight == 0).sum()) == 2
    assert report.baked == {"pruning masks multiplied in": ["3.weight"]}


NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "old weight norm": torch.nn.utils.weight_norm,
    "old weight norm of all": lambda m: torch.nn.utils.weight_norm(m, dim=None),
    "weight norm": torch.nn.utils.parametrizations.weight_norm,
    "old spectral norm": torch.nn.utils.spectral_norm,
    "spectral norm": torch.nn.utils.parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Linear(4, 5)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_normalized_weights_are_baked(norm: str, layer: nn.Module) -> None:
    torch.manual_seed(1)
    plain, theirs = nn.Sequential(copy.deepcopy(layer)), nn.Sequential(NORMS[norm](copy.deepcopy(layer)))
    x = torch.randn(2, 4, 6, 6) if not isinstance(layer, nn.Linear) else torch.randn(2, 4)
    with torch.no_grad():
        for value in theirs.parameters():
            value.mul_(1 + torch.rand_like(value))
    for _ in range(20):
        theirs.train()(x)
    report = load_checkpoint(plain, Checkpoint(dict(theirs.state_dict())), "mine")
    torch.testing.assert_close(plain.eval()(x), theirs.eval()(x), atol=1e-6, rtol=1e-5)
    assert list(report.baked.values()) == [["0.weight"]]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", ["old spectral norm", "spectral norm"])
def test_spectral_norm_that_was_never_iterated_is_that_of_the_first_dimension(norm: str) -> None:
    torch.manual_seed(3)
    layer = nn.Conv2d(16, 16, 3)
    plain, theirs = nn.Sequential(copy.deepcopy(layer)), nn.Sequential(NORMS[norm](copy.deepcopy(layer))).eval()
    load_checkpoint(plain, Checkpoint(dict(theirs.state_dict())), "mine")
    x = torch.randn(2, 16, 6, 6)
    torch.testing.assert_close(plain.eval()(x), theirs(x), atol=1e-5, rtol=1e-4)


def test_prefixes_stay_where_stripping_them_does_not_make_the_names_match() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

    model, state = Wrapped(), prefixed(trained().state_dict(), "model.")
    assert load_checkpoint(model, Checkpoint(state), "mine").prefix == ""
    with pytest.raises(ModelError, match=r"8 missing: .*; 9 unknown: student"):
        load_checkpoint(network(), Checkpoint(prefixed(trained().state_dict(), "student.")), "mine")


@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_counters_that_an_averaging_made_floats_are_counters(kind: torch.dtype) -> None:
    state = {key: value.to(kind) for key, value in trained().state_dict().items()}
    model = network()
    load_checkpoint(model, Checkpoint(state), "mine")
    assert model[1].num_batches_tracked.dtype == torch.int64
    torch.testing.assert_close(model[3].weight, trained()[3].weight, rtol=1e-3, atol=1e-3)
    state["1.num_batches_tracked"] = torch.tensor(0.5)
    with pytest.raises(ModelError, match=r"1 of another type: 1\.num_batches_tracked \(float32 instead of int64\)"):
        load_checkpoint(network(), Checkpoint(state), "mine")


def test_whole_numbers_are_no_weights() -> None:
    state = {**trained().state_dict(), "3.weight": torch.ones(3, 2, dtype=torch.int8)}
    with pytest.raises(ModelError, match=r"1 of another type: 3\.weight \(int8 instead of float32\)"):
        load_checkpoint(network(), Checkpoint(state), "mine")


@pytest.mark.parametrize("by", ["index", "folder"])
def test_shards_are_read_as_one(by: str, tmp_path: Path) -> None:
    theirs = trained()
    items = [(key, value.clone()) for key, value in theirs.state_dict().items()]
    names = {}
    for number, part in enumerate((items[:4], items[4:]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file(dict(part), tmp_path / name)
        names |= dict.fromkeys(dict(part), name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    model = network().eval()
    report = load_checkpoint(model, read_checkpoint(index if by == "index" else tmp_path), "mine")
    x = torch.randn(4, 1, 3, 3)
    assert torch.equal(model(x), theirs(x)) and report.lines() == ["Read from 2 files."]
    moved = {**names, items[0][0]: "model-00002-of-00002.safetensors", "gone": "model-00001-of-00002.safetensors"}
    index.write_text(json.dumps({"metadata": {}, "weight_map": moved}))
    read = read_checkpoint(index if by == "index" else tmp_path)
    assert torch.equal(read.tensors[items[0][0]], items[0][1])
    assert "names another place for 2 tensors, 0.weight first" in " ".join(read.report.lines())
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="2 shards, of which model-00002-of-00002"):
        read_checkpoint(index)
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(ModelError, match=r"names '\.\./secret\.safetensors'"):
        read_checkpoint(index)


def test_whole_models_and_programs_are_refused_with_the_lines_that_save_them(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(network(), path)
    with pytest.raises(ModelError, match=r"a whole pickled model \(torch\.nn\.") as caught:
        read_checkpoint(path)
    sentence, script = split_script(str(caught.value))
    assert "\n" not in str(caught.value) and sentence.endswith("save its tensors alone:")
    assert script.splitlines() == [
        "import torch",
        'checkpoint = torch.load("whole.pt", map_location="cpu", weights_only=False)',
        'torch.save(checkpoint.state_dict() if hasattr(checkpoint, "state_dict") else checkpoint["state_dict"], '
        '"weights.pth")',
    ]
    torch.jit.script(network()).save(path)
    with pytest.raises(ModelError, match="is a TorchScript archive") as caught:
        read_checkpoint(path)
    assert len(split_script(str(caught.value))[1].splitlines()) == 3


def test_versions_of_modules_are_handed_on(tmp_path: Path) -> None:
    """mnasnet refuses weights without its version, which a state dict keeps beside the tensors."""
    from torchvision import models

    theirs, path = models.mnasnet0_5(weights=None, num_classes=4).eval(), tmp_path / "w.pth"
    for state in (theirs.state_dict(), dict(theirs.state_dict()), nn.DataParallel(theirs).state_dict()):
        torch.save(state, path)
        own = models.mnasnet0_5(weights=None, num_classes=4).eval()
        load_checkpoint(own, read_checkpoint(path), "mine")
        assert torch.equal(own.classifier[1].weight, theirs.classifier[1].weight)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"hello world\n" * 9, "it is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"PK\x03\x04" + b"\0" * 90, "cut off or damaged"),
        (b"\x1f\x8b" + b"\0" * 90, "a gzip archive"),
        (bytes(range(90)), "neither safetensors nor a file of torch.save"),
        (pickle.dumps({"weight": 1}, protocol=4), "a pickle of another form"),
    ],
)
def test_a_file_of_another_kind_is_named_by_its_content(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        read_checkpoint(tmp_path / "w.pt")
    assert str(caught.value).count("w.pt") == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.SAFETENSORS", "w.pt"])
def test_safetensors_are_known_by_their_content(name: str, tmp_path: Path) -> None:
    theirs = trained()
    save_file(theirs.state_dict(), tmp_path / name)
    assert torch.equal(read_checkpoint(tmp_path / name).tensors["3.weight"], theirs.state_dict()["3.weight"])


def test_builtins_in_a_pickle_are_named_and_not_executed(tmp_path: Path) -> None:
    class Evaluated:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    torch.save({"x": Evaluated()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"holds pickled objects \(eval\)"):
        read_checkpoint(tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


def test_the_only_mapping_of_tensors_is_opened_whatever_its_name(tmp_path: Path) -> None:
    state, path = trained().state_dict(), tmp_path / "w.pt"
    torch.save({"run": {"generator": state}, "optim": {"exp_avg": torch.ones(3)}, "epoch": 3}, path)
    found = read_checkpoint(path)
    assert found.report.container == "run.generator" and torch.equal(found.tensors["3.weight"], state["3.weight"])
    torch.save({"encoder": state, "decoder": NOISE}, path)
    with pytest.raises(ModelError, match=r"several mappings of tensors \(encoder, decoder\)"):
        read_checkpoint(path)
    torch.save({"model": state, "ema": {"decay": 0.9, "shadow": NOISE}}, path)
    assert read_checkpoint(path).report.container == "model"
    assert not read_checkpoint(path, ema=True).tensors["3.weight"].any()


def test_tensors_without_dense_values_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    state, path = trained().state_dict(), tmp_path / "w.pt"
    broad = {"3.weight_orig": torch.zeros(1).expand(10**5, 10**5), "3.weight_mask": torch.ones(1).expand(10**5, 10**5)}
    for change, words in (
        ({"3.weight": state["3.weight"].to_sparse()}, "3.weight has the form torch.sparse_coo"),
        ({"3.weight": state["3.weight"].to("meta")}, "3.weight has no values"),
        (broad, "would take 80.0 GB"),
    ):
        torch.save({**state, **change}, path)
        with pytest.raises(ModelError, match=words):
            read_checkpoint(path)
    torch.save({**state, "1.bias": torch.zeros(1).expand(2)}, path)
    assert read_checkpoint(path).tensors["1.bias"].shape == (2,)


def test_a_folder_of_uploads_is_named_as_the_user_names_it(tmp_path: Path) -> None:
    """The folder's own name is the program's."""
    folder = tmp_path / "0d9c2f6a"
    folder.mkdir()
    for name in ("w.safetensors", "w3.pth"):
        (folder / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"^2 files: one weights file, .* is needed; found: w.safetensors, w3.pth$"):
        read_checkpoint(folder, shown="2 files")
