"""Jobs that worker processes carry out, on dask.distributed: queued by priority, in stages, cancelled."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import Client, Future

from compression.core.cores import worker_count
from compression.jobs import experiment_jobs
from compression.jobs.workers import LocalWorkers

_COMPUTE, _TIMING = {"compute": 1}, {"timing": 1}
_LOWER = {"quick": 0, "full": 1000}


class Engine:
    """Runs the stages of experiments in worker processes.

    Args:
        root: The result store's folder.
        address: Address of an existing scheduler; worker processes are started here when None.
        compute_workers: Local workers that compress and score; by default one for each core, at most four.
    """

    def __init__(self, root: Path, address: str | None = None, compute_workers: int | None = None) -> None:
        root = root.resolve()
        root.mkdir(parents=True, exist_ok=True)
        self._root = str(root)
        self.compute_workers = compute_workers or worker_count()
        self._local = None if address else LocalWorkers(root, self.compute_workers, _COMPUTE, _TIMING)
        self._client = self._local.client if self._local else Client(address, set_as_default=False)
        self._futures: dict[str, list[Future]] = {}
        self._turns = itertools.count()

    def submit(
        self, key: str, recipe: Mapping[str, Any], priority: int = 0,
        on_lost: Callable[[str, str], None] | None = None, *, tiers: Sequence[str] = ("quick", "full"),
        selects: bool = False,
    ) -> None:
        """Queue the stages of a recipe: a first coarse result, then its refinement at a lower priority.

        Args:
            key: Key of the result.
            recipe: What to run, as plain data.
            priority: Higher runs first.
            on_lost: Called with the key and a reason if a worker was lost for good.
            tiers: "quick", "full" or both; "full" alone follows what is under way of this job.
            selects: Whether it is also scored on the samples that searches choose by.
        """
        text = json.dumps(recipe)
        turn = next(self._turns)  # a cancelled stage may still be running under its old name
        chain = list(self._futures.get(key, [])) if tuple(tiers) == ("full",) else []
        before: Future | bool = chain[-1] if chain else True
        for tier in tiers:
            stages = [(experiment_jobs.compute, _COMPUTE), (experiment_jobs.time_artifact, _TIMING)]
            if selects:
                stages.insert(1, (experiment_jobs.score_selection, _COMPUTE))
            for function, resource in stages:
                before = self._client.submit(
                    function, self._root, key, text, tier, before, pure=False, resources=resource,
                    priority=priority - _LOWER[tier], key=f"{function.__name__}-{tier}-{key}-{turn}",
                )
                chain.append(before)
        self._keep(key, chain, on_lost)

    def submit_stages(
        self, key: str, stages: Sequence[tuple[Callable[..., bool], bool]], arguments: Sequence[Any],
        priority: int = 0, on_lost: Callable[[str, str], None] | None = None,
    ) -> None:
        """Queue a job of stages that follow one another.

        Args:
            key: Key of the job.
            stages: Functions, called as ``function(root, key, *arguments, before)`` where `before` says whether the
                stage before succeeded, and whether each belongs on the worker that times.
            arguments: Plain data.
            priority: Higher runs first.
            on_lost: Called with the key and a reason if a worker was lost for good.
        """
        turn, before = next(self._turns), True
        chain: list[Future] = []
        for function, times in stages:
            before = self._client.submit(
                function, self._root, key, *arguments, before, pure=False, resources=_TIMING if times else _COMPUTE,
                priority=priority, key=f"{function.__name__}-{key}-{turn}",
            )
            chain.append(before)
        self._keep(key, chain, on_lost)

    def submit_parts(
        self, key: str, function: Callable[..., bool], arguments: Sequence[Any], parts: int, priority: int = 0,
        on_lost: Callable[[str, str], None] | None = None,
    ) -> None:
        """Queue a job that is done in many short parts, between which more urgent work comes in.

        Args:
            key: Key of the job.
            function: Called as ``function(root, key, *arguments, part, parts)`` for each part.
            arguments: Plain data.
            parts: How many parts there are; independent of each other, the first ones go first.
            priority: Higher runs first.
            on_lost: Called with the key and a reason if a worker was lost for good.
        """
        turn = next(self._turns)
        chain = [
            self._client.submit(
                function, self._root, key, *arguments, part, parts, pure=False, resources=_COMPUTE,
                priority=priority, key=f"{function.__name__}-{key}-{turn}-{part}",
            )
            for part in range(parts)
        ]
        self._keep(key, chain, on_lost)

    def _keep(self, key: str, chain: list[Future], on_lost: Callable[[str, str], None] | None) -> None:
        self._futures[key] = chain
        if on_lost is not None:

            def ended(last: Future) -> None:
                if last.status == "error":
                    on_lost(key, "a worker was lost")

            chain[-1].add_done_callback(ended)

    def cancel(self, key: str) -> None:
        """Drop what is still queued; a running stage stops at its next check of the store."""
        for future in self._futures.pop(key, []):
            future.cancel()

    def has(self, key: str) -> bool:
        """Whether any stage of a job is still to end."""
        return any(not future.done() for future in self._futures.get(key, []))

    def busy(self) -> bool:
        """Whether any job is under way."""
        return any(self.has(key) for key in list(self._futures))

    def wait(self, key: str, timeout: float | None = None) -> None:
        """Block until a job's last stage has ended."""
        for future in self._futures.get(key, [])[-1:]:
            future.result(timeout=timeout)

    def close(self) -> None:
        """Stop the workers."""
        if self._local is not None:
            self._local.close()
        else:
            self._client.close()

