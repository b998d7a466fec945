"""Fashion-MNIST and CIFAR-10 read from a data folder on this machine."""

import numpy as np
import torch

from models.datasets.augmentation import shift_and_flip
from models.datasets.registry import Dataset, DatasetInfo, Split, register_dataset
from models.errors import ModelError
from models.locations import find_data

FASHION_INFO = DatasetInfo(
    name="fashion_mnist", title="Fashion-MNIST", task="image_classification", num_classes=10,
    input_shape=(1, 28, 28), n_train=60_000, n_test=10_000, license="MIT",
    source="Zalando Research; torchvision's files below COMPRESSION_DATA",
    class_names=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                 "Ankle boot"),
)
CIFAR_INFO = DatasetInfo(
    name="cifar10", title="CIFAR-10", task="image_classification", num_classes=10, input_shape=(3, 32, 32),
    n_train=8_068, n_test=10_000, license="research use, see its home page",
    source="Krizhevsky 2009; npz files below COMPRESSION_DATA",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)


@register_dataset(FASHION_INFO)
def fashion_mnist() -> Dataset:
    """The official files through torchvision."""
    raw = find_data("FashionMNIST/raw")
    if raw is None:
        raise ModelError("the data set 'fashion_mnist' is not here: FashionMNIST/raw below COMPRESSION_DATA")
    from torchvision.datasets import FashionMNIST

    splits = []
    for train in (True, False):
        data = FashionMNIST(str(raw.parents[1]), train=train, download=False)
        splits.append(Split(data.data.unsqueeze(1), data.targets.long()))
    return Dataset(FASHION_INFO, splits[0], splits[1], shift_and_flip)


def _read_npz(name: str) -> Split:
    path = find_data(f"cifar10/{name}")
    if path is None:
        raise ModelError(f"the data set 'cifar10' is not here: cifar10/{name} below COMPRESSION_DATA")
    with np.load(path, allow_pickle=False) as data:
        images = torch.from_numpy(data["images"]).permute(0, 3, 1, 2).contiguous()
        return Split(images, torch.from_numpy(data["labels"].astype(np.int64)))


@register_dataset(CIFAR_INFO)
def cifar10() -> Dataset:
    """Lossless CIFAR-10: the test images in official order, and those training images that are at hand."""
    train, test = _read_npz("cifar10_train_exact_8068.npz"), _read_npz("cifar10_test.npz")
    return Dataset(CIFAR_INFO, train, test, shift_and_flip)
