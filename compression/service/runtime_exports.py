"""A stored result in other runtimes, and what reports tell of it; part of the service."""

from pathlib import Path

from compression.analysis.runtime_records import RuntimeRecord, installed, read_record, runtime_info
from compression.core.errors import InputError
from compression.jobs import side_jobs
from compression.jobs.side_work import SideWork
from compression.reports import Subject, subject_of

_STAGES = {
    "openvino": ((side_jobs.score_elsewhere, False), (side_jobs.time_elsewhere, True)),
    "torch": ((side_jobs.export_program, False),),
}


class Exports(SideWork):
    """Exports of stored results; part of the service."""

    priority = 20

    def submit(self, key: str, runtime: str) -> str:
        """Have a result measured in a further runtime; returns the job's key at once.

        Raises:
            InputError: if the runtime is unknown or not installed here, or is where the result was measured anyway.
        """
        info = runtime_info(runtime)
        if runtime not in _STAGES:
            raise InputError("runtime", runtime, "it is the runtime that every result is measured in")
        if installed(runtime) is None:
            raise InputError("runtime", runtime, f"the package {info.package} is not installed here")
        return self._start(job_key(key, runtime), _STAGES[runtime], (key,))

    def record(self, key: str, runtime: str) -> RuntimeRecord | None:
        """What was measured of a result in a further runtime, or None."""
        return read_record(self._store, key, runtime)

    def file(self, key: str, runtime: str) -> Path:
        """The file that a runtime loads.

        Raises:
            InputError: if the runtime is unknown or the file has not been made.
        """
        path = self._store.artifact_dir(key) / runtime_info(runtime).file_name
        if not path.is_file():
            raise InputError("runtime", runtime, "its file has not been made for this result yet")
        return path

    def subject(self, key: str) -> Subject:
        """All that a report and a card tell of a result.

        Raises:
            InputError: if there is no such result, or its model is not known here.
        """
        return subject_of(self._store, key)


def job_key(key: str, runtime: str) -> str:
    """Key of the job that measures a result in a runtime."""
    return f"{key}-{runtime}"

