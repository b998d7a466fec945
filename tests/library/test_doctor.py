"""The import doctor names the setting that a model was made for, and suggests nothing without a clear reason."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compression.library.doctor import diagnosis
from compression.library.doctor.alternatives import label_orders
from compression.library.doctor.diagnosis import Diagnosis, diagnose
from compression.library.doctor.images import Images
from compression.library.doctor.judging import Scored, clearly_better, matched
from models.datasets.registry import DatasetInfo
from models.info import ModelInfo
from models.preprocessing import prepare_inputs

CLASSES, SIDE, COUNT = 5, 8, 200
INFO = ModelInfo(
    "probe", "Probe", "image_classification", "patterns", (3, SIDE, SIDE), CLASSES, "cnn", "", mean=(0.5,) * 3,
    std=(0.25,) * 3,
)
NAMES = tuple("abcde")


def patterns(noise: float = 12.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes that differ a little in colour, so that a network is right with its preprocessing alone."""
    generator = torch.Generator().manual_seed(0)
    offsets = torch.tensor([[0, 0, 0], [16, 0, 0], [0, 16, 0], [0, 0, 16], [16, 16, 16]])
    colors = torch.tensor([140.0, 110.0, 80.0]) + offsets
    targets = torch.arange(COUNT) % CLASSES
    images = colors[targets][:, :, None, None] + noise * torch.randn(COUNT, 3, SIDE, SIDE, generator=generator)
    return images.clamp(0, 255).to(torch.uint8), targets


class Nearest(nn.Module):
    """The class whose mean is nearest in the space of its inputs, with absolute offsets as trained networks have."""

    def __init__(self, means: torch.Tensor) -> None:
        super().__init__()
        self.means = means

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -((x.mean((2, 3))[:, None] - self.means) ** 2).sum(-1)


def network(info: ModelInfo, raw: torch.Tensor, targets: torch.Tensor) -> nn.Module:
    """One made for a preprocessing."""
    inputs = prepare_inputs(info, raw).mean((2, 3))
    return Nearest(torch.stack([inputs[targets == label].mean(0) for label in range(CLASSES)]))


def examined(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module, info: ModelInfo, raw: torch.Tensor, targets: torch.Tensor,
    names: tuple[str, ...] = NAMES,
) -> Diagnosis:
    """The diagnosis of a network that is imported with the settings of `info`."""
    data = DatasetInfo("patterns", "Patterns", info.task, CLASSES, (3, SIDE, SIDE), COUNT, COUNT, "", "", names)

    class Stub:
        def __init__(self) -> None:
            from compression.problems import problem_of

            self.info, self.model_hash, self.problem = info, "identity", problem_of(info.task)
            self.dataset = type("Data", (), {"info": data})()

        def load_model(self) -> nn.Module:
            return model

    monkeypatch.setattr(diagnosis, "load_task", lambda recipe: Stub())
    monkeypatch.setattr(
        diagnosis, "images_of", lambda task: Images(targets, lambda info: raw, False, "of the training split")
    )
    return diagnose("probe", "patterns")


MADE_FOR: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "imagenet": (
        {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, {"mean": (0.9,) * 3, "std": (0.05,) * 3},
        "With ImageNet's mean and std: ",
    ),
    "half": ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, {"mean": (), "std": ()}, "With mean 0.5 and std 0.5: "),
    "unit": ({"mean": (), "std": ()}, {"mean": (0.5,) * 3, "std": (0.25,) * 3}, "With values from 0 to 1: "),
    "bytes": ({"mean": (), "std": (), "scale": 1.0}, {}, "With values from 0 to 255: "),
    "from bytes": ({"mean": (), "std": ()}, {"mean": (), "std": (), "scale": 1.0}, "With values from 0 to 1: "),
    "bgr": ({"channel_order": "BGR"}, {"channel_order": "RGB"}, "With the channels in the order BGR: "),
    "rgb": ({"channel_order": "RGB"}, {"channel_order": "BGR"}, "With the channels in the order RGB: "),
}


@pytest.mark.parametrize("name", MADE_FOR)
def test_the_setting_that_a_model_was_made_for_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made, given, words = MADE_FOR[name]
    raw, targets = patterns()
    truth, imported = replace(INFO, **made), replace(INFO, **{**made, **given} if given else {})
    found = examined(monkeypatch, network(truth, raw, targets), imported, raw, targets)
    assert found.sentence.startswith(words) and "instead of" in found.sentence and "of 200 images" in found.sentence
    assert found.best == 1.0 and found.now < 0.9
    assert prepare_inputs(replace(imported, **found.settings), raw).equal(prepare_inputs(truth, raw))
    assert all(f"--{setting.replace('_', '-')}" in found.options for setting in found.settings)


def test_two_differences_at_once_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, targets = patterns()
    truth = replace(INFO, mean=(), std=(), scale=1.0, channel_order="BGR")
    found = examined(monkeypatch, network(truth, raw, targets), replace(INFO, mean=(0.9,) * 3), raw, targets)
    assert found.settings == {"mean": (), "std": (), "scale": 1.0, "channel_order": "BGR"} and found.best == 1.0


def test_a_model_that_is_imported_rightly_gets_no_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, targets = patterns()
    found = examined(monkeypatch, network(INFO, raw, targets), INFO, raw, targets)
    assert (found.best, found.settings, found.now) == (None, {}, 1.0)
    assert found.sentence.startswith("No usual alternative is clearly better: 100 % on 200 images of the training")


@pytest.mark.parametrize("seed", range(5))
def test_a_model_at_chance_level_gets_no_suggestion(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(256, (COUNT, 3, SIDE, SIDE), generator=generator).to(torch.uint8)
    targets = torch.randint(CLASSES, (COUNT,), generator=generator)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES)).eval()
    found = examined(monkeypatch, model, INFO, raw, targets)
    assert found.best is None and not found.settings


def test_numeric_order_of_class_folders_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, targets = patterns()
    names = ("1", "10", "2", "3", "4")  # as torchvision's ImageFolder sorts them
    rank = torch.tensor([sorted(names, key=int).index(name) for name in names])
    found = examined(monkeypatch, network(INFO, raw, rank[targets]), INFO, raw, targets, names)
    assert found.sentence.startswith("With class folders in numeric order: 100 % instead of ")
    assert found.sentence.endswith("add the dataset again with --order numeric.") and not found.settings


def test_permuted_and_shifted_labels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, targets = patterns()
    moved = torch.tensor([2, 0, 4, 1, 3])
    found = examined(monkeypatch, network(INFO, raw, moved[targets]), INFO, raw, targets)
    assert "labels look permuted" in found.sentence and found.best == 1.0
    shown = label_orders(targets, NAMES, CLASSES + 1)[0]
    assert shown.targets.equal(targets + 1) and "background" in shown.words


def test_an_assignment_of_guesses_to_classes_is_not_better_than_chance() -> None:
    gains = []
    for seed in range(30):
        generator = np.random.default_rng(seed)
        targets, guesses = generator.integers(10, size=200), generator.integers(10, size=200)
        found = matched(guesses, targets, 10, seed)
        assert found is not None
        points = (guesses == targets).astype(float)
        assert not clearly_better(found, Scored(float(points.mean()), points), "accuracy", 1)
        gains.append(found.quality)
    assert np.mean(gains) == pytest.approx(0.1, abs=0.03)
    assert matched(np.zeros(20, int), np.arange(20), 20) is None


def test_a_gain_has_to_be_large_and_sure() -> None:
    none = np.zeros(200)
    won = np.r_[np.ones(30), np.zeros(170)]
    assert clearly_better(Scored(0.15, won), Scored(0.0, none), "accuracy", 8)
    assert not clearly_better(Scored(0.04, won), Scored(0.0, none), "accuracy", 8)
    assert not clearly_better(Scored(0.5, won[:10]), Scored(0.0, none[:10]), "accuracy", 8)
    few = np.r_[np.ones(3), np.zeros(22)]
    assert not clearly_better(Scored(0.12, few), Scored(0.0, np.zeros(25)), "accuracy", 8)
