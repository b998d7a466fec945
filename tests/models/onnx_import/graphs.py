"""Small ONNX models, written in ONNX's text form."""

import numpy as np
import onnx
from onnx import numpy_helper, parser

from models.onnx_import import ImportedModel, build_network

CHANNELS, SIDE = 4, 6


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Fixed random numbers of both signs."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model(
    body: str, *, opset: int = 17, inputs: str = "float[N,3,6,6] x", output: str = "float[N,M] y",
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """A model of a body of nodes in ONNX's text form.

    Args:
        body: Lines of nodes.
        opset: Of the standard operators.
        inputs: In text form.
        output: In text form.
        constants: Initializers by name.
    """
    text = f'<ir_version: 8, opset_import: ["" : {opset}]>\ng ({inputs}) => ({output}) {{\n{body}\n}}'
    parsed = parser.parse_model(text)
    parsed.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in (constants or {}).items())
    return parsed


def behind_conv(
    body: str, *, opset: int = 17, fixed: int | None = None, constants: dict[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """Nodes that turn ``h``, the (N, 4, 6, 6) output of a convolution, into ``z``, which is flattened.

    Args:
        body: Lines of nodes.
        opset: Of the standard operators.
        fixed: A fixed batch size.
        constants: Initializers by name.
    """
    whole = f"h = Conv <pads=[1,1,1,1]> (x, stem_weight)\n{body}\ny = Flatten (z)"
    own = {"stem_weight": weights(CHANNELS, 3, 3, 3), **(constants or {})}
    return model(whole, opset=opset, inputs=f"float[{fixed or 'N'},3,6,6] x", constants=own)


def built(proto: onnx.ModelProto) -> ImportedModel:
    """The network of a model, after a comparison with ONNX Runtime."""
    imported = build_network(proto)
    agreement = imported.compare()
    assert agreement.inputs > 0
    return imported


def named(proto: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """Initializers under other names, which the text form does not know."""
    for tensor in proto.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
    return proto


def classifier(opset: int = 17) -> onnx.ModelProto:
    """Two convolutions, a norm, a pool and a linear layer, named as PyTorch names them."""
    body = """
        a = Conv <pads=[1,1,1,1]> (x, w1, b1)
        b = BatchNormalization (a, s, o, m, v)
        c = Relu (b)
        d = Conv <strides=[2,2], pads=[1,1,1,1]> (c, w2)
        e = Relu (d)
        f = GlobalAveragePool (e)
        g = Flatten (f)
        y = Gemm <transB=1> (g, w3, b3)"""
    constants = {
        "w1": weights(8, 3, 3, 3), "b1": weights(8), "s": 1 + 0.3 * weights(8, seed=1), "o": weights(8, seed=2),
        "m": weights(8, seed=3), "v": np.abs(weights(8, seed=4)) + 0.5, "w2": weights(8, 8, 3, 3, seed=5),
        "w3": weights(10, 8, seed=6), "b3": weights(10, seed=7),
    }
    names = {
        "w1": "stem.conv.weight", "b1": "stem.conv.bias", "s": "stem.norm.weight", "o": "stem.norm.bias",
        "m": "stem.norm.running_mean", "v": "stem.norm.running_var", "w2": "layer1.0.conv.weight", "w3": "fc.weight",
        "b3": "fc.bias",
    }
    return named(model(body, opset=opset, constants=constants), names)
