"""What the Layers page works on: its recipe in the address, the results there are, and the jobs of this session."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from compression.experiments import ExperimentResult, InputError, JobStatus, ModelInfo, Recipe, recipe_to_dict
from pages.components.comparison import newest
from pages.components.data_choice import DataChoice, data_choice
from pages.components.exchange import address_values
from pages.components.layer_map import LAYER
from pages.components.layer_recipe import RECIPE, read_recipe_text, recipe_text
from pages.components.state import EXTRA, MODEL, widget_values

if TYPE_CHECKING:
    from compression.experiments import Service

_CURRENT, _JOBS, _FIRST_MODEL = "current-recipe", "layer-jobs", "digits_resnet"
UNFINISHED = ("queued", "running")


def recipe_in_view(service: "Service", models: Sequence[ModelInfo]) -> Recipe:
    """The recipe of the address, else the one that Explore shows, else the first model as it is."""
    known = {info.name: info for info in models}
    asked = st.query_params.get(RECIPE)
    if asked is not None:
        try:
            recipe = read_recipe_text(asked)
            if recipe.model in known:
                return _kept(_on_data_here(recipe, data_choice(service, known[str(recipe.model)])))
            st.warning(f"model: {recipe.model!r} is not here; allowed: {', '.join(known)}")
        except InputError as error:
            st.warning(str(error))
    shown = st.session_state.get(_CURRENT)
    if isinstance(shown, Recipe) and shown.model in known:
        return _kept(shown)
    return _kept(bare(service, known.get(_FIRST_MODEL, models[0])))


def bare(service: "Service", info: ModelInfo) -> Recipe:
    """A model as it is, on the data set where it is usually scored."""
    return Recipe(info.name, data_choice(service, info).usual)


def _on_data_here(recipe: Recipe, choice: DataChoice) -> Recipe:
    """A recipe that cannot be scored on its data set here is scored on the usual one, which is said."""
    if recipe.dataset in choice.names or not choice.here:
        return recipe
    st.warning(choice.why_not(recipe.dataset))
    return replace(recipe, dataset=choice.usual)


def _kept(recipe: Recipe) -> Recipe:
    st.query_params[RECIPE] = recipe_text(recipe)
    return recipe


def show(recipe: Recipe) -> None:
    """Put another recipe in view; for callbacks. What it says of layers is what Explore applies from now on, too."""
    before = st.session_state.get(_CURRENT)
    if LAYER in st.query_params and isinstance(before, Recipe) and before.model != recipe.model:
        del st.query_params[LAYER]
    st.query_params[RECIPE] = recipe_text(recipe)


def remember(recipe: Recipe) -> None:
    """Come back to this recipe when the page is asked for without an address."""
    st.session_state[_CURRENT] = recipe


def explore_address(recipe: Recipe, service: "Service") -> dict[str, object]:
    """Values of Explore's widgets that show a recipe.

    Raises:
        InputError: if Explore cannot show it.
    """
    return widget_values(recipe, [info.name for info in service.models()], service.techniques())


def open_in_explore(values: Mapping[str, object]) -> None:
    """Leave for Explore: values in the address, and in the session's state those that are a widget's default."""
    st.session_state.update({key: value for key, value in values.items() if key != MODEL})
    st.session_state[EXTRA] = values.get(EXTRA, "")
    st.switch_page("pages/explore.py", query_params=address_values(values))


@dataclass(frozen=True)
class Measured:
    """Results of one model on one data set by recipe, and the jobs that this session has started."""

    service: "Service"
    results: Sequence[ExperimentResult]

    def of(self, recipe: Recipe) -> ExperimentResult | None:
        """The newest result of a recipe."""
        wanted = _identity(recipe_to_dict(recipe))
        return next((r for r in reversed(self.results) if _identity(r.recipe) == wanted), None)

    def status(self, recipe: Recipe) -> JobStatus | None:
        """State of the job that this session has started for a recipe."""
        key = _jobs().get(recipe_text(recipe))
        return None if key is None else self.service.status([key]).get(key)

    def busy(self, recipe: Recipe) -> bool:
        """Whether a first result is on its way."""
        status = self.status(recipe)
        return status is not None and status.result is None and status.state in UNFINISHED

    def submit(self, recipes: Sequence[Recipe]) -> None:
        """Have recipes measured; for callbacks."""
        try:
            for recipe in recipes:
                _jobs()[recipe_text(recipe)] = self.service.submit(recipe)
        except InputError as error:
            st.session_state[REFUSED] = str(error)


REFUSED = "layer-refused"


def measured(service: "Service", model: str, dataset: str) -> Measured:
    """What is measured of a model on a data set."""
    return Measured(service, newest(service.results(model, dataset)))


def _jobs() -> dict[str, str]:
    return st.session_state.setdefault(_JOBS, {})


def _identity(recipe: Mapping[str, object]) -> str:
    return json.dumps(recipe, sort_keys=True)
