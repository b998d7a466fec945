"""A student of another architecture, from the recipe to a bundle that verifies; a training that is stopped early."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from compression.artifact.packing import load_packed, model_tensors, pack_model, unpack_model
from compression.bundles.verification import verify_bundle
from compression.bundles.writing import export_bundle
from compression.core.errors import InputError
from compression.experiments import stages
from compression.experiments.artifacts import GRAPH_NAME, PACKED_NAME, compress
from compression.experiments.results import ExperimentResult, result_from_dict
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.jobs import experiment_jobs
from compression.metrics.environment import int8_weight_bits
from compression.recipe import Recipe, recipe_from_dict, recipe_to_dict
from compression.service.facade import Service
from models import registry
from models.students import students_of

STUDENT = "digits_mobilenet"


def recipe(*steps: dict[str, Any], model: str = "digits_resnet", **distillation: Any) -> Recipe:
    first = {"technique": "distillation", "epochs": 1, **distillation}
    return recipe_from_dict({"model": model, "dataset": "digits", "n_samples": 60, "steps": [first, *steps]})


INT8 = recipe({"technique": "quantization", "weight_bits": 8, "activation_bits": 8}, student=STUDENT)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return ResultStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def result(store: ResultStore) -> ExperimentResult:
    with pytest.MonkeyPatch.context() as patched:  # how fast it is does not matter here
        patched.setattr(stages, "clock", lambda *arguments: None)
        return stages.run_experiment(INT8, store, quick=True)


def test_later_steps_act_on_the_student_and_its_layers_are_shown(result: ExperimentResult) -> None:
    assert result.figures.parameters == sum(p.numel() for p in registry.build_model(STUDENT).parameters())
    assert result.figures.macs < 0.5 * result.baseline.macs
    names = {f"{name}.weight" for name in (layer.fqn for layer in result.layers)}
    assert names == {n for n, p in registry.build_model(STUDENT).named_parameters() if p.ndim in (2, 4)}
    assert {layer.kernel for layer in result.layers} >= {"int8"}
    assert {layer.encoding for layer in result.layers} == {f"{int8_weight_bits()}-bit grid"}


def test_its_packed_file_fills_the_registered_architecture_bit_by_bit(
    store: ResultStore, result: ExperimentResult, tmp_path: Path
) -> None:
    folder, model = store.artifact_dir(result.key), registry.build_model(STUDENT).eval()
    packed = unpack_model(folder / PACKED_NAME)
    load_packed(model, packed)
    assert all(torch.equal(tensor, packed.tensors[name]) for name, tensor in model_tensors(model).items())
    assert pack_model(model, tmp_path / "again").notes == []
    batch = load_task(INT8).example_input(4)
    session = ort.InferenceSession(str(folder / GRAPH_NAME), providers=["CPUExecutionProvider"])
    found = session.run(["output"], {"input": batch.numpy()})[0]
    with torch.inference_mode():
        wanted = model(batch).numpy()
    assert np.abs(found - wanted).max() < 0.15 * np.abs(wanted).max(), "apart from 8-bit activations the same network"


def test_a_bundle_of_a_student_verifies(store: ResultStore, result: ExperimentResult, tmp_path: Path) -> None:
    _, checks = verify_bundle(export_bundle(store, result.key, tmp_path / "bundle.zip"))
    assert [check for check in checks if not check.passed] == []


def test_the_curve_is_part_of_the_result(result: ExperimentResult) -> None:
    (training,) = result.trainings
    assert (training.technique, training.epochs, training.epochs_done) == ("distillation", 1, 1)
    assert [record["epoch"] for record in training.history] == [0, 1]
    assert not result.stopped_early
    assert result_from_dict(result.to_dict()) == result


def test_a_thinner_variant_is_exported_from_the_graph_of_its_teacher(store: ResultStore) -> None:
    before = {path.name for path in (store.cache_dir() / "graphs").iterdir()}
    key = stages.build(recipe(student="half_width"), store)
    part, whole = store.get_part(key, "artifact"), store.get_part(stages.build(INT8.baseline(), store), "artifact")
    assert part is not None and whole is not None
    assert part["structure_key"] != whole["structure_key"]
    assert part["parameters"] < 0.3 * whole["parameters"]
    assert {path.name for path in (store.cache_dir() / "graphs").iterdir()} == before


@pytest.mark.parametrize("model", ["digits_resnet", "digits_mobilenet"])
def test_an_unknown_student_is_refused_in_one_line_with_those_that_the_model_has(model: str) -> None:
    expected = rf"distillation.student: 'digits_vit' .* allowed for {model}: half_depth, self, half_width"
    with pytest.raises(InputError, match=expected) as told:
        stages.key_of(recipe(student="digits_vit", model=model))
    assert str(told.value).endswith(", ".join(students_of(model)))


@pytest.mark.parametrize(
    "info", [info for info in registry.list_models() if info.resize_size is None], ids=lambda info: info.name
)
def test_every_model_of_our_own_has_students_that_are_smaller_and_answer_alike(info: registry.ModelInfo) -> None:
    students = students_of(info.name)
    assert "half_width" in students and info.name not in students
    inputs = torch.zeros(2, *info.input_shape, dtype=getattr(torch, info.input_dtype))
    whole = registry.build_model(info.name).eval()
    with torch.inference_mode():
        for build in students.values():
            student = build().eval()
            assert student(inputs).shape == whole(inputs).shape
            assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in whole.parameters())


def test_no_training_batch_holds_a_held_out_sample() -> None:
    task = load_task(recipe())
    plain = replace(task, dataset=replace(task.dataset, augment=lambda batch, generator: batch))
    context = plain.context(task.load_model(), 0, Path("unused"), lambda *a: None, bool)
    assert context.held_out is not None
    held_out = {row.numpy().tobytes() for row in context.held_out[0]}
    assert len(held_out) == len(context.held_out[1]) == round(0.05 * len(task.dataset.train))
    batches = list(context.training_batches(0))
    assert len(batches) == context.batches_per_epoch
    assert not held_out & {row.numpy().tobytes() for inputs, _ in batches for row in inputs}
    assert not held_out & {row.numpy().tobytes() for row in task.prepare(task.dataset.test.inputs)}


def test_progress_of_a_training_is_its_part_of_the_whole() -> None:
    task, told = load_task(recipe()), [0.0]
    context = task.context(task.load_model(), 0, Path("unused"), lambda f, m: told.append(f), bool)
    own = recipe({"technique": "recovery", "epochs": 0}, student="half_width")
    compress(task.load_model(), own.steps, context)
    assert told == sorted(told)
    assert max(told) <= 0.5


class Stopped:
    """A service without workers, one job of which is carried out here and told in its first epoch that it is enough."""

    def __init__(self, root: Path) -> None:
        engine: Any = SimpleNamespace(
            submit=lambda key, *rest: self.submitted.append(key), has=lambda key: False, cancel=lambda key: None,
            compute_workers=1,
        )
        self.submitted: list[str] = []
        self.service = Service(root, engine=engine)
        self.recipe = recipe(student="half_width", epochs=3)
        self.key = self.service.submit(self.recipe)
        self.seen: list[int] = []

    def work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(experiment_jobs, "_REPORT_SECONDS", 0.0)
        evaluated = experiment_jobs._Watch.evaluated

        def look(watch: Any, training: Any) -> None:
            evaluated(watch, training)
            live = self.service.training(self.key)
            assert live == training
            self.seen.append(len(training.history))
            if training.epochs_done >= 1:
                self.service.finish_early([self.key])

        monkeypatch.setattr(experiment_jobs._Watch, "evaluated", look)
        text = json.dumps(recipe_to_dict(self.recipe))
        assert experiment_jobs.compute(str(self.service.store.root), self.key, text, "quick")


def test_a_training_can_be_stopped_early_is_marked_so_and_run_whole(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "clock", lambda *arguments: None)
    own = Stopped(store.root)
    own.service.finish_early([own.key])
    assert own.service.training(own.key) is None, "nothing runs yet, so there is nothing to stop"
    own.work(monkeypatch)
    assert own.seen == [1, 2]
    result = own.service.result(own.key)
    assert result is not None and result.stopped_early
    assert (result.trainings[0].epochs_done, result.trainings[0].epochs) == (1, 3)
    assert any("stopped after epoch 1 of 3" in note for note in result.notes)
    assert own.service.training(own.key) is None
    own.service.store.put_result(replace(result, stage="full"))
    assert own.service.submit(own.recipe) == own.key
    assert own.submitted == [own.key], "a stopped result is shown as it is until the whole training is asked for"
    own.service.train_whole(own.key)
    assert own.submitted == [own.key] * 2
    assert own.service.result(own.key) is None
    assert own.service.store.get_part(own.key, "artifact") is None


def test_the_command_line_replaces_a_stopped_training_by_the_whole(
    store: ResultStore, result: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = replace(result, trainings=(replace(result.trainings[0], epochs_done=0.5),))
    store.put_result(stopped)
    asked: list[str] = []

    def build(own: Recipe, *arguments: object) -> None:
        asked.append(stages.key_of(own))
        raise InputError("stop", "here", "")

    with monkeypatch.context() as patched:
        patched.setattr(stages, "build", build)
        with pytest.raises(InputError):
            stages.run_experiment(INT8, store, quick=True)
    assert asked
    assert store.get_result(result.key) is None
