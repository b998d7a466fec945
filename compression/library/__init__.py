"""What models and datasets there are, where they come from, what they take on the disk; part of the service."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compression.core.errors import InputError
from compression.experiments.store import ResultStore
from compression.library.catalogue import find_download, removable, remove_download, run_download
from compression.library.disk import CLEARABLE, DiskUse, clear, measure_disk
from compression.library.entries import TASKS, DatasetEntry, Fetchable, ModelEntry, dataset_entries, model_entries
from compression.library.errands import UNFINISHED, Errands
from compression.library.folder import choose_folder
from compression.library.previews import Look, Sample, look_into, look_job, read_look
from compression.recipe import Recipe
from models import datasets, registry
from models.parameters import count_parameters, known_parameters
from models.sources.locations import chosen_data_folder

if TYPE_CHECKING:
    from compression.jobs.engine import Engine

__all__ = [
    "CLEARABLE", "TASKS", "UNFINISHED", "DatasetEntry", "DiskUse", "Fetchable", "Library", "Look", "ModelEntry",
    "Sample", "clear_job", "download_job", "removal_job",
]
logger = logging.getLogger(__name__)
_PRIORITY = 50
_FRESH_SECONDS = 20.0


def download_job(name: str) -> str:
    """Key of the job that downloads a model or dataset."""
    return f"download-{name}"


def removal_job(name: str) -> str:
    """Key of the job that removes what was downloaded."""
    return f"removal-{name}"


def clear_job(kind: str) -> str:
    """Key of the job that clears one kind of files."""
    return f"clear-{kind}"


class Library:
    """Models and datasets of this machine. Safe to use from several threads.

    Args:
        store: The results.
        engine: The workers.
        submit: Has a recipe measured and returns its key.
        lost: Called with a job's key and a reason if a worker was lost.
        forget: Called when results have been cleared.
    """

    def __init__(
        self, store: ResultStore, engine: "Engine", submit: Callable[[Recipe], str], lost: Callable[[str, str], None],
        forget: Callable[[], None],
    ) -> None:
        self._store, self._engine, self._submit, self._lost, self._forget = store, engine, submit, lost, forget
        self.errands = Errands(store)
        self._measuring: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._disk: tuple[float, DiskUse] | None = None
        self._counting: threading.Thread | None = None
        self._counted: dict[str, int | None] = {}
        self._counter: threading.Thread | None = None

    def models(self) -> list[ModelEntry]:
        """All models, ordered by task and dataset."""
        return model_entries(self._store.baselines(), self._parameters)

    def _parameters(self, name: str) -> int | None:
        """Counted in a thread where neither record nor card knows it: the first build of a model takes seconds."""
        known = known_parameters(name)
        if known is not None or name in self._counted:
            return known or self._counted[name]
        if self._counter is None or not self._counter.is_alive():
            self._counter = threading.Thread(target=self._count_parameters, name="parameters", daemon=True)
            self._counter.start()
        return None

    def _count_parameters(self) -> None:
        for info in registry.list_models():
            try:
                self._counted[info.name] = count_parameters(info.name)
            except Exception:  # a user's own architecture; what is wrong with it is told when it is loaded
                logger.warning("the parameters of %s could not be counted", info.name, exc_info=True)
                self._counted[info.name] = None

    def datasets(self) -> list[DatasetEntry]:
        """All datasets, ordered by task."""
        return dataset_entries()

    def download(self, name: str) -> str:
        """Have weights or a dataset fetched, in a thread of this process; returns the job's key at once.

        Raises:
            InputError: if nothing of that name can be fetched, or it is just being removed.
        """
        download = find_download(name)
        if self._under_way(removal_job(name)):
            raise InputError("download", name, "it is just being removed; ask again in a moment")
        self.errands.start(
            download_job(name), self._noticed(lambda progress, cancelled: run_download(download, progress, cancelled))
        )
        return download_job(name)

    def remove(self, name: str) -> str:
        """Have what was downloaded removed; returns the job's key at once.

        Raises:
            InputError: if there is nothing that may be removed, or it is just being downloaded.
        """
        download = find_download(name)
        if self._under_way(download_job(name)):
            raise InputError("remove", name, "it is just being downloaded; cancel that first")
        if not removable(download):
            raise InputError("remove", name, "only what was downloaded here can be removed; nothing of it was")
        self.errands.start(removal_job(name), self._noticed(lambda progress, cancelled: remove_download(download)))
        return removal_job(name)

    def clear(self, kind: str) -> str:
        """Have what can be made again deleted; returns the job's key at once.

        Raises:
            InputError: if there is no such kind, or something is being measured.
        """
        if kind not in CLEARABLE:
            raise InputError("clear", kind, "allowed: " + ", ".join(CLEARABLE))
        if self._engine.busy():
            raise InputError("clear", kind, "measurements are under way that use these files; cancel or await them")
        if kind == "results":
            self._measuring.clear()

        def work(progress: Callable[[float, str], None], cancelled: Callable[[], bool]) -> None:
            clear(kind, self._store, progress, cancelled)
            if kind == "results":
                self._forget()

        self.errands.start(clear_job(kind), self._noticed(work))
        return clear_job(kind)

    def _under_way(self, job: str) -> bool:
        return self._store.jobs([job]).get(job, {}).get("state") in UNFINISHED

    def _noticed(
        self, work: Callable[[Callable[[float, str], None], Callable[[], bool]], object]
    ) -> Callable[[Callable[[float, str], None], Callable[[], bool]], object]:
        """Work after which the disk is counted anew, whatever came of it."""

        def run(progress: Callable[[float, str], None], cancelled: Callable[[], bool]) -> object:
            try:
                return work(progress, cancelled)
            finally:
                self._disk = None

        return run

    def measure(self, model: str, dataset: str) -> str:
        """Have the untouched model measured on a dataset; returns the job's key at once.

        Raises:
            InputError: if either is not on this machine, or they do not fit.
        """
        key = self._submit(Recipe(model=model, dataset=dataset))
        self._measuring[model, dataset] = key
        return key

    def measuring(self, model: str, dataset: str) -> str | None:
        """Key of the job that was last asked to measure the untouched model, if any."""
        return self._measuring.get((model, dataset))

    def look(self, name: str) -> Look | None:
        """How much of a dataset is here, and a few images of it; None where nobody has looked into it yet."""
        return read_look(self._store, name)

    def look_job(self, name: str) -> str:
        """Key of the job that looks into a dataset."""
        return look_job(name)

    def submit_look(self, name: str) -> str:
        """Have a dataset looked into unless it has been; returns the job's key at once.

        Raises:
            InputError: if the dataset is not on this machine.
        """
        if not datasets.has_data(name):
            raise InputError("dataset", name, "it is not on this machine")
        job = look_job(name)
        if not self._under_way(job) and self.look(name) is None:
            self._store.put_job(job, "queued", 0.0, "waiting")
            self._engine.submit_stages(job, ((look_into, False),), (name,), _PRIORITY, self._lost)
        return job

    def disk(self) -> DiskUse | None:
        """What is used of the disk, None while it is counted; counted anew where the last count is old."""
        with self._lock:
            counted = self._disk
            stale = counted is None or time.monotonic() - counted[0] > _FRESH_SECONDS
            if stale and (self._counting is None or not self._counting.is_alive()):
                self._counting = threading.Thread(target=self._count, name="disk", daemon=True)
                self._counting.start()
        return None if counted is None else counted[1]

    def _count(self) -> None:
        found = measure_disk(self._store)
        self._disk = (time.monotonic(), found)

    def folder(self) -> Path | None:
        """The data folder that the user chose."""
        return chosen_data_folder()

    def choose_folder(self, text: str) -> list[str]:
        """Have data looked for in a folder of this machine, too; an empty text drops the choice.

        Returns:
            Names of the datasets and weights that are found there.

        Raises:
            InputError: if it is no folder that can be read, or holds nothing that is looked for; the old choice stays.
        """
        found = choose_folder(text)
        self._disk = None
        return found

    def close(self) -> None:
        """Stop downloads; they go on from there another time."""
        self.errands.close()
