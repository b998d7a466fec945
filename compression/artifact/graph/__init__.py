"""From a model in memory to an ONNX graph that ONNX Runtime executes on the kernels its encodings allow."""

from compression.artifact.graph.compile import GraphReport, calibrate_activations, compile_graph

__all__ = ["GraphReport", "calibrate_activations", "compile_graph"]
