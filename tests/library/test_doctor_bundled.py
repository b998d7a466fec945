"""The import doctor on bundled models: silent where they are right, else one sentence, and no scored image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compression.core.errors import InputError
from compression.experiments.tasks import Task, load_task
from compression.library.doctor import diagnosis
from compression.recipe import Recipe
from models.datasets import Split
from models.user.kept_models import add_model

RIGHT = {"digits_resnet": "digits", "digits_mobilenet": "digits", "digits_vit": "digits",
         "fashion_mlp": "fashion_mnist", "fashion_mobilenetv2": "fashion_mnist"}


class Forbidden:
    """In the place of the scored split."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the scored split was asked for {name}")

    def __len__(self) -> int:
        raise AssertionError("the scored split was asked for its length")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No scored sample can be read by a diagnosis."""
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))

    def load(recipe: Recipe) -> Task:
        task = load_task(recipe)
        return replace(task, dataset=replace(task.dataset, test=Forbidden()))

    monkeypatch.setattr(diagnosis, "load_task", load)


@pytest.mark.parametrize("name", RIGHT)
def test_a_bundled_model_gives_no_false_alarm(name: str) -> None:
    found = diagnosis.diagnose(name, RIGHT[name])
    assert (found.best, found.settings, found.n_samples) == (None, {}, 200) and found.now > 0.85
    assert found.sentence.endswith("on 200 images of the training split.")


def test_data_without_training_images_are_refused_rather_than_scored_ones_used(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task(Recipe("digits_resnet", "digits"))
    data = task.dataset
    empty = replace(task, dataset=replace(data, train=Split(data.train.inputs[:0], data.train.targets[:0])))
    monkeypatch.setattr(diagnosis, "load_task", lambda recipe: empty)
    with pytest.raises(InputError, match=r"dataset: 'digits' .*training images are needed"):
        diagnosis.diagnose("digits_resnet", "digits")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("digits_resnet", {"mean": 0.9, "std": 0.1}, "With mean 0.5 and std 0.5: 100 % instead of "),
        ("digits_mobilenet", {"mean": [], "std": [], "scale": 1.0}, "With mean 0.5 and std 0.5: "),
        ("fashion_mobilenetv2", {"mean": 0.9, "std": 0.05}, "With "),
    ],
)
def test_a_wrong_preprocessing_of_a_bundled_model_is_one_sentence(
    name: str, given: dict[str, Any], words: str
) -> None:
    add_model("mine", {"architecture": name, **given}, None, RIGHT[name], "2026-01-01T00:00:00+00:00")
    found = diagnosis.diagnose("mine", RIGHT[name])
    assert found.sentence.startswith(words) and found.best is not None and found.best > found.now + 0.1
    assert found.sentence.count(". ") == 0 and "mean" in found.settings
