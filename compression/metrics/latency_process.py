"""Child process of `latency`: executes graphs and reports nanoseconds; nothing else runs in it.

Reads one JSON request per line from stdin, answers with one JSON line, and ends when stdin does.
"""

import json
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compression.metrics.session import open_session

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_KEPT_SESSIONS = 6
_WARM_UPS = 10
_WARM_UP_SECONDS = 0.3
_BLOCK_SECONDS = 0.005
_MOST_DISTURBED = 4
_LEAST_ROUNDS = 4


class Bench:
    """Sessions that are ready to be timed.

    Args:
        opener: ``(file, threads) -> session`` of the runtime that is timed.
    """

    def __init__(self, opener: Callable[[str, int], Any] = open_session) -> None:
        self._open = opener
        self._sessions: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def session(self, path: str, threads: int, feed: dict[str, np.ndarray]) -> Any:
        """Session of a file, warmed up; kept until the file changes."""
        stat = Path(path).stat()
        key = (path, threads, stat.st_mtime_ns, stat.st_size, feed["input"].shape)
        if key not in self._sessions:
            session = self._open(path, threads)
            end = time.perf_counter() + _WARM_UP_SECONDS
            for _ in range(_WARM_UPS):
                session.run(["output"], feed)
                if time.perf_counter() > end:
                    break
            self._sessions[key] = session
            if len(self._sessions) > _KEPT_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the request asks for, as plain data."""
        return {"rounds": self.measure(request)}

    def measure(self, request: dict[str, Any]) -> list[list[list[int]]]:
        """Alternate short blocks of both graphs in shuffled order until the time is over.

        Returns:
            Rounds of ``[candidate's block, baseline's block]``, nanoseconds per run; at least four rounds.
        """
        feed = {"input": np.load(request["example"], allow_pickle=False)}
        sessions = [self.session(request[who], request["threads"], feed) for who in ("candidate", "baseline")]
        generator, end = random.Random(request["seed"]), time.perf_counter() + request["seconds"]
        rounds: list[list[list[int]]] = []
        while len(rounds) < _LEAST_ROUNDS or time.perf_counter() < end:
            order = [0, 1]
            generator.shuffle(order)
            blocks: list[list[int]] = [[], []]
            for index in order:
                blocks[index] = _block(sessions[index], feed)
            rounds.append(blocks)
        return rounds


def _block(session: Any, feed: dict[str, np.ndarray]) -> list[int]:
    """Nanoseconds of single runs. One during which the system gave the core to others says nothing about the graph and
    is not counted, unless none of a block's first runs was left alone."""
    samples: list[int] = []
    disturbed: list[int] = []
    end = time.perf_counter() + _BLOCK_SECONDS
    while not (samples or len(disturbed) >= _MOST_DISTURBED) or time.perf_counter() < end:
        switches, start = _switches(), time.perf_counter_ns()
        session.run(["output"], feed)
        elapsed = time.perf_counter_ns() - start
        (samples if _switches() == switches else disturbed).append(elapsed)
    return samples or disturbed


def _switches() -> int:
    """How often the system has taken the core from this process; 0 where it does not tell."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def serve(bench: Bench) -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        try:
            answer = bench.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(Bench())
