"""Image files decoded once: exact, mapped, cancellable, whatever is in the folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compression.core.errors import CancelledError
from compression.experiments.tasks import Task, load_task
from compression.recipe import Recipe
from models import registry
from models.datasets import decoded, load_dataset
from models.datasets.decoded import ImageListing, MappedImages, decode
from models.datasets.image_folder import FolderOptions, load_image_folder
from models.datasets.imagenet import SAMPLE_INFO, imagenette
from models.datasets.imagenet_classes import class_indices, class_names, wordnet_ids
from models.datasets.registry import Split
from models.datasets.views import ImageView
from models.errors import InterruptedWorkError, ModelError
from models.sources.locations import find_data

VIEW = ImageView(36, 32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "decoded"


def picture(path: Path, seed: int, size: tuple[int, int] = (50, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def listing(folder: Path, count: int = 6) -> ImageListing:
    names = tuple(f"{i}.png" for i in range(count))
    for i, name in enumerate(names):
        picture(folder / name, i)
    return ImageListing(folder, names, tuple(range(count)))


def class_folders(root: Path, names: list[str], each: int = 4) -> Path:
    for number, name in enumerate(names):
        for i in range(each):
            picture(root / name / f"{i}.png", 100 * number + i)
    return root


@pytest.mark.parametrize("size", [(50, 40), (40, 50), (37, 36), (333, 251), (36, 36)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_view_is_torchvisions_transform_bit_by_bit(size: tuple[int, int], interpolation: str, tmp_path: Path) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    image = Image.open(picture(tmp_path / "a.png", 1, size))
    preset = ImageClassification(
        crop_size=32, resize_size=36, interpolation=InterpolationMode(interpolation), mean=(0, 0, 0), std=(1, 1, 1)
    )
    own = ImageView(36, 32, interpolation).apply(image)
    assert torch.equal(torch.from_numpy(own.copy()).float() / 255, preset(image))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_every_mode_become_three_channels(mode: str) -> None:
    assert VIEW.apply(Image.new(mode, (64, 48))).shape == (3, 32, 32)


@pytest.mark.parametrize("wrong", [(32, 36, "bilinear"), (36, 0, "bilinear"), (36, 32, "nearest")])
def test_a_view_that_makes_no_sense_is_refused(wrong: tuple[int, int, str]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        ImageView(*wrong)


def test_the_second_time_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, told = listing(tmp_path / "images"), [0.0]
    first = decode(files, VIEW, lambda fraction, message: told.append(fraction))
    assert told[-1] == 1.0 and first.skipped == []
    for i in (0, 5):
        with Image.open(files.root / files.names[i]) as image:
            assert np.array_equal(first.inputs[i : i + 1][0].numpy(), VIEW.apply(image))

    def decoded_again(view: ImageView, image: Image.Image) -> np.ndarray:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageView, "apply", decoded_again)
    second = decode(ImageListing(files.root, files.names, files.targets), VIEW)
    assert torch.equal(second.inputs[:], first.inputs[:]) and torch.equal(second.targets, first.targets)


def test_another_view_and_changed_files_are_decoded_anew(tmp_path: Path, cache: Path) -> None:
    files = listing(tmp_path / "images")
    before = decode(files, VIEW).inputs[:].clone()
    decode(files, ImageView(40, 32))
    assert len(list(cache.glob("*.npy"))) == 2
    picture(files.root / files.names[0], 99, (60, 60))
    after = decode(ImageListing(files.root, files.names, files.targets), VIEW).inputs[:]
    assert torch.equal(after[1:], before[1:]) and not torch.equal(after[0], before[0])


def test_what_is_no_image_is_named_and_left_out(tmp_path: Path) -> None:
    files = listing(tmp_path / "images")
    (files.root / "1.png").write_bytes(b"no image")
    data = (files.root / "3.png").read_bytes()
    (files.root / "3.png").write_bytes(data[: len(data) // 2])
    (files.root / "4.png").unlink()
    for _ in range(2):  # decoded, then mapped
        found = decode(ImageListing(files.root, files.names, files.targets), VIEW)
        assert sorted(found.skipped) == ["1.png", "3.png", "4.png"]
        assert found.targets.tolist() == [0, 2, 5] and len(found.inputs) == 3
        with Image.open(files.root / "5.png") as image:
            assert np.array_equal(found.inputs[2:][0].numpy(), VIEW.apply(image))


def test_a_folder_without_any_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ModelError, match="none of the 1 files"):
        decode(ImageListing(tmp_path, ("a.png",), (0,)), VIEW)


def test_cancelling_leaves_nothing_behind(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "_CHUNK", 2)
    files, answers = listing(tmp_path / "images"), [True, False, False]
    with pytest.raises(InterruptedWorkError):
        decode(files, VIEW, cancelled=answers.pop)
    assert list(cache.iterdir()) == []
    assert len(decode(files, VIEW).inputs) == 6


def test_drafts_of_processes_that_are_gone_are_removed(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "abc.99999999.part").write_bytes(b"left")
    (cache / "abc.1.part").write_bytes(b"of a running process")
    decode(listing(tmp_path / "images"), VIEW)
    assert [path.name for path in cache.glob("*.part")] == ["abc.1.part"]


def test_a_full_disk_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = listing(tmp_path / "images")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(ModelError, match="MB are free"):
        decode(files, VIEW)


def test_subsets_of_mapped_images_read_nothing_and_are_those_of_a_tensor() -> None:
    pixels = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1)
    targets = torch.arange(40) % 4
    mapped, plain = Split(MappedImages(pixels), targets), Split(pixels, targets)
    for one, other in zip(mapped.divided(12, seed=3), plain.divided(12, seed=3), strict=True):
        assert isinstance(one.inputs, MappedImages)
        assert torch.equal(one.inputs[:], other.inputs) and torch.equal(one.targets, other.targets)
    again = mapped.subset(12, seed=3).subset(5, seed=1)
    assert torch.equal(again.inputs[:], plain.subset(12, seed=3).subset(5, seed=1).inputs)
    assert mapped.inputs.shape == (40, 1, 1, 1) and mapped.inputs[torch.tensor([7, 3])].flatten().tolist() == [7, 3]


def test_a_folder_of_class_folders_is_split_once_and_for_all(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine", ["dog", "cat", "bird"], each=10)
    (root / "cat" / "notes.txt").write_text("no image")
    data, again = load_image_folder(root, VIEW), load_image_folder(root, VIEW)
    assert data.info.class_names == ("bird", "cat", "dog") and data.info.num_classes == 3
    assert (data.info.n_train, data.info.n_test) == (6, 24) == (len(data.train), len(data.test))
    assert torch.bincount(data.train.targets).tolist() == [2, 2, 2]
    assert data.content_hash == again.content_hash
    rows = {row.numpy().tobytes() for row in data.test.inputs[:]}
    assert not any(row.numpy().tobytes() in rows for row in data.train.inputs[:])


def test_train_and_validation_folders_are_the_splits(tmp_path: Path) -> None:
    class_folders(tmp_path / "mine" / "train", ["a", "b"], each=3)
    class_folders(tmp_path / "mine" / "val", ["a", "b"], each=2)
    data = load_image_folder(tmp_path / "mine", VIEW)
    assert (data.info.n_train, data.info.n_test) == (6, 4)


@pytest.mark.parametrize(
    ("folders", "indices", "labels"),
    [
        (["n03888257", "n01440764"], [0, 701], "auto"), (["217", "3"], [3, 217], "imagenet"),
        (["golf_ball", "Tench"], [0, 574], "imagenet"),
    ],
)
def test_folders_with_imagenets_names_get_imagenets_indices(
    folders: list[str], indices: list[int], labels: str, tmp_path: Path
) -> None:
    options = FolderOptions(labels)
    data = load_image_folder(class_folders(tmp_path / "mine", folders), VIEW, options=options)
    assert data.info.num_classes == 1000 and len(data.info.class_names) == 1000
    assert sorted(set(data.test.targets.tolist())) == indices


@pytest.mark.parametrize("content", ["nothing", "one class", "no images", "file"])
def test_other_folders_are_refused_in_one_line(content: str, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    if content == "file":
        root.write_text("x")
    elif content != "nothing":
        class_folders(root, ["a"] if content == "one class" else [])
        (root / "b").mkdir(parents=True)
        (root / "c").mkdir()
        if content == "one class":
            (root / "b").rmdir()
            (root / "c").rmdir()
    with pytest.raises(ModelError) as caught:
        load_image_folder(root, VIEW)
    assert "\n" not in str(caught.value)


def test_the_classes_are_imagenets() -> None:
    from torchvision.datasets import Imagenette
    from torchvision.models import ResNet18_Weights

    plain = [name.partition(" (")[0] for name in class_names()]
    assert plain == ResNet18_Weights.DEFAULT.meta["categories"] and len(set(class_names())) == 1000
    assert list(wordnet_ids()) == sorted(wordnet_ids())
    indices = class_indices(list(Imagenette._WNID_TO_CLASS))
    assert indices is not None
    assert [class_names()[i] for i in indices] == [names[0] for names in Imagenette._WNID_TO_CLASS.values()]


def fake_imagenette(root: Path) -> Path:
    from torchvision.datasets import Imagenette

    for part, each in (("train", 3), ("val", 2)):
        for number, name in enumerate(Imagenette._WNID_TO_CLASS):
            for i in range(each):
                image = picture(root / "imagenette2-320" / part / name / f"{i}.png", 10 * number + i, (300, 260))
                image.rename(image.with_suffix(".jpeg"))
    return root


def test_imagenette_is_what_torchvisions_class_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import Imagenette

    monkeypatch.setenv("COMPRESSION_DATA", str(fake_imagenette(tmp_path / "data")))
    data = imagenette(VIEW)
    theirs = Imagenette(str(tmp_path / "data"), split="val", size="320px")
    assert len(data.test) == len(theirs)
    ids = [wordnet_ids()[target] for target in data.test.targets.tolist()]
    assert ids == [theirs.wnids[label] for _, label in theirs._samples]


def test_the_task_decodes_with_progress_and_cancel_and_tells_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fake_imagenette(tmp_path / "data")
    broken = next((root / "imagenette2-320" / "val" / "n01440764").iterdir())
    broken.write_bytes(b"no image")
    monkeypatch.setenv("COMPRESSION_DATA", str(root))
    (root / "weights").mkdir()
    reference = root / "weights" / "imagenet_squeezenet1_1.safetensors"
    from safetensors.torch import save_file

    save_file(registry.build_model("squeezenet1_1").state_dict(), reference)
    load_dataset.__globals__["_load"].cache_clear()
    task = load_task(Recipe(model="squeezenet1_1", dataset="imagenette"))
    with pytest.raises(CancelledError):
        task.make_ready(lambda fraction, message: None, lambda: True)
    told: list[str] = []
    task.make_ready(lambda fraction, message: told.append(message), bool)
    assert any("decoding images" in message for message in told)
    assert len(task.dataset.test) == 19 and task.notes() == [
        f"1 files of the dataset cannot be read as images and are left out: n01440764/{broken.name}"
    ]
    assert task.example_input(2).shape == (2, 3, 224, 224)
    batches = list(task.scoring_batches(task.scoring_split(None)))
    assert sum(map(len, batches)) == 19 and len(batches) > 1
    context = task.context(task.load_model(), 0, tmp_path, lambda fraction, message: None, bool)
    assert len(context.calibration_inputs) == 24  # of 30; six choose among trials
    inputs, targets = next(context.training_batches(0))
    assert inputs.shape[1:] == (3, 224, 224) and set(targets.tolist()) <= set(task.dataset.train.targets.tolist())
    assert set(task.dataset.test.targets.tolist()) == {0, 217, 482, 491, 497, 566, 569, 571, 574, 701}


def test_large_images_go_through_in_smaller_batches() -> None:
    sizes = {}
    for name in ("digits_resnet", "resnet18"):
        task = Task(registry.model_info(name), load_dataset("digits"), "", "")
        sizes[name] = (task.quick_samples, task._sized(64), task.scoring_threads(1))
    assert sizes["digits_resnet"] == (160, 64, 1)
    assert sizes["resnet18"][0] < 160 and sizes["resnet18"][1] < 64 and sizes["resnet18"][2] >= 1


def test_the_sample_is_calibrated_on_its_first_rows_only() -> None:
    table = find_data(SAMPLE_INFO.needs[0])
    if table is None:
        pytest.skip("imagenet_sample is not on this machine")
    data = load_dataset("imagenet_sample")
    train, test = (set(own.names) for own in data._listings)
    first = [line.split(",")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:201]]
    assert train == set(first) and len(test) == 800 and not train & test
