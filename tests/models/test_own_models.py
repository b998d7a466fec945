"""A user's own models: checked from end to end, kept as a whole or not at all, seen by every process at once."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compression.cli.main import main
from models import registry
from models.checkpoints import Checkpoint
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.students import students_of
from models.user import builders, kept_models
from models.user.keeping import own_folder
from models.user.kept_models import add_model
from tests.models.own_things import KIND, network, weights_of

GIVEN = {"architecture": KIND, "num_classes": 10}
WHEN = "2026-01-01T00:00:00+00:00"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def left_over() -> list[str]:
    folder = own_folder("models")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_model_is_kept_and_behaves_as_the_users_does(suffix: str, tmp_path: Path) -> None:
    theirs = network(10)
    add_model("mine", GIVEN, weights_of(tmp_path / f"w{suffix}", theirs), "digits", WHEN)
    info = registry.model_info("mine")
    assert (info.dataset, info.num_classes, info.architecture) == ("digits", 10, KIND)
    assert info in registry.list_models() and registry.has_weights("mine") and registry.is_own("mine")
    own, x = registry.load_model("mine"), torch.randn(2, *info.input_shape)
    torch.testing.assert_close(own(x), theirs.eval()(x))
    assert registry.weights_origin("mine").license == "the user's" and not registry.weights_origin("mine").ours
    assert kept_models.remove_model("mine") and left_over() == []
    assert not registry.has_weights("mine")


def test_the_description_is_part_of_the_identity_and_the_name_alone_is_not(tmp_path: Path) -> None:
    file = weights_of(tmp_path / "w.safetensors", network(10))
    add_model("mine", GIVEN, file, "digits", WHEN)
    first = registry.model_identity("mine")
    kept_models.remove_model("mine")
    add_model("other", GIVEN, file, "digits", WHEN)
    assert registry.model_identity("other") == first
    add_model("mine", {**GIVEN, "scale": 2.0}, file, "digits", WHEN)
    assert registry.model_identity("mine") != first
    assert registry.weights_hash("mine") == registry.weights_hash("other")


def test_what_another_process_has_added_is_seen_at_once_and_its_removal_too(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mine" not in [info.name for info in registry.list_models()]
    file = weights_of(tmp_path / "w.safetensors", network(10))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("COMPRESSION_HOME", str(tmp_path / "elsewhere"))
        add_model("mine", GIVEN, file, "digits", WHEN)
    assert not registry.has_weights("mine")
    shutil.copytree(tmp_path / "elsewhere" / "own", home / "own")
    assert registry.load_model("mine") is not None
    assert "mine" in [info.name for info in registry.list_models()]
    shutil.rmtree(home / "own" / "models" / "mine")
    with pytest.raises(ModelError, match="no model 'mine'"):
        registry.model_info("mine")


def test_smaller_models_of_a_user_may_learn_and_his_models_have_students(tmp_path: Path) -> None:
    assert "mine" not in students_of("cifar_resnet20")
    add_model("mine", GIVEN, weights_of(tmp_path / "w.safetensors", network(10)), "cifar10", WHEN)
    assert "mine" in students_of("cifar_resnet20")
    model = students_of("mine")["half_width"]()
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("given", "dataset", "field", "words"),
    [
        ({"architecture": "resnt18"}, "digits", "architecture", "resnet18"),
        ({"architecture": None}, "digits", "architecture", "near it"),
        ({**GIVEN, "num_classes": 7}, "digits", "num_classes", "has 10 classes"),
        ({**GIVEN, "num_classes": True}, "digits", "num_classes", "whole number"),
        ({**GIVEN, "num_classes": 0}, "digits", "num_classes", "1 to 10000"),
        (GIVEN, "nothing", "dataset", "allowed"),
        (GIVEN, "sst2", "dataset", "image classification"),
        ({**GIVEN, "mean": [0.5, 0.5]}, "digits", "mean", "3 numbers"),
        ({**GIVEN, "mean": [float("nan")] * 3, "std": 1.0}, "digits", "mean", "3 numbers"),
        ({**GIVEN, "mean": 0.5, "std": [0.2, 0.0, 0.2]}, "digits", "std", "positive"),
        ({**GIVEN, "input_size": 4}, "digits", "input_size", "8 to 1024"),
        ({**GIVEN, "interpolation": "nearest"}, "digits", "interpolation", "bilinear"),
        ({**GIVEN, "magic": 1}, "digits", "magic", "allowed fields"),
        ({"architecture": "sst2_encoder", "input_size": 32}, "sst2", "input_size", "takes text"),
        ({"architecture": "python_gpt", "num_classes": 7}, "python_source", "num_classes", "classes"),
    ],
    ids=str,
)
def test_a_wrong_description_names_the_field(given: dict, dataset: str, field: str, words: str, tmp_path: Path) -> None:
    file = weights_of(tmp_path / "w.safetensors", network(10))
    with pytest.raises(FieldError) as caught:
        add_model("mine", given, file, dataset, WHEN)
    assert caught.value.field == field and words in str(caught.value) and "\n" not in str(caught.value)
    assert left_over() == []


def test_weights_that_do_not_fit_are_told_and_not_kept(tmp_path: Path) -> None:
    model = network(10)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    del state["b1.conv1.bias"]
    state["b2.conv1.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"1 missing: b1\.conv1\.bias; 1 of another shape: b2\.conv1\.weight"):
        add_model("mine", GIVEN, tmp_path / "w.safetensors", "digits", WHEN)
    with pytest.raises(FieldError, match=r"num_classes: 10 .* of 7 classes"):
        add_model("mine", GIVEN, weights_of(tmp_path / "seven.pth", network(7)), "digits", WHEN)
    with torch.no_grad():
        model.fc.weight.fill_(float("inf"))
    with pytest.raises(ModelError, match="not finite: 1 tensors, fc"):
        add_model("mine", GIVEN, weights_of(tmp_path / "inf.pth", model), "digits", WHEN)
    assert left_over() == []


def test_files_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FieldError, match="no such file"):
        add_model("mine", GIVEN, tmp_path / "gone.pth", "digits", WHEN)
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(30_000_000))
    with pytest.raises(FieldError, match="compressed archive"):
        add_model("mine", GIVEN, tmp_path / "bomb.pth", "digits", WHEN)
    monkeypatch.setattr(kept_models, "LARGEST_WEIGHTS", 1000)
    with pytest.raises(FieldError, match="MB are allowed"):
        add_model("mine", GIVEN, weights_of(tmp_path / "w.pth", network(10)), "digits", WHEN)
    assert left_over() == []


@pytest.mark.parametrize("name", ["digits_resnet", "digits", "Mine", "a", "../mine", "", "1mine", "x" * 60, 3])
def test_names_that_are_taken_or_none_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"^name: "):
        add_model(name, GIVEN, weights_of(tmp_path / "w.pth", network(10)), "digits", WHEN)


def test_a_cancelled_check_keeps_nothing(tmp_path: Path) -> None:
    file = weights_of(tmp_path / "w.pth", network(10))
    looks = iter([False, False, False, True])
    with pytest.raises(InterruptedWorkError):
        add_model("mine", GIVEN, file, "digits", WHEN, cancelled=lambda: next(looks))
    assert left_over() == []


def test_a_damaged_record_hides_its_model_alone(tmp_path: Path, home: Path) -> None:
    file = weights_of(tmp_path / "w.pth", network(10))
    for name in ("mine", "other"):
        add_model(name, GIVEN, file, "digits", WHEN)
    (home / "own" / "models" / "mine" / "record.json").write_text("{")
    assert "other" in [info.name for info in registry.list_models()]
    assert not registry.has_weights("mine") and registry.has_weights("other")
    record = home / "own" / "models" / "other" / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "description": {"architecture": "magic"}}))
    assert not registry.has_weights("other")


def test_the_names_of_torchvision_are_its_classifiers() -> None:
    from torchvision import models

    assert list(builders.TORCHVISION) == models.list_models(module=models)


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 64), ("squeezenet1_1", 64), ("googlenet", 96), ("vit_b_32", 96), ("swin_t", 64), ("densenet121", 64),
     ("shufflenet_v2_x0_5", 64), ("cifar_convmixer", 32), ("fashion_mlp", 28), ("digits_vit", 32)],
)
def test_architectures_take_any_number_of_classes(name: str, size: int) -> None:
    kind = builders.architecture(name)
    with torch.device("meta"), torch.no_grad():
        outputs = builders.build(kind, 7, size).eval()(torch.zeros(2, kind.input_shape[0], size, size))
    assert outputs.shape == (2, 7)


def test_files_of_networks_with_helping_classifiers_fit_without_them() -> None:
    from torchvision import models

    theirs = models.googlenet(weights=None, num_classes=5, aux_logits=True, init_weights=False)
    own = builders.build(builders.architecture("googlenet"), 5, 224)
    kept_models.load_checkpoint(own, Checkpoint(theirs.state_dict()), "theirs")
    assert torch.equal(own.conv1.conv.weight, theirs.conv1.conv.weight)


def test_a_recipe_describes_a_model_in_passing(tmp_path: Path) -> None:
    file = weights_of(tmp_path / "w.safetensors", network(10))
    name = registry.register_described({**GIVEN, "weights": str(file)}, "digits")
    assert registry.load_model(name) is not None
    assert name not in [info.name for info in registry.list_models()]
    other = registry.register_described({**GIVEN, "weights": str(file), "scale": 2}, "digits")
    assert registry.model_identity(name) != registry.model_identity(other)
    with pytest.raises(FieldError, match="weights: None"):
        registry.register_described(GIVEN, "digits")


def test_the_last_layer_is_the_one_executed_last_however_it_was_registered() -> None:
    class HeadFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.enter, self.inner = nn.Linear(8, 10), nn.Linear(12, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.inner(self.enter(x)))

    model = HeadFirst()
    assert builders.last_layer(model, (12,)) == "head" and model.training
    assert builders.last_layer(model, (13,)) is None
    usual = replace(registry.model_info(KIND), input_shape=(12,), num_classes=10)
    builders.with_classes(model, usual, 3)
    assert [layer.out_features for layer in (model.head, model.enter, model.inner)] == [3, 8, 8]


def test_a_folder_without_weights_is_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in (["--architecture", "cifar_resnet20", "--weights"], ["--onnx"]):
        assert main(["add-model", "mine", *option, str(tmp_path)]) == 2
        field = option[-1].removeprefix("--")
        assert capsys.readouterr().err.startswith(f"error: {field}: '{tmp_path}' is not allowed")
