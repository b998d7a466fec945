"""Identity of results: recipe, model weights, data and code together."""

import hashlib

from compression.experiments.code_version import code_version
from compression.metrics.environment import int8_weight_bits
from compression.recipe import Recipe, recipe_hash
from models import registry

_WHOLE_BITS = 8


def result_key(recipe: Recipe, model_hash: str, data_hash: str) -> str:
    """Key of a recipe's result in the store; 20 hexadecimal digits.

    Where 8-bit activations meet integer kernels that need narrower weights, the artifact is another one.
    """
    parts = [recipe_hash(recipe), model_hash, data_hash, code_version(), *_student_code(recipe)]
    if int8_weight_bits() < _WHOLE_BITS and _has_integer_activations(recipe):
        parts.append(f"{int8_weight_bits()}-bit integer weights")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]


def _student_code(recipe: Recipe) -> list[str]:
    """Code of other models' architectures that steps name as students."""
    names = [getattr(step.config, "student", None) for step in recipe.steps]
    return [registry.code_of(name) for name in names if name and name in registry.entries()]


def _has_integer_activations(recipe: Recipe) -> bool:
    return any(getattr(step.config, "activation_bits", None) == _WHOLE_BITS for step in recipe.steps)
