"""Photo files of every kind: depth, colors, profile, transparency and metadata come out as they went in."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from clipapps.errors import BadSampleError
from clipapps.projects.backlit.deep_color import encode_png, encode_tiff
from clipapps.projects.backlit.photos import read_photo
from clipapps.projects.backlit.profiles import srgb_profile, to_srgb

ORIENTATION, ARTIST, EXIF, EXPOSURE, GPS, LATITUDE = 0x0112, 0x013B, 0x8769, 0x829A, 0x8825, 1


@pytest.fixture
def colors() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (9, 14, 4), dtype=np.uint16)


def metadata(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = orientation, "someone"
    exif.get_ifd(EXIF)[EXPOSURE] = 0.25
    exif.get_ifd(GPS)[LATITUDE] = "N"
    return exif.tobytes()


def swapped_profile() -> bytes:
    """A color space whose red is sRGB's blue and the other way round."""
    profile = bytearray(srgb_profile().replace(b"sRGB", b"swap").replace("sRGB".encode("utf-16-be"),
                                                                          "swap".encode("utf-16-be")))
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red:red + 4], profile[blue:blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def again(file: Path, folder: Path) -> Path:
    """Read a photo, and write it unchanged to another folder."""
    photo = read_photo(file)
    copy = folder / f"copy{photo.suffix}"
    copy.write_bytes(photo.encoded(photo.colors))
    return copy


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", ["gray", "rgb", "rgba"])
def test_16_bits_stay_to_the_bit_with_profile_and_metadata(colors: np.ndarray, tmp_path: Path, suffix: str,
                                                           channels: str):
    pixels = {"gray": colors[..., 0], "rgb": colors[..., :3], "rgba": colors}[channels].copy()
    encode = encode_png if suffix == ".png" else encode_tiff
    (tmp_path / f"deep{suffix}").write_bytes(encode(pixels, srgb_profile(), metadata()))
    copy = again(tmp_path / f"deep{suffix}", tmp_path)
    found = cv2.imread(str(copy), cv2.IMREAD_UNCHANGED)
    expected = pixels if channels == "gray" else pixels[..., [2, 1, 0, 3][:pixels.shape[2]]]
    assert found.dtype == np.uint16 and np.array_equal(found, expected)
    with Image.open(copy) as image:
        exif = image.getexif()
        assert image.info["icc_profile"] == srgb_profile() and exif[ARTIST] == "someone"
        assert float(exif.get_ifd(EXIF)[EXPOSURE]) == 0.25 and exif.get_ifd(GPS)[LATITUDE] == "N"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_as_pillow_turns_8(colors: np.ndarray, tmp_path: Path, orientation: int):
    deep = colors[..., :3].copy()
    (tmp_path / "deep.png").write_bytes(encode_png(deep, None, metadata(orientation)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "flat.png", exif=exif)
    photo = read_photo(tmp_path / "deep.png")
    assert np.array_equal(photo.colors >> 8, read_photo(tmp_path / "flat.png").colors)
    kept = Image.Exif()
    kept.load(photo.exif or b"")
    assert ORIENTATION not in kept and kept[ARTIST] == "someone"


def test_gray_16_bit_png_of_pillow_is_read(tmp_path: Path):
    ramp = (np.arange(200, dtype=np.uint16) * 300).reshape(10, 20)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    photo = read_photo(tmp_path / "ramp.png")
    assert photo.is_gray and np.array_equal(photo.colors[..., 1], ramp)


def test_the_network_sees_srgb_and_the_file_keeps_its_space(tmp_path: Path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png", icc_profile=swapped_profile())
    photo = read_photo(tmp_path / "wide.png")
    assert np.array_equal(photo.colors, pixels)
    assert np.abs(photo.as_seen().astype(int) - pixels[..., ::-1]).max() <= 1
    with Image.open(again(tmp_path / "wide.png", tmp_path)) as image:
        assert image.info["icc_profile"] == swapped_profile()
    deep = pixels.astype(np.uint16) * 257
    assert np.abs(to_srgb(deep, swapped_profile()).astype(int) - pixels[..., ::-1]).max() <= 1


@pytest.mark.parametrize("profile", [None, srgb_profile(), b"no profile", srgb_profile()[:200]])
def test_srgb_and_useless_profiles_change_nothing(profile: bytes | None):
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert to_srgb(pixels, profile) is pixels


def test_cmyk_is_written_as_srgb_and_says_so(tmp_path: Path):
    Image.new("CMYK", (16, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    with Image.open(again(tmp_path / "print.jpg", tmp_path)) as image:
        red, green, _ = image.getpixel((8, 4))
        assert image.mode == "RGB" and red > 200 and green < 60
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_palettes_keep_their_holes(tmp_path: Path):
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "drawing.gif", transparency=0)
    with Image.open(again(tmp_path / "drawing.gif", tmp_path)) as image:
        assert image.format == "PNG" and image.getpixel((3, 2)) == (200, 100, 50, 255)
        assert image.getpixel((0, 0))[3] == 0


def test_what_is_not_seen_does_not_count(tmp_path: Path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:, 3:] = 100, 150, 200, 255  # the left half is black and transparent
    Image.fromarray(pixels).save(tmp_path / "cutout.png")
    photo = read_photo(tmp_path / "cutout.png")
    assert (photo.colors[:, :3] == 0).all() and (photo.as_seen() == (100, 150, 200)).all()


def test_sizes_in_the_metadata_turn_with_the_photo(tmp_path: Path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(EXIF).update({0xA002: 14, 0xA003: 9})
    Image.new("RGB", (14, 9)).save(tmp_path / "upright.jpg", exif=exif)
    with Image.open(again(tmp_path / "upright.jpg", tmp_path)) as image:
        inner = image.getexif().get_ifd(EXIF)
        assert image.size == (9, 14) and (inner[0xA002], inner[0xA003]) == (9, 14)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_photos_of_phones_become_jpeg(tmp_path: Path, kind: str):
    pytest.importorskip("pillow_heif", reason="pillow-heif is optional")
    file = tmp_path / f"photo.{kind.lower()}"
    picture = Image.new("RGB", (64, 32), (200, 100, 50))
    if kind == "AVIF":
        picture.save(file, quality=90, exif=metadata(), icc_profile=srgb_profile())
    else:
        import pillow_heif

        heif = pillow_heif.from_pillow(picture)
        heif.info.update(exif=metadata(6), icc_profile=srgb_profile())
        heif.save(file, quality=90)
    with Image.open(again(file, tmp_path)) as image:
        assert image.format == "JPEG" and image.size in ((64, 32), (32, 64))
        assert np.abs(np.array(image.getpixel((16, 16))) - (200, 100, 50)).max() < 8
        assert image.getexif()[ARTIST] == "someone" and image.info["icc_profile"] == srgb_profile()
        assert ORIENTATION not in image.getexif()


def test_heic_without_its_package_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadSampleError, match="photo.heic is a HEIC photo.*pip install .*pillow-heif"):
        read_photo(tmp_path / "photo.heic")


@pytest.mark.parametrize("content", [b"", b"text", b"\0\0\0\x18ftypheic" + bytes(40), b"\0\0\0\x18ftypavif" + bytes(40),
                                     b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_damaged_files_are_one_error(tmp_path: Path, content: bytes):
    (tmp_path / "photo.png").write_bytes(content)
    with pytest.raises(BadSampleError, match="photo.png"):
        read_photo(tmp_path / "photo.png")
    with pytest.raises(BadSampleError, match="no file"):
        read_photo(tmp_path / "none.png")
