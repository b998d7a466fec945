"""A recipe's model and data, made ready for compression and scoring."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compression.context import CompressionContext
from compression.core.cores import scoring_threads
from compression.core.errors import CancelledError, InputError
from compression.knobs import knobs_of
from compression.problems import Problem, problem_of
from compression.recipe import Recipe
from compression.structure.ends import first_and_last
from models import datasets, registry
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.preprocessing import IMAGE_CHANNELS, image_view, prepare_inputs, preprocessing_text
from models.students import students_of
from models.tasks import data_task
from models.user import kept_text
from models.user.outputs import wrong_outputs

STUDENTS = "students"
_CALIBRATION_SEED, _SELECTION_SEED, _HELD_OUT_SEED = 1234, 2718, 4321
_SELECTION_SHARE = 0.2
_HELD_OUT_SHARE = 0.05
_LARGE, _FEWER = 96 * 96 * 3, 4


@dataclass(frozen=True)
class Task:
    """A model with its dataset.

    Attributes:
        info: The model's registry record.
        dataset: Its data: a training split for calibration and recovery, a test split for scoring.
        model_hash: Identity of the uncompressed weights.
        data_hash: Identity of the data.
    """

    info: registry.ModelInfo
    dataset: datasets.Dataset
    model_hash: str
    data_hash: str

    @property
    def problem(self) -> Problem:
        """How its outputs are scored and trained on."""
        return problem_of(self.info.task)

    def load_model(self) -> nn.Module:
        """A fresh copy of the uncompressed model in eval mode.

        Raises:
            InputError: if its weights do not fit, saying which and how many.
        """
        try:
            return registry.load_model(self.info.name).eval()
        except ModelError as error:
            raise InputError("model", self.info.name, str(error)) from None

    def make_ready(self, progress: Callable[[float, str], None], cancelled: Callable[[], bool]) -> None:
        """Have the data decoded, where that is still to be done, with progress and cancel.

        Raises:
            InputError: if none of it can be read.
            CancelledError: if `cancelled` became true.
        """
        try:
            self.dataset.make_ready(progress, cancelled)
        except ModelError as error:
            raise InputError("dataset", self.dataset.info.name, str(error)) from None
        except InterruptedWorkError:
            raise CancelledError("cancelled") from None

    def notes(self) -> list[str]:
        """Remarks on the data for the user."""
        notes = []
        if self.info.preprocessing_source:
            notes.append(f"Preprocessing: {preprocessing_text(self.info)} (from {self.info.preprocessing_source})")
        skipped = self.dataset.skipped
        if skipped:
            names = ", ".join(skipped[:3]) + (" and others" if len(skipped) > 3 else "")
            notes.append(f"{len(skipped)} files of the dataset cannot be read as images and are left out: {names}")
        return notes

    @property
    def quick_samples(self) -> int:
        """Samples of a first, coarse score."""
        return self._sized(self.problem.sizes.quick)

    def scoring_threads(self, threads: int) -> int:
        """Threads that score: those of the runtime, more for large images where cores are idle."""
        return max(threads, scoring_threads()) if self._has_large_samples() else threads

    def _has_large_samples(self) -> bool:
        return math.prod(self.info.input_shape) >= _LARGE

    def _sized(self, number: int) -> int:
        """A number of samples, a quarter of it for large images: they take the time and memory of many small ones."""
        return max(1, number // (_FEWER if self._has_large_samples() else 1))

    def prepare(self, inputs: Tensor) -> Tensor:
        """Raw samples to model input."""
        return prepare_inputs(self.info, inputs)

    def example_input(self, batch_size: int = 1) -> Tensor:
        """The first test samples as model input, (batch_size, ...); used for shapes and timing only."""
        rows = torch.arange(batch_size) % len(self.dataset.test)
        return self.prepare(self.dataset.test.inputs[rows])

    def scoring_split(self, n_samples: int | None) -> datasets.Split:
        """The test split, or a fixed stratified subset of it."""
        test = self.dataset.test
        return test if n_samples is None or n_samples >= len(test) else test.subset(n_samples, seed=0)

    def coarse_rows(self, split: datasets.Split) -> Tensor:
        """Indices of the samples of a split on which a first, coarse score is taken: a fixed subset."""
        return split.rows(min(len(split), self.quick_samples), seed=0)

    def scoring_batches(self, split: datasets.Split) -> Iterator[np.ndarray]:
        """Prepared inputs of a split in batches."""
        size = self._sized(self.problem.sizes.scoring_batch)
        for start in range(0, len(split), size):
            yield self.prepare(split.inputs[start : start + size]).numpy()

    def context(
        self,
        model: nn.Module,
        seed: int,
        cache_dir: Path,
        progress: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> CompressionContext:
        """What the techniques are given. `model` is the untouched original."""
        calibration = self.calibration_split
        example = self.example_input()
        held_out, training = self._training_splits
        return CompressionContext(
            original=model,
            example_input=example,
            calibration_inputs=self.prepare(calibration.inputs[:]),
            calibration_targets=calibration.targets,
            training_batches=self._training_batches(training, seed),
            held_out=(self.prepare(held_out.inputs[:]), held_out.targets) if len(held_out) else None,
            students=students_of(self.info.name),
            task=self.info.task,
            model_key=self.model_hash,
            data_key=self.data_hash,
            batches_per_epoch=max(1, len(training) // self._sized(self.problem.sizes.training_batch)),
            seed=seed,
            cache_dir=cache_dir,
            protected=first_and_last(model, example),
            progress=progress,
            cancelled=cancelled,
        )

    @property
    def calibration_split(self) -> datasets.Split:
        """A fixed sample of the training split that techniques calibrate on; none of it chooses among trials."""
        count = self.problem.sizes.calibration
        if self._is_small:
            return self._selection_and_rest[1].subset(count, _CALIBRATION_SEED)
        return self.dataset.train.subset(count, _CALIBRATION_SEED)

    @property
    def _is_small(self) -> bool:
        """Whether the calibration sample would leave too few samples of the training split to choose by."""
        left = len(self.dataset.train) - self.problem.sizes.calibration
        return self.dataset.validation is None and left < self._selection_count

    @property
    def _selection_count(self) -> int:
        return max(1, min(self.problem.sizes.selection, round(_SELECTION_SHARE * len(self.dataset.train))))

    @property
    def selection_split(self) -> datasets.Split:
        """A fixed sample of the training split on which searches choose; no training sees it.

        Neither does a calibration: where its sample leaves too few, it comes from the rest.
        """
        return self._selection_and_rest[0]

    @cached_property
    def _selection_and_rest(self) -> tuple[datasets.Split, datasets.Split]:
        train, sizes = self.dataset.train, self.problem.sizes
        if self.dataset.validation is not None:
            return self.dataset.validation.subset(sizes.selection, _SELECTION_SEED), train
        return train.set_apart(self._selection_count, _SELECTION_SEED, besides=(sizes.calibration, _CALIBRATION_SEED))

    def probing_split(self, n_samples: int) -> datasets.Split:
        """Samples of the training split to compare layers on, outside the calibration sample where it leaves any."""
        train, taken = self.dataset.train, self.problem.sizes.calibration
        if len(train) - taken < n_samples // 4:
            held_out = self._training_splits[0]
            return (held_out if len(held_out) >= n_samples // 4 else train).subset(n_samples, seed=0)
        return train.divided(taken, _CALIBRATION_SEED)[1].subset(n_samples, seed=0)

    @cached_property
    def _training_splits(self) -> tuple[datasets.Split, datasets.Split]:
        """What trainings see in two: a fixed sample on which a training chooses its best state, and the rest."""
        rest = self._selection_and_rest[1]
        count = min(self.problem.sizes.held_out, round(_HELD_OUT_SHARE * len(self.dataset.train)))
        return rest.divided(count, _HELD_OUT_SEED)

    def _training_batches(self, train: datasets.Split, seed: int) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        size = min(self._sized(self.problem.sizes.training_batch), len(train))

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            generator = torch.Generator().manual_seed(seed * 10_007 + epoch)
            order = torch.randperm(len(train), generator=generator)
            for start in range(0, len(order) - size + 1, size):
                rows = order[start : start + size]
                raw = self.dataset.augment(train.inputs[rows], generator)
                yield self.prepare(raw), train.targets[rows]

        return batches


def _load(model: str, dataset: str) -> Task:
    try:
        identity = registry.model_identity(model)
    except ModelError as error:
        raise InputError("model", model, str(error)) from None
    try:
        return _load_once(model, dataset, identity, datasets.data_identity(dataset))
    except ModelError as error:
        raise InputError("dataset", dataset, str(error)) from None


@lru_cache(maxsize=4)
def _load_once(model: str, dataset: str, model_identity: str, data_identity: str) -> Task:
    """Kept by identities, too: what was downloaded or replaced meanwhile takes the place of another."""
    del data_identity
    info, data_info = registry.model_info(model), datasets.dataset_info(dataset)
    if not _fits(data_info, info):
        fitting = [d.name for d in datasets.list_datasets() if _fits(d, info)]
        told = _difference(data_info, info)
        allowed = f"{told}allowed for {model}: " + (", ".join(fitting) or "none that is here")
        raise InputError("dataset", dataset, allowed)
    data = datasets.load_dataset(dataset, image_view(info), info.num_classes)
    identity = hashlib.sha256(f"{data.content_hash}|{datasets.code_of(dataset)}".encode()).hexdigest()[:16]
    task = Task(info, data, model_identity, identity)
    if registry.is_of_file(model):
        _check_outputs(task)
    return task


def _check_outputs(task: Task) -> None:
    """One input through a network of a user's Python file: it has to give as many numbers as its record says."""
    info = task.info
    example = torch.zeros((1, *info.input_shape), dtype=getattr(torch, info.input_dtype))
    try:
        with torch.inference_mode():
            outputs = task.load_model()(example)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError("input_shape", list(info.input_shape), f"{info.name} cannot take it: {reason}") from None
    wrong = wrong_outputs(outputs, info.task, info.outputs) if isinstance(outputs, Tensor) else ""
    if wrong:
        raise InputError("num_classes", info.num_classes, f"{info.name}: {wrong}")


def _fits(data: datasets.DatasetInfo, info: registry.ModelInfo) -> bool:
    """Whether a model can be scored on a dataset; on its own it always can, whose samples it may take otherwise.

    Token ids mean something in one vocabulary only, so a model of text fits no other dataset.
    """
    images = info.input_dtype != "int64"
    resizable = data.resized and info.input_shape[0] in IMAGE_CHANNELS
    alike = data.name == info.dataset or (images and (resizable or data.input_shape == info.input_shape))
    return data.task == data_task(info.task) and data.has_classes(info.num_classes) and alike


def _difference(data: datasets.DatasetInfo, info: registry.ModelInfo) -> str:
    if data.task != data_task(info.task):
        return ""
    if not data.has_classes(info.num_classes):
        return f"it has {data.num_classes} classes, {info.name} has {info.num_classes}; "
    if data.input_shape == info.input_shape:
        return f"its token ids are of another vocabulary than those of {info.name}; "
    own, wanted = ("x".join(map(str, shape)) for shape in (data.input_shape, info.input_shape))
    return f"its samples are {own}, {info.name} takes {wanted}; "


def load_task(recipe: Recipe) -> Task:
    """Model and data of a recipe; kept in memory for the next one.

    Raises:
        InputError: if the model or dataset is unknown or unavailable, they do not belong together, or the model has
            no student of the name that a step gives.
    """
    name = model_name(recipe.model, recipe.dataset)
    described = not isinstance(recipe.model, str) and kept_text.is_described(_info(name).dataset)
    task = _load(name, _info(name).dataset if described else recipe.dataset)  # its text in its word pieces
    _check_students(recipe, task.info.name)
    return task


def model_name(model: str | Mapping[str, Any], dataset: str) -> str:
    """Name of a recipe's model in the registry; one that the recipe describes is made known there.

    Raises:
        InputError: if a description cannot be used.
    """
    if isinstance(model, str):
        return model
    try:
        return registry.register_described(model, dataset)
    except FieldError as error:
        raise InputError(f"model.{error.field}", error.value, error.allowed) from None


def problem_named(model: str) -> Problem:
    """How outputs of a model are scored.

    Raises:
        InputError: if there is no such model.
    """
    return problem_of(_info(model).task)


def dataset_of(model: str) -> str:
    """Name of the dataset that a model belongs to.

    Raises:
        InputError: if there is no such model.
    """
    return _info(model).dataset


def fitting_datasets(model: str) -> tuple[str, ...]:
    """Names of the datasets that a model can be scored on, its own first.

    Raises:
        InputError: if there is no such model.
    """
    info = _info(model)
    others = [
        data.name for data in datasets.list_datasets()
        if _fits(data, info) and data.name != info.dataset
    ]
    return (info.dataset, *others)


def _info(model: str) -> registry.ModelInfo:
    try:
        return registry.model_info(model)
    except ModelError as error:
        raise InputError("model", model, str(error)) from None


def student_names(model: str) -> tuple[str, ...]:
    """Names of the smaller architectures that may learn from a model."""
    return tuple(students_of(model))


def _check_students(recipe: Recipe, model: str) -> None:
    """Knobs that name a student of the model are checked here, where the model is known."""
    for step in recipe.steps:
        for name, knob in knobs_of(type(step.config)).items():
            allowed = (*(knob.choices or ()), *student_names(model)) if knob.further == STUDENTS else ()
            value = getattr(step.config, name)
            if allowed and value not in allowed:
                raise InputError(f"{step.technique}.{name}", value, f"allowed for {model}: " + ", ".join(allowed))
