"""Export: take a measured result away, as files, in other runtimes, as a report, and as what reproduces it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.reports import Subject, command_lines, model_card, python_snippet, report_html
from compression.service import (
    ExperimentResult,
    InputError,
    Recipe,
    has_weights,
    recipe_from_dict,
    recipe_to_dict,
    recipe_to_yaml,
)
from pages.export.runtimes import show_runtimes
from pages.shared import backend
from pages.shared.cards import show_cards
from pages.shared.comparison import dataset_name, differ_in_data, newest
from pages.shared.exchange import address_values, show_downloads, show_import, take_import
from pages.shared.failures import fragment
from pages.shared.formats import recipe_label, run_name, told_apart
from pages.shared.url.bound import by_history
from pages.shared.url.changes import ask, tell
from pages.shared.url.choice import Choice
from pages.shared.url.current import current, opens_with, set_current
from pages.shared.url.state import RESULT, widget_values

if TYPE_CHECKING:
    from compression.service import Service

_PICKED, _MODEL, _SHOWN, _PENDING = "picked-result", "picked-model", "exported", "pending-import"
_REFINED, _WANTED = "refined", "wanted-recipe"
_LOOK_SECONDS = 2.0


def page() -> None:
    """Draw the page."""
    st.subheader("Export", anchor=False)
    service = backend.service()
    names = [info.name for info in service.models() if has_weights(info.name)]
    take_import(names, service.techniques(), use=_leave_with)
    _go_on_with_import()
    results = service.results()
    _open_with(service)
    if results:
        result = _pick(results)
        _show(service, result)
    else:
        st.info("Nothing has been measured yet. Measure something on the Explore page first, or import a recipe.")
    st.markdown("##### Import")
    show_import()


def _leave_with(values: Mapping[str, object], told: str) -> None:
    """Have Explore show these values, and go there; Explore sets its widgets itself."""
    ask(values)
    tell(told)
    st.session_state[_PENDING] = address_values(values)


def _go_on_with_import() -> None:
    """Leave for Explore with what has been imported in the address too."""
    address: dict[str, str] | None = st.session_state.pop(_PENDING, None)
    if address is not None:
        st.switch_page("explore/explore.py", query_params=address)


def _open_with(service: "Service") -> None:
    """Without a result in the address: the recipe that was shown before, or the model that the address names."""
    try:
        recipe = opens_with("export", {RESULT}, service, {info.name: info for info in service.models()})
    except InputError as error:
        st.warning(str(error))
        return
    if recipe is not None:
        st.session_state[_WANTED] = recipe


def _pick(results: Sequence[ExperimentResult]) -> ExperimentResult:
    """The pickers, set to the result that is shown."""
    known, latest = {r.key: r for r in results}, newest(results)
    chosen = _chosen(known, latest)
    models = sorted({r.model_name for r in results})
    runs = [r.key for r in reversed(latest) if r.model_name == chosen.model_name]
    if chosen.key not in runs:  # the address may name one that has been measured again by a newer version
        runs.insert(0, chosen.key)
    several = differ_in_data([known[key] for key in runs])
    names = told_apart({key: run_name(known[key], dataset_name(known[key]) if several else "") for key in runs})
    shown = current()
    if shown is not None and shown.model not in {r.recipe["model"] for r in results}:
        st.info(f"Nothing of {shown.model} has been measured yet; a run of {chosen.model_name} is shown.")
    left, right = st.columns([1, 3])
    left.selectbox("Model", models, key=_MODEL)
    right.selectbox(
        "Run", runs, format_func=lambda key: names.get(key, key), key=_PICKED,
        help="All measured runs of this model, the newest first",
    )
    return chosen


def _chosen(known: Mapping[str, ExperimentResult], latest: Sequence[ExperimentResult]) -> ExperimentResult:
    """What a picker or the address newly names, else what was shown before, else the newest.

    It is read here and not in callbacks: one could be cut off by a redraw, or undone by its older address.
    """
    state, now = st.session_state, time.monotonic()
    said = {RESULT: st.query_params.get(RESULT), _MODEL: state.get(_MODEL), _PICKED: state.get(_PICKED)}
    before: Choice = state.get(_SHOWN, Choice({}, {}, 0.0))
    coming = _PICKED not in state or by_history()  # from another page: the address is meant as it is
    news = Choice({}, {}, 0.0).news({RESULT: said[RESULT]}, now) if coming else before.news(said, now)
    if RESULT in news and news[RESULT] not in known:
        st.warning(f"result: {news[RESULT]!r} is not here; another is shown.")
    of_model = [r.key for r in latest if r.model_name == news.get(_MODEL)]
    opened = _nearest(latest, state.pop(_WANTED, None))
    wanted = news.get(_PICKED), *of_model[-1:], news.get(RESULT), opened, before.shown.get(RESULT)
    chosen = next((known[key] for key in wanted if key in known), latest[-1])
    if news:
        with suppress(InputError):  # of an earlier version
            set_current(recipe_from_dict(chosen.recipe))
    shown = {RESULT: chosen.key, _MODEL: chosen.model_name, _PICKED: chosen.key}
    if shown != before.shown:
        state[_SHOWN] = Choice(shown, said, now)
    state.update({key: shown[key] for key in (_MODEL, _PICKED) if said[key] != shown[key]})
    if said[RESULT] != chosen.key:
        st.query_params[RESULT] = chosen.key
    return chosen


def _nearest(latest: Sequence[ExperimentResult], recipe: Recipe | None) -> str | None:
    """Key of a recipe's result, else of the newest of its model on its dataset, else of its model."""
    if recipe is None:
        return None
    whole = recipe_to_dict(recipe)
    same = [r for r in latest if r.recipe["model"] == whole["model"]]
    ranked = sorted(same, key=lambda r: (r.recipe == whole, dataset_name(r) == recipe.dataset))
    return ranked[-1].key if ranked else None


def _show(service: "Service", result: ExperimentResult) -> None:
    try:
        subject = service.exports.subject(result.key)
    except InputError as error:
        st.error(str(error))
        return
    shown = subject.result  # what the files are made of
    # The files are drawn before what stands above them: whoever reads a description has its files.
    head, files = st.container(), st.container()
    with files:
        st.markdown("##### Files")
        pack = _show_files(service, subject)
    with head:
        st.markdown(f"**{subject.model.title}** \u2014 {recipe_label(shown.recipe)}")
        show_cards(shown)
        for line in subject.promise_lines:
            st.caption(f":material/verified: Promise: {line}.")
        if shown.stage != "full":
            fragment(_show_stage, "The progress", run_every=_LOOK_SECONDS)(service, shown)
    pack()
    st.markdown("##### Runtimes")
    show_runtimes(service, subject)
    st.markdown("##### Reproduce")
    _show_reproduction(service, subject)


def _show_stage(service: "Service", result: ExperimentResult) -> None:
    """That the figures are not final yet, and what comes of that; a fragment's body."""
    target = st.session_state.get(_REFINED, {}).get(result.key, result.key)
    now = service.status([target]).get(target)
    if now is not None and now.result is not None and now.result.stage == "full":
        st.query_params[RESULT] = target
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="stage"):
        busy = now is not None and now.state in ("queued", "running")
        st.button(
            "Measure to the end", key="refine", icon=":material/timer:", disabled=busy,
            on_click=partial(_refine, service, result),
        )
        doing = f" {now.message}" if now is not None and busy else ""
        st.caption(f"First figures: their intervals are still wide. What is exported says so.{doing}", width="content")


def _refine(service: "Service", result: ExperimentResult) -> None:
    """Have it measured to the end; under another key where code or data have changed since."""
    try:
        refined = service.submit(recipe_from_dict(result.recipe))
    except InputError as error:
        st.toast(str(error), icon=":material/error:")
        return
    st.session_state.setdefault(_REFINED, {})[result.key] = refined


def _show_files(service: "Service", subject: Subject) -> Callable[[], None]:
    """Bundle, recipe, report and model card as downloads, and recipe and card to look at.

    Returns:
        What packs the bundle.
    """
    report, card, stem = report_html(subject), model_card(subject), subject.file_stem
    with st.container(horizontal=True):
        pack = show_downloads(service, subject.result)
        st.download_button(
            "Report (.html)", report, f"{stem}.html", "text/html", key="report", on_click="ignore",
            icon=":material/monitoring:", help="One file with plots and tables that opens without a network",
        )
        st.download_button(
            "Model card (.md)", card, f"{stem}.md", "text/markdown", key="card", on_click="ignore",
            icon=":material/article:", help="What it is, from which weights and data, its figures and limitations",
        )
    with st.expander("Recipe", key="show-recipe"):
        st.code(recipe_to_yaml(recipe_from_dict(subject.result.recipe)), "yaml")
    with st.expander("Model card", key="show-card"):
        st.code(card, "markdown", wrap_lines=True)
    return pack


def _show_reproduction(service: "Service", subject: Subject) -> None:
    script, commands = st.tabs(["Python", "Command line"])
    with script:
        st.code(python_snippet(subject.result), "python")
    with commands:
        st.caption("With the recipe of above in the project's folder:")
        st.code("\n".join(command_lines(subject.result)), "bash")
    try:
        names = [info.name for info in service.models()]
        values = widget_values(recipe_from_dict(subject.result.recipe), names, service.techniques())
    except InputError as error:
        st.caption(f"Explore cannot show this recipe: {error}")
        return
    if st.button("Open in Explore", key="open", icon=":material/explore:"):
        _leave_with(values, f"The sliders were set to: {recipe_label(subject.result.recipe)}.")
        st.rerun()


page()
