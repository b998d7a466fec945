"""Compare's view of weights: bytes and zeros per layer, and the histogram of one layer."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import ExperimentResult
from pages.compare.waiting import wait_for
from pages.compare.weight_plots import histogram_figure, layer_names, layers_figure, sparsity_table, statistics_table
from pages.shared.comparison import layer_sizes
from pages.shared.formats import PERCENT_COLUMN
from pages.shared.palette import Theme
from pages.shared.url.bound import bound

if TYPE_CHECKING:
    from compression.service import Service

_PLAIN = {"displayModeBar": False}
_LAYER = "weights-of"


def show_weights(service: "Service", pinned: Sequence[ExperimentResult], theme: Theme) -> None:
    """Bytes, zeros and histograms of the pinned results."""
    left, right = st.columns(2)
    sizes, zeros = layer_sizes(pinned), sparsity_table(pinned)
    with left:
        st.markdown("**Bytes per layer in the packed file**")
        st.plotly_chart(
            layers_figure(sizes, "bytes", theme=theme), key="layer-bytes", config=_PLAIN,
            alt="Bytes per layer of each result; the table below has the numbers",
        )
    with right:
        st.markdown("**Share of zero weights per layer**")
        st.plotly_chart(
            layers_figure(zeros, "zeros", percentage=True, theme=theme), key="layer-zeros", config=_PLAIN,
            alt="Share of zero weights per layer of each result; the table below has the numbers",
        )
    with st.expander("As a table", key="layer-table"):
        table = sizes.add_suffix(" bytes").join(zeros.add_suffix(" zeros"))
        number = st.column_config.NumberColumn
        shapes = {name: PERCENT_COLUMN if name.endswith("zeros") else "localized" for name in table}
        st.dataframe(
            table, alt="Bytes and zeros per layer",
            column_config={name: number(format=shape) for name, shape in shapes.items()},
        )
    _histograms(service, pinned, theme)


def _histograms(service: "Service", pinned: Sequence[ExperimentResult], theme: Theme) -> None:
    st.markdown("**Weights of a layer**")
    comparisons = service.comparisons
    letters = {chr(65 + place): result.key for place, result in enumerate(pinned)}
    found = {letter: comparisons.weights(key) for letter, key in letters.items()}
    missing = [letters[letter] for letter, own in found.items() if own is None]
    if missing:
        jobs = {comparisons.weights_job(key): partial(comparisons.submit_weights, key) for key in missing}
        wait_for(service, jobs, "Reading the weights")
    statistics = {letter: own for letter, own in found.items() if own is not None}
    if not statistics:
        return
    names = layer_names(statistics)
    asked = st.query_params.get(_LAYER)
    fqn = st.selectbox(
        "Layer", names, index=names.index(asked) if asked in names else len(names) // 2, **bound(_LAYER), width=320,
    )
    st.plotly_chart(
        histogram_figure(statistics, fqn, theme), key="weight-histogram", config=_PLAIN,
        alt=f"Histogram of the weights of {fqn} in each result; the table below has it in figures",
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        statistics_table(statistics, fqn), alt=f"The weights of {fqn} in figures",
        column_config={
            "zeros": number(format=PERCENT_COLUMN), "weights": number(format="localized"),
            "different values": number(format="localized"),
        },
    )
    st.caption(
        "Read from the packed files. The axis is that of the uncompressed layer; what lies beyond is counted at its "
        "ends. The share is on a logarithmic axis."
    )
