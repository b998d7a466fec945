"""PyTorch programs (``.pt2``): written with `torch.export`, executed in a fresh process."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

_TIMEOUT_S = 600.0


def write_program(model: nn.Module, example_input: Tensor, path: Path) -> int:
    """Write a model as an exported program with input ``x`` or ``ids`` and a free batch size.

    Args:
        model: In eval mode.
        example_input: (1, ...).
        path: File to write, atomically.

    Returns:
        Its size in bytes.
    """
    pair = torch.cat([example_input, example_input])  # a batch of one would be taken for a constant
    program = torch.export.export(model, (pair,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    draft = path.with_name(f".{path.stem}.part.pt2")
    torch.export.save(program, draft)
    draft.replace(path)
    return path.stat().st_size


def run_program(path: Path, inputs: np.ndarray) -> np.ndarray:
    """Execute a program on inputs in a process that has never seen the model's code.

    Args:
        path: A ``.pt2`` of ours.
        inputs: (N, ...).

    Raises:
        RuntimeError: if it cannot be loaded or executed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch) / "inputs.npy", Path(scratch) / "outputs.npy"
        np.save(given, inputs)
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("torch_process.py")), str(path), str(given), str(found)],
            cwd=scratch, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
            raise RuntimeError(f"the exported program cannot be executed: {reason}")
        return np.load(found, allow_pickle=False)
