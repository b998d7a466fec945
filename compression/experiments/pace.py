"""Latencies of different times on one clock."""

from dataclasses import replace

from compression.experiments.results import Figures


def at_pace_of(figures: Figures, baseline: Figures) -> Figures:
    """Figures whose latency is the baseline's median divided by the measured speed-up.

    A machine is faster at one time than at another. A speed-up comes from blocks interleaved with the baseline's and
    is free of that; two medians from different times are not.
    """
    base, own, ratio = baseline.latency_ms_p50, figures.latency_ms_p50, figures.speedup
    if not base or not own or not ratio or figures == baseline:
        return figures
    low, high = figures.speedup_low or ratio, figures.speedup_high or ratio
    tail = figures.latency_ms_p95
    return replace(
        figures, latency_ms_p50=base / ratio, latency_low=base / high, latency_high=base / low,
        latency_ms_p95=None if tail is None else tail * base / ratio / own,
    )
