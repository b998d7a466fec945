"""One layer on the Layers page: what it is, what the recipe says of it, and what that does."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from compression.experiments.pairing import AccuracyChange, Scores
from compression.service import ExperimentResult, Figures, InputError, LayerRecord, Recipe, Technique, knobs_of
from pages.layers.charts import WEIGHTS, quantity_of
from pages.layers.choice import show
from pages.layers.recipe import LayerSetting, layer_settings, protected, with_override, without_layer, without_override
from pages.layers.state import Measured
from pages.shared.comparison import against
from pages.shared.controls import knob_widget
from pages.shared.formats import count, knob_label, knob_value, milliseconds, percent, quality_ends, signed

_ERROR = "layer-error"


def parts_of(layers: Sequence[LayerRecord], fqn: str) -> list[LayerRecord]:
    """Records of a layer, or of the layers that it was split into."""
    return [own for own in layers if own.fqn == fqn or own.fqn.startswith(f"{fqn}.")]


def facts_table(fqn: str, baseline: ExperimentResult | None, result: ExperimentResult | None) -> pd.DataFrame:
    """What a layer is before and after: shape, weights, MACs, bytes, zeros, how it is stored and what executes it."""
    columns = {}
    for name, own in (("uncompressed", baseline), ("this recipe", result)):
        if own is not None and not (columns and baseline is not None and own.key == baseline.key):
            columns[name] = _facts(parts_of(own.layers, fqn))
    return pd.DataFrame(columns)


def _facts(parts: Sequence[LayerRecord]) -> dict[str, str]:
    if not parts:
        return {"kind": "gone"}
    total = sum(quantity_of(part, WEIGHTS) for part in parts)
    zeros = sum(part.sparsity * quantity_of(part, WEIGHTS) for part in parts) / max(total, 1)
    return {
        "kind": ", ".join(dict.fromkeys(part.kind for part in parts)),
        "shape": " \u00b7 ".join("x".join(map(str, part.shape)) for part in parts),
        "weights": f"{total:,}", "MACs": count(sum(part.macs for part in parts)),
        "packed bytes": f"{sum(part.packed_bytes for part in parts):,}", "zeros": percent(zeros),
        "stored as": ", ".join(dict.fromkeys(part.encoding for part in parts)),
        "kernel": ", ".join(dict.fromkeys(part.kernel for part in parts)),
        "why": "; ".join(dict.fromkeys(part.note for part in parts if part.note)) or "-",
    }


def show_settings(recipe: Recipe, fqn: str, techniques: Sequence[Technique]) -> None:
    """What the recipe says of the layer, each to be removed, and a form that says something else."""
    titles = {technique.key: technique.title for technique in techniques}
    settings = layer_settings(recipe, fqn)
    if not settings:
        st.caption("The recipe has no step yet: what is set here compresses this layer alone.")
    for number, setting in enumerate(settings):
        _show_setting(recipe, fqn, setting, titles[setting.technique], number)
    _show_form(recipe, fqn, settings, [technique for technique in techniques if technique.by_layer])


def says(setting: LayerSetting) -> str:
    """A setting in words."""
    if setting.protected:
        return "left alone: protected here"
    if setting.outside:
        return f"left alone: {setting.outside}"
    if setting.changed:
        return "of its own: " + ", ".join(f"{name} {knob_value(value)}" for name, value in setting.changed.items())
    return "as the whole step says"


def _show_setting(recipe: Recipe, fqn: str, setting: LayerSetting, title: str, number: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"setting-{number}"):
        st.markdown(f"**{title}**: {says(setting)}", width="stretch")
        change: Callable[[], Recipe]
        if setting.protected:
            label, change = "Unprotect", partial(protected, recipe, setting.technique, fqn, False)
        elif setting.changed:
            label, change = "Remove", partial(without_override, recipe, setting.technique, fqn)
        else:
            label, change = "Protect", partial(protected, recipe, setting.technique, fqn, True)
        st.button(
            label, key=f"change-{number}", on_click=lambda: show(change()), disabled=bool(setting.outside),
            help="Protected layers are left alone by this step" if label == "Protect" else None,
        )


def _show_form(
    recipe: Recipe, fqn: str, settings: Sequence[LayerSetting], techniques: Sequence[Technique]
) -> None:
    used = [setting.technique for setting in settings]
    first = [t for t in techniques if t.key in used] + [t for t in techniques if t.key not in used]
    technique: Technique = st.selectbox(
        "Knobs of this layer", first, key=f"override-technique-{fqn}",
        format_func=lambda own: own.title if own.key in used else f"{own.title} (this layer alone)",
    )
    setting = next((own for own in settings if own.technique == technique.key), None)
    knobs = {name: knob for name, knob in knobs_of(technique.config_type).items() if knob.by_layer}
    current = dict(setting.knobs) if setting else dict(vars(technique.config_type()))
    version = abs(hash((fqn, technique.key, tuple(current.items()))))
    with st.form(key=f"override-{version}", border=True):
        values: dict[str, Any] = {}

        def widget(name: str) -> None:
            common = {"label": knob_label(name, knobs[name]), "key": f"own-{version}-{name}", "help": knobs[name].help}
            values[name] = knob_widget(knobs[name], current[name], common, {})

        for name in [name for name, knob in knobs.items() if not knob.advanced]:
            widget(name)
        advanced = [name for name, knob in knobs.items() if knob.advanced]
        if advanced:
            with st.expander("More settings"):
                for name in advanced:
                    widget(name)
        if st.form_submit_button("Apply to this layer", icon=":material/tune:", key="apply"):
            try:
                show(with_override(recipe, technique.key, fqn, values, techniques))
            except InputError as error:
                st.error(str(error))
            else:
                st.rerun()


def effect_table(
    with_it: ExperimentResult, without: ExperimentResult, scores: Mapping[str, Scores] | None = None
) -> pd.DataFrame:
    """Figures of a recipe with and without what it says of a layer, and the difference: of accuracies on one sample."""
    compared = against(with_it, without, scores)
    own, other, change = compared.figures, compared.baseline, compared.change
    same = own.n_samples == other.n_samples
    rows = [
        (own.kind.word, other.kind.text(other.accuracy), own.kind.text(own.accuracy),
         own.kind.difference(own.accuracy - other.accuracy) if same else "scored on other samples"),
        ("95 % interval", _interval(other), _interval(own), _verdict(own, other, change) if same else ""),
        ("packed kB", f"{other.size_bytes / 1000:.1f}", f"{own.size_bytes / 1000:.1f}",
         signed((own.size_bytes - other.size_bytes) / 1000, 1)),
        ("latency", milliseconds(other.latency_ms_p50), milliseconds(own.latency_ms_p50), ""),
        ("speed-up", _speed(without), _speed(with_it), ""),
        ("MACs", count(other.macs), count(own.macs), signed(100 * (own.macs / max(other.macs, 1) - 1), 1, " %")),
    ]
    return pd.DataFrame(rows, columns=["figure", "without", "with", "difference"])


def _interval(figures: Figures) -> str:
    return f"{quality_ends(figures)}, n = {figures.n_samples:,}"


def _verdict(one: Figures, other: Figures, change: AccuracyChange | None) -> str:
    if change is not None:
        low, high = (f"{one.kind.shown(end):+.{one.kind.digits}f}" for end in (change.low, change.high))
        return f"{low} to {high}, " + ("a tie" if change.tied else "they differ")
    tied = one.accuracy_low <= other.accuracy_high and other.accuracy_low <= one.accuracy_high
    return "a tie" if tied else "they differ"


def _speed(result: ExperimentResult) -> str:
    value = result.figures.speedup
    return "not timed yet" if value is None else f"{value:.2f}x"


def show_effect(recipe: Recipe, fqn: str, measured: Measured) -> None:
    """What the recipe's word on this layer does, measured with and without it."""
    without = without_layer(recipe, fqn)
    if without == recipe:
        st.caption("The recipe says nothing of this layer, so there is no effect of it to measure.")
        return
    found = {name: measured.of(own) for name, own in (("with", recipe), ("without", without))}
    with_it, other = found["with"], found["without"]
    if with_it is not None and other is not None:
        scores = measured.service.scores([with_it.key, other.key])
        table = effect_table(with_it, other, scores)
        st.dataframe(table, hide_index=True, alt="The recipe with and without this setting")
        if "quick" in (with_it.stage, other.stage):
            st.caption("Preliminary figures: their intervals are still wide.")
        told = [note for note in with_it.notes if fqn in note or "override" in note]
        if told:
            st.caption("Notes from each step: " + "; ".join(told))
        return
    missing = [own for name, own in (("with", recipe), ("without", without)) if found[name] is None]
    show_jobs(missing, measured, "Measure the effect", "effect")


def show_jobs(recipes: Sequence[Recipe], measured: Measured, label: str, key: str) -> None:
    """A button that has recipes measured, or how far they are, or why they failed."""
    statuses = [status for recipe in recipes if (status := measured.status(recipe)) is not None]
    busy = [status for status in statuses if status.result is None and status.state in ("queued", "running")]
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}-job"):
        if busy:
            stop = partial(measured.service.cancel, [status.id for status in busy])
            st.button("Cancel", key=f"cancel-{key}", icon=":material/stop:", on_click=stop)
            fraction = sum(status.fraction for status in busy) / len(busy)
            st.progress(min(1.0, fraction), text=next((s.message for s in busy if s.message), "waiting"))
            return
        st.button(label, key=f"start-{key}", icon=":material/play_arrow:", on_click=partial(measured.submit, recipes))
        if any(status.state == "cancelled" for status in statuses):
            st.caption("Cancelled.")
    for error in sorted({status.error for status in statuses if status.error}):
        st.error(error)


def named_table(rows: Sequence[tuple[str, str, str]], titles: Mapping[str, str]) -> pd.DataFrame:
    """Every layer or pattern that the recipe names."""
    return pd.DataFrame([(titles[t], name, what) for t, name, what in rows], columns=["technique", "layers", "says"])
