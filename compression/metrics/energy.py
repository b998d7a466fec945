"""Energy and cost of an inference: estimates from published figures, labelled as such."""

from dataclasses import dataclass

# Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm: multiply plus add, picojoule per operation.
_PICOJOULE_PER_MAC = {
    "float32": 3.7 + 0.9, "float16": 1.1 + 0.4, "bfloat16": 1.1 + 0.4, "int8": 0.2 + 0.03, "int4": 0.2 + 0.03,
}
_PICOJOULE_PER_BYTE = 640 / 4
_PICOJOULE_PER_MILLIJOULE = 1e9
_MILLISECONDS_PER_HOUR = 3.6e6
_NOTE = (
    "Estimated from multiply-accumulates and weight bytes read once from memory, with Horowitz's figures "
    "(ISSCC 2014, 45 nm)."
)


@dataclass(frozen=True)
class EnergyEstimate:
    """Energy of one inference in millijoule, and which model it comes from."""

    energy_mj: float
    note: str


def estimate_energy(*, macs_by_kernel: dict[str, int], bytes_moved: int) -> EnergyEstimate:
    """Arithmetic energy by kernel type plus memory traffic.

    Args:
        macs_by_kernel: Multiply-accumulates by "float32", "float16", "bfloat16", "int8" or "int4" (4-bit
            weights times 8-bit activations, counted as 8 bits).
        bytes_moved: Bytes read from main memory in one inference.

    Raises:
        ValueError: for an unknown kernel.
    """
    unknown = set(macs_by_kernel) - set(_PICOJOULE_PER_MAC)
    if unknown:
        raise ValueError(f"no energy figure for kernel {sorted(unknown)[0]!r}")
    arithmetic = sum(_PICOJOULE_PER_MAC[kernel] * macs for kernel, macs in macs_by_kernel.items())
    return EnergyEstimate((arithmetic + _PICOJOULE_PER_BYTE * bytes_moved) / _PICOJOULE_PER_MILLIJOULE, _NOTE)


def cost_per_million(latency_ms: float, price_per_core_hour: float) -> float:
    """Price of a million inferences, one after the other on one core."""
    return latency_ms * 1e6 / _MILLISECONDS_PER_HOUR * price_per_core_hour
