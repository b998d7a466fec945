"""A Python file of models named at the start, and weights that a recipe names beside itself."""

import os
from dataclasses import replace
from pathlib import Path

from compression.core.errors import InputError
from compression.recipe import Recipe

VARIABLE = "COMPRESSION_MODELS"


def use_models_file(path: Path | None = None) -> None:
    """Register the models of a Python file in this process and in those that it starts.

    Args:
        path: The file; by default the one that the environment names, if any.

    Raises:
        InputError: if it is missing, fails, or registers a name that there is already.
    """
    if path is not None:
        os.environ[VARIABLE] = str(path.expanduser().absolute())
    if not os.environ.get(VARIABLE):
        return
    from models import registry
    from models.errors import FieldError

    try:
        registry.load_models_file(anew=path is not None)
    except FieldError as error:
        raise InputError(error.field, error.value, error.allowed) from None


def beside(path: Path, recipe: Recipe) -> Recipe:
    """A recipe whose described model's weights are found: a relative path counts from here, else from the recipe.

    Args:
        path: The recipe's file.
        recipe: What it says.
    """
    if isinstance(recipe.model, str):
        return recipe
    found = {}
    for field in ("weights", "onnx", "huggingface"):
        named = recipe.model.get(field)
        if isinstance(named, str) and not Path(named).is_absolute() and not Path(named).exists():
            near = path.parent / named
            found |= {field: str(near)} if near.exists() else {}
    return replace(recipe, model={**recipe.model, **found}) if found else recipe
