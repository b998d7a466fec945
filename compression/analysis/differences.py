"""What two artifacts of one task do differently: per class, in their confusions, and on single samples."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from compression.analysis.behaviour import Behaviour, Flips, confidence_lost, flipped, flips, read_behaviour
from compression.analysis.samples import Sample, sample_at
from compression.analysis.value_change import ValueChange, value_change
from compression.core.errors import CancelledError, InputError
from compression.experiments.artifacts import Progress
from compression.experiments.results import ExperimentResult
from compression.experiments.store import ResultStore
from compression.experiments.tasks import Task, load_task
from compression.recipe import recipe_from_dict
from models.datasets import Split

Kind = Literal["lost", "won", "other"]
MOST_EXAMPLES = 96
_MOST_CLASSES = 24
_PART = "difference"


@dataclass(frozen=True)
class ClassChange:
    """Accuracy of one class before and after, and its number of samples."""

    name: str
    samples: int
    before: float
    after: float


@dataclass(frozen=True)
class Example:
    """A sample whose prediction changed.

    Attributes:
        kind: "lost" (right before), "won" (right now) or "other" (wrong both times).
        sample: What it is.
        truth: Its class.
        before: Class predicted before.
        after: Class predicted now.
        sure_before: Probability of that prediction before; None where it was not kept.
        sure_after: The same now.
        lost: How much less probable the true class became; None where it was not kept.
    """

    kind: Kind
    sample: Sample
    truth: str
    before: str
    after: str
    sure_before: float | None
    sure_after: float | None
    lost: float | None


@dataclass(frozen=True)
class Difference:
    """What the second artifact does otherwise than the first.

    Attributes:
        flips: How many predictions changed.
        classes: Accuracy per class that occurs, the most changed first.
        confused: Names of the classes of the confusion change, those that changed most, in the data's order.
        confusion: How many more samples of a class (row) are taken for a class (column) than before.
        examples: Changed predictions; of each kind those that moved furthest, first.
        sorted: Whether they could be sorted: older artifacts kept no probabilities.
        values: Of a regression, which has no classes and no flips, what its errors did.
    """

    flips: Flips
    classes: tuple[ClassChange, ...]
    confused: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    examples: tuple[Example, ...]
    sorted: bool
    values: ValueChange | None = None


def difference_key(first: str, second: str) -> str:
    """Key of a difference in the store, and of the job that finds it."""
    return hashlib.sha256("|".join((_PART, "2", first, second)).encode()).hexdigest()[:20]


def read_difference(store: ResultStore, first: str, second: str) -> Difference | None:
    """The stored difference of two results, or None."""
    part = store.get_part(difference_key(first, second), _PART)
    return None if part is None else difference_from_dict(part)


def difference_from_dict(data: dict[str, Any]) -> Difference:
    """Inverse of `asdict` (also after a trip through JSON)."""
    return Difference(
        flips=Flips(**data["flips"]),
        classes=tuple(ClassChange(**own) for own in data["classes"]),
        confused=tuple(data["confused"]),
        confusion=tuple(tuple(row) for row in data["confusion"]),
        examples=tuple(Example(**{**own, "sample": Sample(**own["sample"])}) for own in data["examples"]),
        sorted=data["sorted"],
        values=None if data.get("values") is None else ValueChange(**data["values"]),
    )


def find_difference(
    store: ResultStore, first: str, second: str, progress: Progress, cancelled: Callable[[], bool] = bool
) -> Difference:
    """Compare the stored predictions of two results and keep what differs.

    Raises:
        InputError: if a result is not there, has no predictions on all samples, or they are of different data.
        CancelledError: if `cancelled` became true.
    """
    before, after = (_result(store, key) for key in (first, second))
    if data_of(before) != data_of(after):
        raise InputError("results", f"{first}, {second}", "two that were scored on the same data are needed")
    progress(0.1, "reading the data")
    own, other = (_behaviour(store, result) for result in (before, after))
    recipe = recipe_from_dict(before.recipe)
    task = load_task(recipe)
    split, info = task.scoring_split(recipe.n_samples), task.dataset.info
    progress(0.5, "comparing")
    if not task.problem.discrete:
        made = _of_values(task, split, own, other)
        store.put_part(difference_key(first, second), _PART, asdict(made))
        return made
    lost = confidence_lost(own, other)
    places = zip(("lost", "won", "other"), flipped(own, other), strict=True)
    examples = []
    for kind, found in places:
        for place in found[:MOST_EXAMPLES].tolist():
            if cancelled():
                raise CancelledError("cancelled")
            sample = sample_at(info, split, place)
            examples.append(_example(kind, sample, own, other, lost, place))  # type: ignore[arg-type]
    confused, confusion = confusion_change(own, other)
    classes = class_changes(own, other)
    made = Difference(flips(own, other), classes, confused, confusion, tuple(examples), lost is not None)
    store.put_part(difference_key(first, second), _PART, asdict(made))
    return made


def _of_values(task: Task, split: Split, before: Behaviour, after: Behaviour) -> Difference:
    """Errors of a regression before and after, and the samples whose error changed most."""
    change = value_change(task.problem, before, after)
    errors = [np.abs(own.predictions - own.targets) for own in (before, after)]
    more = errors[1] - errors[0]
    examples = []
    for kind, sign in (("lost", 1), ("won", -1)):
        order = np.argsort(-sign * more, kind="stable")[:MOST_EXAMPLES]
        for place in order[sign * more[order] > 0].tolist():
            texts = (f"{own[place]:.4g}" for own in (before.targets, before.predictions, after.predictions))
            sample = sample_at(task.dataset.info, split, place)
            examples.append(Example(kind, sample, *texts, None, None, None))  # type: ignore[arg-type]
    counts = Flips(int((more > 0).sum()), int((more < 0).sum()), 0, len(more))
    return Difference(counts, (), (), (), tuple(examples), True, change)


def data_of(result: ExperimentResult) -> tuple[str, object]:
    """What a result was scored on; only results of the same can be compared sample by sample."""
    return str(result.recipe["dataset"]), result.recipe.get("n_samples")


def class_changes(before: Behaviour, after: Behaviour) -> tuple[ClassChange, ...]:
    """Accuracy per class that occurs, the most changed first."""
    old, new = before.class_accuracy(), after.class_accuracy()
    found = [ClassChange(name, count, share, new[name][0]) for name, (share, count) in old.items()]
    return tuple(sorted(found, key=lambda change: -abs(change.after - change.before)))


def confusion_change(
    before: Behaviour, after: Behaviour, most: int = _MOST_CLASSES
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Classes and the change of their confusions; of many classes those in which most changed."""
    change = after.confusion() - before.confusion()
    moved = np.abs(change).sum(0) + np.abs(change).sum(1)
    kept = np.sort(np.argsort(-moved, kind="stable")[:most])
    rows = change[np.ix_(kept, kept)].tolist()
    return tuple(before.names[i] for i in kept), tuple(tuple(row) for row in rows)


def _result(store: ResultStore, key: str) -> ExperimentResult:
    result = store.get_result(key)
    if result is None:
        raise InputError("result", key, "the key of a stored result is needed")
    return result


def _behaviour(store: ResultStore, result: ExperimentResult) -> Behaviour:
    found = read_behaviour(store, result)
    if found is None:
        raise InputError("result", result.key, "one with predictions on all its samples is needed")
    return found


def _example(
    kind: Kind, sample: Sample, before: Behaviour, after: Behaviour, lost: np.ndarray | None, place: int
) -> Example:
    classes = (int(own[place]) for own in (before.targets, before.predictions, after.predictions))
    truth, old, new = (before.names[label] for label in classes)
    sure = [None if own is None else _short(own[place]) for own in (before.confidences, after.confidences)]
    return Example(kind, sample, truth, old, new, *sure, None if lost is None else _short(lost[place]))


def _short(value: float) -> float:
    return round(float(value), 4)
