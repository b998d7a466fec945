"""ONNX Runtime sessions as artifacts are executed and timed in: fixed threads, no spinning."""

from pathlib import Path

import onnxruntime as ort


def open_session(path: Path | str, threads: int = 1) -> ort.InferenceSession:
    """Session of a graph on the CPU.

    Args:
        path: ONNX file.
        threads: Threads within one operator; operators run one after the other.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
