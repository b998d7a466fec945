"""Which data set a model is scored on: the picker that stands under a model's."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.errors import StreamlitAPIException

from compression.experiments import ModelInfo
from pages.components.changes import is_pending
from pages.components.state import DATA

if TYPE_CHECKING:
    from compression.experiments import Service
    from compression.experiments.scoring_data import ScoringData

_HELP = "All on this machine that fit the model, for scoring and calibration. Your own come by the Library."
_MOST_NAMES = 3


@dataclass(frozen=True)
class DataChoice:
    """Data sets that a model can be scored on.

    Attributes:
        model: The model's name.
        usual: What it is scored on where nobody says anything.
        here: Those on this machine, the usual one first.
        away: Those that would fit but are not here.
    """

    model: str
    usual: str
    here: Sequence["ScoringData"]
    away: Sequence["ScoringData"]

    @property
    def names(self) -> list[str]:
        """Names of those on this machine."""
        return [data.name for data in self.here]

    def why_not(self, name: str) -> str:
        """Why a model is not scored on a data set, in a line."""
        if any(data.name == name for data in self.away):
            return f"The data set {name!r} is not on this machine; {self.usual} is taken."
        return f"The data set {name!r} does not fit {self.model} or is not here; {self.usual} is taken."

    def told(self, name: str) -> str:
        """A data set in a line."""
        found = next((data for data in self.here if data.name == name), None)
        return "" if found is None else f"{found.title}; {found.n_test:,} samples are scored."


def data_choice(service: "Service", info: ModelInfo) -> DataChoice:
    """What can be chosen for a model."""
    fitting = service.scoring_data(info.name)
    here = [data for data in fitting if data.here]
    usual = here[0].name if here else info.dataset
    return DataChoice(info.name, usual, here, [data for data in fitting if not data.here])


def pick_dataset(service: "Service", info: ModelInfo, key: str = DATA) -> str:
    """Ask which data set a model is scored on, where several of them are here.

    Args:
        service: The service.
        info: The chosen model.
        key: Of the widget, and in the address, which it leaves clean while the usual data set is chosen.
    """
    choice, state = data_choice(service, info), st.session_state
    _take_address(choice, key)
    wanted = state.get(key)
    if wanted is not None and wanted not in choice.names:
        _refuse(choice, wanted, key)
    if len(choice.here) > 1:
        chosen = str(st.selectbox(
            "Data set", choice.names, key=key, bind="query-params", persist_state="session", help=_HELP,
        ))
        st.caption(choice.told(chosen))
    else:
        chosen = choice.usual
        if state.get(key) != chosen:
            state[key] = chosen
        with suppress(StreamlitAPIException):  # that of a model before, which goes with its widget
            st.query_params.pop(key, None)
    state[_usual(key)] = choice.usual
    _show_refusal(choice, chosen, key)
    show_away(choice)
    return chosen


def follow_model(service: "Service", info: ModelInfo, key: str = DATA) -> None:
    """Another model was chosen: its usual data set takes the place of the other's; one that was chosen is kept as long
    as it fits. A callback."""
    state = st.session_state
    state[_switched(key)] = True
    if state.get(key) == state.get(_usual(key)):
        state[key] = data_choice(service, info).usual


def _take_address(choice: DataChoice, key: str) -> None:
    """What the widget itself does not take from an address: the usual data set, which a link may name, and one that
    cannot be chosen. While a change of the widgets is under way the address may still be the one before."""
    asked, switched = st.query_params.get(key), st.session_state.pop(_switched(key), False)
    if asked is None or switched or (key == DATA and is_pending()):
        return
    if asked not in choice.names:
        _refuse(choice, asked, key)
    elif asked == choice.usual and st.session_state.get(key) != asked:
        st.session_state[key] = asked


def _refuse(choice: DataChoice, name: str, key: str) -> None:
    st.session_state[key] = choice.usual
    st.session_state[f"{key}-refused"] = (choice.model, choice.why_not(name))


def _show_refusal(choice: DataChoice, chosen: str, key: str) -> None:
    """Kept until another model or data set is chosen: the page may be redrawn at any moment."""
    model, text = st.session_state.get(f"{key}-refused", ("", ""))
    if text and model == choice.model and chosen == choice.usual:
        st.warning(text)
    elif text:
        del st.session_state[f"{key}-refused"]


def _usual(key: str) -> str:
    return f"{key}-usual"


def _switched(key: str) -> str:
    return f"{key}-switched"


def show_away(choice: DataChoice) -> None:
    """The way to data sets that would fit but are not here."""
    if not choice.away:
        return
    names = [data.name for data in choice.away]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    st.page_link(
        "pages/library.py", label=f"Not on this machine: {', '.join(names[:_MOST_NAMES])}{more}",
        icon=":material/cloud:", query_params={"show": "Data sets", "dataset": names[0]},
        help="What else fits this model; the Library says how it comes here",
    )
