"""One clock: latencies read from stored timings, whose quotients are the speed-ups wherever they stand together."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import event, text

from compression.experiments import stages
from compression.experiments.clock import Clock, timing_of
from compression.experiments.results import ExperimentResult, Figures
from compression.experiments.stages import run_experiment, timing_name
from compression.experiments.store import ResultStore
from compression.metrics.latency import LatencyRecord
from compression.recipe import Recipe, recipe_from_dict, recipe_to_dict
from compression.search.outcomes import Outcome

FIGURES = Figures(0.9, 0.88, 0.92, 1000, 100_000, 110_000, 10, 10, 10)


def record(speedup: float, baseline_ms: float = 1.0, rounds: int = 200, spread: float = 0.01) -> LatencyRecord:
    own, low, high = baseline_ms / speedup, 1 - spread, 1 + spread
    return LatencyRecord(
        own, 1.2 * own, own * low, own * high, baseline_ms, 1.5 * baseline_ms, baseline_ms * low, baseline_ms * high,
        speedup, speedup * low, speedup * high, 5 * rounds, rounds,
    )


def stored(own: LatencyRecord, tier: str = "full") -> dict[str, object]:
    return {**asdict(own), "tier": tier}


def quantized(bits: int) -> Recipe:
    steps = [{"technique": "quantization", "weight_bits": bits}]
    return recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": steps})


def result(key: str, recipe: Recipe, structure: str) -> ExperimentResult:
    data = recipe_to_dict(recipe)
    return ExperimentResult(key, data, FIGURES, FIGURES, {}, created=key, clock="clock", structure=structure)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """A baseline and two artifacts, timed at times at which the machine was differently fast."""
    own = ResultStore(tmp_path)
    own.timings.put("clock", "base", stored(record(1.01, 1.0)))
    own.timings.put("clock", "a", stored(record(2.0, 1.6)))
    own.timings.put("clock", "b", stored(record(4.0, 0.9)))
    own.put_result(result("0", Recipe("digits_resnet", "digits"), "base"))
    own.put_result(result("a", quantized(8), "a"))
    own.put_result(result("b", quantized(4), "b"))
    return own


def test_quotients_of_latencies_are_the_speed_ups(store: ResultStore) -> None:
    for own in store.results():
        figures, base = own.figures, own.baseline
        assert base.latency_ms_p50 == pytest.approx(1.0), "the median of the pairs' medians"
        assert base.latency_ms_p50 / figures.latency_ms_p50 == pytest.approx(figures.speedup)
        assert base.latency_ms_p50 / figures.latency_low == pytest.approx(
            figures.speedup_high if own.key != "0" else base.latency_ms_p50 / base.latency_low
        )
        assert base.latency_low < base.latency_ms_p50 < base.latency_high
    assert [own.figures.speedup for own in store.results()] == [1.0, 2.0, 4.0]
    assert [own.figures.latency_ms_p95 for own in store.results()] == pytest.approx([1.5, 0.6, 0.3])


def test_another_timing_moves_all_results_that_are_read_and_none_that_is_stored(store: ResultStore) -> None:
    before = {own.key: own.figures.latency_ms_p50 for own in store.results()}
    stamp = store.stamp()
    for place in range(4):
        store.timings.put("clock", f"slow-{place}", stored(record(1.5, 3.0)))
    after = {own.key: own.figures.latency_ms_p50 for own in store.results()}
    assert after == pytest.approx({key: 3.0 * own for key, own in before.items() if own})
    assert store.stamp() != stamp, "a page that keeps figures is told"
    elsewhere = ResultStore(store.root)
    assert {own.key: own.figures.latency_ms_p50 for own in elsewhere.results()} == after
    assert [own.figures.latency_ms_p50 for own in elsewhere.baselines()] == pytest.approx([3.0])


def test_long_timings_weigh_more_than_a_first_short_one() -> None:
    slow, usual = record(1.0, 5.0, rounds=6), record(1.0, 1.0)
    clock = Clock({name: timing_of(stored(own)) for name, own in (("a", slow), ("b", usual), ("c", usual))})
    middle, low, high = clock.baseline
    assert middle == pytest.approx(1.0, rel=0.01) and low < middle < high


def test_the_pooled_interval_is_wide_where_the_pairs_differ() -> None:
    def width(*medians: float) -> float:
        clock = Clock({str(ms): timing_of(stored(record(1.0, ms))) for ms in medians})
        middle, low, high = clock.baseline
        return (high - low) / middle

    assert 0 < width(1.0) < width(0.999, 1.0, 1.001, 1.002) + 0.02 < width(0.7, 0.9, 1.1, 1.3)


def test_reading_many_results_costs_two_queries_and_makes_nothing_again(store: ResultStore) -> None:
    for place in range(200):
        store.put_result(replace(result("a", quantized(8), "a"), key=f"many-{place}"))
    first, asked = store.results(), []
    event.listen(store._engine, "before_cursor_execute", lambda *own: asked.append(own[2]))
    second = store.results()
    assert len(second) == 203 and len(asked) == 2
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_latencies_of_versions_with_shared_timings_are_forgotten(tmp_path: Path) -> None:
    old = ResultStore(tmp_path)
    figures = replace(FIGURES, latency_ms_p50=0.758, speedup=2.2)
    earlier = replace(result("0", quantized(8), ""), figures=figures, clock="")
    old.put_result(earlier)
    with old._engine.begin() as connection:
        connection.execute(text("DROP TABLE timings"))
    old.close()
    found = ResultStore(tmp_path).get_result("0")
    assert found is not None and found.figures == replace(FIGURES, latency_ms_p50=None)


def test_a_trial_is_on_the_same_clock_as_its_result(store: ResultStore) -> None:
    clock = store.timings.clocks(["clock"])["clock"]
    trial = Outcome("a", 0.9, 0.8, 1.0, 100, 1000, 7.0, 1.7, 1.6, 1.8, "clock", "a").on_clock(clock)
    found = store.get_result("a")
    assert found is not None
    assert (trial.latency_ms, trial.speedup) == (found.figures.latency_ms_p50, found.figures.speedup)
    base = Outcome("0", 0.9, 0.8, 1.0, 100, 1000, 7.0, 1.0, 1.0, 1.0, "clock", "").on_clock(clock)
    assert (base.latency_ms, base.speedup) == (found.baseline.latency_ms_p50, 1.0)


class ScriptedTimer:
    """Gives out made-up timings one after the other."""

    def __init__(self, *records: LatencyRecord) -> None:
        self.left = list(records)

    def time_pair(self, *arguments: object, **keywords: object) -> LatencyRecord:
        return self.left.pop(0)


@pytest.mark.parametrize(
    ("tries", "kept", "left"),
    [
        ((record(2.0), record(3.0)), 2.0, 1),
        ((record(2.0, spread=0.6), record(3.0)), 3.0, 0),
        ((record(2.0, baseline_ms=4.0), record(3.0)), 3.0, 0),
        (tuple(record(place, spread=0.9 - place / 10) for place in (1, 2, 4, 3)), 4, 0),
    ],
    ids=("calm", "spread", "drifted", "never calm"),
)
def test_a_first_timing_that_was_disturbed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: tuple[LatencyRecord, ...], kept: float, left: int
) -> None:
    store = ResultStore(tmp_path)
    recipe, base = quantized(8), Recipe("digits_resnet", "digits")
    for own, structure in ((recipe, "own"), (base, "base")):
        store.put_part(stages.key_of(own), "artifact", {"structure_key": structure})
    name, structure = timing_name(recipe, store, stages.key_of(recipe))
    store.timings.put(name, "base", stored(record(1.0)))
    timer = ScriptedTimer(*tries)
    monkeypatch.setattr(stages, "_TIMER", timer)
    stages.clock(recipe, store, "quick")
    assert structure == "own" and len(timer.left) == left
    found = store.timings.get(name, "own")
    assert found is not None and found["speedup"] == kept


def timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *records: LatencyRecord) -> tuple[ResultStore, str, Recipe]:
    """A store whose timer gives out made-up timings, the name of a recipe's clock, and the recipe."""
    store, recipe = ResultStore(tmp_path), quantized(8)
    for own, structure in ((recipe, "own"), (Recipe("digits_resnet", "digits"), "base")):
        store.put_part(stages.key_of(own), "artifact", {"structure_key": structure})
    monkeypatch.setattr(stages, "_TIMER", ScriptedTimer(*records))
    monkeypatch.setattr(stages, "measure_peak_memory", lambda *own, **named: 1)
    monkeypatch.setattr(stages, "measure_energy", lambda *own, **named: None)
    return store, timing_name(recipe, store, stages.key_of(recipe))[0], recipe


def test_a_final_timing_that_was_disturbed_is_repeated_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = [record(2.0, spread=own) for own in (0.7, 0.6, 0.8, 0.9, 0.9, 0.9, 0.5, 0.9, 0.9, 0.1)]
    store, name, recipe = timed(tmp_path, monkeypatch, *busy)
    spreads = []
    for _ in range(5):  # as by five jobs that share it
        stages.clock(recipe, store, "full")
        found = store.timings.get(name, "own")
        assert found is not None
        spreads.append((round(found["spread"], 3), found["tries"]))
    assert spreads == [(0.6, 3), (0.6, 6), (0.5, 9), (0.5, 9), (0.5, 9)], "three at once, nine in all, the best is kept"


def test_a_calm_final_timing_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, name, recipe = timed(tmp_path, monkeypatch, record(2.0, spread=0.7), record(3.0), record(4.0))
    for _ in range(3):
        stages.clock(recipe, store, "full")
    found = store.timings.get(name, "own")
    assert found is not None and (found["speedup"], found["tries"]) == (3.0, 2)


def test_a_latency_that_stayed_disturbed_says_so_until_a_calm_one_is_there(store: ResultStore) -> None:
    def badge(key: str) -> str:
        found = store.get_result(key)
        assert found is not None
        return found.badges["latency_ms_p50"]

    for key, recipe in (("a", quantized(8)), ("b", quantized(4))):
        store.timings.put("clock", key, stored(record(2.0, 1.1)))
        store.put_result(replace(result(key, recipe, key), badges={"latency_ms_p50": "measured"}))
    assert (badge("a"), badge("b")) == ("measured", "measured")
    store.timings.put("clock", "a", stored(record(2.0, spread=0.6)))
    assert (badge("a"), badge("b")) == ("disturbed", "measured")
    store.timings.put("clock", "a", stored(record(2.0)))
    assert badge("a") == "measured"
    store.timings.put("clock", "base", stored(record(1.0, 12.6, rounds=4000, spread=0.9)))
    assert (badge("a"), badge("b")) == ("disturbed", "disturbed"), "milliseconds are on the baseline's clock"


def test_a_first_score_is_compared_with_the_baseline_on_its_samples(tmp_path: Path) -> None:
    store, base = ResultStore(tmp_path), Recipe("digits_resnet", "digits")
    stages.build(base, store)
    stages.score(base, store, "full")
    coarse = run_experiment(quantized(2), store, quick=True)
    assert (coarse.figures.n_samples, coarse.baseline.n_samples) == (160, 160)
    assert coarse.change is not None and coarse.change.n_samples == 160
    assert coarse.change.value == pytest.approx(coarse.figures.accuracy - coarse.baseline.accuracy)
    assert (coarse.badges["accuracy"], coarse.samples) == ("preliminary", "160 images")
    assert "160 images" in coarse.badge_notes["accuracy"]
    scores = store.scores([coarse.key, stages.key_of(base)])
    assert scores[coarse.key].whole is None
    whole = scores[stages.key_of(base)].whole
    assert whole is not None and whole.score()[0] == store.get_part(stages.key_of(base), "accuracy")["accuracy"]  # type: ignore[index]
    stages.score(quantized(2), store, "full")
    final = stages.conclude(quantized(2), store)
    assert final.figures.n_samples == final.baseline.n_samples == final.change.n_samples == 719  # type: ignore[union-attr]
    assert final.badges["accuracy"] == "measured" and final.stage == "quick", "its timing is still short"


def test_models_of_other_input_sizes_share_no_latency(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    found, names = {}, set()
    for model, dataset in (("digits_resnet", "digits"), ("fashion_resnet20", "fashion_mnist")):
        recipe = Recipe(model, dataset)
        key = stages.build(recipe, store)
        stages.clock(recipe, store, "quick")
        names.add(timing_name(recipe, store, key)[0])
        found[model] = store.timings.clock(timing_name(recipe, store, key)[0]).baseline[0]
    assert len(names) == 2 and len(set(found.values())) == 2, "equal nodes, inputs of 28x28 and of 32x32"
