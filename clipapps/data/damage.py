"""Damage that a decoder passes over in silence: a JPEG filled up with gray, a PNG whose checksums do not match.

libjpeg warns where a file's data end early or make no sense, fills the rest of the picture with middle gray, and
reports success; Pillow does not pass the warnings on. So a decoded JPEG that holds such a gray block is decoded once
more with bytes inserted where its data end: a whole file ignores them, a damaged one turns them into something else.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

_BLOCK = 8  # pixels; the side of a JPEG block
_GRAY = (126, 130)  # what a block without data becomes, give or take the conversion of colors
_FILLER = bytes(np.random.default_rng(0).integers(0, 255, 4096, np.uint8))  # any bytes below 0xFF are data
_SCAN, _END = 0xDA, 0xD9
_RESTARTS = range(0xD0, 0xD8)
_PNG_HEAD = 8


def complaint_about(content: bytes, kind: str) -> str:
    """Why an image file is damaged, as far as its structure tells; empty where it is whole.

    Args:
        content: the file.
        kind: Pillow's name of its format, "PNG" or "JPEG"; others have nothing to check.
    """
    if kind == "PNG":
        return "" if _checksums_match(content) else "a checksum does not match"
    if kind == "JPEG":
        scans = _ends_of_scans(content)
        return "" if scans and _has_end(content, scans[-1]) else "its end is missing"
    return ""


def is_filled_with_gray(content: bytes, pixels: np.ndarray) -> bool:
    """Whether a JPEG's decoder ran out of data and filled blocks with gray.

    Args:
        content: the file.
        pixels: (H, W) or (H, W, C) uint8 as decoded, before any turning.
    """
    if not _has_gray_block(pixels):
        return False
    try:
        with Image.open(io.BytesIO(_with_filler(content)), formats=("JPEG",)) as again:
            return not np.array_equal(np.asarray(again), pixels)
    except Exception:  # the file itself was decoded without an error; with more data in it that must hold as well
        return True


def _has_gray_block(pixels: np.ndarray) -> bool:
    """Whether a block is gray throughout; two pixels of each rule out nearly all blocks of nearly all pictures."""
    height, width = (side // _BLOCK * _BLOCK for side in pixels.shape[:2])
    if not height or not width:
        return False
    first, second = (_is_gray(pixels[start:height:_BLOCK, start:width:_BLOCK]) for start in (0, 5))
    if not (first & second).any():
        return False
    blocks = _is_gray(pixels[:height, :width]).reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return bool(blocks.all(axis=(1, 3)).any())


def _is_gray(pixels: np.ndarray) -> np.ndarray:
    low, high = _GRAY
    is_gray = (pixels >= low) & (pixels <= high)
    return np.asarray(is_gray.all(axis=2) if is_gray.ndim == 3 else is_gray)


def _with_filler(content: bytes) -> bytes:
    """The file with meaningless data added at the end of each scan and of each restart interval."""
    parts, last = [], 0
    for end in _ends_of_scans(content, with_restarts=True):
        parts += [content[last:end], _FILLER]
        last = end
    return b"".join([*parts, content[last:]])


def _ends_of_scans(content: bytes, *, with_restarts: bool = False) -> list[int]:
    """Where the data of each scan end: the places of the markers that follow them."""
    ends: list[int] = []
    place = 2
    while 0 <= (place := content.find(b"\xff", place)) < len(content) - 3:
        marker = content[place + 1]
        if marker == _END:
            break
        if marker in (0x00, 0x01, 0xFF) or marker in _RESTARTS:
            place += 1 if marker == 0xFF else 2
            continue
        place += 2 + int.from_bytes(content[place + 2: place + 4], "big")
        if marker == _SCAN:
            place = _end_of_data(content, place, ends if with_restarts else None)
            ends.append(place)
    return ends


def _end_of_data(content: bytes, place: int, restarts: list[int] | None) -> int:
    """The place of the marker that ends the data beginning at `place`; restart markers on the way are noted."""
    while 0 <= (found := content.find(b"\xff", place)) < len(content) - 1:
        marker = content[found + 1]
        if marker in _RESTARTS and restarts is not None:
            restarts.append(found)
        if marker not in (0x00, 0xFF) and marker not in _RESTARTS:
            return found
        place = found + (1 if marker == 0xFF else 2)
    return len(content)


def _has_end(content: bytes, after: int) -> bool:
    return content.find(bytes((0xFF, _END)), after) >= 0


def _checksums_match(content: bytes) -> bool:
    """Whether every chunk of a PNG up to its end has the checksum that stands behind it."""
    place = _PNG_HEAD
    while place + 12 <= len(content):
        length = int.from_bytes(content[place: place + 4], "big")
        end = place + 8 + length
        if zlib.crc32(content[place + 4: end]) != int.from_bytes(content[end: end + 4], "big"):
            return False
        if content[place + 4: place + 8] == b"IEND":
            return True
        place = end + 4
    return False
