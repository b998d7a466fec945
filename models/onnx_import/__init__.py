"""ONNX files of other people as PyTorch modules, layer by layer; checked against ONNX Runtime."""

from models.onnx_import.errors import NodeError, OnnxError
from models.onnx_import.importing import ImportedModel, build_network, import_onnx
from models.onnx_import.network import OnnxNetwork

__all__ = ["ImportedModel", "NodeError", "OnnxError", "OnnxNetwork", "build_network", "import_onnx"]
