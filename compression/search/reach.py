"""Whether limits can be reached at all, told before the budget is spent: measured by probes, estimated from layers."""

from collections.abc import Mapping, Sequence
from statistics import median

from compression.experiments.results import ExperimentResult
from compression.problems import ACCURACY, Quality
from compression.reports.text import format_bytes
from compression.search.outcomes import Outcome, Standard
from compression.search.planning import Planner
from compression.search.space import Dimension, Params, Space
from compression.search.spec import Limits
from compression.techniques import get_technique

_COSTS = ("max_size_bytes", "max_latency_ms", "min_speedup")
_SHARES = 40
_ESTIMATE = "an estimate and no limit: it takes layers to err independently, and smaller files may lose less"


def probes(space: Space) -> list[Params]:
    """The strongest settings: all techniques together, then each alone. What trains is only at its weakest here."""
    strongest = {dimension.key: _strongest(dimension) for dimension in space.dimensions}
    together: Params = {}
    for params in strongest.values():
        together |= params
    alone = [space.only(params) for params in strongest.values()]
    return [together, *(alone if len(alone) > 1 else [])]


def _strongest(dimension: Dimension) -> Params:
    trains = "training" in dimension.technique.needs
    return dimension.uniform(0) if trains else dimension.strongest()


def partway(space: Space, share: float) -> Params:
    """All techniques together at a share of the way to their strongest settings; those that train are off."""
    found: Params = space.only({})
    for dimension in space.dimensions:
        if "training" not in dimension.technique.needs:
            found |= dimension.uniform(round(share * (len(dimension.levels) - 1)), **dimension.least_sides())
    return found


def needed(limits: Limits) -> bool:
    """Whether there is a limit that probes can find out of reach."""
    return any(name in limits.given() for name in _COSTS)


def out_of_reach(standard: Standard, outcomes: Sequence[Outcome], limits: Limits) -> dict[str, float]:
    """Limits that not even one of the strongest settings keeps, and the best measured value of each.

    Args:
        standard: The uncompressed model.
        outcomes: Of the probes.
        limits: What is asked for.
    """
    found = {}
    for name in _COSTS:
        if name in limits.given() and outcomes:
            kept = any(standard.violations(own, limits)[name] <= 0 for own in outcomes)
            values = [standard.measured(own)[name] for own in [*outcomes, standard.baseline]]
            if not kept and standard.violations(standard.baseline, limits)[name] > 0:
                found[name] = max(values) if name == "min_speedup" else min(values)
    return found


def told(values: Mapping[str, float], limits: Limits, quality: Quality = ACCURACY) -> list[str]:
    """Limits out of reach in words, each with the nearest that was measured."""
    bounds = limits.given()
    return [
        f"Out of reach: {show(name, bounds[name], quality)}. The strongest settings of these techniques come to "
        f"{show(name, value, quality, bare=True)} (measured); ask for that or "
        f"{'less' if name == 'min_speedup' else 'more'}."
        for name, value in values.items()
    ]


def told_nearest(limits: Limits | None, quality: Quality = ACCURACY) -> list[str]:
    """The nearest limits that something keeps, in words."""
    return [] if limits is None else [f"The nearest that something measured keeps: {show_all(limits, quality)}."]


def show_all(limits: Limits, quality: Quality = ACCURACY) -> str:
    """All limits in words, in one line; that there are none if so."""
    return ", ".join(show(name, value, quality) for name, value in limits.given().items()) or "no limits"


def show(name: str, value: float, quality: Quality = ACCURACY, *, bare: bool = False) -> str:
    """A limit, or a value of what it limits, in words."""
    head, text = {
        "max_accuracy_drop": ("at most ", quality.lost_text(value)),
        "max_size_bytes": ("at most ", format_bytes(round(value))),
        "max_latency_ms": ("at most ", f"{value:.3g} ms"),
        "min_speedup": ("at least ", f"{value:.3g} times as fast"),
    }[name]
    return text if bare else f"{head}{text}"


def estimates(planners: Mapping[str, Planner], baseline: ExperimentResult, limits: Limits) -> list[str]:
    """What single layers' sensitivities say of size and accuracy together: one sentence per technique, an estimate."""
    if limits.max_accuracy_drop is None:
        return []
    found = []
    for key, planner in planners.items():
        least = least_size(planner, baseline, limits.max_accuracy_drop)
        title = get_technique(key).title
        points = baseline.figures.kind.lost_text(limits.max_accuracy_drop).removesuffix(" lost")
        bound = f"at most {points}"
        if least is None:
            found.append(f"{title} alone: every plan is estimated to lose more than {points} ({_ESTIMATE}).")
        else:
            found.append(
                f"{title} alone: the smallest plan that is estimated to lose {bound} has about "
                f"{format_bytes(round(least))} ({_ESTIMATE})."
            )
    return found


def checked(estimates: Sequence[tuple[float, float]], quality: Quality = ACCURACY) -> list[str]:
    """How far estimates were off, in words, from points lost as estimated and as measured; nothing without any."""
    if not estimates:
        return []
    errors = sorted(quality.lost(estimate - measured) for estimate, measured in estimates)
    middle, digits = median(errors), quality.digits + (1 if quality.unit else 0)
    off = (
        f"the estimated loss was {abs(middle):.{digits}f} {quality.difference_unit} "
        f"{'above' if middle >= 0 else 'below'} the measured one"
    )
    if len(errors) == 1:
        return [f"The estimate against the measurement of 1 plan so far: {off}."]
    ends = f"from {errors[0]:+.{digits}f} to {errors[-1]:+.{digits}f}"
    return [f"Estimates against measurements of {len(errors)} plans so far: {off} (median), {ends}."]


def least_size(planner: Planner, baseline: ExperimentResult, max_drop: float) -> float | None:
    """Bytes of the smallest file whose plan is estimated to lose at most so many points; None if no plan does."""
    rest = rest_bytes(planner, baseline)
    for share in range(_SHARES + 1):
        plan = planner.at(share / _SHARES)
        if 100 * plan.accuracy_drop <= max_drop:
            return plan.size_bytes + rest
    return None


def rest_bytes(planner: Planner, baseline: ExperimentResult) -> int:
    """Bytes of the uncompressed file that no plan changes: other tensors and the header."""
    planned = set(planner.layers)
    return baseline.figures.size_bytes - sum(own.packed_bytes for own in baseline.layers if own.fqn in planned)
