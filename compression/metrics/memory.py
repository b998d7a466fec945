"""Peak memory of an inference, measured in a fresh process."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_PROJECT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 120


def measure_peak_memory(onnx_path: Path, example: np.ndarray, *, threads: int = 1) -> int | None:
    """Peak resident memory that loading and running a graph adds.

    Args:
        onnx_path: The graph.
        example: One input batch.
        threads: Threads of the session.

    Returns:
        Bytes, or None where the operating system does not tell.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "input.npy"
        np.save(inputs, example, allow_pickle=False)
        arguments = [str(onnx_path), str(inputs), str(threads)]
        command = [sys.executable, "-m", "compression.metrics.memory_process", *arguments]
        done = subprocess.run(
            command, cwd=_PROJECT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True,
            env={**os.environ, "PYTHONPATH": str(_PROJECT)},
        )
    return int(done.stdout) if done.stdout.strip() else None
