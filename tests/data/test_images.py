"""Image and mask files: decoded right, or one error that names the file."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from clipapps.data.images import png_bytes, read_image, read_mask, write_image
from clipapps.errors import BadSampleError

RED, GREEN = (200, 30, 30), (30, 200, 30)


@pytest.fixture
def picture() -> Image.Image:
    """24 x 16: left half red, right half green."""
    image = Image.new("RGB", (24, 16), RED)
    image.paste(GREEN, (12, 0, 24, 16))
    return image


def near(array: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool(np.abs(array.astype(int) - color).max() <= 12)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg", ".ppm", ".gif"])
def test_formats(tmp_path, picture, suffix):
    picture.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    array = read_image(tmp_path / f"a{suffix}")
    assert array.shape == (16, 24, 3)
    assert array.dtype == np.uint8
    assert near(array[:, :8], RED)
    assert near(array[:, 16:], GREEN)


def test_the_suffix_does_not_matter(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert near(read_image(tmp_path / "a.jpg")[:, :8], RED)


@pytest.mark.parametrize(("orientation", "corner"), [
    (1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")])
def test_exif_orientation_is_applied(tmp_path, picture, orientation, corner):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    array = read_image(tmp_path / "a.jpg")
    assert array.shape == ((16, 24, 3) if orientation <= 4 else (24, 16, 3))
    part = {"left": array[:, :8], "right": array[:, -8:], "top": array[:8], "bottom": array[-8:]}[corner]
    assert near(part, RED)


def test_broken_exif_does_not_matter(tmp_path, picture):
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=95)
    assert near(read_image(tmp_path / "a.jpg")[:, :8], RED)


def test_transparency_is_composed_over_white(tmp_path, picture):
    picture.putalpha(Image.new("L", picture.size, 0))
    picture.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()
    picture.putalpha(128)
    picture.save(tmp_path / "b.png")
    assert near(read_image(tmp_path / "b.png")[:, :8], (227, 142, 142))


def test_palette_and_gray(tmp_path, picture):
    picture.quantize(4).save(tmp_path / "p.png")
    assert near(read_image(tmp_path / "p.png")[:, 16:], GREEN)
    picture.convert("L").save(tmp_path / "g.png")
    gray = read_image(tmp_path / "g.png")
    assert (gray[..., 0] == gray[..., 2]).all()
    picture.convert("1").save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png"))) <= {0, 255}


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 25_700, 65_535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "g.png")
    assert read_image(tmp_path / "g.png")[0, :, 0].tolist() == [0, 1, 100, 255]
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in values)
    (tmp_path / "rgb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in
        ((b"IHDR", struct.pack(">IIBBBBB", 4, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))))
    assert read_image(tmp_path / "rgb.png")[0, :, 1].tolist() == [0, 1, 100, 255]


def test_cmyk_goes_through_its_profile(tmp_path, picture):
    picture.convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    plain = read_image(tmp_path / "c.jpg")
    assert near(plain[:, :8], RED)
    picture.convert("CMYK").save(tmp_path / "d.jpg", quality=95, icc_profile=b"no profile")
    assert np.array_equal(read_image(tmp_path / "d.jpg"), plain)


def test_the_first_frame_of_an_animation(tmp_path, picture):
    picture.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", picture.size, GREEN)])
    assert near(read_image(tmp_path / "a.gif")[:, :8], RED)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_odd_sizes(tmp_path, size):
    Image.new("RGB", size, RED).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (size[1], size[0], 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".gif"])
def test_every_truncation_is_an_error_with_the_name(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for cut in range(0, 20):
        file = tmp_path / f"cut{suffix}"
        file.write_bytes(whole[: len(whole) * cut // 20])
        with pytest.raises(BadSampleError, match=f"cut{suffix}"):
            read_image(file)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_flipped_bits_decode_or_are_an_error_and_never_anything_else(tmp_path, suffix):
    generator = random.Random(3)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for _ in range(25):
        broken = bytearray(whole)
        broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
        (tmp_path / f"b{suffix}").write_bytes(broken)
        try:
            assert read_image(tmp_path / f"b{suffix}").shape[2] == 3
        except BadSampleError as error:
            assert f"b{suffix}" in str(error)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "is empty"), (b"text\n" * 40, "no image"), (b"\0" * 500, "no image"), (b"<svg xmlns='x'/>", "no image")])
def test_what_is_no_image(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadSampleError, match=f"a.jpg.*{reason}"):
        read_image(tmp_path / "a.jpg")


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(BadSampleError, match="There is no file"):
            read_image(path)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    rows = zlib.compress(b"\0" * (13_000 * 3 + 1), 9)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in
        ((b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))))
    start = time.monotonic()
    with pytest.raises(BadSampleError, match="13000 x 13000 pixels"):
        read_image(tmp_path / "bomb.png")
    assert time.monotonic() - start < 0.5
    with pytest.raises(BadSampleError, match="at most 100"):
        Image.new("RGB", (11, 10)).save(tmp_path / "small.png")
        read_image(tmp_path / "small.png", max_pixels=100)


def test_masks_keep_their_ids(tmp_path):
    ids = np.array([[0, 3], [7, 255]], np.uint8)
    palette = Image.fromarray(ids, "P")
    palette.putpalette([value for color in range(256) for value in (color, 0, 255 - color)])
    palette.save(tmp_path / "p.png")
    Image.fromarray(ids).save(tmp_path / "l.png")
    assert np.array_equal(read_mask(tmp_path / "p.png"), ids)
    assert np.array_equal(read_mask(tmp_path / "l.png"), ids)
    Image.fromarray(np.array([[0, 300]], np.uint16)).save(tmp_path / "i.png")
    assert read_mask(tmp_path / "i.png").tolist() == [[0, 300]]
    Image.fromarray(ids > 0).save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[0, 1], [1, 1]]


def test_a_color_mask_is_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "m.png")
    with pytest.raises(BadSampleError, match=r"m\.png is a RGB image"):
        read_mask(tmp_path / "m.png")


def test_written_pictures_read_back(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    write_image(tmp_path / "a.png", array)
    assert np.array_equal(read_image(tmp_path / "a.png"), array)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(array)))), array)
