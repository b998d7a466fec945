"""The command ``search``: one search from begin to end, on workers of its own."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from compression.core.errors import InputError
from compression.core.paths import home
from compression.experiments.results import ExperimentResult
from compression.experiments.scoring_data import dataset_for
from compression.experiments.stages import key_of
from compression.problems import Quality
from compression.recipe import Recipe
from compression.reports.text import format_accuracy, format_bytes, format_latency, text_table
from compression.search.outcomes import Outcome
from compression.search.reach import checked, show
from compression.search.records import SearchRecord, TrialRecord, promise_counts
from compression.search.spec import (
    STRATEGIES,
    USUAL_TECHNIQUES,
    Limits,
    SearchSpec,
    parse_duration,
    parse_size,
    searchable,
)

if TYPE_CHECKING:
    from compression.service.facade import Service

_POLL_SECONDS = 0.3


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes. All of it is text, so that what is wrong with it is said in one line."""
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--dataset", help="name of the dataset (default: the model's)")
    parser.add_argument(
        "--max-accuracy-drop", metavar="X", help="points of accuracy that may be lost, of a regression hundredths of R2"
    )
    parser.add_argument("--max-size", metavar="S", help="packed size, like 300kB")
    parser.add_argument("--max-latency", metavar="L", help="median of one inference, like 2ms")
    parser.add_argument("--min-speedup", metavar="R", help="times as fast as the uncompressed model")
    parser.add_argument("--trials", metavar="N", help="budget: artifacts to measure (default 40 without --minutes)")
    parser.add_argument("--minutes", metavar="T", help="budget: time")
    parser.add_argument(
        "--techniques", metavar="A,B,C", default=",".join(USUAL_TECHNIQUES),
        help=f"what it may use (default: {','.join(USUAL_TECHNIQUES)}; allowed: {', '.join(searchable())})",
    )
    parser.add_argument("--strategy", default=STRATEGIES[0], help="allowed: " + ", ".join(STRATEGIES))
    parser.add_argument("--seed", metavar="N", default="0", help="of the sampler")


def spec_of(options: Namespace) -> SearchSpec:
    """What the options ask for.

    Raises:
        InputError: naming the option, its value and what is allowed.
    """
    size, latency = options.max_size, options.max_latency
    limits = Limits(
        max_accuracy_drop=_number("--max-accuracy-drop", options.max_accuracy_drop),
        max_size_bytes=None if size is None else parse_size(size, "--max-size"),
        max_latency_ms=None if latency is None else parse_duration(latency, "--max-latency"),
        min_speedup=_number("--min-speedup", options.min_speedup),
    )
    trials, seed = _number("--trials", options.trials), _number("--seed", options.seed)
    return SearchSpec(
        model=options.model, dataset=dataset_for(options.model, options.dataset),
        techniques=tuple(key.strip() for key in options.techniques.split(",")), limits=limits,
        trials=_whole("--trials", trials), minutes=_number("--minutes", options.minutes),
        strategy=options.strategy, seed=_whole("--seed", seed) or 0,
    )


def _number(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InputError(option, text, "a number is needed") from None


def _whole(option: str, value: float | None) -> int | None:
    if value is None:
        return None
    if not value.is_integer():
        raise InputError(option, value, "a whole number is needed")
    return int(value)


def run_search(options: Namespace) -> int:
    """``search``: exit code 0 if a trial is shown to keep the limits, 1 if none is."""
    spec = spec_of(options)
    key_of(Recipe(spec.model, spec.dataset))
    from compression.service.facade import Service

    service = Service(options.store or home())
    try:
        record = _followed(service, service.searches.start(spec))
        if record.state == "failed":
            raise RuntimeError(record.message)
        _report(service, record, in_json=options.json)
    finally:
        service.close()
    return 0 if record.shown else 1


def _followed(service: "Service", name: str) -> SearchRecord:
    """Show how far the search is until it has ended."""
    with tqdm(total=100, desc="search", file=sys.stderr, bar_format="{desc}: {percentage:3.0f} % {postfix}") as bar:
        while True:
            record = service.searches.read(name)
            assert record is not None
            told = f"{len(record.finished)} trials, {len(record.feasible)} keep the limits; {record.message}"
            bar.set_postfix_str(told, refresh=False)
            bar.update(round(100 * record.fraction) - bar.n)
            if record.state != "running":
                return record
            time.sleep(_POLL_SECONDS)


def _report(service: "Service", record: SearchRecord, *, in_json: bool) -> None:
    if in_json:
        sys.stdout.write(json.dumps(report(service, record), default=str) + "\n")
        return
    quality = record.spec.quality
    rows = [_row(service, trial, quality) for trial in record.front]
    if rows:
        word = quality.word
        header = ("trial", "packed", "speed-up", f"validation {word}", f"test {word}", "latency", "result")
        sys.stdout.write(text_table(header, rows) + "\n")
    for line in (*record.notes, *checked(record.estimates, quality), *_conclusion(record)):
        sys.stdout.write(f"- {line}\n")


def _row(service: "Service", trial: TrialRecord, quality: Quality) -> tuple[str, ...]:
    own, result = trial.outcome, service.result(trial.key)
    assert own is not None and result is not None
    chosen_by = f"{quality.text(own.accuracy, quality.digits + 1)} (n = {own.n_samples})"
    figures = result.figures
    return (
        str(trial.number), format_bytes(own.size_bytes), f"{own.speedup:.2f}x", chosen_by, format_accuracy(figures),
        format_latency(figures), trial.key,
    )


def _conclusion(record: SearchRecord) -> list[str]:
    told = [f"Trial {t.number} {record.promises[t.key].text}." for t in record.front if t.key in record.promises]
    told += promise_counts(record)
    told += [f"{len(record.feasible)} of {len(record.finished)} trials keep the limits. {record.message}"]
    if record.nearest is not None and record.standard is not None:
        measured, spec = record.standard.measured(record.nearest), record.spec
        figures = ", ".join(show(name, measured[name], spec.quality, bare=True) for name in spec.limits.given())
        told.append(f"The nearest that was measured: {figures} ({record.nearest.key}).")
    return told


def report(service: "Service", record: SearchRecord) -> dict[str, Any]:
    """A search as plain data: its trials, and the results of those that keep the limits and are not beaten."""
    return {
        "id": record.id, "state": record.state, "message": record.message, "spec": record.spec.to_dict(),
        "seconds": record.seconds, "notes": [*record.notes, *checked(record.estimates, record.spec.quality)],
        "feasible": len(record.feasible), "shown": len(record.shown),
        "data": service.promises.data(record.spec.model, record.spec.dataset),
        "hypervolume": record.volumes[-1] if record.volumes else 0.0,
        "baseline": None if record.baseline is None else record.baseline.to_dict(),
        "nearest": None if record.nearest is None else record.nearest.to_dict(),
        "front": [_flat(service, record, trial) for trial in record.front],
        "trials": _trials(service, record),
    }


def _flat(service: "Service", record: SearchRecord, trial: TrialRecord) -> dict[str, Any]:
    result, own = service.result(trial.key), trial.outcome
    assert result is not None and own is not None and record.standard is not None
    quality, drop = record.spec.quality, record.standard.drop(own)
    lost = {f"selection_{quality.key}_drop": quality.lost(drop)}
    promise = record.promises.get(trial.key)
    shown = {"promise": None if promise is None else promise.to_dict()}
    return {"trial": trial.number, **_selection(own, quality), **lost, **result.flat(), **shown}


def _selection(own: Outcome, quality: Quality) -> dict[str, Any]:
    """The quality has its name: "selection_r2" instead of "selection_accuracy" of a regression."""
    name = f"selection_{quality.key}"
    return {
        name: own.accuracy, f"{name}_low": own.accuracy_low, f"{name}_high": own.accuracy_high,
        "selection_n_samples": own.n_samples,
    }


def _trials(service: "Service", record: SearchRecord) -> list[dict[str, Any]]:
    results = service.known_results(trial.key for trial in record.trials)
    return [_trial(trial, results.get(trial.key), record.spec.quality) for trial in record.trials]


def _trial(trial: TrialRecord, result: ExperimentResult | None, quality: Quality) -> dict[str, Any]:
    told = {
        "trial": trial.number, "key": trial.key, "origin": trial.origin, "state": trial.state,
        "standing": trial.standing, "error": trial.error, "recipe": trial.recipe,
        f"estimated_{quality.key}_drop": None if trial.estimate is None else quality.lost(trial.estimate),
    }
    if result is not None:
        figures = result.figures
        told |= {
            f"test_{quality.key}": figures.accuracy, f"test_{quality.key}_low": figures.accuracy_low,
            f"test_{quality.key}_high": figures.accuracy_high, "test_n_samples": figures.n_samples,
        }
    if trial.outcome is None:
        return told
    own = trial.outcome
    costs = {
        "size_bytes": own.size_bytes, "latency_ms": own.latency_ms, "speedup": own.speedup,
        "speedup_low": own.speedup_low, "speedup_high": own.speedup_high,
    }
    return {**told, **_selection(own, quality), **costs}
