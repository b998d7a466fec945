"""Child process for OpenVINO: executes, times and converts graphs; no other runtime is loaded in it.

Reads one JSON request per line from stdin and answers with one JSON line, like `latency_process`.
"""

from typing import Any

import numpy as np
import openvino as ov

from compression.metrics.latency_process import Bench, serve


class OpenVinoSession:
    """An ONNX graph in OpenVINO, with the interface of ONNX Runtime's sessions.

    It is compiled once per input shape, as a person who deploys it would; floats stay float32 (OpenVINO takes bfloat16
    of itself where the processor has it), so that a baseline and an artifact differ by the compression alone.

    Args:
        path: ONNX file.
        threads: Threads of one inference.
    """

    def __init__(self, path: str, threads: int) -> None:
        self._core = ov.Core()  # not `convert_model`, which would report its use over the network
        self._model = self._core.read_model(path)
        self._settings = {
            "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False,
        }
        self._requests: dict[tuple[int, ...], ov.InferRequest] = {}

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The output for one batch; valid until the next one."""
        del names
        batch = feed["input"]
        request = self._requests.get(batch.shape) or self._compiled(batch.shape)
        request.infer({0: batch}, share_inputs=True)
        return [request.get_output_tensor(0).data]

    def _compiled(self, shape: tuple[int, ...]) -> ov.InferRequest:
        self._model.reshape(list(shape))
        self._requests[shape] = self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()
        return self._requests[shape]


class OpenVinoBench(Bench):
    """Answers beside timings: outputs of a batch, and a graph in OpenVINO's own format."""

    def __init__(self) -> None:
        super().__init__(OpenVinoSession)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """See `Bench.answer`."""
        if "convert" in request:
            ov.save_model(ov.Core().read_model(request["convert"]), request["to"], compress_to_fp16=False)
            return {"converted": request["to"]}
        if "run" in request:
            feed = {"input": np.load(request["inputs"], allow_pickle=False)}
            found = self.session(request["run"], request["threads"], feed).run(["output"], feed)[0]
            np.save(request["outputs"], found, allow_pickle=False)
            return {"written": request["outputs"]}
        return super().answer(request)


if __name__ == "__main__":
    serve(OpenVinoBench())
