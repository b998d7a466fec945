"""One model or dataset of the library: what is known of it, and what can be done with it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.experiments.tasks import problem_of
from compression.library import DatasetEntry, DiskUse, ModelEntry
from pages.library.errands import POLL, attempt, show_download, show_job, status_of, unfinished
from pages.library.tables import dataset_facts, facts_text, model_facts
from pages.shared.failures import fragment
from pages.shared.url.state import DATA, MODEL

if TYPE_CHECKING:
    from compression.service import Service

_THUMBNAIL = 84


def show_model(service: "Service", entry: ModelEntry, data: Mapping[str, DatasetEntry]) -> None:
    """Draw a model.

    Args:
        service: The service.
        entry: The model.
        data: All datasets by name.
    """
    info = entry.info
    _head(info.title, info.name, entry.here)
    st.caption(info.description)
    titles = {name: own.info.title for name, own in data.items()}
    st.markdown(facts_text(model_facts(entry, titles)))
    if entry.download is not None:
        show_download(service, info.name, entry.download, entry.here)
    if not entry.here:
        return
    usable = [name for name in entry.datasets if name in data and data[name].here]
    for name in usable:
        _show_measuring(service, entry, name, titles[name])
    if usable:
        st.page_link(
            "explore/explore.py", label="Open in Explore", icon=":material/explore:",
            query_params={MODEL: info.name, DATA: usable[0]},
        )
    if info.dataset not in usable:
        title = titles.get(info.dataset, info.dataset)
        st.button(f"Its dataset, {title}, is not here", key="to-data", on_click=partial(_go_to_data, info.dataset))


def _head(title: str, name: str, here: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="library-head"):
        st.markdown(f"**{title}** `{name}`", width="content")
        if here:
            st.badge("installed", icon=":material/check:", color="green")
        else:
            st.badge("not here", icon=":material/cloud:", color="gray")


def _go_to_data(name: str) -> None:
    """Show a dataset; its widget is drawn for the first time after this, so its address is set too."""
    st.session_state.update({"show": "Datasets", "task": "All", "hand": "All", "dataset": name})
    st.query_params["dataset"] = name


def _show_measuring(service: "Service", entry: ModelEntry, dataset: str, title: str) -> None:
    """A button where the untouched model has not been measured to the end on a dataset."""
    result, name = entry.baselines.get(dataset), entry.info.name
    job = service.library.measuring(name, dataset)
    if result is not None and result.stage == "full" and not unfinished(service, job):
        return
    quality = problem_of(entry.info.task).quality.title
    show_job(
        service, f"measure-{name}-{dataset}", lambda: service.library.measuring(name, dataset),
        partial(_measure, service, name, dataset), f"Measure on {dataset}", ":material/timer:",
        f"{quality} on {title} and latency of the uncompressed model, on this machine",
    )


def _measure(service: "Service", model: str, dataset: str) -> None:
    with st.spinner("Reading model and data ..."):
        service.library.measure(model, dataset)


def show_dataset(
    service: "Service", entry: DatasetEntry, disk: DiskUse | None, models: Sequence[ModelEntry]
) -> None:
    """Draw a dataset.

    Args:
        service: The service.
        entry: The dataset.
        disk: What the datasets take; None while that is counted.
        models: All models.
    """
    info = entry.info
    _head(info.title, info.name, entry.here)
    st.markdown(facts_text(dataset_facts(entry, disk, service.library.look(info.name) if entry.here else None)))
    if entry.download is not None:
        show_download(service, info.name, entry.download, entry.here and not entry.partial)
    if entry.here:
        _show_look(service, info.name)
    usual = [own for own in models if own.info.name in entry.models]
    ready = [own for own in models if own.here and entry.here and info.name in own.datasets]
    if not usual and not ready:
        return
    st.markdown("**Its models**")
    for own in ready:
        st.page_link(
            "explore/explore.py", label=f"Open {own.info.title} in Explore", icon=":material/explore:",
            query_params={MODEL: own.info.name, DATA: info.name},
        )
    others = [own.info.title for own in usual if own not in ready]
    if others:
        st.caption("Not ready: " + ", ".join(others))


def _show_look(service: "Service", name: str) -> None:
    """A few images of the test split; a worker reads the data when they are first looked at."""
    job = service.library.look_job(name)
    if service.library.look(name) is None and status_of(service, job) is None:
        attempt(partial(service.library.submit_look, name))
    every = POLL if service.library.look(name) is None and unfinished(service, job) else None
    fragment(_look, f"The look into {name}", run_every=every)(service, name, job, every)


def _look(service: "Service", name: str, job: str, every: float | None) -> None:
    found, status = service.library.look(name), status_of(service, job)
    if (found is None and unfinished(service, job)) != (every is not None):
        st.rerun()
    if found is not None:
        if found.images:
            st.image(
                [own.png for own in found.images], caption=[own.label for own in found.images], width=_THUMBNAIL,
                alt=[f"Test image of the class {own.label}" for own in found.images],
            )
        return
    if every is not None:
        st.caption("Reading the data ...")
        return
    if status is not None and status.error:
        st.error(status.error)
    if st.button("Look into it", key="look", icon=":material/image:"):
        attempt(partial(service.library.submit_look, name))
        st.rerun()
