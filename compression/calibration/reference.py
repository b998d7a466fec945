"""The network that later steps compare with, once a student has taken the model's place."""

import copy
import hashlib
from dataclasses import replace

from torch import nn

from compression.context import CompressionContext
from compression.state import state_of
from compression.structure.ends import first_and_last


def based_on(context: CompressionContext, student: nn.Module) -> CompressionContext:
    """A context whose layer statistics are a student's; the teacher stays the uncompressed model.

    Hessians, batch-norm moments and channel groups go by layer names, and a student's layers of the same name see
    other inputs. They are kept in memory only: each training leaves another student. All of its channels count as
    there and as of their present scale, whatever was removed or rescaled before it was trained.
    """
    reference = copy.deepcopy(student).eval().requires_grad_(False)
    for table in (state_of(student).kept, state_of(student).input_scales, state_of(student).output_scales):
        table.clear()
    return replace(
        context, original=reference, teacher=context.original if context.teacher is None else context.teacher,
        model_key=_weights_hash(reference), protected=first_and_last(reference, context.example_input),
        cache_dir=None,
    )


def _weights_hash(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
