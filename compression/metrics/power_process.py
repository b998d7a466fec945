"""Child process of `power`: ``python -m compression.metrics.power_process GRAPH INPUT.npy THREADS COUNTER...``.

Prints the millijoule per run that the counters have moved by while the graph ran for two seconds.
"""

import sys
import time
from pathlib import Path

import numpy as np

from compression.metrics.power import microjoules_between
from compression.metrics.session import open_session

_SECONDS = 2.0
_WARM_UPS = 10


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def main() -> None:
    """Measure and print."""
    graph, inputs, threads, *counters = sys.argv[1:]
    feed = {"input": np.load(inputs, allow_pickle=False)}
    session = open_session(graph, int(threads))
    for _ in range(_WARM_UPS):
        session.run(["output"], feed)
    folders = [Path(counter) for counter in counters]
    before, runs = [_number(folder / "energy_uj") for folder in folders], 0
    end = time.perf_counter() + _SECONDS
    while not runs or time.perf_counter() < end:
        session.run(["output"], feed)
        runs += 1
    total = 0
    for folder, start in zip(folders, before, strict=True):
        total += microjoules_between(start, _number(folder / "energy_uj"), _number(folder / "max_energy_range_uj"))
    sys.stdout.write(f"{total / runs / 1000}\n")


if __name__ == "__main__":
    main()
