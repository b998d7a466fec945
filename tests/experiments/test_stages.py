"""The stages of an experiment: what is measured once, what is measured again, and what the badges say."""

from pathlib import Path

import pytest

from compression.core.errors import InputError
from compression.experiments import stages
from compression.experiments.results import ExperimentResult
from compression.experiments.stages import build, key_of, run_experiment, score, timing_name
from compression.experiments.store import ResultStore
from compression.recipe import Recipe, recipe_from_dict

LATENCY = ("latency_ms_p50", "latency_ms_p95", "latency_low", "latency_high", "speedup")


def recipe(technique: str | None = None, samples: int = 60, **knobs: object) -> Recipe:
    steps = [] if technique is None else [{"technique": technique, **knobs}]
    return recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "n_samples": samples, "steps": steps})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return ResultStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def pruned(store: ResultStore) -> ExperimentResult:
    return run_experiment(recipe("weight_pruning", sparsity=0.5), store, quick=True)


def forbid(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def called(*arguments: object, **keywords: object) -> None:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, called)


def test_the_baseline_is_its_own_baseline(store: ResultStore, pruned: ExperimentResult) -> None:
    own = run_experiment(recipe(), store, quick=True)
    assert own.figures == own.baseline
    assert own.figures.speedup == 1.0
    assert own.explanation == ()
    assert own.figures.accuracy == pruned.baseline.accuracy


def test_weights_that_are_zero_cost_bytes_no_more_but_still_time(pruned: ExperimentResult) -> None:
    own, base = pruned.figures, pruned.baseline
    assert own.nonzero_parameters < 0.52 * base.parameters
    assert (own.macs, own.parameters) == (base.macs, base.parameters)
    assert own.size_bytes < 0.6 * base.size_bytes
    assert any("no kernel here skips them" in line for line in pruned.explanation)


def test_artifacts_of_one_structure_share_their_latency(
    store: ResultStore, pruned: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, stages._TIMER, "time_pair")
    other = run_experiment(recipe("weight_pruning", sparsity=0.7), store, quick=True)
    assert [getattr(other.figures, n) for n in LATENCY] == [getattr(pruned.figures, n) for n in LATENCY]
    assert other.figures.size_bytes < pruned.figures.size_bytes


def test_a_pattern_that_matches_no_layer_is_reported(store: ResultStore) -> None:
    own = recipe("weight_pruning", sparsity=0.5, layers={"exclude": ["linear", "nowhere"]})
    found = run_experiment(own, store, quick=True)
    reported = [note for note in found.notes if "matches no layer" in note]
    assert reported == ["Weight pruning: 'nowhere' matches no layer"]


def test_fewer_channels_are_another_structure_with_less_work(store: ResultStore) -> None:
    cut = run_experiment(recipe("channel_pruning", pruning_ratio=0.5), store, quick=True)
    assert cut.figures.macs < 0.7 * cut.baseline.macs
    assert cut.figures.parameters < 0.7 * cut.baseline.parameters
    keys = [key_of(recipe("channel_pruning", pruning_ratio=0.5)), key_of(recipe())]
    names = [timing_name(recipe(), store, key) for key in keys]
    assert names[0][0] == names[1][0] == cut.clock and names[0][1] == cut.structure != names[1][1]
    assert (cut.badges["latency_ms_p50"], cut.badges["macs"]) == ("preliminary", "measured")


def test_the_latency_of_expanded_low_bit_weights_is_marked_simulated(store: ResultStore) -> None:
    low = run_experiment(recipe("quantization", weight_bits=4), store, quick=True)
    assert all(low.badges[name] == "simulated" and "float32" in low.badge_notes[name] for name in LATENCY)
    assert low.badges["accuracy"] == low.badges["size_bytes"] == "measured"
    assert low.badges["energy_mj"] == low.badges["cost_per_million"] == "estimated"
    assert any("run on integer kernels" in line for line in low.explanation)


@pytest.mark.parametrize(
    ("technique", "knobs"),
    [
        ("weight_pruning", {"sparsity": 0.0}), ("channel_pruning", {"pruning_ratio": 0.0}),
        ("quantization", {"weight_bits": 32}), ("weight_pruning", {"layers": {"include": ["nowhere"]}}),
    ],
    ids=str,
)
def test_a_recipe_without_effect_is_told_so_and_costs_nothing(
    store: ResultStore, technique: str, knobs: dict[str, object]
) -> None:
    same = run_experiment(recipe(technique, **knobs), store, quick=True)
    assert same.explanation == ("The recipe changed nothing, so size and latency are the baseline's.",)
    assert same.figures.size_bytes == same.baseline.size_bytes
    assert (same.figures.accuracy, same.figures.n_samples) == (same.baseline.accuracy, 60)


@pytest.mark.parametrize("technique", ["block_sharing", "channel_pruning"])
def test_a_technique_that_finds_nothing_to_act_on_is_refused(store: ResultStore, technique: str) -> None:
    nowhere = recipe(technique, layers={"include": ["nowhere"]})
    with pytest.raises(InputError, match=rf"^steps: '{technique}' is not allowed; it cannot act on this model: "):
        run_experiment(nowhere, store, quick=True)
    assert store.get_result(key_of(nowhere)) is None


def test_a_coarse_score_is_replaced_by_one_on_all_samples_and_not_again(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe(samples=300)
    key = build(own, store)
    score(own, store, "quick")
    coarse = store.get_part(key, "accuracy")
    score(own, store, "full")
    fine = store.get_part(key, "accuracy")
    assert coarse is not None and fine is not None
    assert (coarse["rows"], coarse["complete"], fine["rows"], fine["complete"]) == (160, False, 300, True)
    assert fine["high"] - fine["low"] < coarse["high"] - coarse["low"]
    forbid(monkeypatch, stages, "evaluate_onnx")
    score(own, store, "full")
    score(own, store, "quick")


def test_an_artifact_is_built_once_and_again_when_its_graph_is_gone(
    store: ResultStore, pruned: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe("weight_pruning", sparsity=0.5)
    with monkeypatch.context() as patched:
        forbid(patched, stages, "build_artifact")
        assert build(own, store) == pruned.key
    graph = store.artifact_dir(pruned.key) / stages.GRAPH_NAME
    before = graph.read_bytes()
    graph.unlink()
    build(own, store)
    assert graph.read_bytes() == before


def test_progress_only_rises_and_ends_at_one(store: ResultStore) -> None:
    told: list[tuple[float, str]] = []
    own = recipe("weight_pruning", sparsity=0.2)
    run_experiment(own, store, quick=True, progress=lambda fraction, message: told.append((fraction, message)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert told[-1] == (1.0, "done")


def test_what_has_not_been_made_cannot_be_concluded(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"artifact of .* has not been made yet"):
        stages.conclude(recipe(), ResultStore(tmp_path))
