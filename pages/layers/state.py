"""What the Layers page works on: the results there are, and the jobs of this session; and the way to Explore."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import ExperimentResult, InputError, JobStatus, Recipe, recipe_to_dict
from pages.layers.recipe import recipe_text
from pages.shared.comparison import newest
from pages.shared.exchange import address_values
from pages.shared.url.state import EXTRA, MODEL, widget_values

if TYPE_CHECKING:
    from compression.service import Service

_JOBS = "layer-jobs"
UNFINISHED = ("queued", "running")


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
    st.switch_page("explore/explore.py", query_params=address_values(values))


@dataclass(frozen=True)
class Measured:
    """Results of one model on one dataset by recipe, and the jobs that this session has started."""

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
    """What is measured of a model on a dataset."""
    return Measured(service, newest(service.results(model, dataset)))


def _jobs() -> dict[str, str]:
    return st.session_state.setdefault(_JOBS, {})


def _identity(recipe: Mapping[str, object]) -> str:
    return json.dumps(recipe, sort_keys=True)
