"""A model on another dataset than its own: what fits, what is calibrated on, and the commands."""

import json
from pathlib import Path

import pytest

from compression.analysis.probing import Prober
from compression.cli import commands
from compression.cli.main import main
from compression.core.errors import CancelledError, InputError
from compression.experiments.scoring_data import ScoringData, dataset_for, listed, scoring_data, usual_data
from compression.experiments.tasks import load_task
from compression.service import Recipe
from compression.techniques import get_technique
from models.user.kept_data import add_data
from tests.models.own_things import class_folders

TEN = tuple(f"kind{number}" for number in range(10))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    root = class_folders(tmp_path / "ten", 4, TEN, 32)
    add_data("ten", root, "2026-01-01T00:00:00+00:00")
    return root


def test_what_fits_is_listed_with_what_is_here(folder: Path) -> None:
    assert [(data.name, data.here) for data in scoring_data("digits_resnet")] == [("digits", True), ("ten", True)]
    folder.rename(folder.with_name("moved"))
    assert listed(scoring_data("digits_resnet")) == "digits, ten (not on this machine)"
    away = [ScoringData("digits", "", 1, False), ScoringData("ten", "", 1, True)]
    assert usual_data("digits_resnet", away) == "ten" and usual_data("digits_resnet", away[:1]) == "digits"
    assert dataset_for("digits_resnet", None) == "digits" and dataset_for("digits_resnet", "ten") == "ten"
    with pytest.raises(InputError, match=r"--dataset: 'mars' is not allowed; allowed for digits_resnet: digits, ten"):
        dataset_for("digits_resnet", "mars")


def test_calibration_samples_are_training_samples_of_the_scored_data_set() -> None:
    own, other = load_task(Recipe("digits_resnet", "digits")), load_task(Recipe("digits_resnet", "ten"))
    assert own.data_hash != other.data_hash and own.model_hash == other.model_hash
    seen = other.calibration_split.inputs[:]
    training, scored = ({image.numpy().tobytes() for image in split.inputs[:]} for split in
                        (other.dataset.train, other.scoring_split(None)))
    used = {image.numpy().tobytes() for image in seen}
    assert used and used <= training and not used & scored


@pytest.mark.parametrize("command", ["sensitivity", "search"])
def test_commands_name_the_data_sets_that_fit(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--model", "digits_resnet", "--dataset", "cifar10", "--json"]) == 2
    assert "allowed for digits_resnet: digits, ten" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("command", [["run"], ["sweep", "--vary", "weight_pruning.sparsity=0.5"]])
def test_a_recipe_is_measured_on_another_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: digits_resnet\ndataset: digits\nsteps: [{technique: weight_pruning}]\n", encoding="utf-8")
    asked: list[Recipe] = []

    def run(recipe: Recipe, *arguments: object, **options: object) -> None:
        asked.append(recipe)
        raise CancelledError("seen")

    monkeypatch.setattr(commands, "run_experiment", run)
    name, *more = command
    assert main([name, str(path), *more, "--dataset", "python_source", "--json"]) == 2 and not asked
    assert main([name, str(path), *more, "--dataset", "ten", "--json"]) == 1
    assert [recipe.dataset for recipe in asked] == ["ten"]


def test_layers_are_probed_on_images_that_lie_on_disk(tmp_path: Path) -> None:
    prober = Prober(load_task(Recipe("digits_resnet", "ten")), tmp_path / "cache")
    technique = get_technique("quantization")
    fine, coarse = (prober.probe(prober.layers()[1], technique, "weight_bits", bits, bool) for bits in (8, 2))
    assert coarse.size_bytes < fine.size_bytes
    assert 0 <= fine.error < coarse.error
