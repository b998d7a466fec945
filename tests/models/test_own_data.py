"""A user's own data: every image looked at, archives that would do harm refused, nothing half-done kept."""

import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from compression.library.user_data_checks import interval_words, remarks_on, remarks_on_pair
from models import registry
from models.datasets import dataset_info, has_data, list_datasets, load_dataset
from models.datasets.views import ImageView
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.sources.zip_archives import ZipLimits, unpack_zip
from models.user import kept_data
from models.user.keeping import own_folder
from models.user.kept_data import add_data, remove_data, sample_pictures
from models.user.kept_models import add_model
from tests.models.own_things import KIND, class_folders, network, weights_of, zipped

WHEN = "2026-01-01T00:00:00+00:00"
PNG = frozenset((".png",))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def left_over() -> list[str]:
    folder = own_folder("datasets")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_drafts_of_killed_processes_go_and_those_at_work_stay(tmp_path: Path) -> None:
    old, young = (own_folder("datasets") / f".{name}.1.part" for name in ("old", "young"))
    for draft in (old, young):
        (draft / "images").mkdir(parents=True)
    os.utime(old, (0, 0))
    add_data("photos", class_folders(tmp_path / "a"), WHEN)
    assert left_over() == [".young.1.part", "photos"]


def test_a_zip_becomes_a_data_set(tmp_path: Path) -> None:
    archive = zipped(class_folders(tmp_path / "a"), tmp_path / "a.zip", within="photos/")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with zipfile.ZipFile(archive, "a") as held:
        held.write(tmp_path / "broken.png", "photos/owls/broken.png")
        held.writestr("photos/readme.txt", "hello")
        held.writestr("__MACOSX/photos/owls/._0.png", "junk")
    report = add_data("mine", archive, WHEN).report
    assert report.class_names == ("cats", "dogs", "owls") and report.copied and not report.own_splits
    assert (report.n_train + report.n_test, report.n_skipped) == (18, 1) and report.skipped == ("owls/broken.png",)
    assert (report.smallest, report.largest) == (32, 32)
    assert dataset_info("mine") in list_datasets() and has_data("mine")
    archive.unlink()
    data = load_dataset("mine", ImageView(32, 32))
    assert data.info.num_classes == 3 and len(data.train) + len(data.test) == 18
    red = data.test.inputs[:][data.test.targets == 0].float().mean((0, 2, 3))
    assert red[0] > red[1] and red[0] > red[2]
    pictures = sample_pictures("mine")
    assert {label for label, _ in pictures} == {"cats", "dogs", "owls"}
    assert all(Image.open(path).size == (112, 112) for _, path in pictures)
    assert remove_data("mine") and left_over() == [] and "mine" not in [info.name for info in list_datasets()]


def test_a_folder_with_splits_stays_where_it_is(tmp_path: Path) -> None:
    class_folders(tmp_path / "a" / "train", 4)
    class_folders(tmp_path / "a" / "val", 2)
    report = add_data("mine", tmp_path / "a", WHEN).report
    assert report.own_splits and not report.copied and report.train_images == (4, 4, 4)
    assert report.test_images == (2, 2, 2)
    remove_data("mine")
    assert (tmp_path / "a" / "val" / "cats" / "0.png").is_file()


def test_a_folder_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    add_data("mine", folder, WHEN)
    folder.rename(tmp_path / "b")
    assert not has_data("mine")
    with pytest.raises(ModelError, match="its folder is gone"):
        load_dataset("mine")


def test_another_data_set_of_the_name_is_another_one(tmp_path: Path) -> None:
    add_data("mine", class_folders(tmp_path / "a"), WHEN)
    first = load_dataset("mine", ImageView(32, 32)).content_hash
    remove_data("mine")
    add_data("mine", class_folders(tmp_path / "b", 5), WHEN.replace("2026", "2027"))
    assert load_dataset("mine", ImageView(32, 32)).content_hash != first


def test_imagenets_names_give_its_labels(tmp_path: Path) -> None:
    report = add_data("mine", class_folders(tmp_path / "a", 10, ("n01440764", "n02102040")), WHEN).report
    assert report.imagenet and report.class_names == ("tench", "English springer")
    assert dataset_info("mine").num_classes == 1000
    assert not any(remark.serious for remark in remarks_on_pair(report, registry.model_info("resnet18")))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: class_folders(folder, names=("one",)), "at least two folders"),
        (lambda folder: (folder / "cats").mkdir(parents=True) or (folder / "dogs").mkdir(), "hold no images"),
        (lambda folder: class_folders(folder, 2), "1 and 5 readable images; at least 3 to calibrate on"),
        (lambda folder: folder / "gone", "existing zip file or folder"),
    ],
    ids=["one class", "empty", "few", "missing"],
)
def test_other_folders_are_refused(make: object, words: str, tmp_path: Path) -> None:
    made = make(tmp_path / "a")  # type: ignore[operator]
    with pytest.raises(ModelError, match=words) as caught:
        add_data("mine", made or tmp_path / "a", WHEN)
    assert "\n" not in str(caught.value) and left_over() == []


def test_a_zip_without_any_image_that_can_be_read_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(8):
            archive.writestr(f"{'cats' if i % 2 else 'dogs'}/{i}.png", b"nothing")
    with pytest.raises(ModelError, match="can be read as an image"):
        add_data("mine", tmp_path / "a.zip", WHEN)
    assert left_over() == []


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "name", ["../out.png", "a/../../out.png", "/etc/out.png", "..\\out.png", "C:\\out.png", "\\out.png"]
)
def test_entries_that_climb_out_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/fine.png", b"x")
        archive.writestr(entry(name), b"x")
    (tmp_path / "in").mkdir()
    with pytest.raises(ModelError, match="outside of the archive's folder") as caught:
        unpack_zip(tmp_path / "a.zip", tmp_path / "in", PNG, "a.zip")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "in").iterdir()) and not (tmp_path / "out.png").exists()


def test_links_bombs_and_crowds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    def refused(words: str, limits: ZipLimits | None = None) -> None:
        with pytest.raises(ModelError, match=words):
            unpack_zip(tmp_path / "a.zip", tmp_path / "in", PNG, "a.zip", limits)
        assert not list((tmp_path / "in").rglob("*.png"))

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry("cats/link.png", stat.S_IFLNK | 0o777), b"/etc/passwd")
    refused("symbolic link")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/0.png", bytes(40_000_000))
    refused("more than 100 times as much")
    refused("at most 0 GB are allowed", ZipLimits(unpacked_bytes=1_000_000))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(20):
            archive.writestr(f"cats/{i}.png", b"x")
    refused("20 entries; at most 10", ZipLimits(entries=10))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cats/readme.txt", b"x")
    refused("holds no files of these kinds")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    refused("cannot be unpacked")


def test_an_entry_that_lies_about_its_size_is_caught(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/0.png", bytes(5_000_000))
    raw = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(raw.replace(struct.pack("<L", 5_000_000), struct.pack("<L", 1000)))
    (tmp_path / "in").mkdir()
    with pytest.raises(ModelError, match=r"a\.zip cannot be unpacked|larger than it says"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "in", PNG, "a.zip")
    assert sum(file.stat().st_size for file in (tmp_path / "in").rglob("*.png")) <= 1000


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cats/0.png", b"x")
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    (tmp_path / "in").mkdir()
    with pytest.raises(ModelError, match="is encrypted"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "in", PNG, "a.zip")


def test_images_that_would_fill_the_memory_are_left_out(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    Image.new("L", (1, 5000)).save(folder / "cats" / "thin.png")
    assert add_data("mine", folder, WHEN).report.skipped == ("cats/thin.png",)


def test_a_cancelled_survey_keeps_nothing(tmp_path: Path) -> None:
    archive = zipped(class_folders(tmp_path / "a"), tmp_path / "a.zip")
    with pytest.raises(InterruptedWorkError):
        add_data("mine", archive, WHEN, cancelled=lambda: True)
    assert left_over() == []


def test_few_images_are_said_to_be_too_few_with_the_intervals_width(tmp_path: Path) -> None:
    report = add_data("mine", class_folders(tmp_path / "a"), WHEN).report
    serious = [remark.text for remark in remarks_on(report) if remark.serious]
    n = report.n_test
    assert len(serious) == 1 and f"Too few to trust: {n} images to score" in serious[0]
    assert interval_words(100) == (
        "If 90 of 100 are right, the 95 % interval is 83 to 94 %, 12 points wide."
    )
    small = remarks_on_pair(report, registry.model_info("resnet18"))
    assert any("has 1000 classes, the dataset has 3" in remark.text for remark in small)
    assert any("are enlarged to the 224" in remark.text for remark in small)


def test_data_that_models_are_scored_on_is_not_removed(tmp_path: Path) -> None:
    add_data("mine", class_folders(tmp_path / "a"), WHEN)
    file = weights_of(tmp_path / "w.safetensors", network(3))
    with pytest.raises(FieldError, match="has 3 classes"):
        add_model("net", {"architecture": KIND, "num_classes": 10}, file, "mine", WHEN)
    add_model("net", {"architecture": KIND, "num_classes": 3}, file, "mine", WHEN)
    with pytest.raises(FieldError, match="remove them first: net"):
        remove_data("mine")
    assert kept_data.is_here("mine")
