"""The bundled digits network with one output, a value or a logit: the head is fitted in closed form."""

import csv
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from models.datasets import load_dataset
from models.preprocessing import prepare_inputs
from models.registry import load_model, model_info

ARCHITECTURE = "digits_resnet"
_TRAIN, _RIDGE = 500, 1e-3


def fitted(targets: Tensor) -> nn.Module:
    """The network with a linear head of one output, by ridge regression on training features."""
    model, data = load_model(ARCHITECTURE), load_dataset("digits")
    head = last_linear(model)
    model.set_submodule(head, nn.Identity())
    with torch.inference_mode():
        features = model(prepare_inputs(model_info(ARCHITECTURE), data.train.inputs[:_TRAIN])).double()
    matrix = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    gram = matrix.T @ matrix + _RIDGE * torch.eye(matrix.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(gram, matrix.T @ targets[:_TRAIN].double())
    layer = nn.Linear(features.shape[1], 1)
    with torch.no_grad():
        layer.weight.copy_(solution[:-1][None])
        layer.bias.copy_(solution[-1:])
    model.set_submodule(head, layer)
    return model.eval()


def last_linear(model: nn.Module) -> str:
    return [fqn for fqn, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def regressor() -> nn.Module:
    """The digit as a value."""
    return fitted(load_dataset("digits").train.targets)


def detector() -> nn.Module:
    """One logit: above 0 for digits above 4."""
    return fitted(2.0 * (load_dataset("digits").train.targets > 4) - 1)


def saved(model: nn.Module, path: Path) -> Path:
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, path)
    return path


def value_folder(root: Path, count: int = 120) -> Path:
    """Digits of the test split as image files beside a table of their values."""
    data = load_dataset("digits").test
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, target) in enumerate(zip(data.inputs[:count], data.targets[:count], strict=True)):
        Image.fromarray(image[0].numpy()).save(root / f"{number}.png")
        rows.append((f"{number}.png", float(target)))
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "value"), *rows])
    return root


def half_folders(root: Path, count: int = 120) -> Path:
    """The same images in two class folders: digits to 4, and those above."""
    data = load_dataset("digits").test
    for number, (image, target) in enumerate(zip(data.inputs[:count], data.targets[:count], strict=True)):
        folder = root / ("high" if target > 4 else "below")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{number}.png")
    return root
