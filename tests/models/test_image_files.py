"""Every kind of image file becomes the 8-bit RGB that it should, or is named."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from models.datasets.image_files import ImageReading, read_image, usual_range
from models.errors import ModelError
from models.info import ModelInfo
from models.preprocessing import prepare_inputs

GRAY = np.add.outer(np.arange(0, 240, 10), np.arange(16)).astype(np.uint8)  # (24, 16), values 0 to 245
COLOUR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], -1)


def read(path: Path, reading: ImageReading | None = None) -> np.ndarray:
    """RGB uint8 (H, W, 3) of a file."""
    return np.asarray(read_image(path, reading or ImageReading())[0])


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def assert_gray(found: np.ndarray, wanted: np.ndarray = GRAY) -> None:
    assert all(np.array_equal(found[..., channel], wanted) for channel in range(3))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_to_eight(suffix: str, tmp_path: Path) -> None:
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 16 24 65535\n" + (GRAY.astype(">u2") * 257).tobytes())
    else:
        saved(deep, path)
    assert_gray(read(path))
    assert read_image(path, ImageReading())[1].bits == 16


def test_a_tiff_whose_zero_is_white_is_turned_over(tmp_path: Path) -> None:
    deep = Image.fromarray((255 - GRAY).astype(np.uint16) * 257)
    assert_gray(read(saved(deep, tmp_path / "a.tif", tiffinfo={262: 0})))


@pytest.mark.parametrize("limit", [1.0, 255.0, 65_535.0])
def test_floats_are_scaled_by_the_range_of_their_data_set(limit: float, tmp_path: Path) -> None:
    values = GRAY / np.float32(255) * np.float32(limit)
    path = saved(Image.fromarray(values), tmp_path / "a.tif")
    _, traits = read_image(path, ImageReading())
    assert traits.float_range == pytest.approx((0, float(values.max())))
    if limit > 1:
        assert usual_range(*traits.float_range) == (0.0, limit)
    assert_gray(read(path, ImageReading(float_range=(0.0, limit))))


def test_the_range_of_floats_is_the_next_usual_one_or_their_own() -> None:
    assert usual_range(0.2, 0.7) == (0.0, 1.0) and usual_range(0, 1.01) == (0.0, 255.0)
    assert usual_range(-1.0, 1.0) == (-1.0, 1.0) and usual_range(0, 1e6) == (0, 1e6)


def test_other_modes_are_what_torchvisions_loader_makes_of_them(tmp_path: Path) -> None:
    alpha = np.full_like(GRAY, 7)
    rgba = np.dstack([COLOUR, alpha])
    assert np.array_equal(read(saved(Image.fromarray(rgba), tmp_path / "rgba.png")), COLOUR)
    assert_gray(read(saved(Image.fromarray(np.dstack([GRAY, alpha])), tmp_path / "la.png")))
    bits = Image.fromarray((GRAY > 100).astype(np.uint8) * 255).convert("1")
    assert_gray(read(saved(bits, tmp_path / "bit.png")), (GRAY > 100) * 255)
    palette = Image.fromarray(GRAY).convert("P")
    assert_gray(read(saved(palette, tmp_path / "p.png", transparency=3)))
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    assert np.array_equal(read(saved(cmyk, tmp_path / "cmyk.tif")), np.asarray(cmyk.convert("RGB")))
    traits = {name: read_image(tmp_path / name, ImageReading())[1] for name in ("rgba.png", "la.png", "p.png")}
    assert all(found.transparent for found in traits.values())


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif"])
def test_of_several_frames_the_first_is_read(suffix: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full_like(GRAY, value)) for value in (40, 200, 90)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(frames[0], tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    image, traits = read_image(path, ImageReading())
    assert traits.frames == 3 and np.asarray(image).mean() == 40


def test_exif_orientation_is_ignored_unless_it_is_asked_for(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(Image.fromarray(COLOUR), tmp_path / "a.png", exif=exif)
    assert read_image(path, ImageReading())[1].rotated
    assert np.array_equal(read(path), COLOUR)
    assert np.array_equal(read(path, ImageReading(apply_exif=True)), np.rot90(COLOUR, -1))
    deep = saved(Image.fromarray(GRAY.astype(np.uint16) * 257), tmp_path / "deep.png", exif=exif)
    assert_gray(read(deep, ImageReading(apply_exif=True)), np.rot90(GRAY, -1))


def raw_tiff(samples: int, kind: int, bits: int) -> bytes:
    """A TIFF of 2 x 2 pixels with zeros."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in (
        (256, 2), (257, 2), (258, (bits,) * samples), (259, 1), (262, 2 if samples > 2 else 1), (273, 0),
        (277, samples), (278, 2), (279, 4 * samples * bits // 8), (339, (kind,) * samples),
        *(((338, (0,) * (samples - 3)),) if samples > 3 else ()),
    ):
        tags[number] = value
    plain = io.BytesIO()
    tags.save(plain)
    tags[273] = len(plain.getvalue())
    whole = io.BytesIO()
    tags.save(whole)
    return whole.getvalue() + bytes(4 * samples * bits // 8)


@pytest.mark.parametrize(
    ("samples", "kind", "bits", "words"),
    [(5, 1, 8, "5 channels"), (1, 2, 16, "signed whole numbers of 16 bits"), (1, 1, 32, "whole numbers of 32 bits")],
)
def test_samples_that_do_not_fit_are_refused(samples: int, kind: int, bits: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(raw_tiff(samples, kind, bits))
    with pytest.raises(ValueError, match=words):
        read_image(tmp_path / "a.tif", ImageReading())


def test_floats_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.full((4, 4), np.nan, np.float32)), tmp_path / "a.tif")
    with pytest.raises(ValueError, match="no finite numbers"):
        read_image(path, ImageReading())


def info(channels: int) -> ModelInfo:
    return ModelInfo("net", "", "image_classification", "", (channels, 24, 16), 2, "cnn", "")


def test_gray_is_luma_as_pillow_rounds_it() -> None:
    images = torch.randint(0, 256, (8, 3, 24, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = prepare_inputs(info(1), images)
    for image, gray in zip(images, found, strict=True):
        wanted = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
        assert np.array_equal((gray[0] * 255).round().numpy(), wanted)
    repeated = torch.from_numpy(GRAY)[None, None].expand(1, 3, -1, -1)
    assert torch.equal(prepare_inputs(info(1), repeated), torch.from_numpy(GRAY)[None, None].float() / 255)


def test_channels_that_do_not_fit_are_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"^channels: 3 is not allowed; net takes 4$"):
        prepare_inputs(info(4), torch.zeros(1, 3, 24, 16, dtype=torch.uint8))
