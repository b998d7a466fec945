"""The application service: what pages, the command line and scripts use.

Names are imported on first use: the page that is shown first must not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compression.analysis.prediction import PREDICTION_BASIS
    from compression.analysis.sensitivity import Sensitivity, SensitivityMap
    from compression.core.errors import InputError
    from compression.core.paths import home
    from compression.experiments.results import Badge, ExperimentResult, Figures, LayerRecord, TrainingRecord
    from compression.experiments.stages import run_experiment
    from compression.experiments.store import ResultStore
    from compression.jobs.engine import Engine
    from compression.jobs.status import JobStatus
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
    from compression.reports.text import figure_rows, format_accuracy, format_bytes, format_latency
    from compression.service.facade import Service
    from compression.service.sweep import vary
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
    "compression.core.errors": ("InputError",),
    "compression.jobs.engine": ("Engine",),
    "compression.core.paths": ("home",),
    "compression.analysis.prediction": ("PREDICTION_BASIS",),
    "compression.reports.text": ("figure_rows", "format_accuracy", "format_bytes", "format_latency"),
    "compression.experiments.results": ("Badge", "ExperimentResult", "Figures", "LayerRecord", "TrainingRecord"),
    "compression.analysis.sensitivity": ("Sensitivity", "SensitivityMap"),
    "compression.service.facade": ("Service",),
    "compression.experiments.stages": ("run_experiment",),
    "compression.jobs.status": ("JobStatus",),
    "compression.experiments.store": ("ResultStore",),
    "compression.service.sweep": ("vary",),
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
