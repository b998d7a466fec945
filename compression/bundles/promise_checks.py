"""Checks the certificate of a bundle: what its promise states against both models' predictions here."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from compression.analysis.promise import promise_from_dict, promise_of, promise_rows
from compression.analysis.promises import MEMBER
from compression.bundles.checks import Check
from compression.experiments.pairing import unpack
from compression.experiments.tasks import Task

_COMPARED, _LEAST_AGREEMENT, _ROUNDING = 200, 0.99, 1e-6
_LARGEST = 2**28


def check_promise(members: Mapping[str, bytes], task: Task, right: np.ndarray) -> list[Check]:
    """Checks of promise.json; none where a bundle has no promise.

    The stated numbers are computed again from the artifact's predictions here and the uncompressed model's as stored;
    of these a part is compared with the uncompressed model's here.

    Args:
        members: Content of the bundle's files.
        task: Model and data of its recipe.
        right: Which of the artifact's predictions are right, (samples, ...), on the samples of its stated accuracy.
    """
    if MEMBER not in members:
        return []
    try:
        stated = json.loads(members[MEMBER])
        promise, before = promise_from_dict(stated), _stored(stated["uncompressed_right"])
        kept = bool(stated["kept"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return [Check(MEMBER, "an exported promise", "something else", False)]
    after = right.reshape(len(right), -1)
    if before.shape != after.shape:
        return [Check(MEMBER, f"predictions {before.shape}", f"predictions {after.shape}", False)]
    found = promise_of(before, after, promise.limit)
    same = promise.n_samples == found.n_samples and kept == found.kept and all(
        math.isclose(a, b, abs_tol=_ROUNDING)
        for a, b in ((promise.drop, found.drop), (promise.drop_high, found.drop_high))
    )
    return [Check(MEMBER, promise.text, found.text, same), _check_uncompressed(task, before)]


def _stored(data: Mapping[str, Any]) -> np.ndarray:
    shape = tuple(int(length) for length in data["shape"])
    if len(shape) != 2 or min(shape) < 1 or math.prod(shape) > _LARGEST:
        raise ValueError("a table of predictions is needed")
    return unpack(data["bits"], math.prod(shape)).reshape(shape)


@torch.inference_mode()
def _check_uncompressed(task: Task, stored: np.ndarray) -> Check:
    """Stored right predictions of the uncompressed model against its predictions in PyTorch, on some samples."""
    rows = promise_rows(len(stored))[:_COMPARED]
    few = task.dataset.test.taken(torch.from_numpy(rows))
    model = task.load_model()
    outputs = np.concatenate([model(torch.from_numpy(batch)).numpy() for batch in task.scoring_batches(few)])
    scored = task.problem.score(outputs, few.targets.numpy())
    here = (scored["predictions"] == few.targets.numpy()).reshape(len(rows), -1)
    agreement = float((here == stored[rows]).mean())
    stated = f"those of {len(rows)} promise samples"
    return Check("uncompressed predictions", stated, f"{100 * agreement:.1f} % agree", agreement >= _LEAST_AGREEMENT)
