"""What is asked of a search: widgets in, a specification out. Every widget is bound to the address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from compression.analysis.promise import too_few_samples
from compression.search.spec import STRATEGIES, USUAL_TECHNIQUES, Limits, SearchSpec, searchable
from compression.service import FIRST_MODEL, InputError, ModelInfo, Recipe, get_technique
from pages.shared.formats import baseline_line
from pages.shared.url.bound import bound, put_for_widget
from pages.shared.url.current import set_current_model
from pages.shared.url.data_choice import follow_model, pick_dataset

if TYPE_CHECKING:
    from compression.service import Service

MODEL, DATASET, TECHNIQUES, STRATEGY, SEED = "for-model", "for-data", "use", "strategy", "sampler-seed"
_FIRST_DROP, _FIRST_TRIALS = 1.0, 30
_STRATEGY_HELP = (
    "planned: plans from the layers' sensitivities first, then Optuna's TPE sampler; tpe: that sampler alone; random: "
    "without any learning, to compare with"
)


@dataclass(frozen=True)
class _Number:
    """A number field.

    Attributes:
        key: Name in the address.
        field: Of `Limits` or `SearchSpec`.
        label: Name for people, with its unit.
        step: Of the field; a whole one makes it take whole numbers only.
        scale: From the field's unit to the specification's.
        help: What it means.
        first: What a new form says.
    """

    key: str
    field: str
    label: str
    step: float
    scale: float = 1
    help: str = ""
    first: float | None = None


_LIMITS = (
    _Number("max-lost", "max_accuracy_drop", "Accuracy lost at most (points)", 0.1, first=_FIRST_DROP,
            help="Against the uncompressed model; 1 point is 1 % of the samples."),
    _Number("max-kb", "max_size_bytes", "Packed size at most (kB)", 10.0, 1000, "Of the one file that is stored."),
    _Number("max-ms", "max_latency_ms", "Latency at most (ms)", 0.1, help="Median of one inference on one thread."),
    _Number("at-least", "min_speedup", "Speed-up at least (times)", 0.1, help="Over the uncompressed model."),
)
_R2_LOST = _Number(
    "max-lost", "max_accuracy_drop", "R2 lost at most (hundredths)", 0.1, first=_FIRST_DROP,
    help="Against the uncompressed model; 1 is a loss of 0.01 in R2.",
)
_BUDGET = (
    _Number("trials", "trials", "Trials", 1, help="Artifacts to make and measure.", first=_FIRST_TRIALS),
    _Number("minutes", "minutes", "Minutes", 1.0, help="The search stops at the first limit reached."),
)
_KEYS = (MODEL, DATASET, TECHNIQUES, STRATEGY, SEED, *(own.key for own in (*_LIMITS, *_BUDGET)))
_BEGUN = "search-form-begun"


def _warn_of_few_samples(
    service: "Service", info: ModelInfo, dataset: str, given: Mapping[str, float]
) -> None:
    """Say where the test split is too small to show that the limit of accuracy is kept."""
    limit = given.get("max_accuracy_drop")
    if limit is None or info.task == "regression":
        return
    samples = next((data.n_test for data in service.scoring_data(info.name) if data.name == dataset), 0)
    warning = too_few_samples(samples, limit) if samples else ""
    if warning:
        st.warning(warning, icon=":material/warning:")


def show_form(service: "Service", models: Sequence[ModelInfo]) -> SearchSpec | None:
    """Draw the form; returns what it asks for once its button is pressed and all of it is allowed."""
    _preset()
    info = _pick_model(service, models)
    dataset = pick_dataset(service, info, DATASET)
    set_current_model(info.name, dataset)
    _show_baseline(service, info.name, dataset)
    st.markdown("**What you need**")
    st.caption("An empty field sets no limit.")
    given = _numbers(limits_of(info.task), 2)
    _warn_of_few_samples(service, info, dataset, given)
    st.markdown("**Budget**")
    spent = _numbers(_BUDGET, 2)
    techniques = st.pills(
        "Techniques that may be used", searchable(), selection_mode="multi", default=list(USUAL_TECHNIQUES),
        **bound(TECHNIQUES), format_func=lambda key: get_technique(key).title, persist_state="session", wrap=True,
        help="Each may be on or off, with one setting for all layers or, where plans are made, one per layer.",
    )
    with st.expander("How it searches", key="how"):
        strategy = st.selectbox(
            "Strategy", STRATEGIES, **bound(STRATEGY), persist_state="session", help=_STRATEGY_HELP,
        )
        seed = st.number_input(
            "Seed of the sampler", 0, 2**31 - 1, 0, **bound(SEED), persist_state="session"
        )
    try:
        spec = SearchSpec(
            info.name, dataset, tuple(techniques), Limits(**given), **spent, strategy=strategy, seed=int(seed)
        )
    except InputError as error:
        st.error(worded(error, info.task))
        spec = None
    if not given:
        st.info("No limit is set: the search then spreads over the whole trade-off.", icon=":material/info:")
    started = st.button(
        "Start the search", type="primary", key="start", icon=":material/play_arrow:", disabled=spec is None
    )
    return spec if started else None


def limits_of(task: str) -> tuple[_Number, ...]:
    """The fields of limits for models of a task: of a regression R2 may be lost, of others accuracy."""
    return (_R2_LOST, *_LIMITS[1:]) if task == "regression" else _LIMITS


def use_model(recipe: Recipe) -> None:
    """Have the form ask for a recipe's model and dataset, in the address too; called before it is drawn."""
    _preset()
    st.session_state[MODEL], st.session_state[DATASET] = str(recipe.model), recipe.dataset
    put_for_widget(MODEL, str(recipe.model))


def _pick_model(service: "Service", models: Sequence[ModelInfo]) -> ModelInfo:
    names = [info.name for info in models]
    wanted = st.query_params.get(MODEL)
    if wanted is not None and wanted not in names:
        st.warning(f"model: {wanted!r} is not here; allowed: {', '.join(names)}")
    first = names.index(FIRST_MODEL) if FIRST_MODEL in names else 0
    known = {info.name: info for info in models}
    name = st.selectbox(
        "Model", names, index=first, **bound(MODEL), persist_state="session",
        on_change=lambda: follow_model(service, known[st.session_state[MODEL]], DATASET),
    )
    return known[name]


def _show_baseline(service: "Service", model: str, dataset: str) -> None:
    """The uncompressed model's figures, where some result has them: what limits can be held against."""
    known = (r for r in reversed(service.results()) if (r.recipe["model"], r.recipe["dataset"]) == (model, dataset))
    own = next((result for result in known if not result.recipe["steps"]), None)
    if own is not None:
        st.caption(baseline_line(own))


def _numbers(fields: Sequence[_Number], columns: int) -> dict[str, Any]:
    """Draw number fields; returns what is set."""
    found: dict[str, Any] = {}
    for number, own in enumerate(fields):
        if number % columns == 0:
            row = st.columns(columns)
        with row[number % columns]:
            value = st.number_input(
                own.label, value=None, step=own.step, **bound(own.key), help=own.help or None, placeholder="none",
                persist_state="session",
            )
        if value is not None:
            found[own.field] = value * own.scale
    return found


def _preset() -> None:
    """Give a new form its first values, in the address too: a field that is empty there was emptied."""
    if st.session_state.get(_BEGUN):
        return
    st.session_state[_BEGUN] = True
    if not {*_KEYS} & {*st.query_params}:
        for own in (*_LIMITS, *_BUDGET):
            if own.first is not None:
                st.session_state[own.key] = own.first
                st.query_params[own.key] = f"{own.first:g}"


def worded(error: InputError, task: str) -> str:
    """The message in the words and units of the form for a task."""
    for own in (*limits_of(task), *_BUDGET):
        if own.field == error.field and isinstance(error.value, int | float):
            allowed = error.allowed if own.scale == 1 else "allowed: a number above 0"
            return f"{own.label}: {error.value / own.scale:g} is not allowed; {allowed}"
    return str(error)


def form_values(spec: SearchSpec) -> dict[str, Any]:
    """Widget values that ask for the same again."""
    given: Mapping[str, Any] = {**spec.limits.given(), "trials": spec.trials, "minutes": spec.minutes}
    numbers = {own.key: given.get(own.field) for own in (*_LIMITS, *_BUDGET)}
    scales = {own.key: own.scale for own in (*_LIMITS, *_BUDGET)}
    shown = {key: value if value is None or key == "trials" else value / scales[key] for key, value in numbers.items()}
    return {
        **shown, MODEL: spec.model, DATASET: spec.dataset, TECHNIQUES: list(spec.techniques),
        STRATEGY: spec.strategy, SEED: spec.seed,
    }


def fill(spec: SearchSpec) -> None:
    """Make the form ask for the same again; called before it is drawn."""
    for key, value in form_values(spec).items():
        st.session_state[key] = value
        if value is not None and key not in (TECHNIQUES, STRATEGY, SEED):
            st.query_params[key] = f"{value:g}" if isinstance(value, int | float) else value
    st.session_state[_BEGUN] = True
