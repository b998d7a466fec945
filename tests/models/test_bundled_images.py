"""Fashion-MNIST as it is shipped: the official test images, and a stratified part of the training images."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.datasets import Split, load_dataset, small_images
from models.datasets.bundled_images import read_splits, write_splits
from models.errors import ModelError
from models.sources.locations import find_data


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    made = [
        Split(torch.randint(0, 256, (n, 1, 5, 7), generator=generator, dtype=torch.uint8), torch.arange(n) % 3)
        for n in (4, 6)
    ]
    write_splits(tmp_path / "images.xz", *made)
    for wanted, found in zip(made, read_splits(tmp_path / "images.xz", (4, 6), (5, 7)), strict=True):
        assert torch.equal(wanted.inputs, found.inputs) and torch.equal(wanted.targets, found.targets)


DAMAGES = [lambda raw: raw[:-9], lambda raw: raw[:99] + b"\x00\xff" + raw[101:], lambda raw: b""]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_name(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    split = Split(torch.arange(140, dtype=torch.uint8).reshape(4, 1, 5, 7), torch.arange(4))
    path = tmp_path / "images.xz"
    write_splits(path, split, split)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"images\.xz cannot be read"):
        read_splits(path, (4, 4), (5, 7))


def test_fashion_mnist_works_without_a_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_images, "find_data", lambda name: None)
    data = small_images.fashion_mnist()
    assert (len(data.train), len(data.test)) == (6_000, 10_000) == (data.info.n_train, data.info.n_test)
    assert data.train.targets.bincount().tolist() == [600] * 10
    assert data.test.targets.bincount().tolist() == [1_000] * 10
    assert small_images._FASHION_BUNDLED.stat().st_size < 6_000_000


@pytest.mark.skipif(find_data(small_images.FASHION_INFO.needs[0]) is None, reason="the official files are not here")
def test_the_bundled_images_are_the_official_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    official = load_dataset("fashion_mnist")
    monkeypatch.setattr(small_images, "find_data", lambda name: None)
    bundled = small_images.fashion_mnist()
    assert torch.equal(bundled.test.inputs, official.test.inputs)
    assert torch.equal(bundled.test.targets, official.test.targets)
    chosen = official.train.subset(6_000, seed=0)
    assert torch.equal(bundled.train.inputs, chosen.inputs) and torch.equal(bundled.train.targets, chosen.targets)
