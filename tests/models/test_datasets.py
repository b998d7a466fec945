"""Splits that are fixed, stratified and apart."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.datasets import Dataset, Split, load_dataset
from models.datasets import python_source as source
from models.datasets.augmentation import shift_and_flip, small_affine
from models.datasets.digits import digits
from models.errors import ModelError


@pytest.fixture(scope="module")
def text() -> Dataset:
    return load_dataset("python_source")


def test_reading_the_digits_again_gives_the_same_splits() -> None:
    first, second = digits(), digits()
    assert first.content_hash == second.content_hash
    second.test.targets[0] += 1
    assert Dataset(second.info, second.train, second.test).content_hash != first.content_hash


def test_the_digits_are_all_there_and_each_once() -> None:
    data = digits()
    assert (len(data.train), len(data.test)) == (data.info.n_train, data.info.n_test)
    assert len(data.train) + len(data.test) == 1797
    assert data.train.inputs.dtype == torch.uint8 and data.train.inputs.shape[1:] == data.info.input_shape
    assert int(data.train.inputs.max()) == 255


@pytest.mark.parametrize("n", [10, 60, 250])
def test_a_subset_is_fixed_and_has_every_class_in_proportion(n: int) -> None:
    split = load_dataset("digits").test
    subset = split.subset(n, seed=0)
    counts = torch.bincount(subset.targets, minlength=10)
    assert len(subset) == n
    assert int(counts.max() - counts.min()) <= 2 + n // 100
    assert torch.equal(subset.inputs, split.subset(n, seed=0).inputs)
    assert not torch.equal(subset.inputs, split.subset(n, seed=1).inputs)


def test_a_subset_of_more_than_all_is_all() -> None:
    split = Split(torch.zeros(3, 1), torch.tensor([0, 1, 2]))
    assert split.subset(3, seed=0) is split and split.subset(99, seed=0) is split


def test_whole_modules_are_held_out() -> None:
    modules = source._modules()
    held = [path for path in modules if source._held_out(path)]
    assert 0.04 < len(held) / len(modules) < 0.14
    assert not {path.stem for path in held} & {path.stem for path in modules if not source._held_out(path)}


def test_every_test_window_is_of_a_held_out_module_and_every_training_one_is_not(text: Dataset) -> None:
    def joined(held: bool) -> bytes:
        paths = [path for path in source._modules() if source._held_out(path) is held]
        parts = [source.encode(path.read_text(encoding="utf-8", errors="replace")) for path in paths]
        return np.concatenate(parts).astype(np.uint8).tobytes()

    kept_out = joined(True)
    windows = [row.numpy().astype(np.uint8).tobytes() for row in text.test.inputs]
    assert len(windows) == text.info.n_test
    assert all(window in kept_out for window in windows)
    assert joined(False).startswith(text.train.inputs.flatten().numpy().astype(np.uint8).tobytes())


def test_the_target_is_the_character_that_follows(text: Dataset) -> None:
    for split in (text.train, text.test):
        assert torch.equal(split.inputs[:, 1:], split.targets[:, :-1])
    assert torch.equal(text.train.targets[:-1, -1], text.train.inputs[1:, 0])


@given(st.text(alphabet=source.VOCABULARY))
def test_known_characters_survive_the_round_trip(text: str) -> None:
    assert source.decode(source.encode(text)) == text


def test_other_characters_become_one_unknown_each() -> None:
    ids = source.encode("a\tb\u00e9\u4e2d\r\n\x7f")
    assert source.decode(ids) == "a b" + "??" + "\n" + "?"
    assert int(ids.max()) == source.UNKNOWN == source.INFO.num_classes - 1


@pytest.mark.parametrize("augment", [shift_and_flip, small_affine])
def test_augmentation_is_repeatable_and_keeps_shape_and_type(augment: object) -> None:
    batch = load_dataset("digits").train.inputs[:16]
    first, again, other = (augment(batch, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == batch.shape and first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, batch)


def test_an_unknown_name_gets_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no dataset 'cats'; allowed: .*digits"):
        load_dataset("cats")
