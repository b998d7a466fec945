"""Which of a graph's results are the scores of the classes."""

from models.onnx_import.errors import shortened
from models.onnx_import.graph import Graph, Node

_PREFERRED = ("logits", "output", "output_0", "scores", "probabilities")
_AFTER_SCORES = {
    "Softmax": "a softmax", "LogSoftmax": "a log-softmax", "ArgMax": "an arg max", "Sigmoid": "a sigmoid",
    "Identity": "",
}
_AXES = {"Softmax": (-1, 1), "LogSoftmax": (-1, 1), "ArgMax": (0, 0)}
"""The usual axis of an operator, from opset 13 on and before."""
_PER_AXIS = 13


def choose_output(graph: Graph, values: bool) -> list[str]:
    """Keep one output, of scores what comes before a softmax, sigmoid or arg max; returns what was decided.

    Args:
        graph: Changed in place.
        values: Whether the results are values rather than scores of classes, which are kept as they are.
    """
    chosen = next((name for name in _PREFERRED if name in graph.outputs), graph.outputs[0])
    notes = []
    if len(graph.outputs) > 1:
        names = ", ".join(shortened(name) for name in graph.outputs[:6])
        notes.append(f"Output {shortened(chosen)} is used, of {names}.")
    producers = graph.producers()
    while not values:
        node = producers.get(chosen)
        if node is None or node.operator not in _AFTER_SCORES or node.inputs[0] not in producers:
            break
        if not _is_over_classes(node, graph.opset):
            break
        told = _AFTER_SCORES[node.operator]
        if told:
            notes.append(f"The file ends with {told}; the scores before it are used.")
        chosen = node.inputs[0]
    graph.outputs = [chosen]
    graph.drop_unread()
    return notes


def _is_over_classes(node: Node, opset: int) -> bool:
    """Whether it compares the classes of one sample, of scores (N, classes), rather than the samples of a batch."""
    if node.operator not in _AXES:
        return True
    return node.attributes.get("axis", _AXES[node.operator][opset < _PER_AXIS]) in (1, -1)
