"""The curve of a training: while it runs, with a way to stop it early, and afterwards beside its result."""

from functools import partial
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st

from compression.experiments.results import Quality
from compression.service import ExperimentResult, TrainingRecord, get_technique
from pages.explore.redraw import then_redraw
from pages.shared.axes import percent_axis
from pages.shared.figure_style import legible
from pages.shared.palette import VARIANTS, Theme, ink

if TYPE_CHECKING:
    from compression.service import Service



def training_figure(record: TrainingRecord, quality: Quality, theme: Theme = "light") -> go.Figure:
    """Quality and agreement on held-out training samples over the epochs, and the loss on an axis of its own.

    Args:
        record: Its curve so far; the state that was kept is marked where there is one.
        quality: What its "accuracy" is.
        theme: Colours for a light or a dark page.
    """
    figure = go.Figure()
    curves = {"accuracy": quality.title, "agreement": "Agreement with the teacher"}
    for (name, title), color in zip(curves.items(), VARIANTS, strict=False):
        points = [(row["epoch"], quality.shown(row[name])) for row in record.history if name in row]
        figure.add_trace(_line(points, title, color))
    losses = [(row["epoch"], row["loss"]) for row in record.history if "loss" in row]
    figure.add_trace(_line(losses, "Training loss", VARIANTS[2], dash="dot").update(yaxis="y2"))
    best = [row for row in record.history if row["epoch"] == record.kept_epoch]
    if best:
        figure.add_trace(go.Scatter(
            x=[best[0]["epoch"]], y=[quality.shown(best[0]["accuracy"])], mode="markers", name="Kept",
            marker={"color": ink(theme), "symbol": "circle-open", "size": 16, "line": {"width": 2}},
        ))
    figure.update_layout(
        height=260, margin={"l": 8, "r": 8, "t": 8, "b": 8}, hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"},
        yaxis2={"overlaying": "y", "side": "right", "title": "Loss", "showgrid": False, "automargin": True},
    )
    figure.update_xaxes(title="Epoch", range=[0, record.epochs], zeroline=False, automargin=True)
    figure.update_yaxes(zeroline=False, automargin=True)
    figure.layout.yaxis.update(title=quality.label_of("Held-out training samples"))
    if quality.unit:
        lows = (quality.shown(row[name]) for row in record.history for name in curves if name in row)
        figure.layout.yaxis.update(percent_axis(lows))
    return legible(figure, theme)


def _line(points: list[tuple[float, float]], name: str, color: str, dash: str = "solid") -> go.Scatter:
    return go.Scatter(
        x=[x for x, _ in points], y=[y for _, y in points], mode="lines+markers", name=name,
        line={"color": color, "dash": dash}, marker={"color": color, "size": 6},
    )


def show_running(service: "Service", key: str, quality: Quality) -> None:
    """The curve of the training that a job is at, if it is at one, and a button that ends it with its best state."""
    record = service.training(key)
    if record is None or not record.history:
        return
    last = record.history[-1]
    with st.container(horizontal=True, vertical_alignment="center", key=f"training-of-{key}"):
        st.button(
            "Finish early", key=f"finish-early-{key}", icon=":material/flag:",
            on_click=partial(service.finish_early, [key]),
            help="Ends the training and measures the best state so far; the result says so.",
        )
        st.caption(
            f"{_title(record)}: epoch {last['epoch']:.3g} of {record.epochs}, {quality.word} "
            f"{quality.text(last['accuracy'])} on held-out training samples.",
            width="stretch",
        )
    _draw(record, quality, f"training-now-{key}")


def show_trainings(service: "Service", result: ExperimentResult) -> None:
    """The curves of a result's trainings; one that was stopped early can be trained the whole way."""
    for number, record in enumerate(result.trainings):
        done = f"{record.epochs_done:.3g} of {record.epochs} epochs"
        with st.expander(f"{_title(record)}: {done}", key=f"curve-{number}"):
            _draw(record, result.figures.kind, f"training-{number}")
    if result.stopped_early:
        st.warning("A training of this result was stopped early: it is not yet what its recipe says.")
        st.button(
            "Train the whole way", key="train-whole", icon=":material/replay:",
            on_click=then_redraw(service.train_whole, result.key),
        )


def _title(record: TrainingRecord) -> str:
    return get_technique(record.technique).title


def _draw(record: TrainingRecord, quality: Quality, key: str) -> None:
    theme: Theme = "dark" if st.context.theme.type == "dark" else "light"
    st.plotly_chart(
        training_figure(record, quality, theme), key=key, config={"displayModeBar": False},
        alt=f"{quality.title}, agreement with the teacher and loss over the epochs of the training",
    )
