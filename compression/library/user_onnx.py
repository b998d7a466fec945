"""ONNX files that a user adds as models; for the command line and the service."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compression.core.errors import CancelledError, InputError
from compression.experiments.store import now
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.user import kept_models, onnx_models
from models.user.kept_models import KeptModel

Progress = Callable[[float, str], None]


def add_onnx(
    name: str, given: Mapping[str, Any], path: Path, dataset: str | None, *, file_name: str | None = None,
    progress: Progress = lambda fraction, message: None, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Import an ONNX file and keep it as a model; see `models.user.onnx_models.add_onnx_model`.

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
