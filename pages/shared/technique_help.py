"""One technique explained: what it does, its formula and paper, and a layer of the chosen model before and after."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from compression.analysis.illustration import Illustration
from compression.experiments.wording import step_label
from compression.service import InputError, Technique
from pages.shared.failures import fragment, guarded
from pages.shared.figure_style import legible
from pages.shared.palette import Theme, faint, ink, technique_color
from pages.shared.url.state import HELP

if TYPE_CHECKING:
    from compression.service import Service

_POLL = 0.5
_SCALE = "RdBu"


def help_button(technique: Technique) -> None:
    """A button beside a technique that opens its explanation."""
    st.button(
        f"About {technique.title}", key=f"about-{technique.key}", type="tertiary", icon=":material/info:",
        on_click=partial(_open, technique.key),  # the style leaves only the icon to be seen
        help=f"{technique.summary}\n\n{technique.helps}\n\nClick for its formula and a picture of a layer.",
    )


def _open(key: str) -> None:
    st.query_params[HELP] = key


def _close() -> None:
    if HELP in st.query_params:
        del st.query_params[HELP]


def show_help(service: "Service", model: str, techniques: Sequence[Technique]) -> None:
    """The explanation that the address asks for, in a dialog; the address keeps it open while the page is redrawn."""
    found = [technique for technique in techniques if technique.key == st.query_params.get(HELP)]
    if found:
        show = st.dialog(found[0].title, width="large", on_dismiss=_close)(guarded(_explain, "The explanation"))
        show(service, model, found[0])
    else:
        _close()


def _explain(service: "Service", model: str, technique: Technique) -> None:
    st.markdown(technique.summary)
    left, right = st.columns(2)
    left.markdown(f"**Smaller?** {_sentence(technique.smaller)}")
    right.markdown(f"**Faster?** {_sentence(technique.faster)}")
    if technique.formula:
        st.latex(technique.formula)
        st.caption(technique.symbols)
    needs = f" \u00b7 needs {', '.join(sorted(technique.needs))}" if technique.needs else ""
    st.caption(f"[{technique.paper}]({technique.paper_url}){needs}")
    try:
        picture = service.illustrations.get(model, technique.key)
        job = service.illustrations.job(model, technique.key)
        if picture is None and job not in service.status([job]):  # what was cancelled or failed waits for a click
            service.illustrations.submit(model, technique.key)
    except InputError as error:
        st.caption(str(error))
        return
    fragment(_show_picture, "The picture", run_every=_POLL if picture is None else None)(service, model, technique, job)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _show_picture(service: "Service", model: str, technique: Technique, job: str) -> None:
    """The picture, or how far it is; a fragment's body."""
    picture = service.illustrations.get(model, technique.key)
    if picture is not None:
        _draw(picture)
        return
    status = service.status([job]).get(job)
    if status is None or status.state in ("queued", "running"):
        with st.container(horizontal=True, vertical_alignment="center", key="picture-job"):
            st.button("Cancel", key="cancel-picture", icon=":material/stop:", on_click=partial(service.cancel, [job]))
            text = status.message if status is not None else "waiting"
            st.progress(0.0 if status is None else status.fraction, text=f"Compressing a layer of {model}: {text}")
        return
    if status.error:
        st.caption(f"No picture: {status.error}")
    start = partial(service.illustrations.submit, model, technique.key)
    label = "Try again" if status.error else "Compress a layer for a picture"
    st.button(label, key="start-picture", icon=":material/play_arrow:", on_click=start)


def _draw(picture: Illustration) -> None:
    theme: Theme = "dark" if st.context.theme.type == "dark" else "light"
    shape = " x ".join(map(str, picture.shape))
    made = ", then ".join(step_label(step) for step in picture.steps)
    st.markdown(f"**{picture.layer}** of {picture.model} ({shape}) \u2014 {made}")
    st.plotly_chart(
        illustration_figure(picture, theme), key="picture", config={"displayModeBar": False, "staticPlot": True},
        alt=f"Weights of {picture.layer} before and after: {picture.says}",
    )
    st.caption(
        f"{picture.says}. Above: a corner of the layer's weights, one row per output, blue above zero and red below; "
        "beneath it: how many of all its weights have which value."
    )
    if picture.notes:
        st.caption("Notes from the step: " + "; ".join(picture.notes))


def illustration_figure(picture: Illustration, theme: Theme = "light") -> go.Figure:
    """A corner of a layer's weights before and after as colours, and histograms of all its weights below them.

    Weights that are gone are left blank. Both sides share colours and axes.
    """
    figure = make_subplots(
        rows=2, cols=2, row_heights=[0.62, 0.38], vertical_spacing=0.12, horizontal_spacing=0.06,
        subplot_titles=("Before", "After"), shared_xaxes=False, shared_yaxes="rows",
    )
    sides: tuple[tuple[Any, Any], ...] = (
        (picture.before, picture.counts_before), (picture.after, picture.counts_after)
    )
    reach = max(abs(v) for rows in (picture.before, picture.after) for row in rows for v in row if v is not None)
    middles = [(a + b) / 2 for a, b in zip(picture.edges, picture.edges[1:], strict=False)]
    for column, (matrix, counts) in enumerate(sides, 1):
        figure.add_trace(
            go.Heatmap(z=matrix, coloraxis="coloraxis", hoverongaps=False, name="weights"), row=1, col=column
        )
        color = ink(theme) if column == 1 else technique_color(picture.technique, theme)
        figure.add_trace(go.Bar(x=middles, y=counts, marker={"color": color}, name="count"), row=2, col=column)
    figure.update_layout(
        height=360, margin={"l": 8, "r": 8, "t": 28, "b": 8}, showlegend=False, bargap=0,
        coloraxis={"colorscale": _SCALE, "cmin": -reach, "cmax": reach, "showscale": False},
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_yaxes(autorange="reversed", row=1)
    figure.update_xaxes(showticklabels=False, showgrid=False, row=1)
    figure.update_yaxes(showticklabels=False, showgrid=False, row=1)
    figure.update_xaxes(title="weight", zerolinecolor=faint(theme), row=2)
    figure.update_yaxes(title="weights", row=2, col=1)
    return legible(figure, theme)
