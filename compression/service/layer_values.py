"""Values in the layers of results, found by the workers when they are first asked for; part of the service."""

from compression.analysis.distribution import LayerDistributions, distribution_key, read_distributions
from compression.jobs import side_jobs
from compression.jobs.side_work import SideWork


class Distributions(SideWork):
    """Which values each layer's weights, inputs and outputs have before and after."""

    priority = 50

    def job(self, key: str) -> str:
        """Key of the job that looks at a result's layers.

        Raises:
            InputError: if the result's files are not there.
        """
        return distribution_key(self._store, key)

    def submit(self, key: str) -> str:
        """Have a result's layers looked at; returns the job's key at once. Raises what `job` does."""
        return self._start(self.job(key), ((side_jobs.distribute, False),), (key,))

    def get(self, key: str, fqn: str) -> LayerDistributions | None:
        """One layer of a result, or None while it has not been looked at. Raises what `job` does."""
        return read_distributions(self._store, key, fqn)
