"""The application service: what pages, the command line and scripts use.

Names are imported on first use: the page that is shown first must not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compression.errors import InputError
    from compression.experiments.engine import Engine
    from compression.experiments.locations import home
    from compression.experiments.prediction import PREDICTION_BASIS
    from compression.experiments.report import figure_rows, format_accuracy, format_bytes, format_latency
    from compression.experiments.results import Badge, ExperimentResult, Figures, LayerRecord, TrainingRecord
    from compression.experiments.sensitivity import Sensitivity, SensitivityMap
    from compression.experiments.service import Service
    from compression.experiments.stages import run_experiment
    from compression.experiments.status import JobStatus
    from compression.experiments.store import ResultStore
    from compression.experiments.sweep import vary
    from compression.knobs import Knob, default_of, knobs_of
    from compression.layers import matches
    from compression.recipe import (
        Recipe,
        Runtime,
        Step,
        recipe_from_dict,
        recipe_from_yaml,
        recipe_hash,
        recipe_to_dict,
        recipe_to_yaml,
        step_from_dict,
    )
    from compression.techniques.registry import Technique, get_technique, list_techniques
    from models.info import ModelInfo
    from models.registry import FIRST_MODEL, has_weights

__all__ = [
    "FIRST_MODEL",
    "PREDICTION_BASIS",
    "Badge",
    "Engine",
    "ExperimentResult",
    "Figures",
    "InputError",
    "JobStatus",
    "Knob",
    "LayerRecord",
    "ModelInfo",
    "Recipe",
    "ResultStore",
    "Runtime",
    "Sensitivity",
    "SensitivityMap",
    "Service",
    "Step",
    "Technique",
    "TrainingRecord",
    "default_of",
    "figure_rows",
    "format_accuracy",
    "format_bytes",
    "format_latency",
    "get_technique",
    "has_weights",
    "home",
    "knobs_of",
    "list_techniques",
    "matches",
    "recipe_from_dict",
    "recipe_from_yaml",
    "recipe_hash",
    "recipe_to_dict",
    "recipe_to_yaml",
    "run_experiment",
    "step_from_dict",
    "vary",
]

_MODULES = {
    "compression.errors": ("InputError",),
    "compression.experiments.engine": ("Engine",),
    "compression.experiments.locations": ("home",),
    "compression.experiments.prediction": ("PREDICTION_BASIS",),
    "compression.experiments.report": ("figure_rows", "format_accuracy", "format_bytes", "format_latency"),
    "compression.experiments.results": ("Badge", "ExperimentResult", "Figures", "LayerRecord", "TrainingRecord"),
    "compression.experiments.sensitivity": ("Sensitivity", "SensitivityMap"),
    "compression.experiments.service": ("Service",),
    "compression.experiments.stages": ("run_experiment",),
    "compression.experiments.status": ("JobStatus",),
    "compression.experiments.store": ("ResultStore",),
    "compression.experiments.sweep": ("vary",),
    "compression.knobs": ("Knob", "default_of", "knobs_of"),
    "compression.layers": ("matches",),
    "compression.recipe": (
        "Recipe", "Runtime", "Step", "recipe_from_dict", "recipe_from_yaml", "recipe_hash", "recipe_to_dict",
        "recipe_to_yaml", "step_from_dict",
    ),
    "compression.techniques": ("Technique", "get_technique", "list_techniques"),
    "models.info": ("ModelInfo",),
    "models.registry": ("FIRST_MODEL", "has_weights"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value
