"""Folders of class folders: labels, their order, splits, and what people's archives hold besides."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compression.library.user_data_checks import remarks_on
from models.datasets import dataset_info, load_dataset
from models.datasets.class_folders import class_table, split_folders
from models.datasets.image_files import SUFFIXES, ImageReading
from models.datasets.image_folder import FolderOptions, load_image_folder
from models.datasets.views import ImageView
from models.errors import ModelError
from models.user.kept_data import add_data, preview_labels
from tests.models.own_things import class_folders, zipped

WHEN = "2026-01-01T00:00:00+00:00"
VIEW = ImageView(32, 32)
TWELVE = tuple(map(str, range(12)))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))


def remarks(name: str, source: Path, options: FolderOptions | None = None) -> str:
    return " ".join(remark.text for remark in remarks_on(add_data(name, source, WHEN, options=options).report))


def test_folders_named_by_numbers_are_classes(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "ten", 2, TWELVE[:10])
    data = load_image_folder(root, VIEW)
    assert data.info.num_classes == 10 and data.info.class_names == TWELVE[:10]
    assert set(data.test.targets.tolist()) == set(range(10))


def test_lexicographic_order_is_torchvisions_and_warned_of(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    root = class_folders(tmp_path / "twelve", 2, TWELVE)
    table = class_table(TWELVE)
    assert list(table.folders) == ImageFolder(str(root)).classes
    assert dict(zip(table.folders, table.labels, strict=True))["10"] == 2
    assert '"10" sorts before "2"' in table.warning and "label 2" in table.warning
    numeric = class_table(TWELVE, order="numeric")
    assert numeric.folders == TWELVE and numeric.labels == tuple(range(12)) and 'would take "10"' in numeric.warning
    assert class_table(TWELVE[:10]).warning == ""
    assert class_table(["b10", "b9", "a"], order="numeric").folders == ("a", "b9", "b10")


def test_numeric_order_changes_labels_and_identity(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "twelve", 3, TWELVE)
    add_data("one", root, WHEN)
    add_data("two", root, WHEN, options=FolderOptions(order="numeric"))
    one, two = (load_dataset(name, VIEW) for name in ("one", "two"))
    assert one.content_hash != two.content_hash
    names = {int(label) for label in np.flatnonzero(np.array(two.info.class_names) == "10")}
    assert names == {10} and one.info.class_names[2] == "10"


@pytest.mark.parametrize(("folders", "labels"), [(("3", "217"), [3, 217]), (("tench", "golf_ball"), [0, 574])])
def test_names_of_imagenets_classes_count_from_0_but_for_models_of_1000(
    folders: tuple[str, ...], labels: list[int], tmp_path: Path
) -> None:
    text = remarks("mine", class_folders(tmp_path / "a", 10, folders))
    assert "labels count from 0" in text
    info = dataset_info("mine")
    assert info.num_classes == 2 and info.has_classes(2) and info.has_classes(1000) and not info.has_classes(10)
    assert set(load_dataset("mine", VIEW, 2).test.targets.tolist()) == {0, 1}
    assert set(load_dataset("mine", VIEW, 1000).test.targets.tolist()) == set(labels)
    add_data("plain", tmp_path / "a", WHEN, options=FolderOptions("folders"))
    assert not dataset_info("plain").has_classes(1000)


def test_options_that_do_not_fit_are_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="labels: 'imagenet' needs folders named by"):
        class_table(["cats", "dogs"], "imagenet")
    with pytest.raises(ModelError, match="order: 'random' is not allowed; allowed: lexicographic, numeric"):
        class_table(["cats", "dogs"], order="random")


@pytest.mark.parametrize(
    ("parts", "counts"),
    [
        ({"train": 4, "val": 2}, (12, 6, None)), ({"Training": 4, "VALID": 2}, (12, 6, None)),
        ({"train": 4, "validation": 2, "test": 3}, (12, 9, 6)), ({"train": 4, "test": 3}, (12, 9, None)),
        ({"val": 3, "test": 2}, (9, 6, None)),
    ],
    ids=str,
)
def test_split_folders_are_used_as_such(
    parts: dict[str, int], counts: tuple[int, int, int | None], tmp_path: Path
) -> None:
    for name, each in parts.items():
        class_folders(tmp_path / "a" / name, each)
    data = load_image_folder(tmp_path / "a", VIEW)
    found = None if data.validation is None else len(data.validation)
    assert (len(data.train), len(data.test), found) == counts


def test_a_test_folder_without_classes_is_left_out_and_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "val"):
        class_folders(tmp_path / "a" / name, 4)
    (tmp_path / "a" / "test").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "test" / "0.png")
    assert split_folders(tmp_path / "a").ignored == ("test",)
    assert "hold no class folders and are left out: test" in remarks("mine", tmp_path / "a")
    vehicles = class_folders(tmp_path / "b", 2, ("bus", "car", "train"))
    assert load_image_folder(vehicles, VIEW).info.class_names == ("bus", "car", "train")


def test_a_validation_folder_chooses_between_candidates(tmp_path: Path) -> None:
    from compression.experiments.tasks import Task
    from models import registry

    for name, each in {"train": 4, "val": 2, "test": 3}.items():
        class_folders(tmp_path / "a" / name, each)
    assert "6 images of the validation folder choose" in remarks("mine", tmp_path / "a")
    task = Task(registry.model_info("digits_resnet"), load_dataset("mine", VIEW), "", "")
    assert len(task.selection_split) == 6 and len(task.dataset.train) == 12 == sum(map(len, task._training_splits))


def test_what_systems_leave_behind_is_skipped_and_names_are_decoded(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a", 9, ("katze", "hund"))
    (folder / "katze").rename(folder / "kätzchen")
    (folder / "hund" / "0.png").rename(folder / "hund" / "A.PNG")
    archive = zipped(folder, tmp_path / "a.zip", within="photos/")
    with zipfile.ZipFile(archive, "a") as held:
        for name in ("__MACOSX/photos/hund/._0.png", "photos/hund/Thumbs.db", "photos/.DS_Store", "photos/.git/a.png"):
            held.writestr(name, b"junk")
        held.writestr("photos/notes/readme.txt", b"hello")
        held.writestr("Thumbs.db", b"junk")
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace((0x800).to_bytes(2, "little") + b"\0\0", bytes(4)))  # UTF-8 that does not say so
    with zipfile.ZipFile(archive) as held:
        assert not any("kätzchen" in name for name in held.namelist())
    with archive.open("rb") as file:
        table = preview_labels(file, "a.zip", FolderOptions())
    assert table.rows() == [(0, "hund", "hund"), (1, "kätzchen", "kätzchen"), (2, "notes", "notes")]
    report = add_data("mine", archive, WHEN).report
    assert [row[:2] for row in report.label_rows()] == [(0, "hund"), (1, "kätzchen"), (2, "notes")]
    assert report.n_skipped == 0 and report.n_train + report.n_test == 18
    assert "notes" in " ".join(remark.text for remark in remarks_on(report) if remark.serious)


def test_cp437_names_stay_what_they_are(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a", 4, ("aaaa", "dogs"))
    archive = zipped(folder, tmp_path / "a.zip")
    archive.write_bytes(archive.read_bytes().replace(b"aaaa/", "Bär!/".encode("cp437")))
    assert preview_labels(archive, "a.zip", FolderOptions()).folders == ("Bär!", "dogs")


def test_an_empty_class_folder_keeps_its_label_in_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a", 9, ("cats", "owls"))
    (folder / "dogs").mkdir()
    archive = zipped(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as held:
        held.writestr("dogs/", b"")
    for name, source in (("one", folder), ("two", archive)):
        report = add_data(name, source, WHEN).report
        assert report.folders == ("cats", "dogs", "owls") and report.test_images[1] == report.train_images[1] == 0


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    folder, apart = class_folders(tmp_path / "a", 4, ("cats", "dogs")), class_folders(tmp_path / "b", 3, ("owls",))
    (folder / "owls").symlink_to(apart / "owls")
    (folder / "cats" / "again").symlink_to(folder / "cats")
    (folder / "cats" / "broken.png").symlink_to(tmp_path / "gone")
    data = load_image_folder(folder, VIEW)
    assert data.info.class_names == ("cats", "dogs", "owls") and len(data.train) + len(data.test) == 11


def test_unusual_files_are_counted_and_duplicates_reported(tmp_path: Path) -> None:
    for part, each in (("train", 5), ("val", 4)):
        class_folders(tmp_path / "a" / part, each)
    root = tmp_path / "a" / "val" / "cats"
    root.joinpath("copy.png").write_bytes((tmp_path / "a" / "train" / "cats" / "4.png").read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 3
    noise = np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (32, 32, 3), np.uint8)).save(root / "turned.jpg", exif=exif)
    Image.fromarray(noise.integers(0, 65_536, (32, 32), np.uint16)).save(root / "deep.png")
    Image.fromarray(noise.integers(0, 256, (32, 32, 4), np.uint8)).save(root / "alpha.png")
    (root / "clip.mp4").write_bytes(b"x")
    text = remarks("mine", tmp_path / "a")
    # class_folders makes val from the same noise as train: its 12 images are in train, too, and so is the copy
    for words in (
        "13 of the scored files are in the calibration split", "1 images name an orientation in their EXIF data",
        "they are left as stored", "1 images have more than 8 bits", "1 images have transparency", ".mp4 (1)",
    ):
        assert words in text, words
    turned = remarks("turned", tmp_path / "a", FolderOptions(reading=ImageReading(apply_exif=True)))
    assert "turned upright" in turned
    assert load_dataset("mine", VIEW).content_hash != load_dataset("turned", VIEW).content_hash


@pytest.mark.parametrize("kind", ["16-bit PNG", "float TIFF"])
def test_a_deep_copy_of_a_data_set_has_the_same_pixels(kind: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for number, name in enumerate(("low", "high")):
        (plain / name).mkdir(parents=True)
        for i in range(9):
            pixels = np.random.default_rng(10 * number + i).integers(0, 256, (32, 32), np.uint8)
            Image.fromarray(pixels).save(plain / name / f"{i}.png")
    deep = tmp_path / "deep"
    for file in plain.rglob("*.png"):
        path = deep / file.relative_to(plain)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(Image.open(file))
        if kind == "float TIFF":
            Image.fromarray(pixels.astype(np.float32) * 16).save(path.with_suffix(".tif"))
        else:
            Image.fromarray(pixels.astype(np.uint16) * 257).save(path)
    options = add_data("deep", deep, WHEN).report.options
    assert options.reading.float_range == ((0.0, 65_535.0) if kind == "float TIFF" else (0.0, 1.0))
    one, two = load_image_folder(plain, VIEW).test, load_dataset("deep", VIEW).test
    scale = 16 * 255 / 65_535 if kind == "float TIFF" else 1
    wanted = np.floor(one.inputs[:].numpy() * scale + 0.5)
    assert np.array_equal(two.inputs[:].numpy(), wanted) and one.targets.equal(two.targets)


def test_upper_case_endings_and_gifs_are_images() -> None:
    assert {".gif", ".webp", ".tiff"} <= SUFFIXES
