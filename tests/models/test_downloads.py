"""Downloads: size first, progress, cancel, going on, and nothing but what was meant."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compression.cli.main import main
from compression.library.catalogue import find_download, run_download
from models import registry
from models.datasets import has_data, has_full_data, load_dataset, small_images
from models.errors import InterruptedWorkError, ModelError
from models.sources import downloads
from models.sources.downloads import Download, RemoteFile, fetch
from models.sources.releases import Release
from models.sources.unpacking import unpack_gzip, unpack_tar
from tests.models.server import Home, serving

DATA = bytes(range(256)) * 4096  # one MiB


@pytest.fixture
def home() -> Iterator[Home]:
    with serving() as served:
        served.files["/file.bin"] = DATA
        yield served


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data and no weights but what a test downloads."""
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMPRESSION_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("models.sources.locations._PROJECT", tmp_path / "project")
    return tmp_path


def remote(home: Home, folder: Path, digest: str | None = None) -> RemoteFile:
    sha = hashlib.sha256(DATA).hexdigest()
    return RemoteFile(f"{home.url}/file.bin", folder / "file.bin", digest or f"sha256:{sha[:12]}")


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_with_progress(home: Home, tmp_path: Path) -> None:
    told: list[float] = []
    path = fetch(remote(home, tmp_path / "new"), lambda fraction, message: told.append(fraction))
    assert path.read_bytes() == DATA
    assert told == sorted(told) and told[-1] == 1.0 and len(told) > 2
    fetch(remote(home, tmp_path / "new"))
    assert len(home.asked) == 1 and parts(path.parent) == ["file.bin"]


def test_the_size_is_known_before_and_only_what_is_missing_counts(home: Home, tmp_path: Path) -> None:
    file = remote(home, tmp_path)
    download = Download("it", (file,), "somebody", "some licence")
    assert download.size_bytes() == len(DATA)
    assert not file.path.exists() and [method for method, *_ in home.asked] == ["HEAD"]
    download.run()
    assert download.size_bytes() == 0 and download.is_here()


def test_what_is_not_what_it_should_be_is_not_kept(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not what it should be"):
        fetch(remote(home, tmp_path, "md5:" + "0" * 32))
    assert parts(tmp_path) == []


def cancel_after(chunks: int) -> list[int]:
    """A list whose `pop` is false a number of times."""
    return [1] + [0] * chunks


def test_a_cancelled_download_goes_on_where_it_was(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_CHUNK", 2**16)
    answers = cancel_after(5)
    with pytest.raises(InterruptedWorkError):
        fetch(remote(home, tmp_path), cancelled=lambda: bool(answers.pop()))
    assert parts(tmp_path) == ["file.bin.part"]
    done = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < done < len(DATA)
    assert fetch(remote(home, tmp_path)).read_bytes() == DATA
    assert home.asked[-1] == ("GET", "/file.bin", done)


def test_a_cut_connection_is_told_and_the_next_try_goes_on(home: Home, tmp_path: Path) -> None:
    home.cut = 300_000
    with pytest.raises(ModelError, match="the next try resumes") as caught:
        fetch(remote(home, tmp_path))
    assert "\n" not in str(caught.value)
    assert fetch(remote(home, tmp_path)).read_bytes() == DATA
    assert home.asked[-1][2] > 0


def test_a_server_that_cannot_go_on_starts_anew(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 5000)
    home.ranges = False
    assert fetch(remote(home, tmp_path)).read_bytes() == DATA


@pytest.mark.parametrize("left", [b"y" * 1000, DATA + b"more"], ids=["other bytes", "too long"])
def test_leftovers_of_something_else_do_no_harm(home: Home, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(left)
    try:
        fetch(remote(home, tmp_path))
    except ModelError:
        assert parts(tmp_path) == []
        fetch(remote(home, tmp_path))
    assert (tmp_path / "file.bin").read_bytes() == DATA


def test_a_whole_part_only_needs_its_name(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(DATA)
    assert fetch(remote(home, tmp_path)).read_bytes() == DATA


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/file"])
def test_only_the_web_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only http and https"):
        fetch(RemoteFile(url, tmp_path / "file", "md5:" + "0" * 32))


def test_what_is_not_there_is_told_in_one_line(home: Home, tmp_path: Path) -> None:
    file = replace(remote(home, tmp_path), url=f"{home.url}/nothing")
    with pytest.raises(ModelError, match="404") as caught:
        fetch(file)
    assert "\n" not in str(caught.value)
    assert Download("it", (file,), "", "").size_bytes() is None


def test_a_full_disk_is_told_beforehand(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SPARE_BYTES", 2**62)
    with pytest.raises(ModelError, match="there is no room"):
        fetch(remote(home, tmp_path))


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_is_unpacked_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    unpack_tar(archive_of(tmp_path / "good.tgz", {"folder/a": b"1", "folder/b": b"2"}), "folder")
    assert parts(tmp_path) == ["folder"] and parts(tmp_path / "folder") == ["a", "b"]
    for members in ({"../evil": b"x"}, {"elsewhere/a": b"x"}):
        bad = archive_of(tmp_path / "bad.tgz", members)
        with pytest.raises(ModelError):
            unpack_tar(bad, "folder")
    cut = archive_of(tmp_path / "cut.tgz", {"folder/a": b"z" * 10_000})
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(ModelError, match=r"cut\.tgz"):
        unpack_tar(cut, "folder")
    assert (tmp_path / "folder" / "a").read_bytes() == b"1" and not (tmp_path.parent / "evil").exists()


def test_a_damaged_gzip_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data.gz").write_bytes(gzip.compress(DATA)[:-10])
    with pytest.raises(ModelError, match=r"data\.gz"):
        unpack_gzip(tmp_path / "data.gz")
    assert parts(tmp_path) == ["data.gz"]


def idx(values: np.ndarray) -> bytes:
    """A file of MNIST's format, compressed."""
    return gzip.compress(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


def test_fashion_mnist_comes_through_torchvision(cache: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28), np.arange(6, dtype=np.uint8)
    files = []
    for name, _ in small_images._FASHION_FILES:
        data = idx(images if "images" in name else labels)
        home.files[f"/{name}"] = data
        files.append((name, hashlib.md5(data, usedforsecurity=False).hexdigest()))
    monkeypatch.setattr(small_images, "_FASHION_FILES", tuple(files))
    monkeypatch.setattr(small_images, "_FASHION_HOME", f"{home.url}/")
    assert has_data("fashion_mnist") and not has_full_data("fashion_mnist")
    assert len(load_dataset("fashion_mnist").train) == 6_000
    run_download(find_download("fashion_mnist"))
    assert has_full_data("fashion_mnist") and find_download("fashion_mnist").is_here()
    data = small_images.fashion_mnist()
    assert torch.equal(data.test.inputs[:, 0], torch.from_numpy(images))
    assert data.train.targets.tolist() == labels.tolist()
    raw = cache / "home" / "data" / "FashionMNIST" / "raw"
    assert not [name for name in parts(raw) if name.endswith((".gz", ".part"))]


def test_cifar_is_the_full_training_set_where_torchvision_can_read_it(
    cache: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    rng, members = np.random.default_rng(0), {}
    for listed in (CIFAR10.train_list, CIFAR10.test_list):
        for name, _ in listed:
            entry = {"data": rng.integers(0, 256, (3, 3072), np.uint8), "labels": [1, 2, 3]}
            members[name] = pickle.dumps(entry)
    members["batches.meta"] = pickle.dumps({"label_names": list(small_images.CIFAR_INFO.class_names)})

    def md5(data: bytes) -> str:
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    for attribute in ("train_list", "test_list"):
        known = [[name, md5(members[name])] for name, _ in getattr(CIFAR10, attribute)]
        monkeypatch.setattr(CIFAR10, attribute, known)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(members["batches.meta"])})
    archive = archive_of(cache / "a.tgz", {f"cifar-10-batches-py/{name}": data for name, data in members.items()})
    home.files["/cifar-10-python.tar.gz"] = archive.read_bytes()
    monkeypatch.setattr(small_images, "_CIFAR_URL", f"{home.url}/cifar-10-python.tar.gz")
    monkeypatch.setattr(small_images, "_CIFAR_MD5", md5(archive.read_bytes()))
    run_download(find_download("cifar10"))
    data = small_images.cifar10()
    assert (len(data.train), len(data.test)) == (15, 3)
    first = pickle.loads(members["data_batch_1"])["data"]
    assert np.array_equal(data.train.inputs[:3].numpy().reshape(3, -1), first)
    batch = cache / "home" / "data" / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(ModelError, match="'cifar10' are damaged"):
        small_images.cifar10()


def test_weights_are_fetched_into_torchs_folder_and_loaded_under_our_names(
    cache: Path, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "cifar_resnet20_projection"
    info, factory = registry._MODELS[name]
    assert info.release is not None
    state = factory().state_dict()
    theirs = {k.replace("shortcut.", "downsample.").replace("linear.", "fc."): v for k, v in state.items()}
    buffer = io.BytesIO()
    torch.save(theirs, buffer)
    home.files["/weights.pt"] = buffer.getvalue()
    release = replace(
        info.release, url=f"{home.url}/weights.pt", sha256=hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    )
    monkeypatch.setitem(registry._MODELS, name, (replace(info, release=release), factory))
    with pytest.raises(ModelError, match=f"python -m compression download {name}"):
        registry.load_model(name)
    assert main(["download", name]) == 0
    assert f"{name}: {len(buffer.getvalue()) / 1e6:.2f} MB, by Yaofo Chen" in capsys.readouterr().err
    origin = registry.weights_origin(name)
    assert origin.path == cache / "torch" / "hub" / "checkpoints" / "weights.pt"
    assert (origin.ours, origin.published_accuracy) == (False, release.accuracy)
    loaded = registry.load_model(name).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert main(["download", name]) == 0
    assert "is here already" in capsys.readouterr().err
    origin.path.write_bytes(origin.path.read_bytes()[:-1] + b"x")
    registry._file_hash.cache_clear()
    with pytest.raises(ModelError, match="has not the published SHA-256"):
        registry.load_model(name)


def test_a_download_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "digits"]) == 2
    told = capsys.readouterr().err
    assert "allowed: " in told and "resnet18" in told and told.count("\n") == 1


def test_a_release_states_its_digest_in_its_name() -> None:
    releases = [info.release for info in registry.list_models() if info.release is not None]
    assert len(releases) > 10
    assert all(isinstance(r, Release) and r.sha256 in r.url and len(r.sha256) >= 8 for r in releases)
    assert all(r.url.startswith("https://") and r.source and r.license and 0 < r.accuracy < 1 for r in releases)
