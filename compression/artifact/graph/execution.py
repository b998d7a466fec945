"""ONNX Runtime sessions for calibration, checks and inspection."""

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

PROVIDERS = ["CPUExecutionProvider"]


def session_options(threads: int = 1) -> ort.SessionOptions:
    """Fixed threads, no spinning, errors only."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(proto: onnx.ModelProto) -> ort.InferenceSession:
    """Session of a model in memory, one thread."""
    return ort.InferenceSession(proto.SerializeToString(), session_options(), providers=PROVIDERS)


def optimized_graph(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ONNX Runtime really executes, after its optimizations for this CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options = session_options()
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(proto.SerializeToString(), options, providers=PROVIDERS)
        return onnx.load(path)
