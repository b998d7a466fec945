"""Quality of an artifact: its ONNX graph executed by ONNX Runtime on the scored split."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from compression.core.errors import CancelledError
from compression.core.intervals import wilson_interval
from compression.metrics.session import open_session
from compression.problems import Evaluation, problem_of

__all__ = ["Evaluation", "evaluate_onnx", "wilson_interval"]


def _ignore(fraction: float, message: str) -> None:
    del fraction, message


def evaluate_onnx(
    path: Path,
    batches: Iterable[np.ndarray],
    targets: np.ndarray,
    *,
    task: str,
    threads: int = 1,
    progress: Callable[[float, str], None] = _ignore,
    cancelled: Callable[[], bool] = bool,
    session: Any = None,
) -> Evaluation:
    """Execute a graph on prepared inputs and compare with the targets, as the task's problem says.

    Args:
        path: ONNX file with input "input" and output "output".
        batches: Prepared inputs, together as many as targets.
        targets: int64 classes (N,), next tokens (N, T), or float32 values (N,).
        task: Name of the task, one of `compression.problems.PROBLEMS`.
        threads: Threads of one operator.
        progress: Called with a fraction.
        cancelled: Polled before each batch.
        session: What executes the graph: its ``run(["output"], {"input": batch})``; by default one of ONNX Runtime.

    Raises:
        CancelledError: if `cancelled` became true.
        ValueError: if inputs and targets do not match in number.
    """
    session, problem = session or open_session(path, threads), problem_of(task)
    scored: list[dict[str, np.ndarray]] = []
    done = 0
    for batch in batches:
        if cancelled():
            raise CancelledError("cancelled")
        outputs = session.run(["output"], {"input": batch})[0]
        wanted = targets[done : done + len(batch)]
        if len(wanted) < len(batch):
            raise ValueError(f"more than {done} inputs for {len(targets)} targets")
        scored.append(problem.score(outputs, wanted))
        done += len(batch)
        progress(done / len(targets), "scoring")
    if done != len(targets):
        raise ValueError(f"{done} inputs for {len(targets)} targets")
    return problem.evaluate({name: np.concatenate([own[name] for own in scored]) for name in scored[0]}, targets)
