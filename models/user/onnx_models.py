"""ONNX files that users add as models: imported, compared with ONNX Runtime and kept as they are.

The file itself is the kept weights; its network is built from it whenever the model is loaded.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import nn

from models import registry
from models.checkpoints.report import ImportReport
from models.datasets import dataset_info, list_datasets
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.names import is_taken
from models.onnx_import import ImportedModel, OnnxError, import_onnx
from models.onnx_import.files import read_file, unpack_onnx_zip
from models.sources.downloads import Progress, unreported
from models.tasks import IMAGES, REGRESSION
from models.user.builders import Architecture
from models.user.description import FIELDS, describe
from models.user.keeping import check_name, new_folder, write_record
from models.user.weight_files import find_weights

NAME, SUFFIX = "onnx", ".onnx"
KINDS = (SUFFIX, ".zip")
_GIVEN = tuple(name for name in FIELDS if name not in ("architecture", "weights", "ema"))
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def add_onnx_model(
    name: str, given: Mapping[str, Any], path: Path, dataset: str | None, created: str, *,
    file_name: str | None = None, progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> None:
    """Import an ONNX file, compare it with ONNX Runtime and keep it; where anything is wrong, nothing is kept.

    Args:
        name: What the model will be called.
        given: Fields of a description that the file does not state: the preprocessing; what is left out is taken from
            the file and from the dataset's other models.
        path: A ``.onnx`` file, its data beside it, or a zip of both.
        dataset: Dataset to score on; may be left out where only one fits.
        created: Time, ISO form.
        file_name: What the user calls the file, if not its own name.
        progress: Called with a fraction and a message.
        cancelled: Polled between the steps.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    def step(fraction: float, message: str) -> None:
        if cancelled():
            raise InterruptedWorkError("cancelled")
        progress(fraction, message)

    check_name(name, is_taken)
    shown = file_name or path.name
    with _onnx_file(path, shown) as file:
        step(0.1, "reading the file")
        imported, chosen = _imported(file, given, dataset, shown)
        description = _described(imported, given, chosen)
        step(0.4, "comparing with ONNX Runtime")
        report = _report(imported, shown)
        step(0.9, "writing")
        data = read_file(file, shown).SerializeToString()
    final = f"model-{hashlib.sha256(data).hexdigest()[:16]}{SUFFIX}"
    with new_folder("models", name) as draft:
        (draft / final).write_bytes(data)
        write_record(draft, {
            "description": description.to_dict(), "kind": asdict(description.kind), "dataset": chosen, "file": final,
            "created": created, "file_name": shown, "imported": report.to_dict(),
            "parameters": sum(p.numel() for p in imported.network.parameters()),
        })
    progress(1.0, "done")


@contextmanager
def _onnx_file(path: Path, shown: str) -> Iterator[Path]:
    """The ONNX file itself; a zip is unpacked for as long as it is needed."""
    if not path.is_file():
        raise FieldError(NAME, shown, "there is no such file")
    if path.suffix.lower() not in KINDS:
        raise FieldError(NAME, shown, "allowed: " + " and ".join(KINDS))
    with tempfile.TemporaryDirectory() as scratch:
        try:
            yield unpack_onnx_zip(path, Path(scratch), shown) if path.suffix.lower() == ".zip" else path
        except FieldError:
            raise
        except OnnxError as error:
            raise FieldError(NAME, shown, str(error)) from None


def _imported(
    file: Path, given: Mapping[str, Any], dataset: str | None, shown: str
) -> tuple[ImportedModel, str]:
    """The network, and the dataset that it is scored on."""
    for field in given:
        if field not in _GIVEN:
            raise FieldError(str(field), given[field], "allowed beside an ONNX file: " + ", ".join(_GIVEN))
    size = given.get("input_size")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
        raise FieldError("input_size", size, "a whole number is needed")
    shape, values = _samples_of(dataset)
    imported = import_onnx(file, size=size, sample_shape=shape, values=values, shown=shown)
    return imported, dataset or _only_dataset(imported)


def _samples_of(dataset: str | None) -> tuple[tuple[int, ...] | None, bool]:
    """Shape of a dataset's samples, and whether their targets are values."""
    if not dataset:
        return None, False
    try:
        info = dataset_info(dataset)
    except ModelError as error:
        raise FieldError("dataset", dataset, str(error)) from None
    return info.input_shape, info.task == REGRESSION


def _only_dataset(imported: ImportedModel) -> str:
    """The dataset that alone has samples and classes of this kind."""
    task, classes, shape = _task(imported), imported.num_classes, imported.plan.shape
    fitting = [
        own.name for own in list_datasets()
        if own.task == task and own.num_classes == classes and (own.resized or own.input_shape == shape)
    ]
    if len(fitting) != 1:
        kind = f"{classes} classes and inputs of {'x'.join(map(str, shape))}"
        raise FieldError("dataset", None, f"the file has {kind}; a dataset to score on is needed"
                         + (f", as {', '.join(fitting[:6])}" if fitting else ""))
    return fitting[0]


def _task(imported: ImportedModel) -> str:
    if imported.plan.dtype == "float32":
        return IMAGES
    return "language_modeling" if imported.per_token else "text_classification"


def _described(imported: ImportedModel, given: Mapping[str, Any], dataset: str) -> Any:
    """The checked description; what the file does not state is from the dataset's other models, or from the user."""
    kind = _kind(imported, dataset)
    classes = given.get("num_classes")
    if classes is not None and classes != kind.num_classes:
        raise FieldError("num_classes", classes, f"the file has {kind.num_classes}")
    return describe({**given, "architecture": NAME, "num_classes": kind.num_classes}, dataset, kind=kind)


def _kind(imported: ImportedModel, dataset: str) -> Architecture:
    shape, images = imported.plan.shape, imported.plan.dtype == "float32"
    mean, std, scale, source = _usual(imported, dataset) if images else ((), (), 255.0, "")
    return Architecture(
        NAME, _task(imported), _family(imported.network), "", shape, imported.plan.dtype, imported.num_classes, mean,
        std, scale, source=source,
    )


def _usual(imported: ImportedModel, dataset: str) -> tuple[tuple[float, ...], tuple[float, ...], float, str]:
    """Mean, deviation and scale, and where they are from."""
    if imported.normalises or imported.bytes_in:
        scale = 1.0 if imported.bytes_in else 255.0
        return (), (), scale, "the file, which normalises its input"
    channels = imported.plan.shape[0]
    for info in registry.registered_models():
        if info.dataset == dataset and info.input_shape[0] == channels and info.mean:
            return info.mean, info.std, info.scale, f"the record of the model {info.name}, as the file states none"
    if channels == 3:
        return (*_IMAGENET, 255.0, "ImageNet's usual values, as the file states none")
    return (), (), 255.0, "values from 0 to 1, as the file states nothing else"


def _family(network: nn.Module) -> str:
    steps = [getattr(step.function, "__name__", "") for step in getattr(network, "steps", ())]
    if any(name in ("softmax", "attend") for name in steps):
        return "transformer"
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return "cnn" if any(isinstance(module, convolutions) for module in network.modules()) else "mlp"


def _report(imported: ImportedModel, shown: str) -> ImportReport:
    """What the file is, what was decided, and how near the network is to it."""
    agreement, plan = imported.compare(), imported.plan
    counts: dict[str, int] = {}
    for module in imported.network.modules():
        if not list(module.children()) and type(module) is not nn.Module and module is not imported.network:
            counts[type(module).__name__] = counts.get(type(module).__name__, 0) + 1
    layers = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    batch = "free" if plan.fixed is None else f"{plan.fixed} in the file, free here"
    shape = "x".join(map(str, plan.shape))
    return ImportReport(file=shown, notes=[
        f"Input {shape} of {plan.dtype}, batch size {batch}; {imported.num_classes} outputs.",
        f"Layers: {layers}.",
        *imported.notes,
        f"Equal to ONNX Runtime on {agreement.inputs} random inputs: the largest difference is {agreement.largest:.0e} "
        "of the largest output.",
    ])


def network_of(path: Path, input_shape: tuple[int, ...], task: str) -> nn.Module:
    """The network of a kept or named file, with its weights.

    Args:
        path: A ``.onnx`` file.
        input_shape: As it was imported.
        task: Name of its task.

    Raises:
        ModelError: if it cannot be read any more.
    """
    return import_onnx(path, size=input_shape[-1], sample_shape=input_shape, values=task == REGRESSION).network


def described_onnx(given: Mapping[str, Any], dataset: str) -> tuple[registry.ModelInfo, Callable[[], nn.Module]]:
    """Record and factory of an ONNX file that a recipe names; see `models.user.kept_models.described`.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    text = given.get(NAME)
    if not isinstance(text, str) or not text:
        raise FieldError(NAME, text, "the path of a file .onnx is needed")
    path = find_weights(text)
    if path.suffix.lower() != SUFFIX:
        raise FieldError(NAME, text, f"a file {SUFFIX} is needed; a zip is added with add-model")
    with _onnx_file(path, text):
        rest = {key: value for key, value in given.items() if key != NAME}
        imported, _ = _imported(path, rest, dataset, path.name)
        _compare_once(path, path.stat().st_mtime_ns, tuple(imported.plan.shape), _samples_of(dataset)[1])
    description = _described(imported, rest, dataset)
    what = f"{sorted(description.to_dict().items())}|{path}|{path.stat().st_mtime_ns}"
    name = f"{NAME}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    maker = partial(network_of, path, description.input_shape, description.task)
    return description.info(name, str(path), path.name), maker


@lru_cache(maxsize=16)
def _compare_once(path: Path, changed: int, shape: tuple[int, ...], values: bool) -> None:
    """Compare a file with ONNX Runtime, once in a process."""
    del changed
    import_onnx(path, size=shape[-1], sample_shape=shape, values=values).compare()
