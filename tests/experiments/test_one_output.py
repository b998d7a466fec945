"""Networks of one output from end to end: a logit on two classes, a value; refused where outputs do not fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compression.cli.main import main
from compression.experiments.tasks import load_task
from compression.recipe import Recipe
from compression.reports import model_card, report_html, subject_of
from compression.service import ResultStore, recipe_from_dict, run_experiment
from compression.training import TrainingSettings, fine_tune
from tests.problems.heads import ARCHITECTURE, detector, half_folders, regressor, saved, value_folder

STEPS = [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of each kind with its data, added from the command line."""
    root = tmp_path_factory.mktemp("one-output")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESSION_HOME", str(root / "home"))
        assert main(["add-data", "digit_values", str(value_folder(root / "values")), "--task", "regression"]) == 0
        assert main(["add-data", "halves", str(half_folders(root / "halves"))]) == 0
        for name, model, data in (("reg", regressor(), "digit_values"), ("det", detector(), "halves")):
            weights = str(saved(model, root / f"{name}.safetensors"))
            more = ["--num-classes", "1"] if name == "det" else []
            command = ["add-model", name, "--architecture", ARCHITECTURE, "--weights", weights, "--dataset", data]
            assert main([*command, *more]) == 0
        yield root


def measured(root: Path, model: str, dataset: str, steps: list[dict[str, Any]]) -> tuple[ResultStore, Any]:
    store = ResultStore(root / "home")
    recipe = recipe_from_dict({"model": model, "dataset": dataset, "steps": steps})
    return store, run_experiment(recipe, store, quick=True)


def test_a_regression_is_measured_by_r2_and_reported_so(kept: Path) -> None:
    store, result = measured(kept, "reg", "digit_values", STEPS)
    own, flat = result.figures, result.flat()
    assert own.quality == "r2" and 0.9 < own.accuracy_low <= own.accuracy <= own.accuracy_high < 1
    assert own.accuracy == pytest.approx(result.baseline.accuracy, abs=0.02)
    assert (flat["r2"], flat["badges"]["r2"]) == (own.accuracy, "measured") and "accuracy" not in flat
    assert flat["baseline"]["r2"] == result.baseline.accuracy
    assert 0.2 < own.mean_absolute_error < 0.6
    subject = subject_of(store, result.key)
    card, page = model_card(subject), report_html(subject)
    assert "It predicts one value per image" in card and "| R2 | " in card and "| Mean absolute error | " in card
    assert "Accuracy" not in card and "R2 against Packed size" in page and ">Accuracy" not in page


def test_a_logit_is_measured_by_accuracy(kept: Path) -> None:
    store, result = measured(kept, "det", "halves", STEPS)
    assert result.figures.quality == "accuracy" and result.figures.accuracy > 0.9
    assert result.figures.mean_absolute_error is None and "mean_absolute_error" not in result.flat()
    assert "one logit per image" in model_card(subject_of(store, result.key))


def test_a_bundle_of_a_regression_is_verified(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = kept / "reg.json"
    recipe.write_text(json.dumps({"model": "reg", "dataset": "digit_values", "steps": STEPS}))
    assert main(["run", str(recipe), "--quick", "--json", "--out", str(kept / "reg.zip")]) == 0
    capsys.readouterr()
    assert main(["verify", str(kept / "reg.zip"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


@pytest.mark.parametrize(("model", "dataset"), [("reg", "digit_values"), ("det", "halves")])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_training_repairs_a_damaged_head(kept: Path, model: str, dataset: str, alpha: float) -> None:
    task = load_task(Recipe(model, dataset))
    original = task.load_model()
    context = replace(task.context(original, 0, kept, lambda fraction, message: None, bool), held_out=None)
    damaged = task.load_model()
    with torch.no_grad():
        damaged.linear.bias.add_(1.0)
    fine_tune(damaged, context, TrainingSettings(epochs=6, learning_rate=0.001, alpha=alpha))
    first, *others = context.report.history
    assert min(row["held_out_loss"] for row in others) < 0.9 * first["held_out_loss"]
    assert max(row["accuracy"] for row in others) >= first["accuracy"]
    assert context.report.notes[-1].startswith("kept the state after epoch ")


@pytest.mark.parametrize(
    ("dataset", "classes", "words"),
    [
        ("halves", 7, "the dataset 'halves' has 2 classes: 2 outputs (or 1, a logit) are needed"),
        ("digits", 7, "the dataset 'digits' has 10 classes: 10 outputs are needed"),
        ("digits", 1, "the dataset 'digits' has 10 classes: 10 outputs are needed"),
        ("digit_values", 2, "the dataset 'digit_values' has one value per image: 1 output is needed"),
    ],
)
def test_outputs_that_do_not_fit_the_data_are_one_line(
    kept: Path, capsys: pytest.CaptureFixture[str], dataset: str, classes: int, words: str
) -> None:
    weights = str(kept / "reg.safetensors")
    command = ["add-model", "bad", "--architecture", ARCHITECTURE, "--weights", weights, "--dataset", dataset]
    assert main([*command, "--num-classes", str(classes)]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    recipe = kept / "bad.json"
    model = {"architecture": ARCHITECTURE, "weights": weights, "num_classes": classes}
    recipe.write_text(json.dumps({"model": model, "dataset": dataset, "steps": []}))
    assert main(["run", str(recipe), "--quick"]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_weights_of_another_number_of_classes_are_one_line(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(saved(nn_with(7), kept / "seven.safetensors"))
    command = ["add-model", "bad", "--architecture", ARCHITECTURE, "--weights", weights, "--dataset", "digits"]
    assert main(command) == 2
    assert "are of 7 classes" in capsys.readouterr().err.splitlines()[-1]


def nn_with(classes: int) -> nn.Module:
    model = regressor()
    model.linear = nn.Linear(model.linear.in_features, classes)
    return model
