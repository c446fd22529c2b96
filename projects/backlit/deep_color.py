"""Photos of 16 bits a color, which Pillow reads as 8: PNG and TIFF, with color profile and metadata put back."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _PHOTOMETRIC = 258, 339, 262
_BLACK_IS_ZERO, _RGB, _UNSIGNED = 1, 2, 1
_HEAD_END = 8 + 25  # a PNG's signature and its first chunk
_SUB_DIRECTORIES = (0x8769, 0x8825)  # EXIF and GPS
#: description, make, model, software, date, artist, copyright
_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
_ASCII, _LONG = 2, 4


def is_deep(image: Image.Image, head: bytes) -> bool:
    """Whether an open file holds 16-bit gray or RGB; `head` is how the file begins, 25 bytes or more."""
    if image.format == "PNG":
        return head[24] == 16
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return set(tags.get(_BITS_PER_SAMPLE, ())) == {16} and tags.get(_PHOTOMETRIC) in (_BLACK_IS_ZERO, _RGB) and \
        set(np.atleast_1d(tags.get(_SAMPLE_FORMAT, _UNSIGNED))) == {_UNSIGNED}


def decode_deep(content: bytes) -> np.ndarray | None:
    """The bytes of a file -> (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA uint16; None where it cannot be decoded."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if pixels.ndim == 2:
        return pixels
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:pixels.shape[2]]])


def encode_png(pixels: np.ndarray, icc_profile: bytes | None, exif: bytes | None) -> bytes:
    """(H, W), (H, W, 3) or (H, W, 4) uint16 -> the bytes of a PNG file of 16 bits."""
    order = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:pixels.shape[2]]])
    content = cv2.imencode(".png", order)[1].tobytes()
    chunks = b""
    if icc_profile is not None:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
    if exif is not None:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return content[:_HEAD_END] + chunks + content[_HEAD_END:]


def encode_tiff(pixels: np.ndarray, icc_profile: bytes | None, exif: bytes | None) -> bytes:
    """(H, W), (H, W, 3) or (H, W, 4) uint16 -> the bytes of a TIFF file of 16 bits, compressed without loss.

    Of the metadata the texts, EXIF and the place are kept.
    """
    import tifffile  # here: few photos need it

    facts = Image.Exif()
    facts.load(exif or b"")
    texts: list[tuple[Any, ...]] = [(tag, _ASCII, None, str(facts[tag]), True) for tag in _TEXTS if tag in facts]
    inner = {tag: values for tag in _SUB_DIRECTORIES if (values := facts.get_ifd(tag))}
    # tifffile writes no such directories: numbers beside theirs keep the place, which the real ones take afterwards
    texts += [(tag + 1, _LONG, 1, 0, True) for tag in inner]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, byteorder="<", photometric="minisblack" if pixels.ndim == 2 else "rgb",
                     extrasamples=["unassalpha"] if pixels.shape[2:] == (4,) else None, compression="zlib",
                     predictor=True, metadata=None, software=False, iccprofile=icc_profile, extratags=texts)
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as file:
        entries = {tag: file.pages[0].tags[tag + 1].offset for tag in inner}
    for tag, values in inner.items():
        _append_directory(buffer, entries[tag], tag, values)
    return buffer.getvalue()


def _append_directory(buffer: io.BytesIO, entry: int, tag: int, values: dict[int, Any]) -> None:
    """Write a directory at the end of a little-endian TIFF file, and point the entry at this offset to it."""
    start = buffer.seek(0, io.SEEK_END)
    if start % 2:
        start += buffer.write(b"\0")
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for inner, value in values.items():
        if not isinstance(value, dict):
            directory[inner] = value
    buffer.write(directory.tobytes(start))
    buffer.seek(entry)
    buffer.write(struct.pack("<HHII", tag, _LONG, 1, start))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
