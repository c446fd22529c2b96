"""Photo files with all that belongs to them: what is read beside the colors is written again."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from clipapps.data.images import IMAGE_SUFFIXES, MAX_PIXELS, open_image
from clipapps.errors import BadSampleError
from clipapps.projects.backlit.deep_color import decode_deep, encode_png, encode_tiff, is_deep
from clipapps.projects.backlit.profiles import cmyk_to_srgb, srgb_profile, to_srgb

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".avif"})
PHOTO_SUFFIXES = IMAGE_SUFFIXES | HEIF_SUFFIXES
#: formats that are written as they came; HEIC and AVIF become JPEG (PNG with an alpha channel), every other PNG
_KEPT = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION, _EXIF, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
#: EXIF orientation -> quarter turns counter-clockwise after which, if at all, the photo is mirrored left to right
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
#: what a TIFF file lists beside its metadata: size, bits, compression, where the pixels are, thumbnails, profile
_OF_THE_PIXELS = (254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325,
                  330, 332, 334, 336, 338, 339, 347, 513, 514, 529, 530, 531, 532, 34675)
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Photo:
    """A photo, upright.

    Args:
        colors: (H, W, 3) RGB, uint8 or uint16, in the file's own color space; transparent pixels keep their colors.
        alpha: (H, W) of the same type, or None.
        is_gray: the file has no colors.
        icc_profile: the color space's profile, or None.
        exif: the file's other metadata, the orientation taken out, or None.
        suffix: of the file that a result is written to.
    """

    colors: np.ndarray
    alpha: np.ndarray | None = None
    is_gray: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    suffix: str = ".png"

    @property
    def white(self) -> int:
        """The largest value of a color: 255 or 65535."""
        return int(np.iinfo(self.colors.dtype).max)

    def as_seen(self) -> np.ndarray:
        """What the network is shown, (H, W, 3): in sRGB, and the mean color where nothing is to be seen."""
        seen = to_srgb(self.colors, self.icc_profile, is_gray=self.is_gray)
        if self.alpha is None or self.alpha.all() or not self.alpha.any():
            return seen
        return np.where((self.alpha > 0)[..., None], seen, seen[self.alpha > 0].mean(axis=0).astype(seen.dtype))

    def preview(self, colors: np.ndarray) -> np.ndarray:
        """Colors of this photo as (H, W, 3) uint8."""
        return colors if colors.dtype == np.uint8 else (colors >> 8).astype(np.uint8)

    def encoded(self, colors: np.ndarray) -> bytes:
        """The bytes of a file like this one with other colors (H, W, 3) of the same type."""
        if colors.dtype == np.uint16:
            encode = encode_tiff if _KEPT[self.suffix] == "TIFF" else encode_png
            return encode(self._channels(colors), self.icc_profile, self.exif)
        image = Image.fromarray(colors)
        if self.is_gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        facts = {name: value for name, value in (("icc_profile", self.icc_profile), ("exif", self.exif))
                 if value is not None}
        kind, buffer = _KEPT[self.suffix], io.BytesIO()
        options: dict[str, Any] = dict(quality=_JPEG_QUALITY, subsampling=0) if kind == "JPEG" else \
            dict(lossless=True) if kind == "WEBP" else {}
        image.save(buffer, format=kind, **options, **facts)
        return buffer.getvalue()

    def _channels(self, colors: np.ndarray) -> np.ndarray:
        if self.alpha is not None:
            return np.dstack([colors, self.alpha])
        return np.ascontiguousarray(colors[..., 0]) if self.is_gray else colors


def read_photo(path: str | Path) -> Photo:
    """Read a photo file.

    Palettes become colors, CMYK goes to sRGB through its profile, and both are written so.

    Raises:
        BadSampleError: the file cannot be used; the message names it and the reason.
    """
    path = Path(path)
    with open(path, "rb") if path.is_file() else io.BytesIO() as stream:
        head = stream.read(32)
    is_heif = head[4:8] == b"ftyp"
    image = _open_heif(path) if is_heif else open_image(path)
    try:
        suffix = path.suffix.lower() if path.suffix.lower() in _KEPT else ".png"
        if not is_heif and is_deep(image, head) and (pixels := decode_deep(path.read_bytes())) is not None:
            return _deep_photo(image, pixels, suffix if suffix.startswith(".tif") else ".png")
        return _photo(image, ".jpg" if is_heif and "A" not in image.mode else suffix)
    except (OSError, ValueError, SyntaxError, TypeError) as error:
        raise BadSampleError(f"{path} cannot be decoded: {error}.") from error


def _photo(image: Image.Image, suffix: str) -> Photo:
    """The photo in an image that Pillow has decoded."""
    exif = _metadata(image)
    image = ImageOps.exif_transpose(image)
    is_gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        return Photo(np.asarray(cmyk_to_srgb(image)), None, False, srgb_profile(), exif, suffix)
    if image.mode == "F":
        raise ValueError("it stores floating-point values")
    if image.mode.startswith("I"):  # 16 bits of gray in a format without a deep reader
        gray = np.clip((np.asarray(image).astype(np.int64) + 128) // 257, 0, 255).astype(np.uint8)
        return Photo(np.repeat(gray[..., None], 3, axis=2), None, True, profile, exif, suffix)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        suffix = ".png" if _KEPT[suffix] == "JPEG" else suffix
        colors, alpha = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
        return Photo(colors, alpha, is_gray, profile, exif, suffix)
    return Photo(np.array(image.convert("RGB")), None, is_gray, profile, exif, suffix)


def _deep_photo(image: Image.Image, pixels: np.ndarray, suffix: str) -> Photo:
    """The photo of 16-bit pixels (H, W[, C]) whose metadata Pillow has read."""
    turns, is_mirrored = _TURNS.get(image.getexif().get(_ORIENTATION, 1), (0, False))
    pixels = np.rot90(pixels, turns)
    pixels = np.ascontiguousarray(pixels[:, ::-1] if is_mirrored else pixels)
    is_gray = pixels.ndim == 2
    colors = np.repeat(pixels[..., None], 3, axis=2) if is_gray else np.ascontiguousarray(pixels[..., :3])
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2:] == (4,) else None
    return Photo(colors, alpha, is_gray, image.info.get("icc_profile"), _metadata(image), suffix)


def _metadata(image: Image.Image) -> bytes | None:
    """EXIF of a file for its upright copy."""
    try:
        exif = image.getexif()
        if exif.get(_ORIENTATION, 1) in (5, 6, 7, 8) and {_WIDTH, _HEIGHT} <= (inner := exif.get_ifd(_EXIF)).keys():
            inner[_WIDTH], inner[_HEIGHT] = inner[_HEIGHT], inner[_WIDTH]
        kept = Image.Exif()
        kept.load(exif.tobytes())
        for tag in (_ORIENTATION, *_OF_THE_PIXELS):
            kept.pop(tag, None)
        return kept.tobytes() if len(kept) else None
    except Exception:  # metadata that cannot be parsed are lost, the photo is not
        return None


def _open_heif(path: Path) -> Image.Image:
    """A HEIC or AVIF file, decoded and upright."""
    with open(path, "rb") as stream:
        is_avif = stream.read(12)[8:] in (b"avif", b"avis")
    try:
        if is_avif:
            image: Any = Image.open(path, formats=("AVIF",))
        else:
            import pillow_heif  # optional

            image = pillow_heif.open_heif(path)
        if image.size[0] * image.size[1] > MAX_PIXELS:
            raise ValueError(f"it has {image.size[0]} x {image.size[1]} pixels; at most {MAX_PIXELS:,} are read")
        if is_avif:
            image.load()
        return image if is_avif else image.to_pillow()
    except ModuleNotFoundError as error:
        raise BadSampleError(f"{path} is a HEIC photo; reading it takes one more package: pip install "
                             "pillow-heif.") from error
    except Exception as error:
        raise BadSampleError(f"{path} cannot be decoded: {error}.") from error
