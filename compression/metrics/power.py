"""Energy of an inference from the processor's own counters, where the system lets them be read."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

COUNTERS = Path("/sys/class/powercap")
_PROJECT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 120


def readable_counters(root: Path = COUNTERS) -> list[Path]:
    """Folders of the processor packages (``intel-rapl:0``, not their parts) whose energy can be read."""
    packages = [folder for folder in sorted(root.glob("*-rapl:*")) if folder.name.count(":") == 1]
    return [folder for folder in packages if os.access(folder / "energy_uj", os.R_OK)]


def measure_energy(
    onnx_path: Path, example: np.ndarray, *, threads: int = 1, root: Path = COUNTERS
) -> float | None:
    """Energy that all processor packages take while a graph runs over and over, per run.

    It holds whatever else the machine does meanwhile, its idle power included (Linux powercap, Intel's RAPL).

    Args:
        onnx_path: The graph.
        example: One input batch.
        threads: Threads of the session.
        root: Where the counters are.

    Returns:
        Millijoule per run, or None where no counter can be read or none moves.
    """
    counters = readable_counters(root)
    if not counters:
        return None
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "input.npy"
        np.save(inputs, example, allow_pickle=False)
        arguments = [str(onnx_path), str(inputs), str(threads), *map(str, counters)]
        done = subprocess.run(
            [sys.executable, "-m", "compression.metrics.power_process", *arguments], cwd=_PROJECT, check=True,
            capture_output=True, text=True, timeout=_TIMEOUT_S, env={**os.environ, "PYTHONPATH": str(_PROJECT)},
        )
    millijoule = float(done.stdout)
    return millijoule if millijoule > 0 else None


def microjoules_between(before: int, after: int, highest: int) -> int:
    """Difference of two readings of a counter that begins again at zero after `highest`."""
    return after - before if after >= before else after - before + highest
