"""Models that users have added: a checked description and weights, kept under a name."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models import registry
from models.checkpoints import (
    SUFFIXES,
    Checkpoint,
    MismatchError,
    load_checkpoint,
    read_checkpoint,
    weight_files,
)
from models.checkpoints.report import ImportReport, report_from_dict
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.names import is_taken
from models.preparing import check_parts
from models.sources.downloads import Progress, unreported
from models.user import builders, onnx_models
from models.user.builders import Architecture, build, last_layer
from models.user.description import Description, describe, wants_average
from models.user.keeping import RECORD, Shelf, check_name, folder_bytes, new_folder, own_folder, write_record
from models.user.outputs import wrong_outputs

_BUILDERS = {"huggingface:": "models.huggingface.networks", onnx_models.NAME: "models.onnx_import"}
LARGEST_WEIGHTS = 2_000_000_000
_WEIGHTS = "weights-{}.safetensors"


@dataclass(frozen=True)
class KeptModel:
    """A model that a user has added.

    Attributes:
        info: Its record in the registry.
        description: What it was made of.
        created: When, ISO form.
        size_bytes: Its files.
        imported: What was stripped, dropped, baked and cast when its weights were read.
    """

    info: registry.ModelInfo
    description: Description
    created: str
    size_bytes: int
    imported: ImportReport

    def build(self) -> nn.Module:
        """The architecture with untrained weights; of an ONNX file its network."""
        if self.description.kind.name == onnx_models.NAME:
            return onnx_models.network_of(Path(str(self.info.weights)), self.info.input_shape, self.info.task)
        return build(self.description.kind, self.description.num_classes, self.description.input_size)


def _read(data: dict[str, Any], folder: Path) -> KeptModel:
    description = describe(data["description"], data["dataset"], known=False, kind=_kind_from(data))
    info = description.info(folder.name, str(folder / data["file"]), data["file_name"], data["parameters"])
    imported = report_from_dict(data.get("imported", {"file": data["file_name"]}))
    return KeptModel(info, description, data["created"], folder_bytes(folder), imported)


def _kind_from(data: dict[str, Any]) -> Architecture | None:
    """The architecture as it was recorded, so that no library is imported to list models."""
    kept = data.get("kind")
    if kept is None or kept["name"] != data["description"]["architecture"]:
        return None
    return Architecture(**{name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()})


SHELF = Shelf("models", _read)


def add_model(
    name: str, given: Mapping[str, Any], weights: Path | None, dataset: str | None, created: str, *,
    file_name: str | None = None, progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check a model from end to end and keep it; where anything is wrong, nothing is kept.

    Args:
        name: What it will be called.
        given: Fields of `models.user.description.FIELDS`, the weights left out.
        weights: Its file, an index of its shards, or a folder that holds either; by default the weights of the
            registered model of the architecture's name.
        dataset: Dataset to score on; the architecture's by default.
        created: Time, ISO form.
        file_name: What the user calls the file, if not its own name.
        progress: Called with a fraction and a message.
        cancelled: Polled between the steps.

    Raises:
        FieldError: naming the field, the value and what is allowed.
        ModelError: if the weights cannot be read or do not fit, saying which and how many.
    """
    check_name(name, is_taken)
    description = describe(given, dataset)
    shown = file_name or (weights.name if weights is not None else f"those of {description.kind.name}")
    return keep(
        name, description, lambda: _checkpoint_of(description, weights, shown, wants_average(given)), created, shown,
        {}, progress, cancelled,
    )


def keep(
    name: str, description: Description, read: Callable[[], Checkpoint], created: str, shown: str,
    files: Mapping[str, Path], progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Read weights, build the network, try both together and keep them; where anything is wrong, nothing is kept.

    Args:
        name: What the model will be called; checked.
        description: What it is made of.
        read: Reads its weights.
        created: Time, ISO form.
        shown: What the user calls the file of the weights.
        files: Others that are kept beside the weights, by the names that they get.
        progress: Called with a fraction and a message.
        cancelled: Polled between the steps.

    Raises:
        FieldError: naming the field, the value and what is allowed.
        ModelError: if the weights cannot be read or do not fit, saying which and how many.
    """
    def step(fraction: float, message: str) -> None:
        if cancelled():
            raise InterruptedWorkError("cancelled")
        progress(fraction, message)

    step(0.1, "reading the weights")
    checkpoint = read()
    step(0.4, "building the architecture")
    model = build(description.kind, description.num_classes, description.input_size)
    imported = load(model, checkpoint, description, shown)
    step(0.6, "trying it on one input")
    try_on_one_input(model, description)
    step(0.8, "writing")
    state = {key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    with new_folder("models", name) as draft:
        save_file(state, draft / "weights")
        with (draft / "weights").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        final = _WEIGHTS.format(digest[:16])
        (draft / "weights").rename(draft / final)
        for file_name, path in files.items():
            shutil.copyfile(path, draft / file_name)
        write_record(draft, {
            "description": description.to_dict(), "kind": asdict(description.kind), "dataset": description.dataset,
            "file": final, "created": created, "file_name": shown, "imported": imported.to_dict(),
            "parameters": sum(p.numel() for p in model.parameters()),
        })
    progress(1.0, "done")
    return SHELF.all()[name]


def _checkpoint_of(description: Description, weights: Path | None, shown: str, ema: bool) -> Checkpoint:
    if weights is None:
        known = registry.registered(description.kind.name)
        if known is None or not registry.has_weights(known.name):
            raise FieldError("weights", None, f"a file is needed: {', '.join(SUFFIXES)}, or an index of shards")
        return Checkpoint(registry.load_model(known.name).state_dict(), report=ImportReport(shown))
    check_files(weights, shown)
    return read_checkpoint(weights, ema=ema, shown=shown)


def check_files(weights: Path, shown: str) -> None:
    """Check each file of a checkpoint; see `check_file`."""
    if not weights.exists():
        raise FieldError("weights", shown, "there is no such file")
    for path in weight_files(weights):
        check_file(path, shown if path == weights else path.name)


def check_file(path: Path, shown: str) -> None:
    """Refuse what is missing, too large, or a compressed archive, which could be far larger than it looks.

    Raises:
        FieldError: saying so.
    """
    if not path.is_file():
        raise FieldError("weights", shown, "there is no such file")
    size = path.stat().st_size
    if size > LARGEST_WEIGHTS:
        raise FieldError("weights", shown, f"it has {size / 1e6:.0f} MB, {LARGEST_WEIGHTS / 1e6:.0f} MB are allowed")
    if path.suffix.lower() != ".safetensors" and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                inside = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, OSError, ValueError):
            return  # reading it tells more
        if inside > 2 * size + 1_000_000:
            raise FieldError("weights", shown, "it is a compressed archive; PyTorch writes none")


def load(model: nn.Module, checkpoint: Checkpoint, description: Description, shown: str) -> ImportReport:
    """Put weights into a network and check that they are finite.

    Raises:
        FieldError: if they are of another number of classes.
        ModelError: if they do not fit otherwise, saying which and how many.
    """
    try:
        report = load_checkpoint(model, checkpoint, shown)
    except MismatchError as error:
        head = last_layer(model, description.input_shape, description.kind.input_dtype)
        shapes = dict(error.shapes)
        weight = shapes.pop(f"{head}.weight", None)
        shapes.pop(f"{head}.bias", None)
        if weight is None or shapes or error.missing or error.unknown:
            raise
        reason = f"the weights in {shown} are of {weight[0][0]} classes"
        raise FieldError("num_classes", description.num_classes, reason) from None
    strange = [key for key, value in model.state_dict().items() if not bool(torch.isfinite(value).all())]
    if strange:
        raise ModelError(f"the weights of {shown!r} hold numbers that are not finite: {len(strange)} tensors, "
                         f"{strange[0]} first")
    return report


def try_on_one_input(model: nn.Module, description: Description) -> None:
    """Put one input through the network: shapes that do not fit are an error now, not in the first experiment.

    Raises:
        FieldError: if the network cannot take it, or gives other outputs.
        ModelError: if its outputs are not finite.
    """
    check_parts(model)
    text = description.input_size is None
    example = torch.zeros((1, *description.input_shape), dtype=torch.int64 if text else torch.float32)
    try:
        with torch.no_grad():
            outputs = model.eval()(example)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FieldError("input_size", description.input_size, f"the network cannot take it: {reason}") from None
    if not isinstance(outputs, Tensor):
        raise FieldError("architecture", description.kind.name, "it does not give one number per class")
    if wrong := wrong_outputs(outputs, description.task, description.num_classes):
        raise FieldError("num_classes", description.num_classes, wrong)
    if not bool(torch.isfinite(outputs).all()):
        raise ModelError("the network's outputs are not finite with these weights")


def folder_of(name: str) -> Path:
    """Folder of a kept model."""
    return own_folder("models") / name


def change_preprocessing(name: str, settings: Mapping[str, Any]) -> None:
    """Change fields of a kept model's preprocessing in place.

    Raises:
        FieldError: naming the field, the value and what is allowed; nothing is changed.
    """
    path = folder_of(name) / RECORD
    data = json.loads(path.read_text(encoding="utf-8"))
    given = {**data["description"], **{key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}}
    data["description"] = describe(given, data["dataset"], known=False, kind=_kind_from(data)).to_dict()
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(data, indent=1), encoding="utf-8")
    draft.replace(path)


def remove_model(name: str) -> bool:
    """Delete a model that a user has added; False where there is none of that name."""
    return SHELF.remove(name)


def entries() -> dict[str, tuple[registry.ModelInfo, Callable[[], nn.Module]]]:
    """Records and factories by name, for the registry."""
    return {name: (kept.info, kept.build) for name, kept in SHELF.all().items()}


def entry(name: str) -> tuple[registry.ModelInfo, Callable[[], nn.Module]] | None:
    """Record and factory of one, or None."""
    kept = SHELF.get(name)
    return None if kept is None else (kept.info, kept.build)


def code_module(info: registry.ModelInfo) -> str:
    """Name of the module whose code builds a model of a given record."""
    architecture = info.architecture or ""
    found = (module for prefix, module in _BUILDERS.items() if architecture.startswith(prefix))
    return next(found, builders.__name__)


def models_on(dataset: str) -> list[str]:
    """Names of kept models that are scored on a dataset by default."""
    return [name for name, kept in SHELF.all().items() if kept.info.dataset == dataset]


def incoming() -> Path:
    """Folder of files that wait for being checked; made if missing."""
    folder = own_folder("incoming")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
