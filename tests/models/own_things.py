"""Small things that a user might bring."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from models.user.builders import architecture, build

KIND = "cifar_resnet8"


def network(classes: int = 3, kind: str = KIND) -> nn.Module:
    """An architecture with fixed random weights."""
    torch.manual_seed(0)
    return build(architecture(kind), classes, architecture(kind).input_shape[-1])


def weights_of(path: Path, model: nn.Module) -> Path:
    """Its weights, as a safetensors file or as a checkpoint of PyTorch's."""
    state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    return path


def class_folders(root: Path, each: int = 6, names: tuple[str, ...] = ("cats", "dogs", "owls"), side: int = 32) -> Path:
    """Folders of noise, each class of a colour of its own."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            noise = np.random.default_rng(100 * number + i).integers(0, 90, (side, side, 3), np.uint8)
            noise[:, :, number % 3] += 150
            Image.fromarray(noise).save(root / name / f"{i}.png")
    return root


def zipped(folder: Path, path: Path, within: str = "") -> Path:
    """A folder as a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"{within}{file.relative_to(folder).as_posix()}")
    return path
