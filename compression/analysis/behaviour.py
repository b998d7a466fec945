"""How an artifact behaves: its accuracy per class, and which predictions differ between two artifacts."""

from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

from compression.analysis.samples import class_names
from compression.core.intervals import paired_interval
from compression.experiments.pairing import AccuracyChange
from compression.experiments.results import ExperimentResult
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.recipe import recipe_from_dict


@dataclass(frozen=True)
class Behaviour:
    """Predictions of one artifact on its test samples.

    Attributes:
        predictions: Predicted class per sample, flat.
        targets: True class per sample, flat.
        names: Name per class.
        confidences: Probability of the prediction, flat; None where it was not kept.
        truths: Probability of the true class, flat; None where it was not kept.
    """

    predictions: np.ndarray
    targets: np.ndarray
    names: tuple[str, ...]
    confidences: np.ndarray | None = None
    truths: np.ndarray | None = None

    def class_accuracy(self) -> dict[str, tuple[float, int]]:
        """Accuracy and number of samples per class that occurs."""
        found = {}
        for label in np.unique(self.targets):
            own = self.targets == label
            found[self.names[label]] = (float((self.predictions[own] == label).mean()), int(own.sum()))
        return found

    def confusion(self) -> np.ndarray:
        """How many samples of each class (row) were taken for which (column), (C, C)."""
        count = len(self.names)
        flat = self.targets.astype(np.int64) * count + self.predictions
        return np.bincount(flat, minlength=count * count).reshape(count, count)


@dataclass(frozen=True)
class Flips:
    """Samples on which two artifacts differ.

    Attributes:
        lost: Right before, wrong now.
        won: Wrong before, right now.
        other: Wrong both times, in different ways.
        total: Samples compared.
        kept: Right both times.
    """

    lost: int
    won: int
    other: int
    total: int
    kept: int

    def change(self) -> AccuracyChange:
        """Change of the accuracy with its 95 % interval, as fractions.

        Both artifacts saw the same samples, so only those that were lost or won count; that is narrower than two
        intervals side by side.
        """
        before, after = self.kept + self.lost, self.kept + self.won
        ends = paired_interval(*(np.array(float(own)) for own in (before, after, self.kept)), self.total)
        return AccuracyChange(*(float(own) for own in ends), self.total)


def read_behaviour(store: ResultStore, result: ExperimentResult) -> Behaviour | None:
    """The stored predictions of a result, or None where there are none for all of its samples."""
    path = store.artifact_dir(result.key) / "predictions.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name].reshape(-1) for name in stored.files}
            predictions = found["predictions"]
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
    recipe = recipe_from_dict(result.recipe)
    task = load_task(recipe)
    targets = task.scoring_split(recipe.n_samples).targets.numpy().reshape(-1)
    if len(predictions) != len(targets):
        return None
    names = class_names(task.dataset.info)
    return Behaviour(predictions, targets, names, found.get("confidences"), found.get("truths"))


def flips(before: Behaviour, after: Behaviour) -> Flips:
    """Count the samples whose prediction changed; both must be of the same data."""
    lost, won, other = flipped(before, after)
    kept = int(((before.predictions == before.targets) & (after.predictions == after.targets)).sum())
    return Flips(len(lost), len(won), len(other), len(before.targets), kept)


def flipped(before: Behaviour, after: Behaviour) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where predictions were lost, won, or became wrong in another way; what moved furthest comes first.

    How far is how much probability the true class lost, or won. Where that was not kept they are in the data's order.
    """
    was, now = before.predictions == before.targets, after.predictions == after.targets
    changed = before.predictions != after.predictions
    lost, won, other = (np.flatnonzero(own) for own in (was & ~now, ~was & now, changed & ~was & ~now))
    moved = confidence_lost(before, after)
    if moved is None:
        return lost, won, other
    by_loss = [own[np.argsort(sign * moved[own], kind="stable")] for own, sign in ((lost, -1), (won, 1), (other, -1))]
    return by_loss[0], by_loss[1], by_loss[2]


def confidence_lost(before: Behaviour, after: Behaviour) -> np.ndarray | None:
    """How much less probable the true class became, per sample; None where that was not kept."""
    if before.truths is None or after.truths is None:
        return None
    return before.truths.astype(np.float32) - after.truths.astype(np.float32)
