"""Child process of `memory`: ``python -m compression.metrics.memory_process GRAPH INPUT.npy THREADS``.

Prints the peak resident memory that loading and running a graph adds, in bytes, or an empty line.
"""

import sys
from pathlib import Path

import numpy as np

from compression.metrics.session import open_session

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _kilobytes(name: str) -> int:
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OSError(f"{name} is missing")


def main() -> None:
    """Measure and print."""
    graph, inputs, threads = sys.argv[1:]
    example = np.load(inputs, allow_pickle=False)
    try:
        _RESET.write_text("5", encoding="ascii")  # 5 resets the peak to the current size
        before = _kilobytes("VmRSS")
    except OSError:
        sys.stdout.write("\n")
        return
    session = open_session(graph, int(threads))
    for _ in range(3):
        session.run(["output"], {"input": example})
    sys.stdout.write(f"{max(0, _kilobytes('VmHWM') - before) * 1024}\n")


if __name__ == "__main__":
    main()
