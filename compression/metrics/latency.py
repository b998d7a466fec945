"""Latency of an artifact against its baseline, interleaved in a process of its own.

One runtime, fixed threads, no spinning, warm-ups, shuffled short blocks; the speed-up is the median ratio of
neighbouring blocks with a bootstrap interval over them.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from compression.core.errors import CancelledError
from compression.core.intervals import median_interval

_PROJECT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 120.0
_QUICK_SECONDS, _ROUND_SECONDS = 0.06, 0.25
_FULL_SECONDS, _FULL_SAMPLES, _LONGEST_SECONDS = 2.0, 200, 60.0
Rounds = list[list[list[int]]]


@dataclass(frozen=True)
class LatencyRecord:
    """Milliseconds of one inference, and the ratio to the baseline's, both of the same interleaved blocks.

    The artifact's milliseconds are on the baseline's clock: the baseline's divided by the ratio.

    Attributes:
        p50_ms: Median.
        p95_ms: 95th percentile.
        low_ms: Lower end of the median's 95 % interval.
        high_ms: Upper end.
        baseline_p50_ms: The same four of the baseline.
        baseline_p95_ms: See there.
        baseline_low_ms: See there.
        baseline_high_ms: See there.
        speedup: Median over the rounds of the baseline's median over the artifact's.
        speedup_low: Lower end of its 95 % interval.
        speedup_high: Upper end.
        samples: Timed runs of the artifact.
        rounds: Pairs of blocks.
    """

    p50_ms: float
    p95_ms: float
    low_ms: float
    high_ms: float
    baseline_p50_ms: float
    baseline_p95_ms: float
    baseline_low_ms: float
    baseline_high_ms: float
    speedup: float
    speedup_low: float
    speedup_high: float
    samples: int
    rounds: int

    def of_baseline(self) -> "LatencyRecord":
        """The baseline's figures as an artifact's: its ratio to itself is one."""
        return LatencyRecord(
            self.baseline_p50_ms, self.baseline_p95_ms, self.baseline_low_ms, self.baseline_high_ms,
            self.baseline_p50_ms, self.baseline_p95_ms, self.baseline_low_ms, self.baseline_high_ms,
            speedup=1.0, speedup_low=1.0, speedup_high=1.0, samples=self.samples, rounds=self.rounds,
        )

    @property
    def spread(self) -> float:
        """Half the interval of the ratio or of the baseline's median, as a share of it; the wider of both."""
        ratio = (self.speedup_high - self.speedup_low) / (2 * self.speedup)
        return max(ratio, (self.baseline_high_ms - self.baseline_low_ms) / (2 * self.baseline_p50_ms))


class LatencyTimer:
    """Times graphs in a child process that is started on first use and replaced when it dies.

    Args:
        process: Module that the child runs; it decides on the runtime.
    """

    def __init__(self, process: str = "compression.metrics.latency_process") -> None:
        self._process = process
        self._child: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()

    def time_pair(
        self,
        candidate: Path,
        baseline: Path,
        example: np.ndarray,
        *,
        threads: int = 1,
        tier: Literal["quick", "full"] = "full",
        cancelled: Callable[[], bool] = bool,
    ) -> LatencyRecord:
        """Time an artifact against its baseline.

        Args:
            candidate: ONNX file.
            baseline: ONNX file of the uncompressed model; the same file says how far equals differ.
            example: One input batch.
            threads: Threads within an operator.
            tier: "quick" for a first figure with a wide interval; "full" takes at least 200 runs and 2 s.
            cancelled: Polled between rounds.

        Raises:
            CancelledError: if `cancelled` became true.
            RuntimeError: if the graph cannot be executed.
        """
        rounds: Rounds = []
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder) / "input.npy"
            np.save(inputs, example, allow_pickle=False)
            request = {
                "candidate": str(candidate), "baseline": str(baseline), "example": str(inputs), "threads": threads,
                "seconds": _QUICK_SECONDS if tier == "quick" else _ROUND_SECONDS,
            }
            started = time.monotonic()
            while not rounds or (tier == "full" and not _enough(rounds, time.monotonic() - started)):
                if cancelled():
                    raise CancelledError("cancelled")
                rounds += self.ask({**request, "seed": len(rounds)})["rounds"]
        return summarize(rounds)

    def start(self) -> None:
        """Start the child process ahead of its first use."""
        self._running()

    def close(self) -> None:
        """End the child process."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The child's answer to a request.

        Raises:
            RuntimeError: if it cannot do it, dies or does not answer.
        """
        for attempt in (1, 2):
            child = self._running()
            try:
                assert child.stdin is not None
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
                line = self._answers.get(timeout=_TIMEOUT_S)
            except queue.Empty:
                self.close()
                raise RuntimeError(f"timing did not answer within {_TIMEOUT_S:.0f} s") from None
            except OSError:
                line = None
            if line is not None:
                answer = json.loads(line)
                if "error" in answer:
                    raise RuntimeError(f"the graph cannot be timed: {answer['error']}")
                return answer
            self.close()
            if attempt == 2:
                break
        raise RuntimeError("the timing process ended unexpectedly")

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self._answers = queue.Queue()
            self._child = subprocess.Popen(
                [sys.executable, "-m", self._process], cwd=_PROJECT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(_PROJECT)},
            )
            assert self._child.stdout is not None
            threading.Thread(target=_forward, args=(self._child.stdout, self._answers), daemon=True).start()
        return self._child


def _forward(stream: IO[str], answers: "queue.Queue[str | None]") -> None:
    for line in stream:
        answers.put(line)
    answers.put(None)


def _enough(rounds: Rounds, seconds: float) -> bool:
    samples = sum(len(blocks[0]) for blocks in rounds)
    return seconds >= _LONGEST_SECONDS or (seconds >= _FULL_SECONDS and samples >= _FULL_SAMPLES)


def summarize(rounds: Rounds) -> LatencyRecord:
    """Medians, p95 and intervals over rounds of blocks.

    Args:
        rounds: ``[candidate's nanoseconds, baseline's nanoseconds]`` per round, at least two.
    """
    own, base = (np.log([np.median(blocks[i]) / 1e6 for blocks in rounds]) for i in (0, 1))
    ratio, ratio_low, ratio_high = np.exp(median_interval(base - own)).tolist()
    middle, low, high = np.exp(median_interval(base)).tolist()
    tails = [_tail(np.concatenate([np.asarray(blocks[i]) for blocks in rounds])) for i in (0, 1)]
    return LatencyRecord(
        middle / ratio, middle / ratio * tails[0], middle / ratio_high, middle / ratio_low,
        middle, middle * tails[1], low, high,
        speedup=ratio, speedup_low=ratio_low, speedup_high=ratio_high,
        samples=sum(len(blocks[0]) for blocks in rounds), rounds=len(rounds),
    )


def _tail(samples: np.ndarray) -> float:
    """95th percentile as a multiple of the median."""
    return float(np.percentile(samples, 95) / np.median(samples))
