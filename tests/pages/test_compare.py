"""The Compare page and its tables."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from compression.experiments import ExperimentResult, recipe_from_dict
from compression.experiments.behaviour import Behaviour, flips
from pages.components.comparison import class_table, layer_sizes, recipe_difference, run_table

BASE = {"model": "digits_resnet", "dataset": "digits"}
Maker = Callable[..., ExperimentResult]


def pruned(make_result: Maker, sparsity: float) -> ExperimentResult:
    steps = [{"technique": "weight_pruning", "sparsity": sparsity}]
    return make_result(recipe_from_dict({**BASE, "steps": steps}))


def test_only_what_differs_is_in_the_recipe_difference(make_result: Maker) -> None:
    a, b = pruned(make_result, 0.3), pruned(make_result, 0.5)
    difference = recipe_difference([a, b])
    assert list(difference.index) == ["weight_pruning.sparsity"]
    assert list(difference.iloc[0]) == ["0.3", "0.5"]
    assert "-" in list(recipe_difference([make_result(recipe_from_dict(BASE)), a]).loc["weight_pruning.sparsity"])


def test_tables_have_a_row_per_run_and_layer(make_result: Maker) -> None:
    a, b = pruned(make_result, 0.3), pruned(make_result, 0.5)
    assert list(run_table([a, b]).index) == [a.key, b.key]
    assert list(layer_sizes([a, b]).columns) == ["A", "B"]
    assert layer_sizes([a]).loc["conv1", "A"] == 600
    assert run_table([]).empty


def test_class_accuracy_and_flips_are_counted() -> None:
    targets = np.array([0, 0, 1, 1])
    before = Behaviour(np.array([0, 0, 1, 0]), targets, ("cat", "dog"))
    after = Behaviour(np.array([0, 1, 1, 1]), targets, ("cat", "dog"))
    assert before.class_accuracy() == {"cat": (1.0, 2), "dog": (0.5, 2)}
    counted = flips(before, after)
    assert (counted.lost, counted.won, counted.other, counted.total) == (1, 1, 0, 4)
    table = class_table({"A": before.class_accuracy(), "B": after.class_accuracy()})
    assert table.loc["dog", "A"] == 50.0
    assert list(table["samples"]) == [2, 2]


def test_an_empty_store_invites(app: AppTest, fake: Any) -> None:
    app.switch_page("pages/compare.py").run()
    assert any("Explore" in info.value for info in app.info)
    assert not app.exception


def test_pinned_runs_stand_side_by_side(app: AppTest, fake: Any, tmp_path: Path) -> None:
    fake.store = SimpleNamespace(artifact_dir=lambda key: tmp_path / key)
    app.run()
    fake.finish()
    keys = list(fake.states)[:2]
    app.query_params["pins"] = ",".join(keys)
    app.switch_page("pages/compare.py").run()
    assert not app.exception
    assert [m.label for m in app.metric].count("Accuracy") == 2
    assert any("Where the recipes differ" in m.value for m in app.markdown)
    assert any("not there yet" in c.value for c in app.caption)
