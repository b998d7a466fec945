"""A model's weights put into its graph, in the form they are stored in.

Encoded weights stay small in the file: whole numbers or codebook indices, followed by nodes that expand them. These
nodes depend on nothing but constants, so ONNX Runtime carries them out once, when it loads the file.
"""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from compression.artifact.graph.editing import GraphEditor
from compression.artifact.graph.lowering import Lowering, lowered_tensors
from compression.grids import codebook_indices, expand_scale, quantize_to_grid
from compression.state import Codebook, Encoding, HalfPrecision, UniformGrid, state_of

SYMBOLS = ".symbols"


@dataclass(frozen=True)
class Layout:
    """How a parameter lies in the graph: transposed linear weights, and the multiplier of a folded batch norm."""

    transposed: bool = False
    multiplier: Tensor | None = None


def layouts_of(lowering: Lowering) -> dict[str, Layout]:
    """Layouts, by name, of those weights that do not lie in the graph as they do in the model."""
    folded = {fqn: fold.multiplier for fqn, fold in lowering.folds.items()}
    return {
        f"{fqn}.weight": Layout(lowering.is_transposed(fqn), folded.get(fqn))
        for fqn in folded.keys() | lowering.transposed
    }


def tied_names(model: nn.Module) -> dict[str, str]:
    """Names of parameters that have several, each with the first of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name: tied[0] for tied in names.values() if len(tied) > 1 for name in tied}


def fill_weights(
    editor: GraphEditor, model: nn.Module, lowering: Lowering, skip: frozenset[str] = frozenset()
) -> None:
    """Replace every initializer that carries the name of a parameter or buffer.

    Args:
        editor: Of a template.
        model: The compressed model.
        lowering: How its layers lie in the graph.
        skip: Parameters that the caller writes itself (integer weights of quantized layers).
    """
    state, tensors, layouts = state_of(model), lowered_tensors(model, lowering), layouts_of(lowering)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    computed = {f"{fqn}.bias" for fqn in lowering.folds}
    computed |= {f"{name.removesuffix('.weight')}.bias" for name in skip}  # kernels take them as plain numbers
    tied, written = tied_names(model), dict[str, str]()
    for name in editor.initializer_names():
        if name not in tensors:
            continue
        editor.replace(name)
        if name in skip:
            continue
        if name in tied and name not in computed and layouts.get(name, Layout()).multiplier is None:
            source = written.setdefault(tied[name], name)
            if source != name:
                _write_moved(editor, source, name, layouts)
                continue
        encoding = state.encodings.get(name)
        if encoding is None or name in computed or name not in parameters or not _write_encoded(
            editor, name, parameters[name].detach(), encoding, layouts.get(name, Layout())
        ):
            editor.add_tensor(name, tensors[name].numpy())


def _write_moved(editor: GraphEditor, source: str, name: str, layouts: dict[str, Layout]) -> None:
    """A tied parameter, from the name under which the graph holds its values."""
    layout, other = layouts.get(name, Layout()), layouts.get(source, Layout())
    if layout.transposed == other.transposed:
        editor.add_node("Identity", [source], name)
    else:
        editor.add_node("Transpose", [source], name, perm=[1, 0])


def _write_encoded(editor: GraphEditor, name: str, value: Tensor, encoding: Encoding, layout: Layout) -> bool:
    if isinstance(encoding, UniformGrid):
        return _write_grid(editor, name, value, encoding, layout)
    if isinstance(encoding, Codebook):
        return _write_codebook(editor, name, value, encoding, layout)
    return _write_half(editor, name, value, encoding, layout)


def _oriented(values: Tensor, layout: Layout) -> np.ndarray:
    return (values.t() if layout.transposed else values).contiguous().numpy()


def _channel_scale(scale: Tensor, value: Tensor, layout: Layout) -> np.ndarray:
    """Scale (1,) or (C_out,) with the multiplier applied, broadcastable to the weight as it lies in the graph."""
    channels = scale.flatten().float()
    if layout.multiplier is not None:
        channels = channels * layout.multiplier
    if channels.numel() == 1:
        return channels.numpy()
    shape = (1, -1) if layout.transposed else (-1, *[1] * (value.ndim - 1))
    return channels.reshape(shape).numpy()


def centered_symbols(value: Tensor, grid: UniformGrid) -> Tensor:
    """Whole numbers ``q - zero_point``, int32, shaped as the weight."""
    symbols = quantize_to_grid(value, grid)
    if grid.zero_point is None:
        return symbols
    return symbols - expand_scale(grid.zero_point, value.shape, grid.group_size).to(torch.int32)


def _write_grid(editor: GraphEditor, name: str, value: Tensor, grid: UniformGrid, layout: Layout) -> bool:
    symbols = centered_symbols(value, grid)
    if grid.group_size:
        return _write_grouped(editor, name, symbols, grid, layout)
    editor.add_symbols(name + SYMBOLS, _oriented(symbols, layout), grid.bits)
    editor.add_tensor(f"{name}.scale", _channel_scale(grid.scale, value, layout))
    editor.cast_to_float(name + SYMBOLS, f"{name}.whole")
    editor.add_node("Mul", [f"{name}.whole", f"{name}.scale"], name)
    return True


def _write_grouped(editor: GraphEditor, name: str, symbols: Tensor, grid: UniformGrid, layout: Layout) -> bool:
    """Symbols as (C_out, groups, group size); False where the last group is shorter."""
    rows = symbols.flatten(1)
    if rows.shape[1] % grid.group_size:
        return False
    scale = grid.scale.float().unsqueeze(-1)
    if layout.multiplier is not None:
        scale = scale * layout.multiplier.reshape(-1, 1, 1)
    shape = symbols.shape if not layout.transposed else rows.shape
    editor.add_symbols(name + SYMBOLS, rows.unflatten(1, (-1, grid.group_size)).numpy(), grid.bits)
    editor.add_tensor(f"{name}.scale", scale.numpy())
    editor.add_tensor(f"{name}.shape", np.array(shape, dtype=np.int64))
    editor.cast_to_float(name + SYMBOLS, f"{name}.whole")
    editor.add_node("Mul", [f"{name}.whole", f"{name}.scale"], f"{name}.grouped")
    flat = f"{name}.rows" if layout.transposed else name
    editor.add_node("Reshape", [f"{name}.grouped", f"{name}.shape"], flat)
    if layout.transposed:
        editor.add_node("Transpose", [flat], name, perm=[1, 0])
    return True


def _write_codebook(editor: GraphEditor, name: str, value: Tensor, codebook: Codebook, layout: Layout) -> bool:
    indices = _oriented(codebook_indices(value, codebook), layout)
    if len(codebook.values) > 256:
        return False
    editor.add_tensor(name + SYMBOLS, indices.astype(ml_dtypes.uint4 if len(codebook.values) <= 16 else np.uint8))
    editor.add_tensor(f"{name}.codebook", codebook.values.float().numpy())
    editor.add_node("Cast", [name + SYMBOLS], f"{name}.indices", to=6)  # int32
    scaled = codebook.scale is not None or layout.multiplier is not None
    editor.add_node("Gather", [f"{name}.codebook", f"{name}.indices"], f"{name}.entries" if scaled else name)
    if scaled:
        scale = torch.ones(1) if codebook.scale is None else codebook.scale
        editor.add_tensor(f"{name}.scale", _channel_scale(scale, value, layout))
        editor.add_node("Mul", [f"{name}.entries", f"{name}.scale"], name)
    return True


def _write_half(editor: GraphEditor, name: str, value: Tensor, encoding: HalfPrecision, layout: Layout) -> bool:
    kind = np.float16 if encoding.dtype == "float16" else ml_dtypes.bfloat16
    editor.add_tensor(f"{name}.half", _oriented(value, layout).astype(kind))
    if layout.multiplier is None:
        editor.cast_to_float(f"{name}.half", name)
        return True
    editor.cast_to_float(f"{name}.half", f"{name}.whole")
    editor.add_tensor(f"{name}.scale", _channel_scale(torch.ones(1), value, layout))
    editor.add_node("Mul", [f"{name}.whole", f"{name}.scale"], name)
    return True


