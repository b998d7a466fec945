"""The library: whose things are, downloads that are followed, cancelled and removed, the data folder, the disk."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compression.cli.main import main
from compression.core.errors import InputError
from compression.experiments.store import ResultStore
from compression.library import Library, clear_job
from compression.library.catalogue import downloaded_on, find_download, removable, run_download
from compression.library.disk import measure_disk
from compression.library.errands import Errands
from compression.library.previews import look
from compression.recipe import Recipe, recipe_from_dict
from models import datasets, registry
from models.datasets import small_images
from models.sources import downloads
from models.sources.locations import chosen_data_folder, data_roots, place_of
from models.sources.releases import Release
from tests.models.server import Home, serving
from tests.pages.conftest import synthetic_result

NAME = "cifar_resnet32"
DATA = bytes(range(256)) * 8192  # two MiB


@pytest.fixture
def home() -> Iterator[Home]:
    with serving() as served:
        served.files["/weights.th"] = DATA
        yield served


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data, weights or settings but what a test makes."""
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMPRESSION_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("models.sources.locations._PROJECT", tmp_path / "project" / "tree")
    return tmp_path


@pytest.fixture
def library(place: Path) -> Library:
    engine: Any = SimpleNamespace(busy=lambda: False)
    return Library(ResultStore(place / "home"), engine, str, lambda key, reason: None, lambda: None)


@pytest.fixture
def released(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has a model's weights come from the server of the test."""

    def release(digest: str = hashlib.sha256(DATA).hexdigest()[:8]) -> None:
        info = registry.model_info(NAME)
        own = Release(f"{home.url}/weights.th", digest, "somebody", "a licence", 0.5)
        changed = SimpleNamespace(**{**vars(info), "release": own})
        factory = registry._MODELS[NAME][1]
        monkeypatch.setitem(registry._MODELS, NAME, (changed, factory))

    release()
    return release


def ended(library: Library, job: str) -> dict[str, Any]:
    library.errands.join(job, 20)
    return library._store.jobs([job])[job]


def entry(library: Library, name: str = NAME) -> Any:
    return next(own for own in library.models() if own.info.name == name)


def test_a_download_is_followed_to_its_end_and_removed_again(
    library: Library, place: Path, released: Callable[..., None]
) -> None:
    before = entry(library)
    assert not before.here and before.download.estimated and before.download.date is None
    told = ended(library, library.download(NAME))
    assert told == {"state": "done", "fraction": 1.0, "message": "done", "error": None}
    after = entry(library)
    assert after.here and after.size_bytes == len(DATA) and after.download.removable
    assert after.origin.source == "somebody" and not after.origin.ours
    assert downloaded_on(NAME) == after.download.date is not None
    assert measure_disk(library._store).weights == len(DATA)
    assert ended(library, library.remove(NAME))["state"] == "done"
    assert not entry(library).here and not list((place / "torch").rglob("*.th"))
    with pytest.raises(InputError, match="only what was downloaded here"):
        library.remove(NAME)


def test_a_cancelled_download_goes_on_and_its_rest_can_be_removed(
    library: Library, home: Home, released: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, onward = threading.Event(), threading.Event()
    monkeypatch.setattr(downloads, "_CHUNK", 2**16)
    monkeypatch.setattr("compression.jobs.experiment_jobs._REPORT_SECONDS", 0.0)
    plain = downloads._amount

    def told(*arguments: Any) -> str:
        arrived.set()
        onward.wait(10)
        return plain(*arguments)

    monkeypatch.setattr(downloads, "_amount", told)
    job = library.download(NAME)
    assert arrived.wait(10) and library.download(NAME) == job  # asked for twice, begun once
    with pytest.raises(InputError, match="cancel that first"):
        library.remove(NAME)
    library._store.put_job(job, "cancelled")
    onward.set()
    assert ended(library, job)["state"] == "cancelled"
    left = entry(library).download.unfinished_bytes
    assert 0 < left < len(DATA) and measure_disk(library._store).unfinished == left
    assert ended(library, library.download(NAME))["state"] == "done"
    assert home.asked[-1] == ("GET", "/weights.th", left)


def test_what_is_not_what_it_should_be_is_told_in_one_line(library: Library, released: Callable[..., None]) -> None:
    released("0" * 8)
    job = ended(library, library.download(NAME))
    assert job["state"] == "failed" and "is not what it should be" in job["error"] and "\n" not in job["error"]
    assert not job["error"].startswith("ModelError") and not entry(library).here


def test_a_download_asked_for_again_while_the_cancelled_one_still_runs_waits_for_it(place: Path) -> None:
    store = ResultStore(place / "home")
    errands, order = Errands(store), []
    begun, onward = threading.Event(), threading.Event()

    def first(progress: Any, cancelled: Callable[[], bool]) -> None:
        begun.set()
        onward.wait(10)
        order.append(("first", cancelled()))

    errands.start("job", first)
    assert begun.wait(10)
    store.put_job("job", "cancelled")
    errands.start("job", lambda progress, cancelled: order.append(("second", cancelled())))
    time.sleep(0.05)
    assert order == []
    onward.set()
    errands.join("job", 10)
    assert order == [("first", True), ("second", False)]


def test_files_of_others_are_never_removed(library: Library, place: Path, released: Callable[..., None]) -> None:
    theirs = place / "torch" / "hub" / "checkpoints" / "weights.th"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(DATA)  # torchvision's, say
    assert entry(library).here and not entry(library).download.removable
    run_download(find_download(NAME))
    assert removable(find_download(NAME)) == []
    named = place / "named" / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    named.parent.mkdir(parents=True)
    named.touch()
    assert main(["download", "fashion_mnist", "--remove"]) == 2
    assert theirs.exists() and named.exists()


def test_a_downloaded_data_set_is_removed_whole(
    library: Library, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = place / "home" / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in small_images._FASHION_FILES:
        (raw / name.removesuffix(".gz")).write_bytes(b"12345")
    found = next(own for own in library.datasets() if own.info.name == "fashion_mnist")
    assert found.here and found.place == "downloaded" and found.download.removable
    assert measure_disk(library._store).by_dataset["fashion_mnist"] == 20
    assert main(["download", "fashion_mnist", "--remove", "--json"]) == 0
    assert '"freed_bytes": 20' in capsys.readouterr().out
    assert not datasets.has_full_data("fashion_mnist") and list(raw.iterdir()) == []


def test_the_chosen_folder_is_searched_by_this_and_later_processes(library: Library, place: Path) -> None:
    folder = place / "mine"
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    (folder / "weights").mkdir()
    (folder / "weights" / "cifar_vit.safetensors").touch()
    assert library.choose_folder(f" {folder} ") == ["cifar10", "cifar_vit"]
    assert chosen_data_folder() == folder and folder in data_roots()
    assert place_of(datasets.data_paths("cifar10")[0]) == "the chosen data folder"
    with pytest.raises(InputError, match="only what was downloaded"):
        library.remove("cifar10")
    library.choose_folder("")
    assert chosen_data_folder() is None and not datasets.has_data("cifar10")


@pytest.mark.parametrize(
    ("text", "told"),
    [("relative/path", "begins with /"), ("/no/such/folder", "not there"), ("{file}", "a file"),
     ("{empty}", "holds nothing"), ("~nobody-of-that-name/x", "data folder"), ("/a\0b", "data folder")],
)
def test_a_wrong_folder_is_told_and_the_old_choice_stays(library: Library, place: Path, text: str, told: str) -> None:
    (place / "mine" / "imagenette2").mkdir(parents=True)
    (place / "empty").mkdir()
    (place / "file").touch()
    library.choose_folder(str(place / "mine"))
    with pytest.raises(InputError, match=told) as caught:
        library.choose_folder(text.format(file=place / "file", empty=place / "empty"))
    assert "\n" not in str(caught.value) and chosen_data_folder() == place / "mine"


def test_broken_settings_are_no_choice(place: Path) -> None:
    (place / "home").mkdir()
    for text in ("{", "[]", '{"data_folder": 3}', ""):
        (place / "home" / "settings.json").write_text(text)
        assert chosen_data_folder() is None


def test_the_baseline_is_the_newest_result_of_the_untouched_model(library: Library) -> None:
    base = Recipe("digits_resnet", "digits")
    plain: dict[str, Any] = {"model": "digits_resnet", "dataset": "digits"}
    pruned = recipe_from_dict({**plain, "steps": [{"technique": "weight_pruning"}]})
    results = [synthetic_result(base), synthetic_result(pruned)]
    few = synthetic_result(recipe_from_dict({**plain, "n_samples": 50}))
    for number, result in enumerate([*results, few]):
        library._store.put_result(SimpleNamespace(  # type: ignore[arg-type]
            key=result.key, recipe=result.recipe, created=str(number), to_dict=result.to_dict
        ))
    found = entry(library, "digits_resnet")
    assert found.baseline.key == results[0].key and list(found.baselines) == ["digits"]
    assert found.card["command"] == "python -m models.train digits_resnet" and found.origin.ours
    assert entry(library, "digits_vit").baseline is None


def test_everything_that_can_be_made_again_is_cleared(library: Library, place: Path) -> None:
    store, forgotten = library._store, []
    library._forget = lambda: forgotten.append(True)
    result = synthetic_result(Recipe("digits_resnet", "digits"))
    store.put_result(result)
    (store.artifact_dir(result.key) / "model.onnx").write_bytes(b"x" * 1000)
    (store.cache_dir() / "hessians").write_bytes(b"x" * 1000)
    decoded = place / "home" / "decoded" / "a.npy"
    decoded.parent.mkdir()
    decoded.write_bytes(b"x" * 500)
    before = measure_disk(store)
    assert (before.own_models, before.own_data) == (0, 0)
    for kind, size in (("models", 70), ("datasets", 90)):
        own = place / "home" / "own" / kind / "mine" / "file"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"x" * size)
    kept = measure_disk(store)
    assert (kept.own_models, kept.own_data) == (70, 90)
    assert (kept.weights, kept.data, kept.decoded) == (before.weights, before.data, before.decoded)
    assert before.decoded == 500 and before.statistics > 1000 and before.results > 1000 and before.free > 0
    for kind in ("decoded", "statistics", "results"):
        library.clear(kind)
        assert ended(library, clear_job(kind))["state"] == "done"
    assert not decoded.exists() and not (store.root / "cache" / "hessians").exists()
    assert list((store.root / "cache" / "graphs").glob("*.onnx"))  # the shipped ones are there again
    assert store.results() == [] and forgotten == [True] and not list((store.root / "artifacts").iterdir())
    library._engine = SimpleNamespace(busy=lambda: True)  # type: ignore[assignment]
    with pytest.raises(InputError, match="measurements are under way"):
        library.clear("results")


def test_a_look_counts_samples_and_keeps_a_few_images(library: Library) -> None:
    assert library.look("digits") is None
    look(library._store, "digits", lambda fraction, message: None, bool)
    found = library.look("digits")
    assert found is not None and (found.n_train, found.n_test, len(found.images)) == (1078, 719, 12)
    assert {own.label for own in found.images} == set("0123456789")
    assert all(own.png.startswith(b"\x89PNG") for own in found.images)


def test_a_glance_at_photographs_decodes_only_these(place: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (place / "folder" / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.full((40, 50, 3), 40 * number, np.uint8)
            Image.fromarray(pixels).save(place / "folder" / name / f"{number}.png")
    (place / "folder" / "dog" / "9.jpg").write_bytes(b"no image")
    from models.datasets.image_folder import load_image_folder

    images, targets = load_image_folder(place / "folder").glance(8, 0)
    assert images.shape[1:] == (3, 96, 96) and set(targets.tolist()) == {0, 1} and len(images) == len(targets)
    assert not (place / "home" / "decoded").exists()


def test_data_that_were_removed_are_not_served_from_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place / "home" / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    info = small_images.CIFAR_INFO
    monkeypatch.setattr(small_images, "_official_cifar", lambda root: f"read below {root}")
    loader = datasets.registry._DATASETS["cifar10"]
    assert loader[0] is info and str(datasets.load_dataset("cifar10")).startswith("read below")
    folder.rmdir()
    with pytest.raises(ValueError, match="is not here"):
        datasets.load_dataset("cifar10")


def test_the_command_line_says_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["library", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    own = next(row for row in told["models"] if row["name"] == "digits_resnet")
    assert own["trained_here"] and own["here"] and own["accuracy"] is None and own["stated_accuracy"] > 0.99
    assert told["disk"]["shipped"] > 1e6 and told["data_folder"] is None
    assert main(["library"]) == 0
    assert "digits_resnet" in capsys.readouterr().out
    assert main(["library", "--data-folder", "/no/such/folder"]) == 2
