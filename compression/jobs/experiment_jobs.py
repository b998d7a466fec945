"""Functions that worker processes run: plain arguments in, a key out; everything else goes through the store.

What they need is imported inside them, so that whoever submits them need not import torch first.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from compression.core.errors import CancelledError, GraphError, InputError

if TYPE_CHECKING:
    from compression.experiments.results import TrainingRecord
    from compression.experiments.stages import Tier
    from compression.experiments.store import ResultStore
    from compression.recipe import Recipe

Progress = Callable[[float, str], None]
logger = logging.getLogger(__name__)
CURVE, ENOUGH = "curve", "enough"
_REPORT_SECONDS = 0.2
_YIELDING = 10


@lru_cache(maxsize=4)
def _store(root: str) -> "ResultStore":
    from compression.experiments.store import ResultStore

    return ResultStore(Path(root))


class _Watch:
    """Reports progress to the store and learns from it whether to stop, a few times a second."""

    def __init__(self, store: "ResultStore", key: str) -> None:
        self._store, self._key = store, key
        self._last = 0.0
        self._cancelled = self._enough = False
        known = store.jobs([key]).get(key, {})  # the first look must not take back what an earlier stage reported
        self._fraction, self._message = known.get("fraction", 0.0), known.get("message", "")

    def progress(self, fraction: float, message: str) -> None:
        self._fraction, self._message = fraction, message
        self._look()

    def cancelled(self) -> bool:
        self._look()
        return self._cancelled

    def enough(self) -> bool:
        self._look()
        return self._enough

    def evaluated(self, training: "TrainingRecord") -> None:
        self._store.put_part(self._key, CURVE, asdict(training))

    def _look(self) -> None:
        if time.monotonic() - self._last >= _REPORT_SECONDS:
            self._last = time.monotonic()
            self._cancelled |= not self._store.advance_job(self._key, self._fraction, self._message)
            self._enough |= self._store.get_part(self._key, ENOUGH) is not None


def _guarded(store: "ResultStore", key: str, work: Callable[[_Watch], None]) -> bool:
    """Run one stage; errors become the job's state. Returns whether the next stage may follow."""
    from models.errors import ModelError

    watch = _Watch(store, key)
    if watch.cancelled():
        return False
    try:
        work(watch)
    except CancelledError:  # its state says so already, or it has been asked for again meanwhile
        return False
    except (InputError, ModelError, GraphError) as error:
        store.move_job(key, "failed", error=str(error))
        return False
    except Exception as error:
        logger.exception("job %s failed", key)
        reason = " ".join(str(error).split())[:300]
        store.move_job(key, "failed", error=f"{type(error).__name__}: {reason}")
        return False
    return True


def _recipe(recipe_json: str) -> "Recipe":
    from compression.recipe import recipe_from_dict

    return recipe_from_dict(json.loads(recipe_json))


def compute(root: str, key: str, recipe_json: str, tier: "Tier", before: bool = True) -> bool:
    """Build a recipe's artifact and its baseline's, and score both."""
    from compression.experiments import stages

    store, recipe = _store(root), _recipe(recipe_json)
    if not before:
        return False

    def work(watch: _Watch) -> None:
        for own in (recipe.baseline(), recipe):
            stages.build(own, store, watch.progress, watch.cancelled, watch.enough, watch.evaluated)
            stages.score(own, store, tier, watch.progress, watch.cancelled)
        if tier == "quick":  # accuracy and size are there; a latency too where the structure has been timed before
            result = stages.conclude(recipe, store)
            store.move_job(key, "quick", 0.8, "timing" if result.figures.latency_ms_p50 is None else "quick")

    if tier == "quick":
        _start(store, key)
    return _guarded(store, key, work)


def score_selection(root: str, key: str, recipe_json: str, tier: "Tier", before: bool = True) -> bool:
    """Score a recipe's artifact on the samples that searches choose by."""
    from compression.experiments import stages

    del tier
    store, recipe = _store(root), _recipe(recipe_json)

    def work(watch: _Watch) -> None:
        stages.build(recipe, store, watch.progress, watch.cancelled)  # elsewhere it may have been removed meanwhile
        stages.score_selection(recipe, store, watch.progress, watch.cancelled)

    return before and _guarded(store, key, work)


def measure_sensitivity(
    root: str, key: str, model: str, dataset: str, technique: str, part: int, parts: int
) -> bool:
    """Measure one part of a sensitivity map; the part that completes it ends the job."""
    from compression.analysis import sensitivity

    store = _store(root)
    if store.jobs([key]).get(key, {}).get("state") not in ("queued", "running"):
        return False

    def work(watch: _Watch) -> None:
        arguments = (store, key, model, dataset, technique, watch.progress, watch.cancelled, part, parts)
        if sensitivity.measure(*arguments):
            store.move_job(key, "done", 1.0, "done")

    _start(store, key)
    return _guarded(store, key, work)


def _start(store: "ResultStore", key: str) -> None:
    if store.jobs([key]).get(key, {}).get("state") == "queued":
        store.drop_parts(key, CURVE, ENOUGH)
        store.begin_job(key)


def time_artifact(root: str, key: str, recipe_json: str, tier: "Tier", before: bool = True) -> bool:
    """Time a recipe's artifact against its baseline and store the result so far."""
    from compression.experiments import stages

    store, recipe = _store(root), _recipe(recipe_json)
    if not before:
        return False

    def work(watch: _Watch) -> None:
        watch.progress(0.8 if tier == "quick" else 0.95, "timing" if tier == "quick" else "tightening intervals")
        stages.clock(recipe.baseline(), store, tier, watch.cancelled)
        stages.clock(recipe, store, tier, watch.cancelled)
        result = stages.conclude(recipe, store)
        store.move_job(key, "done" if result.stage == "full" else "quick", 1.0, result.stage)

    return _guarded(store, key, work)


def side_stage(
    root: str, key: str, work: Callable[["ResultStore", Progress, Callable[[], bool]], object], *, first: bool = True,
    last: bool = True,
) -> bool:
    """One stage of a job that is no experiment; its errors become the job's state.

    Args:
        root: The store's folder.
        key: Key of the job.
        work: Called with the store, where to report progress, and what says whether to stop.
        first: Whether it begins the job.
        last: Whether it ends it.
    """
    store = _store(root)
    if first:
        _start(store, key)

    def run(watch: _Watch) -> None:
        work(store, watch.progress, watch.cancelled)
        if last:
            store.move_job(key, "done", 1.0, "done")

    return _guarded(store, key, run)


def warm_up(root: str, times: bool, urgent: bool, after: list[bool]) -> bool:
    """Do ahead of the first job what it would otherwise wait for.

    Args:
        root: The store's folder.
        times: Whether this worker times; the others compress, and give way to page and timing where cores are few.
        urgent: Whether the first job waits for it: then it gives way afterwards only.
        after: Warm-ups that go first.
    """
    del after
    if not times and not urgent:
        _give_way()
    import torch

    from compression.experiments import stages
    from compression.recipe import Recipe
    from models import registry

    torch.set_num_threads(1)
    if times:
        stages.start_timer()
    elif registry.has_weights(registry.FIRST_MODEL):
        recipe = Recipe(model=registry.FIRST_MODEL, dataset=registry.model_info(registry.FIRST_MODEL).dataset)
        stages.build(recipe, _store(root))
        stages.score(recipe, _store(root), "quick")
    if not times and urgent:
        _give_way()
    return True


def _give_way() -> None:
    if hasattr(os, "nice"):
        os.nice(_YIELDING)
