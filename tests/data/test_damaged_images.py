"""More than 200 damaged and unusual image files: each is decoded right, or named in one error; never silently gray."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from clipapps.data.damage import complaint_about, is_filled_with_gray
from clipapps.data.images import read_image
from clipapps.errors import BadSampleError

SHAPE = (64, 96, 3)
SAVED = {"jpg": dict(quality=85), "progressive.jpg": dict(quality=85, progressive=True),
         "restarts.jpg": dict(quality=85, restart_marker_blocks=4), "png": {}, "webp": dict(quality=80), "tiff": {}}


def scene() -> np.ndarray:
    """Waves and noise; not one gray block."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = np.stack([127 + 100 * np.sin(x / 9 + y / 17), 127 + 100 * np.cos(x / 5), (x * y) % 255], -1)
    return np.clip(waves + np.random.default_rng(0).normal(0, 10, SHAPE), 0, 255).astype(np.uint8)


def encoded(kind: str, pixels: np.ndarray | None = None) -> bytes:
    buffer, suffix = io.BytesIO(), kind.rpartition(".")[2]
    Image.fromarray(scene() if pixels is None else pixels).save(
        buffer, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **SAVED[kind])
    return buffer.getvalue()


def cut_files() -> Iterator[tuple[str, bytes]]:
    for kind in SAVED:
        whole = encoded(kind)
        for part in range(10 if kind != "jpg" else 20):
            yield f"cut{part}.{kind}", whole[: len(whole) * part // (10 if kind != "jpg" else 20)]


def flipped_files() -> Iterator[tuple[str, bytes]]:
    generator = random.Random(7)
    for kind, count in (("jpg", 40), ("progressive.jpg", 15), ("restarts.jpg", 15), ("png", 20), ("webp", 5),
                        ("tiff", 5)):
        whole = encoded(kind)
        for number in range(count):
            broken = bytearray(whole)
            broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
            yield f"flip{number}.{kind}", bytes(broken)


def ended_early() -> Iterator[tuple[str, bytes]]:
    """The data of a JPEG end early, but its end marker stands where it belongs: libjpeg fills up with gray."""
    whole = encoded("jpg")
    start = whole.index(b"\xff\xda") + 14
    for part in range(1, 11):
        yield f"early{part}.jpg", whole[: start + (len(whole) - start) * part // 12] + b"\xff\xd9"


def zeroed_files() -> Iterator[tuple[str, bytes]]:
    """A stretch of zero bytes, as a disk leaves that lost a page."""
    for kind in ("jpg", "png"):
        whole = encoded(kind)
        for part in range(5):
            start = len(whole) * (part + 1) // 7
            yield f"zeros{part}.{kind}", whole[:start] + bytes(200) + whole[start + 200:]
        yield f"tail.{kind}", whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)


def chunks(*pieces: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(
        ">I", zlib.crc32(kind + data)) for kind, data in pieces)


def unusual_files() -> Iterator[tuple[str, bytes, tuple[int, int] | None]]:
    """Name, content, and the size (H, W) that it is to be decoded to; None for an error."""
    image, size = Image.fromarray(scene()), SHAPE[:2]

    def saved(picture: Image.Image, form: str, **options) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        return buffer.getvalue()

    yield "empty.jpg", b"", None
    yield "zeros.png", bytes(1000), None
    for suffix in ("png", "bmp", "tiff"):
        yield f"jpeg_inside.{suffix}", encoded("jpg"), size
    yield "text.jpg", b"not a picture\n" * 50, None
    yield "cmyk.jpg", saved(image.convert("CMYK"), "JPEG"), size
    yield "gray16.png", saved(Image.fromarray(scene()[..., 0].astype(np.uint16) * 257), "PNG"), size
    row = b"\0" + scene()[0].astype(">u2").tobytes()
    yield "rgb16.png", chunks((b"IHDR", struct.pack(">IIBBBBB", SHAPE[1], 1, 16, 2, 0, 0, 0)),
                              (b"IDAT", zlib.compress(row)), (b"IEND", b"")), (1, SHAPE[1])
    yield "palette.png", saved(image.quantize(16), "PNG"), size
    yield "alpha.png", saved(image.convert("RGBA"), "PNG"), size
    yield "gray_alpha.png", saved(image.convert("LA"), "PNG"), size
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"exif{orientation}.jpg", saved(image, "JPEG", exif=exif), size if orientation < 5 else size[::-1]
    frames = [image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for form in ("GIF", "PNG", "WEBP"):
        yield f"animated.{form.lower()}", saved(frames[0], form, save_all=True, append_images=frames[1:]), size
    for width, height in ((1, 1), (1, 20_000), (20_000, 1)):
        yield f"{width}x{height}.png", saved(image.resize((width, height)), "PNG"), (height, width)
    for side in (9_500, 13_000, 60_000):
        yield f"bomb{side}.png", chunks(
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(side * 3 + 1), 9)), (b"IEND", b"")), None


def gray_blocks(pixels: np.ndarray) -> int:
    """How many 8 x 8 blocks are (128, 128, 128) throughout; counted here, apart from the code under test."""
    blocks = (np.abs(pixels.astype(int) - 128) <= 2).all(2).reshape(SHAPE[0] // 8, 8, SHAPE[1] // 8, 8)
    return int(blocks.all(axis=(1, 3)).sum())


def read(folder, name: str, content: bytes) -> np.ndarray | None:
    """The pixels, or None where it is refused by its name; any other exception is a failure."""
    (folder / name).write_bytes(content)
    try:
        return read_image(folder / name)
    except BadSampleError as error:
        assert name in str(error)
        return None


def test_files_that_were_cut_are_refused(tmp_path):
    files = list(cut_files())
    assert len(files) == 70
    assert [name for name, content in files if read(tmp_path, name, content) is not None] == []


def test_flipped_bits_are_refused_or_leave_a_picture_of_the_same_size_without_gray_blocks(tmp_path):
    results = {name: read(tmp_path, name, content) for name, content in flipped_files()}
    assert len(results) == 100
    accepted = {name: pixels for name, pixels in results.items() if pixels is not None}
    assert {name: pixels.shape for name, pixels in accepted.items() if pixels.shape != SHAPE} == {}
    assert {name: gray_blocks(pixels) for name, pixels in accepted.items() if gray_blocks(pixels)} == {}
    assert not any(name.endswith(".png") for name in accepted)  # its checksums see every flip


def test_data_that_end_early_are_refused_though_the_decoder_is_content(tmp_path):
    files = list(ended_early())
    filled = [name for name, content in files if gray_blocks(np.asarray(Image.open(io.BytesIO(content))))]
    assert len(filled) >= 9  # what the decoder makes of them
    assert [name for name, content in files if name in filled and read(tmp_path, name, content) is not None] == []


def test_lost_pages_are_refused_or_leave_no_gray(tmp_path):
    results = {name: read(tmp_path, name, content) for name, content in zeroed_files()}
    assert len(results) == 12
    assert all(pixels is None for name, pixels in results.items() if name.endswith(".png") or name == "tail.jpg")
    assert all(pixels is None or (pixels.shape == SHAPE and not gray_blocks(pixels)) for pixels in results.values())


def test_unusual_files_are_decoded_right_or_refused(tmp_path):
    files = list(unusual_files())
    assert len(files) == 29
    for name, content, size in files:
        pixels = read(tmp_path, name, content)
        assert (pixels is None) == (size is None), name
        assert pixels is None or pixels.shape == (*size, 3), name
    original = scene().astype(int)
    for name, tolerance in (("alpha.png", 0), ("animated.png", 0), ("jpeg_inside.png", 25), ("cmyk.jpg", 25),
                            ("exif1.jpg", 25)):  # the scene is hard on JPEG; exchanged or inverted colors are 80 away
        assert np.abs(read_image(tmp_path / name).astype(int) - original).mean() <= tolerance, name


@pytest.mark.parametrize("kind", ["jpg", "progressive.jpg", "restarts.jpg"])
@pytest.mark.parametrize("pixels", ["gray", "half gray", "gray with a dot"])
def test_pictures_that_really_are_gray_are_read(tmp_path, kind, pixels):
    array = np.full(SHAPE, 128, np.uint8)
    if pixels == "half gray":
        array[: SHAPE[0] // 2] = scene()[: SHAPE[0] // 2]
    if pixels == "gray with a dot":
        array[20, 30] = 255
    content = encoded(kind, array)
    assert not is_filled_with_gray(content, np.asarray(Image.open(io.BytesIO(content))))
    assert read(tmp_path, f"gray.{kind}", content) is not None


def test_complaints():
    assert complaint_about(encoded("png"), "PNG") == complaint_about(encoded("jpg"), "JPEG") == ""
    assert complaint_about(encoded("jpg")[:-2], "JPEG") == "its end is missing"
    assert complaint_about(encoded("jpg") + bytes(100), "JPEG") == ""  # cameras leave bytes behind the end
    assert complaint_about(b"anything", "WEBP") == ""
