"""Pictures of techniques, made by the workers when they are first asked for; part of the service."""

from compression.analysis.illustration import Illustration, illustration_key, read_illustration
from compression.jobs import side_jobs
from compression.jobs.side_work import SideWork


class Illustrations(SideWork):
    """What each technique does to a layer of each model."""

    priority = 60

    def job(self, model: str, technique: str) -> str:
        """Key of the job that makes an illustration.

        Raises:
            InputError: if the technique is unknown, or the model is or has no weights here.
        """
        return illustration_key(model, technique)

    def submit(self, model: str, technique: str) -> str:
        """Have an illustration made unless it is there; returns the job's key at once. Raises what `job` does."""
        job, arguments = self.job(model, technique), (model, technique)
        return self._start(job, ((side_jobs.illustrate, False),), arguments, lambda: self.get(model, technique))

    def get(self, model: str, technique: str) -> Illustration | None:
        """The illustration, or None while there is none."""
        return read_illustration(self._store, model, technique)
