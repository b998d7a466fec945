"""run.py of a bundle: the project's preprocessing, predictions and class names without the project."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from compression.artifact import text_template
from compression.bundles.writing import export_bundle
from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.recipe import recipe_from_dict
from models.datasets import python_source, sentences, sst2
from models.datasets.image_files import ImageReading, read_image
from models.datasets.views import ImageView
from models.info import ModelInfo
from models.preprocessing import prepare_inputs

WITHOUT_PROJECT = """
import runpy, sys
for name in ("torch", "torchvision", "onnx", "compression", "models", "scipy", "pandas", "tokenizers"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run run.py where none of this project's packages can be imported."""
    command = [sys.executable, "-I", "-c", WITHOUT_PROJECT, str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


def exported(folder: Path, model: str, dataset: str) -> Path:
    steps = [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]
    recipe = recipe_from_dict({"model": model, "dataset": dataset, "n_samples": 40, "steps": steps})
    store = ResultStore(folder / "store")
    path = export_bundle(store, run_experiment(recipe, store, quick=True).key, folder / "bundle.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked bundle of an image classifier."""
    return exported(tmp_path_factory.mktemp("images"), "digits_mobilenet", "digits")


def loaded(folder: Path) -> ModuleType:
    """run.py as a module."""
    spec = importlib.util.spec_from_file_location("bundle_run", folder / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stored_samples_give_the_exported_predictions(images: Path) -> None:
    checked = call(images, "--check")
    assert (checked.returncode, checked.stderr) == (0, "") and checked.stdout.startswith("same predictions 32 of 32\n")
    with np.load(images / "probe.npz") as probe:
        right = int((probe["predictions"] == probe["targets"]).sum())
        assert probe["inputs"].dtype == np.uint8 and probe["inputs"].any()
    assert f"right on stored samples {right} of 32" in checked.stdout and right >= 28


def test_other_weights_fail_the_check(images: Path, tmp_path: Path) -> None:
    for file in images.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with np.load(images / "probe.npz") as probe:
        kept = {name: probe[name] for name in probe.files}
    kept["predictions"] = (kept["predictions"] + 1) % 10
    np.savez(tmp_path / "probe.npz", **kept)
    checked = call(tmp_path, "--check")
    assert checked.returncode == 1 and checked.stdout.startswith("same predictions 0 of 32")


def test_the_benchmark_is_json_and_agrees_with_its_interval(images: Path) -> None:
    done = call(images, "--benchmark")
    found = json.loads(done.stdout)
    latency = found["latency_ms"]
    assert 0 < latency["low"] <= latency["high"] and latency["median"] <= latency["p95"]
    assert found["threads"] == found["batch_size"] == 1 and found["runs"] >= 150
    stated = json.loads((images / "result.json").read_text())["figures"]["latency_ms_p50"]
    assert found["stated"]["latency_ms"] == stated


def test_without_an_argument_samples_are_classified_and_the_model_is_timed(images: Path) -> None:
    lines = call(images).stdout.splitlines()
    assert sum(line.startswith("stored sample") and "%" in line for line in lines) == 32
    assert lines[-1].startswith("latency ") and "stated" in lines[-1]


def test_an_image_file_is_classified_by_class_names(images: Path, tmp_path: Path) -> None:
    with np.load(images / "probe.npz") as probe:
        sample, prediction = probe["inputs"][0], int(probe["predictions"][0])
    pixels = sample[0] if len(sample) == 1 else sample.transpose(1, 2, 0)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    done = call(images, str(tmp_path / "digit.png"))
    assert f"digit.png: {prediction} " in done.stdout, done.stderr
    refused = call(images, str(tmp_path / "gone.png"))
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "no such file" in refused.stderr
    (tmp_path / "broken.png").write_bytes(b"nothing")
    assert "cannot be read as an image" in call(images, str(tmp_path / "broken.png")).stderr


def test_an_old_runtime_is_refused_in_one_line(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(images)
    needed = module.SPEC["requires"]["onnxruntime"]
    monkeypatch.setattr(module.ort, "__version__", "1.3.0")
    with pytest.raises(SystemExit) as caught:
        module.open_model()
    assert caught.value.code == 2 and needed in (images / "README.md").read_text()
    assert module.numbers("1.9") < module.numbers("1.17.3") == (1, 17)


@pytest.mark.parametrize(
    ("system", "machine", "flags", "exact"),
    [
        ("Linux", "x86_64", "flags : avx2 fma", False), ("Linux", "x86_64", "flags : avx2 avx_vnni", True),
        ("Linux", "x86_64", "", None), ("Linux", "aarch64", "Features : asimddp", True),
        ("Darwin", "x86_64", "BMI1 AVX2 AVX512F", False), ("Darwin", "x86_64", "AVX2 AVX512VNNI", True),
        ("Darwin", "arm64", "", True), ("Windows", "AMD64", "1", None), ("Windows", "AMD64", "0", True),
        ("Windows", "ARM64", "", True), ("FreeBSD", "amd64", "", None),
    ],
)
def test_processors_without_vnni_are_known_where_the_system_says_it(
    system: str, machine: str, flags: str, exact: bool | None, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kernel:
        class kernel32:  # noqa: N801
            IsProcessorFeaturePresent = staticmethod(lambda number: int(flags) if number == 40 else 0)

    module = loaded(images)
    monkeypatch.setattr(module.platform, "system", lambda: system)
    monkeypatch.setattr(module.platform, "machine", lambda: machine)
    monkeypatch.setattr(module.Path, "read_text", lambda path, errors="": flags)
    done = subprocess.CompletedProcess([], 0, flags, "")
    monkeypatch.setattr(module.subprocess, "run", lambda *arguments, **options: done)
    monkeypatch.setattr(module.ctypes, "windll", Kernel, raising=False)
    assert module.has_exact_products() is exact


def test_an_overflow_that_is_measured_is_reported(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = loaded(images)
    product = "a product"
    monkeypatch.setitem(module.SPEC, "wide_integer_weights", True)
    monkeypatch.setitem(module.SPEC, "kernel_probe", product)
    monkeypatch.setattr(module, "has_exact_products", lambda: None)
    for value, words in ((64 * 255 * 127, "a test product is exact"), (64 * 32_767, "overflow with 8-bit weights")):
        session = type("Session", (), {"run": lambda self, names, feed, value=value: [np.full((1, 16), value)]})
        monkeypatch.setattr(module.ort, "InferenceSession", lambda model, session=session, **options: session())
        monkeypatch.setattr(module.base64, "b64decode", lambda text: text)
        module.warn_of_overflow()
        assert words in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["JPEG", "tall", "gray", "16-bit", "float", "turned", "alpha"])
def test_images_are_prepared_as_the_project_does_it(
    kind: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    noise = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
    smooth = noise.resize((150, 110), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    gray = np.asarray(smooth.convert("L"))
    image, name, options = {
        "JPEG": (smooth, "a.jpg", {}), "tall": (smooth.resize((90, 170)), "a.png", {}),
        "gray": (smooth.convert("L"), "a.png", {}),
        "16-bit": (Image.fromarray(gray.astype(np.uint16) * 257), "a.png", {}),
        "float": (Image.fromarray(gray / np.float32(51)), "a.tif", {}), "turned": (smooth, "a.jpg", {"exif": exif}),
        "alpha": (smooth.convert("RGBA"), "a.png", {}),
    }[kind]
    image.save(tmp_path / name, **options)
    reading = ImageReading(apply_exif=True, float_range=(0.0, 5.0))
    for channels, interpolation in ((3, "bicubic"), (1, "bilinear")):
        view, module = ImageView(72, 64, interpolation), loaded(images)
        mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels]
        order = {3: "BGR", 1: "RGB"}[channels]
        info = ModelInfo(
            "n", "", "image_classification", "", (channels, 64, 64), 2, "cnn", "", mean=mean, std=std,
            channel_order=order,
        )
        decoded = torch.from_numpy(view.apply(read_image(tmp_path / name, reading)[0]).copy())[None]
        wanted = prepare_inputs(info, decoded).numpy()
        monkeypatch.setattr(module, "SPEC", {
            "dtype": "float32", "shape": [channels, 64, 64], "scale": 255.0, "mean": mean, "std": std,
            "channel_order": order, "image": {
                "resize_size": 72, "crop_size": 64, "interpolation": interpolation, "apply_exif": True,
                "float_range": [0.0, 5.0],
            },
        })
        found = module.prepare(module.read_image(tmp_path / name)[None])
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_texts_become_the_projects_ids() -> None:
    texts = [
        "a warm , funny film", "Café über-gut!!! don't", "\ttabs\u00a0and\u200bzero\x07 width", "電影 is good",
        "$5 + 3 = 8 ^ `quoted` | tilde~", "", "\u00bfqu\u00e9? \u2014 \u201cso\u201d", "naïve " * 70,
        "\U0001f600 smile", "x" * 120,
    ]
    tokenizer = sentences.read_tokenizer(sst2.TOKENIZER)
    raw = json.loads(sst2.TOKENIZER.read_text(encoding="utf-8"))
    for text, wanted in zip(texts, sentences.encode(tokenizer, texts, 64).tolist(), strict=True):
        words = text_template.words(text, raw["normalizer"])
        pieces = [piece for word in words for piece in text_template.word_pieces(word, raw)]
        assert (pieces + [0] * 64)[:64] == wanted, text
    spec = {"shape": [16], "text": {"kind": "characters", "vocabulary": python_source.VOCABULARY}}
    ids, length = text_template.encode("\tif é:\r\n", spec, Path())
    assert ids[:length].tolist() == python_source.encode("\tif é:\r\n").tolist() and len(ids) == 16


def test_of_a_language_model_the_token_behind_the_text_is_described(images: Path) -> None:
    module = loaded(images)
    output = np.arange(12.0).reshape(4, 3)
    assert module.last(output, 2).tolist() == [3, 4, 5] and module.last(output, 0).tolist() == [0, 1, 2]
    assert module.last(output[0], 4).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{}], dtype=object), "cannot be read as an array"),
        (np.zeros((1, 32, 32), np.int64), "type int64 is not allowed; uint8 (raw) or floats"),
        (np.zeros((5, 5), np.uint8), "shape [5, 5] is not allowed"),
        (np.zeros((2, 1, 30, 32), np.uint8), "shape [1, 30, 32] is not allowed"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(images: Path, tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array)
    found = call(images, str(tmp_path / "a.npy"))
    assert found.returncode == 2 and words in found.stderr and found.stderr.count("\n") == 1


def test_raw_arrays_of_one_and_three_channels_are_read(images: Path, tmp_path: Path) -> None:
    for channels in (1, 3):
        np.save(tmp_path / "a.npy", np.full((2, channels, 32, 32), 100, np.uint8))
        found = call(images, str(tmp_path / "a.npy"))
        assert found.returncode == 0 and found.stdout.count("%") >= 6, found.stderr
