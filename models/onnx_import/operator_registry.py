"""Operators by name: a function decorated with `operator` translates one."""

from collections.abc import Callable
from typing import Any

from models.onnx_import.errors import NodeError
from models.onnx_import.graph import Node
from models.onnx_import.values import Value

Handler = Callable[[Any], Value | tuple[Value, ...]]  # takes a `models.onnx_import.builder.Call`
_HANDLERS: dict[str, Handler] = {}
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
_RECURRENT = ("LSTM", "GRU", "RNN")
_INTEGER = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
_TRAINING = ("Gradient", "Momentum", "Adam", "Adagrad", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")


def operator(*names: str) -> Callable[[Handler], Handler]:
    """Decorator that registers the translation of operators."""

    def decorate(function: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(names, function))
        return function

    return decorate


def is_known(name: str) -> bool:
    """Whether an operator can be translated."""
    return name in _HANDLERS


def known_operators() -> list[str]:
    """Names of all operators that can be translated."""
    return sorted(_HANDLERS)


def handler_of(node: Node) -> Handler:
    """The translation of a node's operator.

    Raises:
        NodeError: if there is none, saying why.
    """
    if node.operator not in _HANDLERS:
        raise NodeError(node.name, node.operator, why_not(node.operator))
    return _HANDLERS[node.operator]


def why_not(name: str) -> str:
    """Why an operator is not supported, and what is."""
    if name in _INTEGER or name.startswith("QLinear"):
        return "the file is quantized already; a file with float weights is needed"
    if name in _CONTROL_FLOW:
        return "control flow is not supported; a graph without branches and loops is needed"
    if name in _RANDOM:
        return "random numbers are not supported; a graph that always gives the same is needed"
    if name in _RECURRENT:
        return "recurrent layers are not supported; convolutional networks and transformers are"
    if name in _TRAINING:
        return "training graphs are not supported; an exported inference graph is needed"
    if name.startswith(("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence", "String")):
        return "only tensors of numbers are supported"
    return "this operator is not supported; those of image classifiers and text encoders are"
