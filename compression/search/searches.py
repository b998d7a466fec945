"""All searches of a service: begin, follow, pause, go on, stop."""

import threading
from dataclasses import replace
from pathlib import Path

from compression.core.errors import InputError
from compression.search import archive
from compression.search.archive import Archive
from compression.search.laboratory import Laboratory
from compression.search.records import SearchRecord, SearchSummary
from compression.search.runner import ANYWAY, PROBED, SearchThread
from compression.search.spec import SearchSpec

_PATIENCE_SECONDS = 10


class Searches:
    """The searches of one store. Safe to use from several threads; each search has a thread of its own.

    Args:
        root: The store's folder.
        laboratory: What measures their trials.
        parallel: Trials of one search under way at once; two keep both a compressing and a timing worker busy.
    """

    def __init__(self, root: Path, laboratory: Laboratory, parallel: int = 2) -> None:
        self._archive, self._laboratory, self._parallel = Archive(root), laboratory, parallel
        self._threads: dict[str, SearchThread] = {}
        self._lock = threading.Lock()

    def start(self, spec: SearchSpec) -> str:
        """Begin a search; returns its name at once.

        Raises:
            InputError: if the model or its data cannot be used.
        """
        self._laboratory.check(spec.model, spec.dataset)
        name = self._archive.create(spec)
        self._run(name)
        return name

    def ease(self, name: str) -> str:
        """Begin a search with the nearest limits that a trial of another keeps, from that trial on; returns its name.

        Raises:
            InputError: if there is no such search, or if it knows no such limits.
        """
        record = self.read(name)
        if record is None or record.reachable is None or record.standard is None:
            raise InputError("search", name, "one is needed of which no trial keeps the limits")
        limits, standard = record.reachable, record.standard
        kept = {t.key for t in record.trials if t.outcome is not None and standard.feasible(t.outcome, limits)}
        eased = self._archive.create(replace(record.spec, limits=limits))
        self._archive.hand_on(name, kept, eased)
        self._run(eased)
        return eased

    def names(self) -> list[str]:
        """Names of all searches, the newest first."""
        return self._archive.names()

    def specs(self) -> dict[str, tuple[SearchSpec, str]]:
        """What each search was asked for and when it was begun, the newest first."""
        return self._archive.specs()

    def summaries(self) -> list[SearchSummary]:
        """All searches in short, the newest first."""
        return self._archive.summaries()

    def here(self, name: str) -> bool:
        """Whether a search runs in this process, so that it can be paused and stopped from here."""
        thread = self._threads.get(name)
        return thread is not None and thread.is_alive()

    def delete(self, name: str) -> None:
        """Forget a search that does not run; what it measured stays among the results.

        Raises:
            InputError: if there is no such search, or if it runs.
        """
        record = self.read(name)
        if record is None:
            raise InputError("search", name, "the name of a search is needed")
        if record.state == "running" or self.here(name):
            raise InputError("search", name, "it runs: stop it first")
        self._archive.delete(name)

    def read(self, name: str) -> SearchRecord | None:
        """A search so far, or None if there is none of that name."""
        return self._archive.read(name, self._laboratory.current)

    def pause(self, name: str) -> None:
        """End a running search after the trials under way; it can go on."""
        self._halt(name, "paused")

    def stop(self, name: str) -> None:
        """End a running search at once, its trials under way included."""
        self._halt(name, "stopped")

    def resume(self, name: str) -> None:
        """Let a search go on that has not used its budget; one that found a limit out of reach searches anyway.

        Raises:
            InputError: if there is no such search, or if another process runs it.
        """
        record = self.read(name)
        if record is None:
            raise InputError("search", name, "the name of a search is needed")
        if record.state == "running" and name not in self._threads:
            raise InputError("search", name, "it runs already, in another process")
        running = self._threads.get(name)
        if running is not None and running.is_alive():
            running.join(_PATIENCE_SECONDS)
        if record.state == "infeasible":
            study = self._archive.study(name)
            study.set_user_attr(archive.STAGES, [*study.user_attrs.get(archive.STAGES, []), PROBED, ANYWAY])
        if record.resumable or record.state == "running":
            self._run(name)

    def wait(self, name: str, timeout: float | None = None) -> None:
        """Block until a search of this process has ended."""
        thread = self._threads.get(name)
        if thread is not None:
            thread.join(timeout)

    def close(self) -> None:
        """End all searches of this process; they can go on another time."""
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.halt("interrupted")
        for thread in threads:
            thread.join(_PATIENCE_SECONDS)

    def _run(self, name: str) -> None:
        with self._lock:
            known = self._threads.get(name)
            if known is None or not known.is_alive():
                self._threads[name] = SearchThread(name, self._archive, self._laboratory, self._parallel)
                self._threads[name].start()

    def _halt(self, name: str, state: str) -> None:
        thread = self._threads.get(name)
        if thread is not None and thread.is_alive():
            thread.halt(state)
