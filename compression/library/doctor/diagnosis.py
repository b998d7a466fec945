"""Score the untouched model with alternatives, and say in one sentence which is far better, if any."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from compression.analysis.samples import class_names
from compression.core.errors import CancelledError, InputError
from compression.experiments.tasks import Task, load_task
from compression.library.doctor.alternatives import Alternative, alternatives_to, label_orders
from compression.library.doctor.images import Images, images_of
from compression.library.doctor.judging import LEAST_GAIN, Scored, clearly_better, matched
from compression.problems import Problem
from compression.recipe import Recipe
from models import registry
from models.errors import FieldError, ModelError
from models.info import ModelInfo
from models.preprocessing import prepare_inputs
from models.tasks import REGRESSION, is_of_images
from models.user import kept_models

_FILE, _BATCH = "diagnosis.json", 32
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        model: Name of the model.
        dataset: Name of the dataset.
        n_samples: Images that were scored.
        part: Which part of the dataset they are of, in words.
        quality: "accuracy" or "r2".
        now: Quality of the model as it is.
        best: Quality with the suggestion; None where there is none.
        sentence: The suggestion or that there is none.
        settings: Fields of the model's record to change; empty where no setting helps.
        options: The same as options of ``add-model``.
        identity: Of the model that was scored.
    """

    model: str
    dataset: str
    n_samples: int
    part: str
    quality: str
    now: float
    best: float | None
    sentence: str
    settings: dict[str, Any] = field(default_factory=dict)
    options: str = ""
    identity: str = ""


class _Scorer:
    """Scores one network with any preprocessing on the same images."""

    def __init__(self, task: Task, images: Images, cancelled: Callable[[], bool]) -> None:
        self._model: nn.Module = task.load_model()
        self.problem: Problem = task.problem
        self.images, self._cancelled = images, cancelled
        self.targets = images.targets.numpy()

    def predictions(self, info: ModelInfo) -> dict[str, np.ndarray]:
        """What the problem scores of each image: "predictions", and of classes "log_truths"."""
        raw, found = self.images.view(info), []
        for start in range(0, len(raw), _BATCH):
            if self._cancelled():
                raise CancelledError("cancelled")
            with torch.inference_mode():
                outputs = self._model(prepare_inputs(info, raw[start : start + _BATCH])).float().numpy()
            found.append(self.problem.score(outputs, self.targets[start : start + _BATCH]))
        return {name: np.concatenate([own[name] for own in found]) for name in found[0]}

    def fitted(self, info: ModelInfo) -> Scored:
        """Score a preprocessing."""
        found = self.predictions(info)
        return replace(self.scored(found["predictions"]), fit=float(found.get("log_truths", np.zeros(1)).mean()))

    def scored(self, predictions: np.ndarray, targets: np.ndarray | None = None) -> Scored:
        """Score predictions against the labels, or against other ones."""
        wanted = self.targets if targets is None else targets
        if self.problem.discrete:
            points = (predictions == wanted).astype(np.float64)
            return Scored(float(points.mean()), points)
        points = -((predictions.astype(np.float64) - wanted) ** 2)
        return Scored(1 + float(points.mean()) / max(float(wanted.var()), 1e-12), points)


def diagnose(
    model: str | dict[str, Any], dataset: str, progress: Progress = lambda fraction, message: None,
    cancelled: Callable[[], bool] = bool,
) -> Diagnosis:
    """Score a model of images with a handful of alternatives on up to 200 images that are not scored otherwise.

    Args:
        model: Its name, or a description as in a recipe.
        dataset: Name of the dataset.
        progress: Called with a fraction and a message.
        cancelled: Polled between batches.

    Raises:
        InputError: if the model takes no images, or model and dataset do not fit.
        CancelledError: if `cancelled` became true.
    """
    task = load_task(Recipe(model, dataset))
    info = task.info
    if not is_of_images(info.task):
        raise InputError("model", info.name, "a model of images is needed")
    scorer = _Scorer(task, images_of(task), cancelled)
    kind = scorer.problem.quality
    count = len(scorer.targets)
    choices = alternatives_to(info, scorer.images.photographs, _moments(scorer.images, info))
    progress(0.0, "scoring the model as it is")
    predictions = scorer.predictions(info)["predictions"]
    now = scorer.scored(predictions)
    found: tuple[Alternative, Scored] | None = None
    if now.quality <= 1 - LEAST_GAIN[kind.key]:  # else nothing can be far better
        found = _best(scorer, info, choices, now, progress)
    known = {"model": info.name, "dataset": dataset, "n_samples": count, "part": scorer.images.part,
             "quality": kind.key, "now": now.quality, "identity": task.model_hash}
    orders = _label_suggestion(scorer, info, predictions, now, class_names(task.dataset.info))
    if orders is not None and (found is None or orders[2].quality > found[1].quality):
        words, remedy, best = orders
        text = f"With {words}: {kind.text(best.quality, 0 if kind.unit else 2)} instead of " + _base(kind, now, count)
        return Diagnosis(**known, best=best.quality, sentence=f"{text}; {remedy}.")
    if found is not None:
        choice, best = found
        text = f"With {choice.words}: {kind.text(best.quality, 0 if kind.unit else 2)} instead of "
        return Diagnosis(
            **known, best=best.quality, sentence=text + _base(kind, now, count) + ".", settings=choice.settings,
            options=choice.options(),
        )
    shown = kind.text(now.quality, 0 if kind.unit else 2)
    name = "" if kind.unit else f"{kind.title} "
    text = f"No usual alternative is clearly better: {name}{shown} on {count} images {scorer.images.part}."
    return Diagnosis(**known, best=None, sentence=text)


def _base(kind: Any, now: Scored, count: int) -> str:
    name = "" if kind.unit else " (R2)"
    return f"{kind.text(now.quality, 0 if kind.unit else 2)}{name} of {count} images"


def _moments(images: Images, info: ModelInfo) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pixels = prepare_inputs(Alternative("", {"mean": (), "std": (), "scale": 255.0}).of(info), images.view(info))
    std = pixels.std((0, 2, 3)).clamp(min=1e-3)
    mean, std = ([round(float(value), 3) for value in values] for values in (pixels.mean((0, 2, 3)), std))
    return tuple(mean), tuple(std)


def _best(
    scorer: _Scorer, info: ModelInfo, choices: list[Alternative], now: Scored, progress: Progress
) -> tuple[Alternative, Scored] | None:
    """The best single difference and another one on top; where no single one helps, the best of the pairs.

    Only what is clearly better than the model as it is, or than the single difference, is suggested.
    """
    def tried(candidates: list[Alternative], start: float) -> tuple[Alternative, Scored]:
        scores = []
        for place, choice in enumerate(candidates):
            progress(start + 0.45 * place / len(candidates), f"scoring with {choice.words}")
            scores.append((choice, scorer.fitted(choice.of(info))))
        return max(scores, key=lambda own: (own[1].quality, own[0].usual, own[1].fit))

    kind, first = scorer.problem.quality.key, tried(choices, 0.1)
    single = clearly_better(first[1], now, kind, len(choices))
    if single:
        pairs = [first[0].joined(own) for own in choices if not own.settings.keys() & first[0].settings.keys()]
    else:
        orders = [own for own in choices if "channel_order" in own.settings]
        pairs = [own.joined(order) for order in orders for own in choices if "mean" in own.settings]
    if pairs:
        second = tried(pairs, 0.55)
        if clearly_better(second[1], first[1] if single else now, kind, len(choices) + len(pairs)):
            return second
    return first if single else None


def _label_suggestion(
    scorer: _Scorer, info: ModelInfo, predictions: np.ndarray, now: Scored, names: tuple[str, ...]
) -> tuple[str, str, Scored] | None:
    """Another order of labels that is far better: a usual one, else the one that the confusions show."""
    if info.task == REGRESSION or info.outputs < 2:
        flipped = scorer.scored(1 - predictions) if info.task != REGRESSION else None
        if flipped is not None and clearly_better(flipped, now, "accuracy", 1):
            return "the two classes swapped", "check the order of the class folders", flipped
        return None
    orders = label_orders(scorer.images.targets, names, info.outputs)
    tried = [(own.words, own.remedy, scorer.scored(predictions, own.targets.numpy())) for own in orders]
    usual = max(tried, key=lambda own: own[2].quality)
    free = matched(predictions.astype(np.int64), scorer.targets, info.outputs)
    better = free is not None and clearly_better(free, usual[2], "accuracy", 1)
    if not better and clearly_better(usual[2], now, "accuracy", len(tried)):
        return usual
    if free is not None and clearly_better(free, now, "accuracy", 1):
        remedy = "labels look permuted: check the order of the class folders against the training's"
        return "each class matched to the output that it is taken for", remedy, free
    return None


def diagnose_and_keep(
    name: str, progress: Progress = lambda fraction, message: None, cancelled: Callable[[], bool] = bool
) -> Diagnosis:
    """Diagnose a model that a user has added, on its dataset; kept beside its weights until it changes."""
    kept = _kept(name)
    found = diagnose(name, kept.info.dataset, progress, cancelled)
    (kept_models.folder_of(name) / _FILE).write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def read_diagnosis(name: str) -> Diagnosis | None:
    """The kept diagnosis of a user's model; None where there is none of the model as it is now."""
    try:
        found = Diagnosis(**json.loads((kept_models.folder_of(name) / _FILE).read_text(encoding="utf-8")))
        return found if found.identity == registry.model_identity(name) else None
    except (OSError, ValueError, TypeError, ModelError):
        return None


def use_suggestion(name: str, found: Diagnosis) -> None:
    """Change a user's model to the suggested settings; results measured before stay under their keys.

    Raises:
        InputError: if there is no such model, or a setting is not allowed.
    """
    _kept(name)
    try:
        kept_models.change_preprocessing(name, found.settings)
    except FieldError as error:
        raise InputError(error.field, error.value, error.allowed) from None


def _kept(name: str) -> kept_models.KeptModel:
    kept = kept_models.SHELF.get(name)
    if kept is None:
        known = ", ".join(kept_models.SHELF.all()) or "none so far"
        raise InputError("model", name, f"allowed, as added by you: {known}")
    return kept
