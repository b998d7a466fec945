"""Links, unreadable folders, odd names and nesting in folders of images: right labels, or one line."""

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compression.library.user_data_checks import remarks_on
from models.datasets import load_dataset
from models.datasets.class_folders import class_table
from models.datasets.image_folder import folder_classes, load_image_folder
from models.datasets.views import ImageView
from models.errors import ModelError
from models.user.kept_data import add_data, preview_labels

WHEN = "2026-01-01T00:00:00+00:00"
VIEW = ImageView(32, 32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))


def image(path: Path, level: int) -> Path:
    """A gray image of one level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(path, "PNG")
    return path


def classes(root: Path, each: int = 8, **levels: int) -> Path:
    """One folder per class, each class of one gray level."""
    for name, level in (levels or {"cats": 10, "dogs": 200}).items():
        for number in range(each):
            image(root / name / f"{number}.png", level)
    return root


def levels(root: Path) -> dict[str, set[int]]:
    """Gray levels of the images of each class."""
    data = load_image_folder(root, VIEW)
    found: dict[str, set[int]] = {}
    for split in (data.train, data.test):
        for pixels, label in zip(split.inputs[:], split.targets.tolist(), strict=True):
            found.setdefault(data.info.class_names[label], set()).update(pixels.unique().tolist())
    return found


def count(root: Path) -> int:
    data = load_image_folder(root, VIEW)
    return len(data.train) + len(data.test)


@pytest.mark.parametrize("target", ["{root}", "{root}/..", "{root}/dogs", "{root}/cats", "{root}/cats/deep"])
def test_a_link_to_the_data_themselves_gives_no_class_the_images_of_another(target: str, tmp_path: Path) -> None:
    root = classes(tmp_path / "data")
    image(root / "cats" / "deep" / "x.png", 10)
    (root / "cats" / "link").symlink_to(target.format(root=root))
    assert levels(root) == {"cats": {10}, "dogs": {200}} and count(root) == 17
    report = add_data("mine", root, WHEN).report
    assert report.links == 1 and any("not followed: 1." in remark.text for remark in remarks_on(report))


def test_a_link_among_the_class_folders_back_to_them_is_no_class(tmp_path: Path) -> None:
    root = classes(tmp_path / "data")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(root.parent)
    assert folder_classes(root).folders == ("cats", "dogs") and count(root) == 16
    assert add_data("mine", root, WHEN).report.links == 2
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "loop").symlink_to(tmp_path / "only")
    with pytest.raises(ModelError, match="at least two folders"):
        preview_labels(tmp_path / "only", "only", add_data("other", root, WHEN).report.options)


def test_links_to_images_elsewhere_are_followed_once(tmp_path: Path) -> None:
    root, apart = classes(tmp_path / "data"), classes(tmp_path / "apart", owls=90)
    (root / "owls").symlink_to(apart / "owls")
    image(tmp_path / "more" / "y.png", 200)
    for name in ("one", "two"):
        (root / "dogs" / name).symlink_to(tmp_path / "more")
    (tmp_path / "more" / "loop").symlink_to(tmp_path / "more")
    assert levels(root) == {"cats": {10}, "dogs": {200}, "owls": {90}} and count(root) == 25
    (root / "again").symlink_to(root / "cats")
    with pytest.raises(ModelError, match=r"'again' and 'cats' are one folder|'cats' and 'again' are one folder"):
        load_image_folder(root, VIEW)


@pytest.mark.parametrize("where", ["data", "data/cats"])
def test_a_folder_that_cannot_be_listed_is_one_line(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = classes(tmp_path / "data")
    real: Any = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == tmp_path / where:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "listdir", lambda path: [entry.name for entry in scandir(path)])
    with pytest.raises(ModelError, match=r"the folder cannot be listed \(Permission denied\)"):
        load_image_folder(root, VIEW)


def test_a_file_that_cannot_be_opened_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = classes(tmp_path / "data", 8)
    real: Any = Image.open

    def opened(path: Any, *arguments: Any) -> Any:
        if Path(str(path)).name == "3.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments)

    monkeypatch.setattr(Image, "open", opened)
    report = add_data("mine", root, WHEN).report
    assert report.n_skipped == 2 and {Path(name).name for name in report.skipped} == {"3.png"}
    assert set(report.reasons) == {"it cannot be opened (Permission denied)"}


def test_names_that_differ_in_case_only_are_two_classes_and_warned_of(tmp_path: Path) -> None:
    table = class_table(["Cat", "cat", "dog"])
    assert table.folders == ("Cat", "cat", "dog") and '"Cat" and "cat" differ in upper and lower case' in table.warning
    assert class_table(["cat", "dog"]).warning == ""
    root = classes(classes(tmp_path / "data" / "train").parent / "Train").parent
    classes(root / "val")
    with pytest.raises(ModelError, match=r"two folders of one split: '[Tt]rain' and '[Tt]rain'"):
        load_image_folder(root, VIEW)


def test_names_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    root = classes(tmp_path / "data", 8)
    (root / "cats" / "0.png").rename(root / "cats" / os.fsdecode(b"caf\xe9.png"))
    (root / "cats" / "1.png").write_bytes(b"no image")
    (root / "cats" / "1.png").rename(root / "cats" / os.fsdecode(b"no\xe9.png"))
    report = add_data("mine", root, WHEN).report
    assert report.skipped == ("cats/no\N{REPLACEMENT CHARACTER}.png",)
    assert len(load_dataset("mine", VIEW).train) + len(load_dataset("mine", VIEW).test) == 15
    (root / os.fsdecode(b"bo\xe9")).mkdir()
    with pytest.raises(ModelError, match=r"class folder 'bo\\udce9': a name of at most 255 bytes of text"):
        load_image_folder(root, VIEW)


@pytest.mark.parametrize("nested", ["train/train", "train/Train/train"])
def test_splits_within_folders_of_their_name_are_the_splits(nested: str, tmp_path: Path) -> None:
    classes(tmp_path / "d" / nested, 4)
    classes(tmp_path / "d" / "test" / "test", 5)
    assert folder_classes(tmp_path / "d").folders == ("cats", "dogs")
    data = load_image_folder(tmp_path / "d", VIEW)
    assert (len(data.train), len(data.test)) == (8, 10)


def test_one_folder_around_everything_is_opened_beside_a_text_but_not_beside_images(tmp_path: Path) -> None:
    root = classes(tmp_path / "outer" / "inner")
    (tmp_path / "outer" / "README.txt").write_text("hello")
    assert add_data("mine", tmp_path / "outer", WHEN).report.folders == ("cats", "dogs")
    image(root.parent / "loose.png", 3)
    with pytest.raises(ModelError, match="at least two folders"):
        add_data("other", tmp_path / "outer", WHEN)


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as held:
        for name in names:
            held.writestr(name, image(path.parent / "one.png", 3).read_bytes())
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_of_long_and_equal_names_are_one_line(tmp_path: Path) -> None:
    long = archive(tmp_path / "a.zip", f"cats/{'x' * 300}.png", "dogs/1.png")
    with pytest.raises(ModelError, match=r"a\.zip is refused: the name 'cats/x+'\.\.\. has more than 255 bytes"):
        add_data("mine", long, WHEN)
    twice = archive(tmp_path / "b.zip", "cats/1.png", "dogs/1.png", "cats/1.png")
    with pytest.raises(ModelError, match=r"b\.zip is refused: it holds 'cats/1\.png' more than once"):
        add_data("mine", twice, WHEN)
