"""Exported graphs of the models that come with the project.

An export takes seconds and depends on the architecture alone, so the project ships those of its own models and a
first start need not wait for them. A graph whose architecture has changed since is simply not found, and exported.
"""

from pathlib import Path

import torch
from torch import Tensor

from compression.artifact.graph.lowering import plan_lowering
from compression.artifact.graph.template import load_template, template_key, write_atomically
from models import registry

SHIPPED = Path(registry.__file__).resolve().parent / "graphs"


def seed_graphs(cache_dir: Path) -> None:
    """Put the shipped graphs where exported ones are looked for."""
    target = cache_dir / "graphs"
    target.mkdir(parents=True, exist_ok=True)
    for path in SHIPPED.glob("*.onnx"):
        if not (target / path.name).exists():
            write_atomically(target / path.name, path.read_bytes())


def shipped_models() -> list[str]:
    """Models whose weights come with the project."""
    names = [info.name for info in registry.list_models()]
    return [name for name in names if (registry.WEIGHTS_DIR / f"{name}.safetensors").is_file()]


def graph_name(model: str) -> str:
    """File name of a model's exported graph."""
    loaded, example = registry.load_model(model), _example(model)
    return f"{template_key(loaded, example, plan_lowering(loaded, example))}.onnx"


def _example(model: str) -> Tensor:
    """One input of a model's shape and type; its dataset need not be at hand."""
    info, generator = registry.model_info(model), torch.Generator().manual_seed(0)
    if info.input_dtype == "int64":
        return torch.randint(info.num_classes, (1, *info.input_shape), generator=generator)
    return torch.randn((1, *info.input_shape), generator=generator)


def export_graphs() -> dict[str, Path]:
    """Export what is not shipped yet and remove what no model needs any more; files by model."""
    SHIPPED.mkdir(exist_ok=True)
    files = {}
    for name in shipped_models():
        model, example = registry.load_model(name), _example(name)
        load_template(model, example, plan_lowering(model, example), SHIPPED.parent)
        files[name] = SHIPPED / graph_name(name)
    for path in SHIPPED.glob("*.onnx"):
        if path not in files.values():
            path.unlink()
    return files
