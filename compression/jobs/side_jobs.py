"""Functions that worker processes run beside experiments: further runtimes, pictures, values in layers, comparisons."""

from compression.jobs.experiment_jobs import side_stage


def score_elsewhere(root: str, job: str, key: str, before: bool = True) -> bool:
    """Execute a result in OpenVINO on its test samples."""
    from compression.analysis import other_runtimes

    return before and side_stage(
        root, job, lambda store, progress, cancelled: other_runtimes.score_in_openvino(store, key, progress, cancelled),
        last=False,
    )


def time_elsewhere(root: str, job: str, key: str, before: bool = True) -> bool:
    """Time a result in OpenVINO against the uncompressed model there."""
    from compression.analysis import other_runtimes

    return before and side_stage(
        root, job, lambda store, progress, cancelled: other_runtimes.time_in_openvino(store, key, progress, cancelled),
        first=False,
    )


def export_program(root: str, job: str, key: str, before: bool = True) -> bool:
    """Write a result as a PyTorch program and compare its outputs."""
    from compression.analysis import other_runtimes

    return before and side_stage(
        root, job, lambda store, progress, cancelled: other_runtimes.export_program(store, key, progress, cancelled)
    )


def illustrate(root: str, job: str, model: str, technique: str, before: bool = True) -> bool:
    """Compress one layer for a technique's picture."""
    from compression.analysis import illustration

    return before and side_stage(
        root, job,
        lambda store, progress, cancelled: illustration.illustrate(store, model, technique, progress, cancelled),
    )


def distribute(root: str, job: str, key: str, before: bool = True) -> bool:
    """Look at the values in the layers of a result and of its original."""
    from compression.analysis import distribution

    return before and side_stage(
        root, job, lambda store, progress, cancelled: distribution.distribute(store, key, progress, cancelled)
    )


def predict_sensitivity(
    root: str, job: str, key: str, model: str, dataset: str, technique: str, before: bool = True
) -> bool:
    """Predict what compressing each layer alone does."""
    from compression.analysis import sensitivity

    return before and side_stage(
        root, job,
        lambda store, progress, cancelled: sensitivity.predict(
            store, key, model, dataset, technique, progress, cancelled
        ),
    )


def compare(root: str, job: str, first: str, second: str, before: bool = True) -> bool:
    """Compare the predictions of two results."""
    from compression.analysis import differences

    return before and side_stage(
        root, job,
        lambda store, progress, cancelled: differences.find_difference(store, first, second, progress, cancelled),
    )


def count_weights(root: str, job: str, key: str, before: bool = True) -> bool:
    """Count the weights of a result."""
    from compression.analysis import weight_statistics

    return before and side_stage(
        root, job,
        lambda store, progress, cancelled: weight_statistics.find_statistics(store, key, progress, cancelled),
    )
