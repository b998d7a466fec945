"""Which dataset a model is scored on: the picker that stands under a model's."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitAPIException

from compression.service import ModelInfo
from pages.shared.url.bound import bound
from pages.shared.url.changes import is_pending
from pages.shared.url.state import DATA

if TYPE_CHECKING:
    from compression.experiments.scoring_data import ScoringData
    from compression.service import Service

_HELP = "All on this machine that fit the model, for scoring and calibration. The Library adds others."
_MOST_NAMES = 3


@dataclass(frozen=True)
class DataChoice:
    """Datasets that a model can be scored on.

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
        """Why a model is not scored on a dataset, in a line."""
        if any(data.name == name for data in self.away):
            return f"The dataset {name!r} is not on this machine; {self.usual} is taken."
        return f"The dataset {name!r} does not fit {self.model} or is not here; {self.usual} is taken."

    def told(self, name: str) -> str:
        """A dataset in a line."""
        found = next((data for data in self.here if data.name == name), None)
        return "" if found is None else f"{found.title}; {found.n_test:,} samples are scored."


def data_choice(service: "Service", info: ModelInfo) -> DataChoice:
    """What can be chosen for a model."""
    fitting = service.scoring_data(info.name)
    here = [data for data in fitting if data.here]
    usual = here[0].name if here else info.dataset
    return DataChoice(info.name, usual, here, [data for data in fitting if not data.here])


def pick_dataset(
    service: "Service", info: ModelInfo, key: str = DATA, *, notices: DeltaGenerator | None = None
) -> str:
    """Ask which dataset a model is scored on, where several of them are here.

    Args:
        service: The service.
        info: The chosen model.
        key: Of the widget, and in the address, which it leaves clean while the usual dataset is chosen.
        notices: Where it is said that a dataset cannot be chosen, if not below the picker.
    """
    choice, state = data_choice(service, info), st.session_state
    several, new = len(choice.here) > 1, state.get(f"{key}-of") != choice.model
    state[f"{key}-of"] = choice.model
    # Without a picker the one of a model before may still be in the address and in the widget's state.
    _take_address(choice, key, complain=several or new)
    if state.get(key, choice.usual) not in choice.names:
        if several or new:
            _refuse(choice, state[key], key)
        state[key] = choice.usual
    if several:
        chosen = str(st.selectbox(
            "Dataset", choice.names, **bound(key), persist_state="session", help=_HELP,
        ))
        st.caption(choice.told(chosen))
    else:
        chosen = choice.usual
        if state.get(key) != chosen:
            state[key] = chosen
        with suppress(StreamlitAPIException):  # that of a model before, which goes with its widget
            st.query_params.pop(key, None)
    refused = _show_refusal(choice, chosen, key, notices)
    if several and not refused:
        state[_wished(key)] = chosen if chosen != choice.usual else ""
    show_away(choice)
    return chosen


def follow_model(service: "Service", info: ModelInfo, key: str = DATA) -> None:
    """Another model was chosen: a dataset that somebody has chosen is kept where it fits, else the model's usual one
    is taken. A callback."""
    choice, wished = data_choice(service, info), st.session_state.get(_wished(key), "")
    st.session_state[f"{key}-switched"] = True
    if wished and wished not in choice.names:
        _refuse(choice, wished, key)
    else:
        st.session_state[key] = wished or choice.usual


def _take_address(choice: DataChoice, key: str, *, complain: bool) -> None:
    """What the widget itself does not take from an address: the usual dataset, which a link may name, and one that
    cannot be chosen. While a change of the widgets is under way the address may still be the one before."""
    asked, switched = st.query_params.get(key), st.session_state.pop(f"{key}-switched", False)
    if asked is None or switched or (key == DATA and is_pending()):
        return
    if asked not in choice.names and complain:
        _refuse(choice, asked, key)
    elif asked == choice.usual and st.session_state.get(key) != asked:
        st.session_state[key] = asked


def _refuse(choice: DataChoice, name: str, key: str) -> None:
    st.session_state[key] = choice.usual
    st.session_state[_refused(key)] = (choice.model, choice.why_not(name))


def _show_refusal(choice: DataChoice, chosen: str, key: str, notices: DeltaGenerator | None) -> bool:
    """Kept until another model or dataset is chosen: the page may be redrawn at any moment."""
    model, text = st.session_state.get(_refused(key), ("", ""))
    if text and model == choice.model and chosen == choice.usual:
        st.warning(text) if notices is None else notices.warning(text)
        return True
    st.session_state.pop(_refused(key), None)
    return False


def _refused(key: str) -> str:
    return f"{key}-refused"


def _wished(key: str) -> str:
    return f"{key}-wished"


def show_away(choice: DataChoice) -> None:
    """The way to datasets that would fit but are not here."""
    if not choice.away:
        return
    names = [data.name for data in choice.away]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    st.page_link(
        "library/library.py", label=f"Not on this machine: {', '.join(names[:_MOST_NAMES])}{more}",
        icon=":material/cloud:", query_params={"show": "Datasets", "dataset": names[0]},
        help="What else fits this model; the Library says how it comes here",
    )
