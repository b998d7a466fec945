"""Which datasets belong to a model."""

from pathlib import Path

import pytest

from compression.cli.main import main
from compression.core.errors import InputError
from compression.experiments.tasks import fitting_datasets, load_task
from compression.recipe import Recipe

CASES = [
    ("fashion_resnet20", "digits", r"its samples are 1x32x32, fashion_resnet20 takes 1x28x28; ", "fashion_mnist"),
    ("cifar_resnet20", "digits", r"its samples are 1x32x32, cifar_resnet20 takes 3x32x32; ", "cifar10"),
    ("digits_resnet", "imagenet_sample", r"it has 1000 classes, digits_resnet has 10; ", "digits"),
    ("python_gpt", "digits", "", "python_source"),
    ("sst2_encoder", "sst2_wordpieces", "its token ids are of another vocabulary than those of sst2_encoder; ", "sst2"),
]


@pytest.mark.parametrize(("model", "dataset", "told", "allowed"), CASES)
def test_data_of_another_shape_kind_or_number_of_classes_are_refused(
    model: str, dataset: str, told: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.registry.model_identity", lambda name: f"weights of {name}")
    monkeypatch.setattr("models.datasets.data_identity", lambda name: f"data of {name}")
    with pytest.raises(InputError) as refused:
        load_task(Recipe(model, dataset))
    assert str(refused.value) == f"dataset: {dataset!r} is not allowed; {told}allowed for {model}: {allowed}"
    assert fitting_datasets(model) == (allowed,)
    assert dataset not in fitting_datasets(model)


def test_a_recipe_with_data_of_another_shape_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: fashion_resnet20\ndataset: digits\nsteps: []\n")
    assert main(["run", str(path), "--quick"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "dataset: 'digits' is not allowed; its samples are 1x32x32" in line and line.endswith("fashion_mnist")
