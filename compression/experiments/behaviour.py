"""How an artifact behaves: its accuracy per class, and which predictions differ between two artifacts."""

from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

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
    """

    predictions: np.ndarray
    targets: np.ndarray
    names: tuple[str, ...]

    def class_accuracy(self) -> dict[str, tuple[float, int]]:
        """Accuracy and number of samples per class that occurs."""
        found = {}
        for label in np.unique(self.targets):
            own = self.targets == label
            found[self.names[label]] = (float((self.predictions[own] == label).mean()), int(own.sum()))
        return found


@dataclass(frozen=True)
class Flips:
    """Samples on which two artifacts differ.

    Attributes:
        lost: Right before, wrong now.
        won: Wrong before, right now.
        other: Wrong both times, in different ways.
        total: Samples compared.
    """

    lost: int
    won: int
    other: int
    total: int


def read_behaviour(store: ResultStore, result: ExperimentResult) -> Behaviour | None:
    """The stored predictions of a result, or None where there are none for all of its samples."""
    path = store.artifact_dir(result.key) / "predictions.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            predictions = stored["predictions"].reshape(-1)
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
    recipe = recipe_from_dict(result.recipe)
    task = load_task(recipe)
    targets = task.scoring_split(recipe.n_samples).targets.numpy().reshape(-1)
    if len(predictions) != len(targets):
        return None
    names = task.dataset.info.class_names or tuple(str(i) for i in range(task.info.num_classes))
    return Behaviour(predictions, targets, names)


def flips(before: Behaviour, after: Behaviour) -> Flips:
    """Count the samples whose prediction changed; both must be of the same data."""
    changed = before.predictions != after.predictions
    was, now = before.predictions == before.targets, after.predictions == after.targets
    return Flips(
        lost=int((was & ~now).sum()), won=int((~was & now).sum()), other=int((changed & ~was & ~now).sum()),
        total=len(changed),
    )
