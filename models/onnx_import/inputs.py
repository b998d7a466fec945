"""What a graph is given: one image or one row of token ids, from which its other inputs follow."""

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from models.onnx_import.errors import OnnxError, shortened
from models.onnx_import.graph import Graph, GraphInput
from models.onnx_import.network import Step

NETWORK_INPUT = "input"
_TOKENS = ("int64", "int32")
_FLOATS = ("float32", "uint8")
_MAIN = ("input_ids", "ids", "tokens", "input", "x")
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class InputPlan:
    """How the graph's inputs follow from the network's.

    Attributes:
        shape: Of one sample of the network: (C, H, W) or (T,).
        dtype: "float32" or "int64".
        fixed: Batch size of the file; None where it is free.
        steps: What makes the graph's inputs.
        shapes: Of the graph's inputs, the batch left out.
        notes: What was decided, in sentences.
    """

    shape: tuple[int, ...]
    dtype: str
    fixed: int | None
    steps: tuple[Step, ...]
    shapes: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]


def plan_inputs(graph: Graph, size: int | None, sample_shape: tuple[int, ...] | None) -> InputPlan:
    """Decide what the network is given.

    Args:
        graph: Inputs that no node reads are left out.
        size: Height and width, or number of tokens, where the file leaves them open.
        sample_shape: Shape of a sample of the dataset, where one is known; used for what the file leaves open.

    Raises:
        OnnxError: naming the input and what is allowed.
    """
    read = {name for node in graph.nodes for name in node.inputs}
    found = [own for own in graph.inputs if own.name in read]
    if not found:
        raise OnnxError("the graph reads no input; one image or one row of token ids is needed")
    for own in found:
        if own.dtype not in (*_TOKENS, *_FLOATS, "bool"):
            allowed = "float32, uint8, int64 and int32 are"
            raise OnnxError(f"input {shortened(own.name)}: its type {own.dtype} is not supported; {allowed}")
    if all(own.dtype in (*_TOKENS, "bool") for own in found):
        return _plan_tokens(found, size, sample_shape)
    if len(found) > 1:
        names = ", ".join(shortened(own.name) for own in found[:4])
        raise OnnxError(f"the graph has {len(found)} inputs ({names}); one image, or token ids and what follows from "
                        "them, are allowed")
    return _plan_image(found[0], size, sample_shape)


def _fixed(own: GraphInput) -> int | None:
    batch = own.shape[0] if own.shape else None
    if isinstance(batch, int) and not 1 <= batch <= 64:
        raise OnnxError(f"input {shortened(own.name)}: a batch of {batch} is not allowed; 1 to 64, or an open one, is")
    return batch if isinstance(batch, int) else None


def _side(own: GraphInput, length: int | str | None, size: int | None, sample: tuple[int, ...] | None) -> int:
    """A length of the input: the file's, else the one that is given, else that of the dataset."""
    if isinstance(length, int):
        if size is not None and size != length:
            raise OnnxError(f"input_size: {size} is not allowed; the file's input is {length}")
        found: int | None = length
    else:
        found = size or (sample[-1] if sample else None)
    if found is None:
        left = f"the file leaves the shape of {shortened(own.name)} open"
        raise OnnxError(f"input_size: {left}; a whole number is needed")
    if not 1 <= found <= 4096:
        raise OnnxError(f"input {shortened(own.name)}: a length of {found} is not allowed; 1 to 4096 is")
    return found


def _plan_image(own: GraphInput, size: int | None, sample: tuple[int, ...] | None) -> InputPlan:
    fixed, shape = _fixed(own), own.shape
    notes = []
    if own.dtype == "uint8":
        notes.append("The file takes bytes from 0 to 255; they are given as whole numbers in float32.")
    if len(shape) == 4:
        last = shape[1] not in _CHANNELS and shape[3] in _CHANNELS
        channels, sides = (shape[3], shape[1:3]) if last else (shape[1], shape[2:])
        channels = channels if isinstance(channels, int) else sample[0] if sample and len(sample) == 3 else 3
        height, width = (_side(own, side, size, sample) for side in sides)
        if height != width:
            needed = "height and width must be equal"
            raise OnnxError(f"input {shortened(own.name)}: {height}x{width} is not allowed; {needed}")
        if last:
            notes.append("The file's input is height, width, channels; the network takes channels first.")
            step = Step((own.name,), (NETWORK_INPUT,), torch.permute, settings={"dims": (0, 2, 3, 1)})
            own_shape = (height, width, channels)
        else:
            step = Step((own.name,), (NETWORK_INPUT,), unchanged)
            own_shape = (channels, height, width)
        return InputPlan((channels, height, width), "float32", fixed, (step,), {own.name: own_shape}, tuple(notes))
    whole = [side for side in shape[1:] if isinstance(side, int)]
    if len(shape) == 3 and len(whole) == 2 and whole[0] == whole[1]:
        step = Step((own.name,), (NETWORK_INPUT,), torch.squeeze, settings={"dim": 1})
        return InputPlan((1, *whole), "float32", fixed, (step,), {own.name: (whole[0], whole[1])}, tuple(notes))
    if len(shape) == 2 and len(whole) == 1:
        image = _image_of(whole[0], sample)
        if image is not None:
            notes.append(f"The file takes {whole[0]} numbers: images of {'x'.join(map(str, image))} are flattened.")
            step = Step((own.name,), (NETWORK_INPUT,), torch.flatten, settings={"start_dim": 1})
            return InputPlan(image, "float32", fixed, (step,), {own.name: (whole[0],)}, tuple(notes))
    told = "x".join(str(side or "?") for side in shape)
    raise OnnxError(f"input {shortened(own.name)}: the shape {told[:60]} is not supported; (N, C, H, W), (N, H, W, C), "
                    "square (N, H, W), flattened images, and token ids (N, T) are")


def _image_of(features: int, sample: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """The image that a row of numbers is: the dataset's, else a square one of one or three channels."""
    if sample is not None and len(sample) == 3 and sample[0] * sample[1] * sample[2] == features:
        return sample[0], sample[1], sample[2]
    for channels in (1, 3):
        side = isqrt(features // channels)
        if side > 1 and channels * side * side == features:
            return channels, side, side
    return None


def _plan_tokens(found: list[GraphInput], size: int | None, sample: tuple[int, ...] | None) -> InputPlan:
    """Token ids and what follows from them."""
    candidates = [own for own in found if own.dtype != "bool" and "mask" not in own.name and "type" not in own.name]
    named = [own for name in _MAIN for own in candidates if own.name == name]
    main = next(iter([*named, *candidates]), None)
    if main is None or len(main.shape) != 2:
        raise OnnxError("token ids (N, T) are needed as an input, named input_ids")
    length = _side(main, main.shape[1], size, sample)
    steps, notes = [_as(main, unchanged)], []
    for own in found:
        if own is main:
            continue
        rule = _derived(own.name)
        if rule is None or len(own.shape) != 2:
            raise OnnxError(f"input {shortened(own.name)}: it does not follow from the token ids; attention_mask, "
                            "token_type_ids and position_ids do")
        steps.append(_as(own, rule[0]))
        notes.append(f"Input {own.name}: {rule[1]}.")
    shapes = {own.name: (length,) for own in found}
    return InputPlan((length,), "int64", _fixed(main), tuple(steps), shapes, tuple(notes))


def _as(own: GraphInput, function: object) -> Step:
    return Step((own.name,), (NETWORK_INPUT,), converted, settings={
        "function": function, "dtype": getattr(torch, own.dtype),
    })


def _derived(name: str) -> tuple[object, str] | None:
    if "mask" in name:
        return not_padding, "1 where the token id is not 0 (padding), else 0"
    if "type" in name or "segment" in name:
        return torch.zeros_like, "0 for every token"
    return (positions, "0, 1, 2 and so on") if "position" in name else None


def converted(ids: Tensor, *, function: object, dtype: torch.dtype) -> Tensor:
    """A function of token ids, in the type that the graph wants."""
    assert callable(function)
    return function(ids).to(dtype)


def unchanged(x: Tensor) -> Tensor:
    """The input itself."""
    return x


def not_padding(ids: Tensor) -> Tensor:
    """Which tokens are none of padding."""
    return ids != 0


def positions(ids: Tensor) -> Tensor:
    """The number of each token in its row."""
    return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
