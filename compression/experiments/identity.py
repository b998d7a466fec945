"""Identity of results: recipe, model weights, data and code together."""

import hashlib

from compression.experiments.code_version import code_version
from compression.recipe import Recipe, recipe_hash


def result_key(recipe: Recipe, model_hash: str, data_hash: str) -> str:
    """Key of a recipe's result in the store; 20 hexadecimal digits."""
    parts = (recipe_hash(recipe), model_hash, data_hash, code_version())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]
