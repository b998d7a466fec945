"""torchvision's networks as this project holds them: same records, same functions, nothing slow when listed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import registry
from models.architectures.attention_blocks import WindowAttention
from models.architectures.cifar import same_padded
from models.architectures.torchvision_zoo import ZOO
from models.checkpoints import Checkpoint, load_checkpoint
from models.preprocessing import image_view
from models.students import students_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", list(ZOO))
def test_what_is_stated_is_torchvisions_own_record(name: str) -> None:
    from torchvision.models import get_model_weights

    weights, info = get_model_weights(name).DEFAULT, registry.model_info(name)
    preset, release, view = weights.transforms(), info.release, image_view(info)
    assert release is not None and view is not None
    assert release.url == weights.url
    assert release.accuracy == info.published_accuracy == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100
    assert info.parameters == weights.meta["num_params"]
    assert release.size_bytes == pytest.approx(weights.meta["_file_size"] * 2**20, abs=1)
    assert ([view.resize_size], [view.crop_size]) == (preset.resize_size, preset.crop_size)
    assert view.interpolation == preset.interpolation.value and preset.antialias
    assert (list(info.mean), list(info.std)) == (preset.mean, preset.std)
    assert len(weights.meta["categories"]) == info.num_classes


def test_listing_imports_no_torchvision_and_builds_nothing() -> None:
    program = (
        "import sys; from models import registry, datasets, students\n"
        "names = [m.name for m in registry.list_models() if registry.has_weights(m.name) or True]\n"
        "students.students_of('resnet50'), datasets.list_datasets()\n"
        "print('vit_b_16' in names, 'torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_students_of_the_zoo_are_those_with_fewer_parameters() -> None:
    assert set(students_of("regnet_y_400mf")) == {
        "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x1_0"
    }


def loaded(original: nn.Module, own: nn.Module) -> nn.Module:
    """The same weights in a network whose attention is separated, by way of the original's state dict."""
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    load_checkpoint(own, Checkpoint(original.state_dict()), "original")
    return own.eval()


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (4, 4)], ids=["even", "padded", "one window"])
@pytest.mark.parametrize("shift", [(0, 0), (2, 2)], ids=["plain", "shifted"])
def test_separate_roles_compute_what_shifted_windows_do(shift: tuple[int, int], size: tuple[int, int]) -> None:
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    torch.manual_seed(0)
    original = ShiftedWindowAttention(12, [4, 4], list(shift), 3).eval()
    own = loaded(original, WindowAttention(12, 3, (4, 4), shift))
    x = torch.randn(2, *size, 12)
    torch.testing.assert_close(own(x), original(x))


@pytest.mark.parametrize("length", [7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (1, 2), (3, 1), (5, 3)])
def test_same_padding_gives_the_near_side_less(length: int, kernel: int, stride: int) -> None:
    """TensorFlow's rule: ``ceil(length / stride)`` outputs, of an odd number of missing columns one more behind."""
    layer = nn.Conv2d(1, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, length, length)
    outputs = -(-length // stride)
    missing = max(0, (outputs - 1) * stride + kernel - length)
    padded: Tensor = F.pad(x, (missing // 2, missing - missing // 2) * 2)
    found = layer(same_padded(x, layer))
    assert found.shape[-2:] == (outputs, outputs)
    torch.testing.assert_close(found, F.conv2d(padded, layer.weight, stride=stride))
