"""ONNX files that a user adds as models; for the command line and the service."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compression.errors import CancelledError, InputError
from compression.experiments.progress_bar import progress_bar
from compression.experiments.store import now
from models.errors import InterruptedWorkError, ModelError
from models.own import kept_models, onnx_models
from models.own.keeping import FieldError
from models.own.kept_models import KeptModel
from models.own.onnx_models import KINDS

__all__ = ["KINDS", "add_job", "add_onnx", "add_onnx_command"]
Progress = Callable[[float, str], None]
_PREPROCESSING = ("input_size", "resize_size", "scale", "interpolation", "mean", "std", "num_classes")
_OF_CHECKPOINTS = ("architecture", "weights")


def add_onnx(
    name: str, given: Mapping[str, Any], path: Path, dataset: str | None, *, file_name: str | None = None,
    progress: Progress = lambda fraction, message: None, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Import an ONNX file and keep it as a model; see `models.own.onnx_models.add_onnx_model`.

    Raises:
        InputError: naming the field, the value and what is allowed; nothing is kept.
        CancelledError: if `cancelled` became true.
    """
    try:
        onnx_models.add_onnx_model(
            name, given, path, dataset, now(), file_name=file_name, progress=progress, cancelled=cancelled
        )
    except FieldError as error:
        raise InputError(error.field, error.value, error.allowed) from None
    except ModelError as error:
        raise InputError("onnx", file_name or path.name, str(error)) from None
    except InterruptedWorkError:
        raise CancelledError("cancelled") from None
    return kept_models.SHELF.all()[name]


def add_onnx_command(options: Namespace) -> KeptModel:
    """``add-model --onnx``: import a file.

    Raises:
        InputError: if it cannot be, or is named beside an architecture or a checkpoint.
    """
    for field in _OF_CHECKPOINTS:
        value = getattr(options, field)
        if value is not None:
            raise InputError(field, str(value), "an ONNX file holds both the architecture and the weights")
    if options.ema:
        raise InputError("ema", True, "an ONNX file holds one set of weights")
    given = {name: value for name in _PREPROCESSING if (value := getattr(options, name)) is not None}
    if options.onnx.is_dir():
        raise InputError("onnx", str(options.onnx), "a file .onnx, or a zip of it and its data, is needed")
    path = kept_models.find_weights(str(options.onnx))
    with progress_bar(options.name) as progress:
        return add_onnx(options.name, given, path, options.dataset, progress=progress)


def add_job(
    root: str, job: str, name: str, given: dict[str, Any], path: str, file_name: str, dataset: str, before: bool = True
) -> bool:
    """Import an uploaded file in a worker process; the upload is removed either way."""
    from compression.experiments.jobs import side_stage

    try:
        return before and side_stage(
            root, job, lambda store, progress, cancelled: add_onnx(
                name, given, Path(path), dataset, file_name=file_name, progress=progress, cancelled=cancelled
            ),
        )
    finally:
        Path(path).unlink(missing_ok=True)
