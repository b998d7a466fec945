"""Predicted sensitivities as the service offers them: made by a worker when they are first asked for."""

from compression.analysis.sensitivity import read_map, sensitivity_key
from compression.jobs import side_jobs
from compression.jobs.side_work import SideWork


class Predictions(SideWork):
    """Predictions of all maps of one store."""

    priority = -150  # before trials of searches, which wait for them

    def submit(self, model: str, dataset: str, technique: str) -> str:
        """Have a map predicted unless it is or that has failed; returns the job's key at once.

        Raises:
            InputError: if model, dataset or technique are unknown, unavailable or do not fit.
        """
        key = sensitivity_key(model, dataset, technique)
        job = f"{key}-predicted"
        if self._store.jobs([job]).get(job, {}).get("state") == "failed":
            return job
        return self._start(
            job, ((side_jobs.predict_sensitivity, False),), (key, model, dataset, technique),
            lambda: read_map(self._store, key, technique).has_prediction or None,
        )
