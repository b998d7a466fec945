"""A folder of images with a table of values: read, checked, split and kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.datasets.image_folder import FolderOptions
from models.datasets.image_values import TABLE, load_image_values, read_table
from models.datasets.registry import Split, tenths
from models.errors import ModelError
from models.user.kept_data import add_data
from tests.models.own_things import zipped
from tests.problems.heads import value_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLE).write_text(text, encoding="utf-8")
    return folder


def pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(folder / name)


@pytest.mark.parametrize("packed", [False, True])
def test_values_are_kept_with_their_images(tmp_path: Path, packed: bool) -> None:
    folder = value_folder(tmp_path / "digits", 60)
    source = zipped(folder, tmp_path / "digits.zip", "inside/") if packed else folder
    kept = add_data("ages", source, "now", options=FolderOptions(task="regression"))
    assert (kept.info.task, kept.info.num_classes, kept.info.metric) == ("regression", 1, "R2")
    assert (kept.report.n_train, kept.report.n_test, kept.report.own_splits) == (12, 48, False)
    data = load_image_values(Path(kept.report.folder), info=kept.info)
    assert data.test.targets.dtype == torch.float32
    assert kept.report.values[:2] == (0.0, 9.0)
    rows = read_table(folder)
    assert data.test.targets.tolist() == [rows[name] for name in data.listings[1].names]


def test_folders_for_training_and_scoring_are_the_splits(tmp_path: Path) -> None:
    names = [f"{part}/{i}.png" for part in ("train", "val") for i in range(3)]
    pictures(tmp_path, *names)
    written(tmp_path, "file,value\n" + "".join(f"{name},{i / 2}\n" for i, name in enumerate(names)))
    data = load_image_values(tmp_path)
    assert [listing.names for listing in data.listings] == [tuple(names[:3]), tuple(names[3:])]
    assert data.listings[1].targets == (1.5, 2.0, 2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,age\na.png,1\n", "file,value is needed"),
        ("file,value\n../a.png,1\n", "below the table's folder is needed"),
        ("file,value\n/etc/a.png,1\n", "below the table's folder is needed"),
        ("file,value\na.exe,1\n", "line 2"),
        ("file,value\na.png,old\n", "line 2: value 'old'; a finite number"),
        ("file,value\na.png,nan\n", "a finite number"),
        ("file,value\na.png\n", "value None"),
        ("file,value\na.png,1\na.png,2\n", "line 3: 'a.png' has a value already"),
        ("file,value\n", "no rows"),
        ("file,value\n" + "".join(f"{i}.png,7\n" for i in range(9)), "all values to calibrate on are equal"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    written(tmp_path, text)
    with pytest.raises(ModelError) as caught:
        load_image_values(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_a_table_is_one_line(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    with pytest.raises(ModelError, match=r"labels\.csv with the columns file,value is needed"):
        add_data("ages", tmp_path, "now", options=FolderOptions(task="regression"))


def test_subsets_are_spread_over_the_values() -> None:
    values = torch.arange(1000.0)[torch.randperm(1000, generator=torch.Generator().manual_seed(1))]
    few = Split(torch.arange(1000), values).subset(50, seed=0)
    assert tenths(values).bincount().tolist() == [100] * 10
    assert tenths(values)[few.inputs].bincount().tolist() == [5] * 10
