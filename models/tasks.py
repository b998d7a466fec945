"""Tasks by name: how many outputs their models have, and on which datasets these are scored."""

IMAGES, BINARY, REGRESSION = "image_classification", "binary_classification", "regression"
_ONE_OUTPUT = (BINARY, REGRESSION)
_DATA = {BINARY: IMAGES}


def outputs_of(task: str, num_classes: int) -> int:
    """Numbers that a model gives per prediction: one per class, or one at all (a logit, a value)."""
    return 1 if task in _ONE_OUTPUT else num_classes


def classes_of(task: str, outputs: int) -> int:
    """Inverse of `outputs_of`: one logit stands for two classes."""
    return 2 if task == BINARY else outputs


def data_task(task: str) -> str:
    """Task of the datasets on which a task's models are scored."""
    return _DATA.get(task, task)


def is_of_images(task: str) -> bool:
    """Whether models of a task take images."""
    return data_task(task) in (IMAGES, REGRESSION)


def task_on(data: str, outputs: int) -> str:
    """Task of a network of images with so many outputs on data of a task: one output on classes is a logit."""
    return BINARY if data == IMAGES and outputs == 1 else data


def output_words(task: str) -> str:
    """What one output of a task is."""
    return {BINARY: "one logit", REGRESSION: "one value"}.get(task, "one logit per class")
