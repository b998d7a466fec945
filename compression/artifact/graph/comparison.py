"""Whether a graph holds the weights of a packed file."""

import numpy as np
import onnx
from onnx import numpy_helper

from compression.artifact.graph.blocks import BlockWeight, held_blocks, unpacked_blocks
from compression.artifact.graph.weights import SYMBOLS, centered_symbols
from compression.artifact.packing import PackedModel
from compression.grids import codebook_indices
from compression.state import Codebook, UniformGrid

_TOLERANCE = 1e-5
_HALF_TOLERANCE = 2e-3


def differing_weights(packed: PackedModel, proto: onnx.ModelProto) -> tuple[int, list[str]]:
    """Compare every weight that both files hold.

    Symbols must be equal up to the sign per channel that a folded batch norm brings; weights in blocks must have equal
    values; float weights must be equal, or multiples of one another per output channel where a batch norm was folded
    in.

    Returns:
        Number of compared weights, and the names of those that differ.
    """
    compared, wrong = 0, []
    for tensor in proto.graph.initializer:
        name = tensor.name.removesuffix(SYMBOLS).removesuffix(".half")
        if name not in packed.tensors or packed.tensors[name].ndim < 2:
            continue
        held = numpy_helper.to_array(tensor)
        compared += 1
        same = _same_symbols if tensor.name.endswith(SYMBOLS) else _same_floats
        if not same(held, name, packed):
            wrong.append(name)
    for name, weight in held_blocks(proto).items():
        if name in packed.tensors:
            compared += 1
            if not _same_blocks(weight, packed.tensors[name].numpy()):
                wrong.append(name)
    return compared, wrong


def _same_blocks(weight: BlockWeight, own: np.ndarray) -> bool:
    try:
        return np.array_equal(unpacked_blocks(weight), own)
    except (ValueError, TypeError, ArithmeticError):  # a graph from elsewhere, whose shapes do not fit together
        return False


def _same_symbols(held: np.ndarray, name: str, packed: PackedModel) -> bool:
    value, encoding = packed.tensors[name], packed.encodings.get(name)
    found = held.astype(np.int32)
    if isinstance(encoding, UniformGrid):
        wanted = centered_symbols(value, encoding)
    elif isinstance(encoding, Codebook):
        wanted = codebook_indices(value, encoding)
        if held.dtype == np.int8:  # entries of an integer codebook, for integer kernels
            wanted = encoding.values[wanted].round()
    else:
        return False
    symbols = wanted.numpy().astype(np.int32)
    layouts = [symbols, symbols.T] if symbols.ndim == 2 else [symbols]
    return any(np.array_equal(np.abs(layout.reshape(-1)), np.abs(found.reshape(-1))) for layout in layouts)


def _same_floats(held: np.ndarray, name: str, packed: PackedModel) -> bool:
    own = packed.tensors[name].numpy()
    found, tolerance = held.astype(np.float32), _HALF_TOLERANCE if held.dtype == np.float16 else _TOLERANCE
    candidates = [own, own.T] if own.ndim == 2 else [own]
    for candidate in candidates:
        if candidate.shape == found.shape and np.allclose(candidate, found, rtol=tolerance, atol=tolerance):
            return True
    if own.shape != found.shape:
        return False
    ours, theirs = own.reshape(len(own), -1), found.reshape(len(found), -1)
    factor = (ours * theirs).sum(1) / np.maximum((ours * ours).sum(1), 1e-30)
    return bool(np.allclose(ours * factor[:, None], theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max()))
