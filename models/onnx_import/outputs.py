"""Which of a graph's results are the scores of the classes."""

from models.onnx_import.errors import shortened
from models.onnx_import.graph import Graph

_PREFERRED = ("logits", "output", "output_0", "scores", "probabilities")
_AFTER_SCORES = {
    "Softmax": "a softmax", "LogSoftmax": "a log-softmax", "ArgMax": "an arg max", "Sigmoid": "a sigmoid",
    "Identity": "",
}


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
        told = _AFTER_SCORES[node.operator]
        if told:
            notes.append(f"The file ends with {told}; the scores before it are used.")
        chosen = node.inputs[0]
    graph.outputs = [chosen]
    graph.drop_unread()
    return notes
