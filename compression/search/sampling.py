"""Optuna's samplers behind the strategies of a search."""

import warnings
from typing import TYPE_CHECKING

from compression.search.archive import SPEC, Archive

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

_STARTUP = 8


def open_study(kept: Archive, name: str) -> "Study":
    """The study of a search with the sampler of its strategy."""
    known = kept.study(name)
    spec, tried = known.user_attrs[SPEC], len(known.get_trials(deepcopy=False))
    return kept.study(name, make_sampler(spec["strategy"], spec["seed"] + tried))  # else it would choose the same again


def make_sampler(strategy: str, seed: int) -> "BaseSampler":
    """The sampler of a strategy.

    TPE (Bergstra et al. 2011; several objectives: Ozaki et al. 2022), multivariate within the parameters that trials
    have in common, as those of a technique that is off are missing. Limits come in as constraints of the trials.

    Args:
        strategy: "planned", "tpe" or "random".
        seed: Of its random numbers.
    """
    import optuna

    if strategy == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(multivariate=True, group=True, n_startup_trials=_STARTUP, seed=seed)
