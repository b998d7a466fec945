"""A search in words and tables. Records in, text and data frames out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from compression.experiments.results import Quality
from compression.search.outcomes import Outcome, Standard
from compression.search.reach import show_all
from compression.search.records import SearchRecord, SearchState, TrialRecord, promise_counts
from compression.search.spec import SearchSpec
from compression.service import ExperimentResult, format_bytes
from pages.search.charts import ORIGIN_TITLES
from pages.shared.formats import recipe_label

SAMPLE_REMARK = (
    "Trials are compared by their validation {quality}, on {n}samples of the training split that neither calibration "
    "nor training sees, and by a short timing; the test split chooses nothing. At the end the front is measured in "
    "full: the whole test split, whose {quality} is what other pages show, and a long timing."
)
STATE_LOOKS: Mapping[SearchState, tuple[str, str]] = {
    "running": ("blue", ":material/sync:"),
    "paused": ("orange", ":material/pause:"),
    "stopped": ("gray", ":material/stop:"),
    "infeasible": ("orange", ":material/block:"),
    "interrupted": ("orange", ":material/power_off:"),
    "failed": ("red", ":material/error:"),
    "done": ("green", ":material/check:"),
}
STATE_TITLES: Mapping[SearchState, str] = {
    "running": "running", "paused": "paused", "stopped": "stopped", "infeasible": "out of reach",
    "interrupted": "interrupted", "failed": "failed", "done": "done",
}


def asked(spec: SearchSpec) -> str:
    """Limits and budget in one line."""
    return f"{show_all(spec.limits, spec.quality)}; {budget(spec)}"


def trials(count: int) -> str:
    """"1 trial", "20 trials"."""
    return f"{count} trial{'' if count == 1 else 's'}"


def budget(spec: SearchSpec) -> str:
    """"20 trials or 5 minutes"."""
    parts = []
    if spec.trials is not None:
        parts.append(trials(spec.trials))
    if spec.minutes is not None:
        parts.append(f"{spec.minutes:g} minute{'' if spec.minutes == 1 else 's'}")
    return " or ".join(parts)


def spent(record: SearchRecord) -> str:
    """How much of the budget is used: "3 of 20 trials", "3 trials, 40 s of 5 min"; the last is what ends the search."""
    spec, count = record.spec, len(record.finished)
    if spec.minutes is None:
        return f"{count} of {trials(spec.trials or count)}"
    time = f"{duration(record.seconds)} of {duration(60 * spec.minutes).removesuffix(' 0 s')}"
    return f"{count} of {trials(spec.trials)}, {time}" if spec.trials else f"{trials(count)}, {time}"


def duration(seconds: float) -> str:
    """"45 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(created: str, now: datetime) -> str:
    """When something was begun, seen from now: "just now", "5 min ago", else the day."""
    try:
        begun = datetime.fromisoformat(created)
    except ValueError:
        return ""
    seconds = (now - begun).total_seconds()
    if seconds < 60:
        return "just now"
    return f"{duration(seconds - seconds % 60).removesuffix(' 0 s')} ago" if seconds < 86_400 else created[:10]


def verdict(record: SearchRecord) -> str:
    """How many trials keep the limits, in one sentence."""
    count = len(record.finished)
    if not record.spec.limits.given():
        return f"{trials(count)} measured; {_on_the_front(record)}."
    kept = len(record.feasible)
    keep = "keeps" if kept == 1 else "keep"
    said = f"{kept or 'None'} of {trials(count)} {keep} the limits" + (
        f"; {_on_the_front(record)}." if kept else "."
    )
    return " ".join([said, *promise_counts(record)])


def _on_the_front(record: SearchRecord) -> str:
    return f"{len(record.front)} {'is' if len(record.front) == 1 else 'are'} on the front"


def front_table(record: SearchRecord, results: Mapping[str, ExperimentResult]) -> pd.DataFrame:
    """The front, the smallest first, its results' keys as index.

    Args:
        record: The search.
        results: Of its trials, by key, as far as they are there.
    """
    standard = record.standard
    rows = [] if standard is None else [
        {
            "trial": trial.number, "recipe": recipe_label(trial.recipe), **_figures(trial.outcome, standard),
            **_measured(results.get(trial.key), standard.quality, confirmed=trial.key in record.confirmed),
            **_promised(record, trial), "key": trial.key,
        }
        for trial in record.front if trial.outcome is not None
    ]
    return pd.DataFrame(rows).set_index("key") if rows else pd.DataFrame()


def _promised(record: SearchRecord, trial: TrialRecord) -> dict[str, object]:
    """What is shown of the limit of accuracy, of searches that have made promises."""
    if not record.promises:
        return {}
    promise = record.promises.get(trial.key)
    return {"promise": "" if promise is None else promise.verdict}


def _figures(own: Outcome, standard: Standard) -> dict[str, object]:
    latency, quality = standard.latency_ms(own), standard.quality
    return {
        "packed kB": own.size_bytes / 1000, quality.lost_heading: quality.lost(standard.drop(own)),
        f"validation {quality.heading}": quality.shown(own.accuracy),
        f"validation {quality.word}, 95 %": quality.ends(own.accuracy_low, own.accuracy_high),
        "latency ms": latency, "speed-up": own.speedup,
        "speed-up, 95 %": f"{own.speedup_low:.2f} to {own.speedup_high:.2f}",
    }


def _measured(result: ExperimentResult | None, quality: Quality, *, confirmed: bool) -> dict[str, object]:
    if result is None:
        return {**_tested(None, quality), "badges": "", "measured": "first figures"}
    badges = sorted({result.badges.get(name, "measured") for name in ("accuracy", "size_bytes", "latency_ms_p50")})
    return {
        **_tested(result, quality), "badges": ", ".join(badges),
        "measured": "in full" if confirmed else "first figures",
    }


def _tested(result: ExperimentResult | None, quality: Quality) -> dict[str, object]:
    """Quality on the test split, which other pages show; of a first result on a part of it."""
    if result is None:
        return {f"test {quality.heading}": None, f"test {quality.word}, 95 %": ""}
    own = result.figures
    note = ", preliminary" if result.badges.get("accuracy") == "preliminary" else ""
    ends = quality.ends(own.accuracy_low, own.accuracy_high)
    return {
        f"test {quality.heading}": quality.shown(own.accuracy),
        f"test {quality.word}, 95 %": f"{ends}, n = {own.n_samples:,}{note}",
    }


def trial_table(record: SearchRecord, results: Mapping[str, ExperimentResult]) -> pd.DataFrame:
    """All trials in the order in which they were begun; the text alternative of the plots.

    Args:
        record: The search.
        results: Of its trials, by key, as far as they are there.
    """
    standard, quality = record.standard, record.spec.quality
    return pd.DataFrame([
        {
            "trial": trial.number, "origin": ORIGIN_TITLES[trial.origin].lower(), "state": _standing(trial),
            "recipe": recipe_label(trial.recipe),
            **(_figures(trial.outcome, standard) if trial.outcome is not None and standard is not None else {}),
            f"estimated {quality.lost_heading}": None if trial.estimate is None else quality.lost(trial.estimate),
            **_tested(results.get(trial.key), quality),
            "error": trial.error or "",
        }
        for trial in record.trials
    ])


def _standing(trial: TrialRecord) -> str:
    names = {"front": "on the front", "dominated": "keeps the limits", "infeasible": "beyond a limit"}
    return names[trial.standing] if trial.standing is not None else trial.state


def first_figures(
    result: ExperimentResult | None, selection: Mapping[str, Any] | None, quality: Quality
) -> list[str]:
    """What is measured already of a trial that is under way: packed size, and validation accuracy.

    Args:
        result: As far as it is there.
        selection: Its accuracy on the validation samples, where it is there.
        quality: By what models of the task are compared.
    """
    found = [] if result is None else [format_bytes(result.figures.size_bytes)]
    if selection is not None:
        found.append(f"validation {quality.word} {quality.text(selection['accuracy'], quality.digits + 1)}")
    return found


def running_lines(trials: Sequence[TrialRecord], doing: Mapping[str, str]) -> list[str]:
    """What is being tried now: origin, recipe and what its job is at."""
    return [
        f"**{ORIGIN_TITLES[trial.origin]}** {recipe_label(trial.recipe)}"
        + (f" \u2014 {doing[trial.key]}" if doing.get(trial.key) else "")
        for trial in trials
    ]
