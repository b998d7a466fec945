"""Fashion-MNIST and CIFAR-10: downloaded on request, or read from a data folder on this machine.

All test images and a tenth of the training images of Fashion-MNIST are shipped with the project.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.datasets.augmentation import shift_and_flip
from models.datasets.bundled_images import read_splits
from models.datasets.registry import Dataset, DatasetInfo, Split, missing, register_dataset
from models.errors import ModelError
from models.sources.downloads import Download, RemoteFile
from models.sources.locations import download_folder, find_data
from models.sources.unpacking import unpack_gzip, unpack_tar

_FASHION_HOME = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION_FILES = (  # as in torchvision.datasets.FashionMNIST
    ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)
_FASHION_BUNDLED = Path(__file__).with_name("fashion_mnist.xz")
_FASHION_SIZES = (26_421_880, 29_515, 4_422_102, 5_148)
_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"  # as in torchvision.datasets.CIFAR10
_CIFAR_MD5 = "c58f30108f718f92721af3b95e74349a"
_CIFAR_SIZE = 170_498_071
_CIFAR_FOLDER = "cifar-10-batches-py"

FASHION_INFO = DatasetInfo(
    name="fashion_mnist", title="Fashion-MNIST", task="image_classification", num_classes=10,
    input_shape=(1, 28, 28), n_train=60_000, n_test=10_000, license="MIT", source="Zalando Research",
    class_names=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                 "Ankle boot"),
    needs=("FashionMNIST/raw/t10k-labels-idx1-ubyte",), bundled_train=6_000,
)
CIFAR_INFO = DatasetInfo(
    name="cifar10", title="CIFAR-10", task="image_classification", num_classes=10, input_shape=(3, 32, 32),
    n_train=50_000, n_test=10_000, license="research use, see its home page", source="Krizhevsky 2009",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    needs=(_CIFAR_FOLDER, "cifar10/cifar10_test.npz"),
)


def _fashion_download() -> Download:
    folder = download_folder() / "FashionMNIST" / "raw"
    files = tuple(
        RemoteFile(_FASHION_HOME + name, folder / name, f"md5:{md5}", size)
        for (name, md5), size in zip(_FASHION_FILES, _FASHION_SIZES, strict=True)
    )

    def unpack() -> None:
        for file in files:
            unpack_gzip(file.path)

    def done() -> bool:
        return find_data(FASHION_INFO.needs[0]) is not None

    kept = tuple(file.path.with_suffix("") for file in files)
    return Download("fashion_mnist", files, FASHION_INFO.source, FASHION_INFO.license, unpack, done, kept)


def _cifar_download() -> Download:
    archive = download_folder() / _CIFAR_URL.rpartition("/")[2]
    file = RemoteFile(_CIFAR_URL, archive, f"md5:{_CIFAR_MD5}", _CIFAR_SIZE)
    return Download(
        "cifar10", (file,), CIFAR_INFO.source, CIFAR_INFO.license, lambda: unpack_tar(archive, _CIFAR_FOLDER),
        lambda: find_data(_CIFAR_FOLDER) is not None, (archive.with_name(_CIFAR_FOLDER),),
    )


@register_dataset(FASHION_INFO, _fashion_download)
def fashion_mnist() -> Dataset:
    """The official files through torchvision where they are; else the images shipped with the project."""
    found = find_data(FASHION_INFO.needs[0])
    if found is None:
        info = replace(FASHION_INFO, n_train=FASHION_INFO.bundled_train)
        return Dataset(info, *read_splits(_FASHION_BUNDLED, (info.n_train, info.n_test), (28, 28)), shift_and_flip)
    from torchvision.datasets import FashionMNIST

    splits = []
    for train in (True, False):
        try:
            data = FashionMNIST(str(found.parents[2]), train=train, download=False)
        except (RuntimeError, ValueError, OSError) as error:
            raise _damaged(FASHION_INFO, error) from None
        splits.append(Split(data.data.unsqueeze(1), data.targets.long()))
    return Dataset(FASHION_INFO, splits[0], splits[1], shift_and_flip)


@register_dataset(CIFAR_INFO, _cifar_download)
def cifar10() -> Dataset:
    """All 60,000 images through torchvision where its files are; else lossless ones from npz files.

    These hold the test images in official order, and those training images that are at hand.
    """
    official = find_data(_CIFAR_FOLDER)
    if official is not None:
        return _official_cifar(official.parent)
    train, test = _read_npz("cifar10_train_exact_8068.npz"), _read_npz("cifar10_test.npz")
    return Dataset(replace(CIFAR_INFO, n_train=len(train)), train, test, shift_and_flip)


def _official_cifar(root: Path) -> Dataset:
    from torchvision.datasets import CIFAR10

    splits = []
    for train in (True, False):
        try:
            data = CIFAR10(str(root), train=train, download=False)  # checks its files' MD5 before it reads them
        except (RuntimeError, ValueError, OSError) as error:
            raise _damaged(CIFAR_INFO, error) from None
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        splits.append(Split(images, torch.tensor(data.targets, dtype=torch.int64)))
    return Dataset(CIFAR_INFO, splits[0], splits[1], shift_and_flip)


def _damaged(info: DatasetInfo, error: Exception) -> ModelError:
    return ModelError(f"the files of {info.name!r} are damaged: {' '.join(str(error).split())[:120]}")


def _read_npz(name: str) -> Split:
    path = find_data(f"cifar10/{name}")
    if path is None:
        raise missing(CIFAR_INFO)
    with np.load(path, allow_pickle=False) as data:
        images = torch.from_numpy(data["images"]).permute(0, 3, 1, 2).contiguous()
        return Split(images, torch.from_numpy(data["labels"].astype(np.int64)))
