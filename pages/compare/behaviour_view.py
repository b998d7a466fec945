"""Compare's view of behaviour: accuracy per class, confusions, and the samples whose prediction flipped."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.analysis.differences import Difference, data_of
from compression.service import ExperimentResult, InputError, recipe_from_dict
from pages.compare.difference_plots import (
    PER_PAGE,
    change_line,
    class_change_table,
    confusion_figure,
    gallery,
    kinds_of,
)
from pages.compare.value_view import show_values
from pages.compare.waiting import wait_for
from pages.shared.failures import fragment
from pages.shared.palette import Theme
from pages.shared.url.bound import bound

if TYPE_CHECKING:
    from compression.service import Service

Named = tuple[str, ExperimentResult]
_LOOK_SECONDS = 1.0


def show_behaviour(service: "Service", first: Named, others: Sequence[Named], theme: Theme) -> None:
    """What the other results do otherwise than the first."""
    comparable = [own for own in others if data_of(own[1]) == data_of(first[1])]
    for letter, _ in (own for own in others if own not in comparable):
        st.caption(f"{letter} was scored on other data than {first[0]}: their predictions cannot be compared.")
    unfinished = [own for own in (first, *comparable) if own[1].stage != "full"]
    if unfinished:
        fragment(_show_unfinished, "The progress of predictions", run_every=_LOOK_SECONDS)(service, unfinished)
    ready = [own for own in comparable if own[1].stage == "full" and first[1].stage == "full"]
    if not ready:
        return
    comparisons = service.comparisons
    found = {letter: comparisons.difference(first[1].key, own.key) for letter, own in ready}
    known = [(letter, own) for letter, own in found.items() if own is not None]
    if len(known) < len(ready):
        pairs = [(first[1].key, own.key) for letter, own in ready if found[letter] is None]
        jobs = {comparisons.difference_job(*own): partial(comparisons.submit_difference, *own) for own in pairs}
        wait_for(service, jobs, "Comparing predictions")
    if not known:
        return
    if known[0][1].values is not None:
        show_values(known, first[0], theme)
        return
    for letter, difference in known:
        st.markdown(change_line(difference.flips, letter, first[0]))
    st.caption(
        "Points of accuracy with their 95 % interval. All saw the same samples, so only the flipped ones count; that "
        "tells more than two intervals side by side."
    )
    _classes(known, first[0])
    _one(known, first[0], theme)


def _show_unfinished(service: "Service", unfinished: Sequence[Named]) -> None:
    """Whose predictions are not complete; the page is redrawn when one of them is. A fragment's body."""
    states = service.status([own.key for _, own in unfinished])
    if any(own.result is not None and own.result.stage == "full" for own in states.values()):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="unfinished"):
        st.button(
            "Measure to the end", key="complete", icon=":material/timer:",
            on_click=partial(_complete, service, [own for _, own in unfinished]),
        )
        letters = ", ".join(letter for letter, _ in unfinished)
        st.caption(f"The predictions of {letters} on the whole test split are not there yet.", width="content")


def _complete(service: "Service", results: Sequence[ExperimentResult]) -> None:
    for result in results:
        try:
            if service.submit(recipe_from_dict(result.recipe)) != result.key:
                st.toast("Code or data have changed since: it is measured as a new run.", icon=":material/info:")
        except InputError as error:
            st.toast(str(error), icon=":material/error:")


def _classes(known: Sequence[tuple[str, Difference]], first: str) -> None:
    st.markdown("**Accuracy per class, the most changed first**")
    table = class_change_table(known, first)
    shapes = {name: "%+.1f" if name.endswith("change") else "%.1f" for name in table if name != "samples"}
    st.dataframe(
        table, alt="Accuracy per class, the most changed first", height=min(318, 38 + 35 * len(table)),
        column_config={name: st.column_config.NumberColumn(format=shape) for name, shape in shapes.items()},
    )


def _one(known: Sequence[tuple[str, Difference]], first: str, theme: Theme) -> None:
    """Confusions and flips of one of the others."""
    letters = [letter for letter, _ in known]
    letter = letters[0]
    if len(letters) > 1:
        letter = st.segmented_control(
            f"In detail, against {first}", letters, default=letters[0], **bound("detail"), required=True,
        ) or letters[0]
    difference = dict(known)[letter]
    if any(value for row in difference.confusion for value in row):
        st.markdown(f"**Confusions of {letter} that {first} has not**")
        st.plotly_chart(
            confusion_figure(difference, theme), key="confusion", config={"displayModeBar": False},
            alt=f"Change of the confusion matrix from {first} to {letter}",
        )
        st.caption(
            "How many more or fewer samples of a class are taken for a class. Blue is for the better, red for the "
            "worse; the framed diagonal holds right predictions."
        )
    _flips(difference, letter, first)


def _flips(difference: Difference, letter: str, first: str) -> None:
    st.markdown(f"**What flipped from {first} to {letter}**")
    kinds = kinds_of(difference)
    if not kinds:
        st.caption("Nothing: every prediction is the same.")
        return
    kind = st.segmented_control(  # not in a row with the page: there it would be cut off instead of wrapped
        "Which", list(kinds), default=next(iter(kinds)), format_func=lambda own: kinds.get(own, own),
        key=f"flips-{'-'.join(kinds)}", required=True, label_visibility="collapsed",
    )
    shown = [own for own in difference.examples if own.kind == kind]
    pages = -(-len(shown) // PER_PAGE)
    page = 1
    if pages > 1:
        page = st.number_input(
            f"Page (1 to {pages})", min_value=1, max_value=pages, key=f"flip-page-{letter}-{kind}", width=150
        )
    st.html(gallery(shown[(page - 1) * PER_PAGE : page * PER_PAGE]))
    total = getattr(difference.flips, str(kind))
    order = "those whose true class lost or won most probability first" if difference.sorted else (
        "in the order of the data: an older artifact kept no probabilities to sort them by"
    )
    most = f"The {len(shown)} of {total:,} that moved furthest" if len(shown) < total and difference.sorted else (
        f"{len(shown)} of {total:,}"
    )
    st.caption(
        f"{most}, {order}. Bold is the true class; then the prediction and its probability, {first} \u2192 {letter}."
    )
