"""Searches from begin to end on made-up outcomes: budget, plans, limits out of reach, pause, stop and restart."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compression.core.errors import InputError
from compression.search import archive
from compression.search.records import SearchRecord
from compression.search.searches import Searches
from compression.search.spec import Limits, SearchSpec
from tests.search.laboratories import FakeLaboratory, made_up

TECHNIQUES = ("channel_pruning", "quantization")
LIMITS = Limits(max_accuracy_drop=1.0, max_size_bytes=250_000)
Open = Callable[..., Searches]


@pytest.fixture
def laboratory() -> FakeLaboratory:
    return FakeLaboratory()


@pytest.fixture
def opened(tmp_path: Path, laboratory: FakeLaboratory) -> Iterator[Open]:
    """Opens the searches of one folder, as a server does when it starts."""
    every: list[Searches] = []

    def open_searches() -> Searches:
        every.append(Searches(tmp_path, laboratory))
        return every[-1]

    yield open_searches
    for own in every:
        own.close()


def spec(**changes: Any) -> SearchSpec:
    values = {"model": "m", "dataset": "d", "techniques": TECHNIQUES, "limits": LIMITS, "trials": 12}
    return SearchSpec(**{**values, **changes})


def read(searches: Searches, name: str) -> SearchRecord:
    found = searches.read(name)
    assert found is not None
    return found


def until(searches: Searches, name: str, reached: Callable[[SearchRecord], bool]) -> SearchRecord:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        record = read(searches, name)
        if reached(record):
            return record
        time.sleep(0.02)
    raise AssertionError(f"{record.state}: {record.message}, {len(record.trials)} trials")


def finished(searches: Searches, own: SearchSpec) -> SearchRecord:
    name = searches.start(own)
    searches.wait(name, 60)
    return read(searches, name)


def test_a_search_uses_its_budget_and_measures_its_front_in_full(opened: Open, laboratory: FakeLaboratory) -> None:
    record = finished(opened(), spec())
    assert (record.state, record.fraction, len(record.finished)) == ("done", 1.0, 12)
    assert len({trial.key for trial in record.trials}) == 12, "a recipe is one trial"
    origins = {trial.origin for trial in record.trials}
    assert origins == {"probe", "plan", "sampler"}
    refined = set(laboratory.refinements) - {laboratory.submitted[0]}  # the uncompressed model, for the promises
    assert record.front and {trial.key for trial in record.front} == refined == record.confirmed
    for trial in record.feasible:
        assert trial.outcome is not None
        assert trial.outcome.size_bytes <= 250_000 and trial.outcome.accuracy >= 0.99
    assert len(record.volumes) == 12 and list(record.volumes) == sorted(record.volumes) and record.volumes[-1] > 0
    assert any("estimate" in note for note in record.notes)
    assert record.nearest is None and record.baseline is not None


def test_a_latency_that_was_wrong_at_first_brings_others_to_the_front(opened: Open, laboratory: FakeLaboratory) -> None:
    laboratory.flattered = "channel_pruning"
    record = finished(opened(), spec(limits=Limits(min_speedup=4.0), strategy="random", trials=15))
    found = {trial.key: trial.outcome for trial in record.front}
    assert record.confirmed and set(found) <= record.confirmed
    assert all(own == made_up(laboratory.recipes[key]) for key, own in found.items())
    assert len(record.confirmed) > len(found), "some of the first front did not hold"


def test_nothing_is_told_to_the_sampler_that_comes_from_the_test_split(opened: Open) -> None:
    searches = opened()
    record = finished(searches, spec(trials=4))
    study = searches._archive.study(record.id)
    for trial in study.get_trials(deepcopy=False):
        if trial.values is not None:
            own = archive.Outcome(**trial.user_attrs[archive.OUTCOME])
            assert record.standard is not None
            assert tuple(trial.values) == pytest.approx(record.standard.objectives(own))
            assert set(trial.constraints) == {"max_accuracy_drop", "max_size_bytes"}


@pytest.mark.parametrize("strategy", ["tpe", "random"])
def test_other_strategies_make_no_plans(opened: Open, strategy: str) -> None:
    record = finished(opened(), spec(strategy=strategy, limits=Limits()))
    assert {trial.origin for trial in record.trials} == {"sampler"} and record.state == "done"
    assert not any(step.get("overrides") for trial in record.trials for step in trial.recipe["steps"])


def test_a_limit_out_of_reach_is_said_before_the_budget_is_used(opened: Open, laboratory: FakeLaboratory) -> None:
    searches = opened()
    record = finished(searches, spec(limits=Limits(max_size_bytes=3_000), trials=200))
    assert record.state == "infeasible" and len(record.trials) == 4
    assert "at most 3.0 kB" in record.message and "6.2 kB (measured)" in record.message
    assert record.nearest is not None and record.nearest.size_bytes == 6250
    assert not laboratory.refinements
    searches.resume(record.id)
    again = until(searches, record.id, lambda own: len(own.finished) > 5)
    assert again.state == "running", "it searches anyway when asked to"
    searches.stop(record.id)


def test_a_search_without_a_feasible_trial_names_the_nearest(opened: Open) -> None:
    record = finished(opened(), spec(limits=Limits(max_accuracy_drop=0.001, max_size_bytes=100_000)))
    assert record.state == "done" and not record.feasible and record.nearest is not None
    assert record.standard is not None
    excess = [record.standard._excess(t.outcome, record.spec.limits) for t in record.trials if t.outcome]
    assert record.standard._excess(record.nearest, record.spec.limits) == min(excess)


def test_failed_trials_count_and_say_why(opened: Open, laboratory: FakeLaboratory) -> None:
    laboratory.fails = "channel_pruning"
    record = finished(opened(), spec(limits=Limits()))
    failed = [trial for trial in record.trials if trial.state == "failed"]
    assert failed and all(trial.error == "it cannot act on this model" for trial in failed)
    assert len(record.finished) == 12


def test_trials_are_numbered_by_their_place_though_the_study_has_repeats(opened: Open) -> None:
    searches = opened()
    record = finished(searches, spec(techniques=("block_sharing", "quantization"), limits=Limits(), strategy="random"))
    counted = [t for t in searches._archive.study(record.id).get_trials() if archive.HIDDEN not in t.user_attrs]
    assert [trial.number for trial in record.trials] == list(range(1, len(record.trials) + 1))
    assert [trial.key for trial in record.trials] == [t.user_attrs[archive.KEY] for t in counted]
    assert [t.number + 1 for t in counted] != [trial.number for trial in record.trials], "there were repeats"
    wanted, other = record.trials[-1].key, searches._archive.create(record.spec)
    searches._archive.hand_on(record.id, {wanted}, other)
    (queued,) = searches._archive.study(other).get_trials()
    assert queued.system_attrs["fixed_params"] == counted[-1].params, "the very trial, once"


def test_a_small_space_ends_when_nothing_is_left_to_try(opened: Open) -> None:
    record = finished(opened(), spec(techniques=("block_sharing",), limits=Limits(), strategy="random"))
    assert record.state == "done" and len(record.trials) == 3 and "Nothing new" in record.message


def test_pause_waits_for_what_is_under_way_and_it_goes_on(opened: Open, laboratory: FakeLaboratory) -> None:
    searches = opened()
    laboratory.open = False
    name = searches.start(spec(trials=6))
    begun = until(searches, name, lambda own: len(own.running) == 1)
    searches.pause(name)
    until(searches, name, lambda own: "Pausing" in own.message)
    assert read(searches, name).running == begun.running
    laboratory.open = True
    paused = until(searches, name, lambda own: own.state == "paused")
    assert len(paused.finished) == 1 and not paused.running and not laboratory.cancelled
    searches.resume(name)
    searches.wait(name, 60)
    assert len(read(searches, name).finished) == 6


def test_stop_drops_what_is_under_way(opened: Open, laboratory: FakeLaboratory) -> None:
    searches = opened()
    name = searches.start(spec(limits=Limits(), strategy="random", trials=50))
    until(searches, name, lambda own: len(own.finished) >= 2)
    laboratory.open = False
    until(searches, name, lambda own: len(own.running) == 2)
    searches.stop(name)
    record = until(searches, name, lambda own: own.state == "stopped")
    assert not record.running and len(laboratory.cancelled) == 2 and record.resumable


def test_a_restart_goes_on_where_the_search_was(opened: Open, laboratory: FakeLaboratory) -> None:
    first = opened()
    name = first.start(spec(trials=10))
    until(first, name, lambda own: len(own.finished) >= 3)
    laboratory.open = False
    under_way = until(first, name, lambda own: len(own.running) == 2)
    first.close()
    second = opened()
    left = read(second, name)
    assert left.state == "interrupted" and left.seconds > 0
    assert [trial.key for trial in left.finished] == [trial.key for trial in under_way.finished]
    laboratory.open = True
    second.resume(name)
    second.wait(name, 60)
    record = read(second, name)
    assert (record.state, len(record.finished)) == ("done", 10)
    assert {trial.key for trial in under_way.trials} <= {trial.key for trial in record.trials}
    assert record.seconds > left.seconds
    origins = [trial.origin for trial in record.trials]
    assert origins.count("probe") == 1, "what was found out before is not found out again"


def test_a_search_whose_server_was_killed_counts_as_interrupted(opened: Open) -> None:
    searches = opened()
    record = finished(searches, spec(trials=2))
    study = searches._archive.study(record.id)
    study.set_user_attr(archive.OWNER, {"pid": 2**22 + 1, "created": 0.0})
    study.set_user_attr(archive.STATE, {"state": "running", "message": "Searching", "seconds": 1.0})
    assert read(searches, record.id).state == "interrupted"


def test_sensitivities_are_waited_for_and_given_up_when_time_is_short(
    opened: Open, laboratory: FakeLaboratory
) -> None:
    laboratory.measured = 0.4
    searches = opened()
    name = searches.start(spec(limits=Limits()))
    until(searches, name, lambda own: "quantization: 40 %" in own.message)
    laboratory.measured = 1.0
    searches.wait(name, 60)
    assert any(trial.origin == "plan" for trial in read(searches, name).trials)
    laboratory.measured = 0.4
    record = finished(searches, spec(limits=Limits(), minutes=0.01, trials=None))
    assert any("more than a third of the time" in note for note in record.notes) and record.state == "done"


def test_searches_are_listed_newest_first_and_unknown_ones_refused(opened: Open) -> None:
    searches = opened()
    assert searches.names() == [] and searches.specs() == {}
    first, second = (finished(searches, spec(trials=n)).id for n in (1, 2))
    assert searches.names() == [second, first]
    assert [own.trials for own, _ in searches.specs().values()] == [2, 1]
    assert searches.read("nothing") is None
    with pytest.raises(InputError, match="search"):
        searches.resume("nothing")
    with pytest.raises(InputError, match="model"):
        searches.start(spec(model="nothing"))
    assert len(searches.names()) == 2


def test_out_of_reach_with_a_limit_of_accuracy_names_limits_that_something_keeps(opened: Open) -> None:
    searches = opened()
    limits = Limits(max_accuracy_drop=1.0, max_size_bytes=3_000)
    record = finished(searches, spec(limits=limits, trials=200))
    assert record.state == "infeasible" and len(record.trials) == 7, "three more, halving the way"
    near = record.reachable
    assert near is not None and near.max_accuracy_drop == 1.0
    assert near.max_size_bytes is not None and 3_000 < near.max_size_bytes < 500_000
    assert record.standard is not None
    assert any(record.standard.feasible(t.outcome, near) for t in record.trials if t.outcome)
    assert "The nearest that something measured keeps: at most 1 point lost" in record.message
    name = searches.ease(record.id)
    searches.wait(name, 60)
    again = read(searches, name)
    assert again.spec.limits == near and again.feasible[0].number == 1, "it begins with what keeps them"
    with pytest.raises(InputError, match="no trial keeps"):
        searches.ease(name)


def test_a_search_that_does_not_run_can_be_forgotten(opened: Open, laboratory: FakeLaboratory) -> None:
    searches = opened()
    record = finished(searches, spec(trials=2))
    laboratory.open = False
    running = searches.start(spec())
    until(searches, running, lambda own: bool(own.running))
    assert [(own.id, own.state) for own in searches.summaries()] == [(running, "running"), (record.id, "done")]
    assert searches.here(running) and not searches.here(record.id)
    with pytest.raises(InputError, match="stop it first"):
        searches.delete(running)
    searches.delete(record.id)
    assert searches.names() == [running] and searches.read(record.id) is None
    with pytest.raises(InputError, match="name of a search"):
        searches.delete(record.id)
    searches.stop(running)


def test_a_search_of_another_process_is_not_carried_on_twice(opened: Open, laboratory: FakeLaboratory) -> None:
    first, second = opened(), opened()
    laboratory.open = False
    name = first.start(spec())
    begun = until(first, name, lambda own: bool(own.running))
    assert not second.here(name)
    with pytest.raises(InputError, match="another process"):
        second.resume(name)
    time.sleep(0.05)
    assert read(second, name).seconds > begun.seconds, "the time goes on between two trials"
    first.stop(name)


def test_the_first_trial_has_integer_activations_and_begins_beside_the_uncompressed_model(
    opened: Open, laboratory: FakeLaboratory
) -> None:
    record = finished(opened(), spec(limits=Limits(max_accuracy_drop=1.0, min_speedup=1.5), trials=6))
    first = record.trials[0]
    (step,) = first.recipe["steps"]
    assert first.origin == "probe" and (step["weight_bits"], step["activation_bits"]) == (8, 8)
    assert first.standing in ("front", "dominated"), "it keeps the limits, so that nothing stronger need be tried"
    assert [trial.origin for trial in record.trials].count("probe") == 1
    assert laboratory.submitted.index(first.key) == 1


def test_a_first_trial_that_narrowly_misses_a_limit_of_speed_is_timed_at_length(
    opened: Open, laboratory: FakeLaboratory
) -> None:
    laboratory.slowed = True
    record = finished(opened(), spec(limits=Limits(max_accuracy_drop=1.0, min_speedup=1.9), trials=4))
    first = record.trials[0]
    assert first.key in laboratory.refinements and first.standing in ("front", "dominated")
    assert [trial.origin for trial in record.trials].count("probe") == 1, "nothing stronger need be tried"


def test_finalists_are_promised_to_keep_the_limit_only_where_it_is_shown(
    opened: Open, laboratory: FakeLaboratory
) -> None:
    laboratory.test_split = 10_000
    record = finished(opened(), spec())
    assert set(record.promises) == record.confirmed and record.shown
    for trial in record.front:
        assert trial.outcome is not None and record.standard is not None
        drop = record.standard.drop(trial.outcome)
        assert record.promises[trial.key].drop == pytest.approx(drop)
        assert (trial in record.shown) == (drop + 0.2 <= 1.0)
    assert not any("cannot be shown" in note for note in record.notes)


def test_too_few_test_samples_are_said_before_the_search(opened: Open, laboratory: FakeLaboratory) -> None:
    laboratory.test_split = 360
    laboratory.open = False
    searches = opened()
    name = searches.start(spec())
    record = until(searches, name, lambda own: bool(own.notes))
    assert "cannot be shown with 180 samples" in record.notes[0]
