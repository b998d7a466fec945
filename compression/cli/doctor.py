"""``doctor-model``: whether another preprocessing or order of labels would do far better."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from compression.core.errors import InputError
from compression.core.progress_bar import progress_bar
from compression.experiments.scoring_data import dataset_for
from compression.library import doctor
from compression.library.doctor import Diagnosis
from compression.recipe import recipe_from_yaml
from models.user import kept_models


def doctor_model(options: Namespace) -> int:
    """Score a model of images with usual alternatives on up to 200 images, and apply the suggestion if asked to."""
    mine = kept_models.SHELF.get(options.model) is not None
    if options.apply and not mine:
        raise InputError("--apply", options.model, "a model that was added with add-model is needed")
    with progress_bar(options.model) as progress:
        if mine and options.dataset is None:
            found = doctor.diagnose_and_keep(options.model, progress)
        else:
            found = doctor.diagnose(*_subject(options), progress)
    applied = bool(options.apply and found.settings)
    if applied:
        doctor.use_suggestion(options.model, found)
    if options.json:
        sys.stdout.write(json.dumps({**asdict(found), "applied": applied}) + "\n")
    else:
        sys.stdout.write("\n".join(lines_of(found, applied=applied, kept=mine)) + "\n")
    return 0


def lines_of(found: Diagnosis, *, applied: bool = False, kept: bool = True) -> list[str]:
    """The sentence, and how the suggestion is used."""
    if not found.settings:
        return [found.sentence]
    use = f"add-model with {found.options}" + (f", or: doctor-model {found.model} --apply" if kept else "")
    return [found.sentence, f"- {f'{found.model} uses these settings now' if applied else use}"]


def _subject(options: Namespace) -> tuple[object, str]:
    """Model and dataset of a recipe file, or of a model's name."""
    path = Path(options.model)
    if path.suffix.lower() in (".yaml", ".yml", ".json") and path.is_file():
        recipe = recipe_from_yaml(path.read_text(encoding="utf-8"))
        return recipe.model, options.dataset or recipe.dataset
    return options.model, dataset_for(options.model, options.dataset)
