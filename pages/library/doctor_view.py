"""The import doctor's sentence under a user's model, with a button that uses what it suggests."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import InputError
from pages.library.user_job import plain

if TYPE_CHECKING:
    from compression.library.doctor import Diagnosis
    from compression.library.user_entries import KeptModel

_ERROR = "doctor-error"


def show_doctor(kept: "KeptModel") -> None:
    """What the diagnosis of a model found; nothing where there is none of the model as it is now."""
    from compression.library.doctor import read_diagnosis

    name = kept.info.name
    found = read_diagnosis(name)
    if found is None:
        return
    if found.best is None:
        st.caption(plain(found.sentence))
        return
    with st.container(key=f"doctor-{name}"):
        st.warning(plain(found.sentence), icon=":material/troubleshoot:")
        if found.settings:
            st.button(
                "Use these settings", key=f"use-settings-{name}", icon=":material/check:",
                on_click=partial(_use, name, found),
                help=f"On the command line: python -m compression doctor-model {name} --apply",
            )
            st.caption(plain(f"Option of add-model: {found.options}"))
    if _ERROR in st.session_state:
        st.error(plain(st.session_state.pop(_ERROR)))


def _use(name: str, found: "Diagnosis") -> None:
    from compression.library.doctor import use_suggestion

    try:
        use_suggestion(name, found)
    except InputError as error:
        st.session_state[_ERROR] = str(error)
        return
    st.toast(f"{name} uses the suggested preprocessing now.", icon=":material/check:")
