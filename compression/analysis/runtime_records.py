"""Runtimes that a result can be exported for, and what was measured in those beside ONNX Runtime."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from compression.core.errors import InputError
from compression.metrics.environment import machine_key

if TYPE_CHECKING:
    from compression.experiments.store import ResultStore


@dataclass(frozen=True)
class RuntimeInfo:
    """One runtime.

    Attributes:
        key: Name on the command line.
        title: Name for people.
        package: Python package that executes it.
        file_name: What it loads, in the artifact's folder.
        says: What the file is, in one sentence.
    """

    key: str
    title: str
    package: str
    file_name: str
    says: str


RUNTIMES = {
    info.key: info for info in (
        RuntimeInfo(
            "onnxruntime", "ONNX Runtime", "onnxruntime", "model.onnx",
            "The very file that was scored and timed, with integer kernels where its layers have 8-bit activations.",
        ),
        RuntimeInfo(
            "openvino", "OpenVINO", "openvino", "openvino.zip",
            "The same file in OpenVINO's own format (model.xml and model.bin). OpenVINO reads model.onnx as well.",
        ),
        RuntimeInfo(
            "torch", "PyTorch (.pt2)", "torch", "model.pt2",
            "A program of torch.export with the weights of the packed file, written out as float32: it needs no code "
            "of this project, but it is larger than what was weighed and has no integer kernels.",
        ),
    )
}


@dataclass(frozen=True)
class RuntimeRecord:
    """One result in one runtime beside ONNX Runtime, all of it measured.

    Attributes:
        runtime: Key of the runtime.
        version: Version of its package.
        machine: Identity of the machine.
        created: When, ISO.
        file_size_bytes: The runtime's own file.
        n_samples: Samples (tokens) that outputs were compared or scored on.
        agreement: Share of them with the same prediction as ONNX Runtime's, or None.
        largest_difference: Largest absolute difference of an output from ONNX Runtime's, or None.
        float_activations: Whether activations that the artifact quantizes are float32 there.
        quality: Which quality `accuracy` holds, "accuracy" or "r2".
        accuracy: Fraction, or None where the whole split was not scored.
        accuracy_low: Lower end of its 95 % interval.
        accuracy_high: Upper end.
        bits_per_character: Cross-entropy in bits, language models only.
        latency_ms_p50: Median latency, or None where it was not timed.
        latency_ms_p95: 95th percentile.
        latency_low: Lower end of the median's 95 % interval.
        latency_high: Upper end.
        baseline_ms_p50: The uncompressed model's median in the same runtime, from the same interleaved blocks.
        baseline_low: Lower end of its interval.
        baseline_high: Upper end.
        speedup: Its median over this one's.
        speedup_low: Lower end of the 95 % bootstrap interval.
        speedup_high: Upper end.
    """

    runtime: str
    version: str
    machine: str
    created: str
    file_size_bytes: int
    n_samples: int
    agreement: float | None = None
    largest_difference: float | None = None
    float_activations: bool = False
    quality: str = "accuracy"
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    bits_per_character: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    baseline_ms_p50: float | None = None
    baseline_low: float | None = None
    baseline_high: float | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None


def runtime_info(key: str) -> RuntimeInfo:
    """Look a runtime up.

    Raises:
        InputError: if there is none of that name.
    """
    if key not in RUNTIMES:
        raise InputError("runtime", key, "allowed: " + ", ".join(RUNTIMES))
    return RUNTIMES[key]


def installed(key: str) -> str | None:
    """Version of a runtime's package here, or None."""
    try:
        return version(runtime_info(key).package).split("+")[0]
    except PackageNotFoundError:
        return None


def part_of(key: str) -> str:
    """Kind of the stored part that holds a runtime's record."""
    return f"runtime-{key}"


def read_record(store: "ResultStore", key: str, runtime: str) -> RuntimeRecord | None:
    """What was measured of a result in a runtime on this machine with the version that is installed here, or None."""
    part = store.get_part(key, part_of(runtime))
    if part is None or part["machine"] != machine_key() or part["version"] != installed(runtime):
        return None
    return RuntimeRecord(**part)


def read_records(store: "ResultStore", key: str) -> list[RuntimeRecord]:
    """All such records of a result."""
    found = (read_record(store, key, runtime) for runtime in RUNTIMES)
    return [record for record in found if record is not None]
