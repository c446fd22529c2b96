"""Image and mask files to arrays: decoded right, or one error that names the file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from clipapps.data.damage import complaint_about, is_filled_with_gray
from clipapps.errors import BadSampleError

MAX_PIXELS = 80_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
_MASK_MODES = {"1", "L", "P", "I;16", "I;16B", "I;16L", "I"}


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Transparent pixels are composed over white, gray and palette images become RGB, 16-bit values are scaled to 8 bits,
    CMYK goes through its own profile to sRGB, and of an animation the first frame is taken.

    Args:
        path: a JPEG, PNG, WebP, BMP, TIFF, GIF or PNM file; recognized by content, not by suffix.
        max_pixels: width times height allowed; read from the header, before anything is decoded.

    Raises:
        BadSampleError: it is missing, empty, of another kind, damaged or too large; the message names file and reason.
    """
    image = open_image(path, max_pixels=max_pixels)
    try:
        return rgb_of(image)
    except Exception as error:
        raise BadSampleError(f"{path} cannot be decoded: {_words(error)}.") from error


def rgb_of(image: Image.Image) -> np.ndarray:
    """A Pillow image as (H, W, 3) uint8 RGB, as `read_image` gives it; raises ValueError for floating-point values.

    >>> rgb_of(Image.new("LA", (3, 2), (0, 0)))[0, 0]  # transparent, so the white behind it
    array([255, 255, 255], dtype=uint8)
    """
    return _to_rgb(_upright(image))


def open_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An image file as Pillow gives it, decoded and found whole: in its own mode, not turned, with all its metadata.

    Raises:
        BadSampleError: as `read_image`.
    """
    image, content = _open(path, max_pixels)
    try:
        image.load()
        if image.format == "JPEG" and is_filled_with_gray(content, np.asarray(image)):
            raise ValueError("its data are damaged, and the rest of the picture is gray")
    except Exception as error:
        raise BadSampleError(f"{path} cannot be decoded: {_words(error)}.") from error
    return image


def read_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a label file as (H, W) class ids, without any color conversion: a palette image gives its indices.

    Returns:
        uint8, or int32 where the file stores 16 bits.

    Raises:
        BadSampleError: as `read_image`, or the file has color channels instead of ids.
    """
    image, _ = _open(path, max_pixels)
    if image.mode not in _MASK_MODES:
        raise BadSampleError(f"{path} is a {image.mode} image, but a mask has one channel of class ids.")
    try:
        ids = np.asarray(image)
    except Exception as error:
        raise BadSampleError(f"{path} cannot be decoded: {_words(error)}.") from error
    return ids.astype(np.uint8 if ids.dtype in (np.uint8, np.bool_) else np.int32)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8, RGB order, in the format of the path's suffix (PNG, JPEG, WebP, ...)."""
    Image.fromarray(image).save(Path(path))


def png_bytes(image: np.ndarray) -> bytes:
    """(H, W, 3) or (H, W) uint8, RGB order, as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _open(path: str | Path, max_pixels: int) -> tuple[Image.Image, bytes]:
    """The image with its header read, its size and structure checked, and the file's bytes; nothing is decoded yet."""
    file = Path(path)
    if not file.is_file():
        raise BadSampleError(f"There is no file {file}.")
    try:
        content = file.read_bytes()
        if not content:
            raise BadSampleError(f"{file} is empty.")
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadSampleError(f"{file} has too many pixels; at most {max_pixels:,} are read.") from error
    except Image.UnidentifiedImageError as error:
        raise BadSampleError(f"{file} is no image that is read here ({', '.join(FORMATS)}).") from error
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError, TypeError, KeyError, IndexError) as error:
        raise BadSampleError(f"{file} cannot be read: {_words(error)}.") from error
    width, height = image.size
    if width * height > max_pixels:
        raise BadSampleError(f"{file} has {width} x {height} pixels; at most {max_pixels:,} are read.")
    if complaint := complaint_about(content, str(image.format)):
        raise BadSampleError(f"{file} cannot be decoded: {complaint}.")
    return image, content


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF that cannot be parsed says nothing about orientation; the pixels are fine
        return image


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit gray; Pillow would clip it to 8 bits
        gray = np.asarray(image).astype(np.int64)
        return np.repeat(np.clip((gray + 128) // 257, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("it stores floating-point values")
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        image = _through_profile(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _through_profile(image: Image.Image) -> Image.Image:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return converted or image
    except (ImageCms.PyCMSError, OSError):  # a damaged profile: fall back to the plain conversion
        return image


def _words(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
