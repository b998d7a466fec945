"""Files of other float types as float32."""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from models.onnx_import.files import all_tensors

_NAMES = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}


def to_float32(model: onnx.ModelProto) -> dict[str, int]:
    """Make every tensor, input, output and cast of another float type float32, in place.

    Returns:
        Number of tensors that were cast, by type; 0 where only the graph's types were.
    """
    found: dict[str, int] = {}
    for tensor in all_tensors(model):
        if tensor.data_type in _NAMES:
            name = _NAMES[tensor.data_type]
            found[name] = found.get(name, 0) + 1
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        own = value.type.tensor_type
        if own.elem_type in _NAMES:
            found.setdefault(_NAMES[own.elem_type], 0)
            own.elem_type = TensorProto.FLOAT
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.type == AttributeProto.INT and attribute.i in _NAMES:
                found.setdefault(_NAMES[attribute.i], 0)
                attribute.i = TensorProto.FLOAT
    return found


def described(found: dict[str, int]) -> list[str]:
    """What was cast, in words."""
    return [
        f"{count} tensors of {name} are cast to float32" if count else f"{name} is computed in float32"
        for name, count in found.items()
    ]


