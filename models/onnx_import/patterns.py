"""Groups of primitive operators that an exporter has made of one: found, and made one again."""

from collections.abc import Callable, Iterator

import numpy as np

from models.onnx_import.graph import Graph, Node

_HALF_ROOT, _ROOT = 2**-0.5, 2**0.5


def join_patterns(graph: Graph) -> None:
    """Replace layer normalisations, GELU, SiLU and hard swish in primitive operators by single nodes, in place."""
    finder = _Finder(graph)
    for number, node in enumerate(graph.nodes):
        for look in (_layer_norm, _gelu, _gated):
            found = look(node, finder)
            if found is not None:
                graph.nodes[number] = found
                finder.replace(node, found)
                break
    graph.drop_unread()


class _Finder:
    """Walks a graph."""

    def __init__(self, graph: Graph) -> None:
        self.constants, self._producers, self._outputs = graph.constants, graph.producers(), set(graph.outputs)
        self._readers = graph.readers()

    def replace(self, old: Node, new: Node) -> None:
        """Take notice of a new node."""
        self._producers.update(dict.fromkeys(new.outputs, new))
        for name in old.inputs:
            self._readers[name] = [node for node in self._readers.get(name, []) if node is not old]
        for name in new.inputs:
            self._readers.setdefault(name, []).append(new)

    def made(self, name: str, *operators: str) -> Node | None:
        """What makes a value, if it is one of these operators."""
        node = self._producers.get(name)
        return node if node is not None and node.operator in operators else None

    def number(self, name: str) -> float | None:
        """The only element of a constant."""
        array = self.constants.get(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def is_number(self, name: str, wanted: float) -> bool:
        """Whether a value is a constant of one element, and that number."""
        found = self.number(name)
        return found is not None and bool(np.isclose(found, wanted, rtol=1e-3, atol=1e-9))

    def other(self, node: Node, wanted: float) -> str | None:
        """The other operand of a sum or product with a number."""
        for own, rest in (node.inputs[:2], node.inputs[1::-1]):
            if self.is_number(rest, wanted):
                return own
        return None

    def sole_reader(self, name: str, *operators: str) -> Node | None:
        """The only node that reads a value, if it is one of these operators."""
        readers = self._readers.get(name, [])
        alone = len(readers) == 1 and name not in self._outputs and readers[0].operator in operators
        return readers[0] if alone else None


def _layer_norm(node: Node, finder: _Finder) -> Node | None:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, ended by the sum."""
    if node.operator != "Add":
        return None
    for bias, product in (node.inputs[:2], node.inputs[1::-1]):
        scaled = finder.made(product, "Mul")
        if bias not in finder.constants or scaled is None or finder.sole_reader(product, "Add") is None:
            continue
        for weight, ratio in (scaled.inputs[:2], scaled.inputs[1::-1]):
            division = finder.made(ratio, "Div")
            if weight not in finder.constants or division is None or finder.sole_reader(ratio, "Mul") is None:
                continue
            source, epsilon = _standardized(division, finder)
            shapes = {finder.constants[name].shape for name in (weight, bias)}
            if source is not None and len(shapes) == 1 and len(next(iter(shapes))) == 1:
                attributes = {"axis": -1, "epsilon": epsilon}
                inputs = [source, weight, bias]
                return Node(node.name, "LayerNormalization", inputs, node.outputs, attributes, node.scope)
    return None


def _standardized(division: Node, finder: _Finder) -> tuple[str | None, float]:
    """What ``(x - mean) / sqrt(var + eps)`` along the last axis is made of: x and eps."""
    centred, root = finder.made(division.inputs[0], "Sub"), finder.made(division.inputs[1], "Sqrt")
    inside = None if root is None else finder.made(root.inputs[0], "Add")
    if centred is None or inside is None:
        return None, 0.0
    for variance, epsilon in (inside.inputs[:2], inside.inputs[1::-1]):
        mean = finder.made(variance, "ReduceMean")
        small = finder.number(epsilon)
        if mean is None or small is None or not _is_last_axis(mean, finder):
            continue
        square = finder.made(mean.inputs[0], "Pow", "Mul")
        fine = square is not None and _is_square(square, finder)
        source = None if square is None or not fine else finder.made(square.inputs[0], "Sub")
        if source is not None and _is_centred(centred, finder) and source.inputs == centred.inputs:
            return centred.inputs[0], small
    return None, 0.0


def _is_square(node: Node, finder: _Finder) -> bool:
    return finder.is_number(node.inputs[1], 2.0) if node.operator == "Pow" else node.inputs[0] == node.inputs[1]


def _is_centred(node: Node, finder: _Finder) -> bool:
    mean = finder.made(node.inputs[1], "ReduceMean")
    return mean is not None and mean.inputs[0] == node.inputs[0] and _is_last_axis(mean, finder)


def _is_last_axis(node: Node, finder: _Finder) -> bool:
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] in finder.constants:
        axes = finder.constants[node.inputs[1]].reshape(-1).tolist()
    return axes == [-1] and node.attributes.get("keepdims", 1) == 1


def _gelu(node: Node, finder: _Finder) -> Node | None:
    """``x * 0.5 * (1 + erf(x / sqrt 2))`` in any order of its products, ended by the last one."""
    if node.operator != "Mul":
        return None
    factors = list(_factors(node, finder))
    halves = [name for name in factors if finder.is_number(name, 0.5)]
    rest = [name for name in factors if name not in halves]
    if len(factors) != 3 or len(halves) != 1 or len(rest) != 2:
        return None
    for source, gate in (rest, rest[::-1]):
        total = finder.made(gate, "Add")
        inner = None if total is None else finder.other(total, 1.0)
        error = None if inner is None else finder.made(inner, "Erf")
        scaled = None if error is None else finder.made(error.inputs[0], "Div", "Mul")
        if scaled is not None and _divides_by_root(scaled, source, finder):
            return Node(node.name, "Gelu", [source], node.outputs, {}, node.scope)
    return None


def _factors(node: Node, finder: _Finder) -> Iterator[str]:
    """Operands of a product and of the products that it alone reads."""
    for name in node.inputs[:2]:
        inner = finder.made(name, "Mul")
        if inner is not None and finder.sole_reader(name, "Mul") is not None:
            yield from inner.inputs[:2]
        else:
            yield name


def _divides_by_root(node: Node, source: str, finder: _Finder) -> bool:
    if node.operator == "Div":
        return node.inputs[0] == source and finder.is_number(node.inputs[1], _ROOT)
    return finder.other(node, _HALF_ROOT) == source


def _gated(node: Node, finder: _Finder) -> Node | None:
    """``x * sigmoid(x)`` and ``x * hard_sigmoid(x)``, the latter also as ``x * clip(x + 3, 0, 6) / 6``."""
    if node.operator == "Div" and finder.is_number(node.inputs[1], 6.0):
        product = finder.made(node.inputs[0], "Mul")
        return None if product is None else _swish_of(node, product, _is_clipped, finder)
    if node.operator != "Mul":
        return None
    for source, gate in (node.inputs[:2], node.inputs[1::-1]):
        made = finder.made(gate, "Sigmoid", "HardSigmoid", "Div")
        if made is None:
            continue
        if made.operator == "Sigmoid" and made.inputs[0] == source:
            return Node(node.name, "Silu", [source], node.outputs, {}, node.scope)
        hard = made.operator == "HardSigmoid" and made.inputs[0] == source and _is_sixth(made)
        sixth = made.operator == "Div" and finder.is_number(made.inputs[1], 6.0)
        if hard or (sixth and _is_clipped(made.inputs[0], source, finder)):
            return Node(node.name, "HardSwish", [source], node.outputs, {}, node.scope)
    return None


def _swish_of(
    node: Node, product: Node, fits: Callable[[str, str, _Finder], bool], finder: _Finder
) -> Node | None:
    for source, gate in (product.inputs[:2], product.inputs[1::-1]):
        if fits(gate, source, finder):
            return Node(node.name, "HardSwish", [source], node.outputs, {}, node.scope)
    return None


def _is_sixth(node: Node) -> bool:
    return abs(node.attributes.get("alpha", 0.2) - 1 / 6) < 1e-4 and node.attributes.get("beta", 0.5) == 0.5


def _is_clipped(name: str, source: str, finder: _Finder) -> bool:
    clip = finder.made(name, "Clip")
    if clip is None or len(clip.inputs) != 3 or not finder.is_number(clip.inputs[1], 0.0):
        return False
    total = finder.made(clip.inputs[0], "Add")
    return finder.is_number(clip.inputs[2], 6.0) and total is not None and finder.other(total, 3.0) == source
