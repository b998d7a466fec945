"""OpenVINO as a further runtime of an ONNX artifact; an optional package, loaded in a process of its own."""

import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType

import numpy as np

from compression.core.errors import InputError
from compression.metrics.latency import LatencyTimer

INSTALL = "pip install -r requirements-openvino.txt"
_PROCESS = "compression.targets.openvino_process"
_TIME = (1980, 1, 1, 0, 0, 0)


def openvino_version() -> str | None:
    """Version of the installed package, or None where there is none."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def require_openvino() -> str:
    """Its version.

    Raises:
        InputError: if it is not installed.
    """
    found = openvino_version()
    if found is None:
        raise InputError("runtime", "openvino", f"it is not installed here; install it with: {INSTALL}")
    return found


class OpenVino:
    """A child process with OpenVINO in it; to be used in a ``with`` statement.

    Raises:
        InputError: if the package is not installed.
    """

    def __init__(self) -> None:
        self.version = require_openvino()
        self.timer = LatencyTimer(_PROCESS)

    def __enter__(self) -> "OpenVino":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.timer.close()

    def session(self, path: Path, threads: int, scratch: Path) -> "RemoteSession":
        """A session of an ONNX file in the child; batches travel through files below `scratch`."""
        return RemoteSession(self.timer, path, threads, scratch)

    def convert(self, path: Path, archive: Path) -> int:
        """Write an ONNX file as a zip of OpenVINO's ``model.xml`` and ``model.bin``; returns its bytes."""
        with tempfile.TemporaryDirectory() as scratch:
            graph = Path(scratch) / "model.xml"
            self.timer.ask({"convert": str(path), "to": str(graph)})
            draft = archive.with_name(f".{archive.name}.part")
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as written:
                for member in (graph, graph.with_suffix(".bin")):
                    written.writestr(zipfile.ZipInfo(member.name, _TIME), member.read_bytes(), zipfile.ZIP_DEFLATED)
            draft.replace(archive)
        return archive.stat().st_size


class RemoteSession:
    """What `compression.metrics.accuracy.evaluate_onnx` takes in place of a session of ONNX Runtime."""

    def __init__(self, timer: LatencyTimer, path: Path, threads: int, scratch: Path) -> None:
        self._timer, self._path, self._threads, self._scratch = timer, path, threads, scratch

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The output for one batch."""
        del names
        given, found = self._scratch / "inputs.npy", self._scratch / "outputs.npy"
        np.save(given, feed["input"], allow_pickle=False)
        request = {"run": str(self._path), "threads": self._threads, "inputs": str(given), "outputs": str(found)}
        self._timer.ask(request)
        return [np.load(found, allow_pickle=False)]
