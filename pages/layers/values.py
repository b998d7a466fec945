"""Distributions of one layer's weights, inputs and outputs on the Layers page, before and after."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from compression.service import ExperimentResult, InputError
from pages.layers.charts import distribution_figure
from pages.layers.map import theme
from pages.shared.failures import fragment
from pages.shared.formats import percent

if TYPE_CHECKING:
    from compression.analysis.distribution import Distribution, LayerDistributions, Values
    from compression.service import Service

_POLL = 0.5
_FAILED = "values-refused"
_UNFINISHED = ("queued", "running")


def values_table(own: "LayerDistributions") -> pd.DataFrame:
    """Figures of each place before and after."""
    rows = []
    for place, found in own.places.items():
        for side, values in (("before", found.before), ("after", found.after)):
            rows.append({"values": place, "": side, **_figures(values)})
    return pd.DataFrame(rows)


def _figures(values: "Values | None") -> dict[str, str]:
    if values is None:
        return {"how many": "gone"}
    return {
        "how many": f"{values.count:,}", "zero": percent(values.sparsity),
        "different": "" if values.distinct is None else f"{values.distinct:,}",
        "range": f"{values.low:.3g} to {values.high:.3g}", "mean": f"{values.mean:.3g}", "std": f"{values.std:.3g}",
    }


def show_values(service: "Service", result: ExperimentResult, fqn: str) -> None:
    """Histograms and figures of a layer, or what brings them here."""
    try:
        found = service.distributions.get(result.key, fqn)
        job = service.distributions.job(result.key)
    except InputError as error:
        st.caption(str(error))
        return
    if found is not None:
        _draw(found, result)
        return
    every = _POLL if _is_busy(service, job) else None
    fragment(_show_job, f"The values of {fqn}", run_every=every)(service, result, fqn, job, every)


def _is_busy(service: "Service", job: str) -> bool:
    status = service.status([job]).get(job)
    return status is not None and status.state in _UNFINISHED


def _show_job(service: "Service", result: ExperimentResult, fqn: str, job: str, every: float | None) -> None:
    """A button that starts the work, or how far it is; a fragment's body."""
    status = service.status([job]).get(job)
    busy = status is not None and status.state in _UNFINISHED
    if busy != (every is not None):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="values-job"):
        if busy and status is not None:
            stop = partial(service.cancel, [job])
            st.button("Cancel", key="cancel-values", icon=":material/stop:", on_click=stop)
            st.progress(status.fraction, text=status.message or "waiting")
            return
        if status is not None and status.state == "done":
            st.caption(f"Nothing is known of {fqn}: it is not a layer of the uncompressed model.")
            return
        st.button(
            "Show distributions", key="start-values", icon=":material/bar_chart:",
            on_click=partial(_start, service, result.key), help="Takes some seconds, for all layers of this result",
        )
        if status is not None and status.state == "cancelled":
            st.caption("Cancelled.")
    if status is not None and status.error:
        st.error(status.error)


def _start(service: "Service", key: str) -> None:
    try:
        service.distributions.submit(key)
    except InputError as error:
        st.toast(str(error), icon=":material/error:")


def _draw(found: "LayerDistributions", result: ExperimentResult) -> None:
    steps = result.recipe["steps"]
    technique = str(steps[-1]["technique"]) if steps else None
    for column, (place, own) in zip(st.columns(len(found.places)), found.places.items(), strict=True):
        with column:
            st.plotly_chart(
                distribution_figure(own, technique, place.capitalize(), theme()), key=f"values-{place}",
                config={"displayModeBar": False}, alt=_in_words(place, own),
            )
    st.dataframe(values_table(found), hide_index=True, alt=f"Figures of the values of {found.fqn}")
    rounds = any(step.get("activation_bits", 32) < 32 for step in steps)
    st.caption(
        f"Weights as in the packed file; inputs and outputs of {found.n_samples} calibration samples (training split) "
        "through the network in float32" + (", without the rounding of activations" if rounds else "") + "."
    )


def _in_words(place: str, own: "Distribution") -> str:
    after = "" if own.after is None else f", after {own.after.low:.3g} to {own.after.high:.3g}"
    return f"{place.capitalize()}: before from {own.before.low:.3g} to {own.before.high:.3g}{after}"
