"""Whether a network gives as many numbers per input as its task needs."""

from torch import Tensor

from models.tasks import output_words, outputs_of


def wrong_outputs(outputs: Tensor, task: str, needed: int) -> str:
    """What is wrong with the outputs of one input, in words; empty where nothing is.

    Args:
        outputs: (1, ..., C); of tasks with one output also (1,).
        task: Name of the task.
        needed: Outputs that the task needs.
    """
    given = 1 if outputs_of(task, 2) == 1 and outputs.numel() == 1 else (outputs.shape[-1] if outputs.ndim > 1 else 0)
    if given == needed:
        return ""
    shape = " x ".join(map(str, outputs.shape))
    return f"the network gives {given or shape} outputs, {needed} are needed: {output_words(task)}"
