"""Damage that decoders pass over in silence, found in the structure of a video's bytes.

An H.264 or H.265 decoder that meets zeros in the midst of a picture, as a download with holes has them, decodes them
into something; but the encoding never contains two zero bytes before a byte below 3, so that such bytes prove damage.
A reader of AVI or Matroska files that meets a broken part looks for the next one that makes sense and leaves out those
between, after which frames stand at wrong places or lack what they were predicted from; but the parts of a whole file
follow one another without gaps.

What nothing here can find: single changed bytes of VP8, VP9, AV1 and H.265, whose decoders make other pictures of them
without any sign.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_PREFIXED = {"h264": (4, 7), "hevc": (21, 23)}  # codec -> where its header tells the length's size, its shortest header
_RANDOM_LOOKING, _HOLE = ("vp8", "vp9", "av1", "libdav1d"), 32
_PADDING = 3  # zeros that some programs leave behind a unit
_NEVER = (b"\0\0\0", b"\0\0\1", b"\0\0\2")
_AVI_LISTS = (b"RIFF", b"LIST")
_WALKED = (bytes.fromhex("18538067"), bytes.fromhex("1F43B675"))  # segment, cluster
_ELEMENTS = {*_WALKED, *map(bytes.fromhex, (
    "1A45DFA3", "114D9B74", "1549A966", "1654AE6B", "1C53BB6B", "1043A770", "1941A469", "1254C367",  # beside clusters
    "E7", "A3", "A0", "A7", "AB", "AF", "5854",  # in clusters
    "EC", "BF"))}  # anywhere: nothing, and checksums


def length_size(codec: str, header: bytes | None) -> int:
    """Bytes of the length before each unit of a packet; 0 where units begin with start codes, or for other codecs.

    Args:
        codec: FFmpeg's name, as "h264".
        header: the stream's extra data.
    """
    if codec not in _PREFIXED or header is None:
        return 0
    place, least = _PREFIXED[codec]
    return (header[place] & 3) + 1 if len(header) >= least and header[0] == 1 else 0


def units_complaint(packet: bytes, size: int, codec: str = "h264") -> str:
    """Why a packet of length-prefixed units is damaged, as far as its bytes tell; empty where they do not.

    Only units of picture data are looked into: for what else goes along, not every program keeps to the rules.

    Args:
        packet: its data.
        size: from `length_size`.
        codec: FFmpeg's name.

    >>> units_complaint(bytes([0, 0, 0, 3, 65, 0, 7]), 4), units_complaint(bytes([0, 0, 0, 3, 65, 0, 0]), 4)
    ('', '')
    >>> units_complaint(bytes([0, 0, 0, 5, 65, 0, 0, 0, 7]), 4)
    'its data are overwritten with bytes that no encoder writes'
    """
    place = 0
    while place + size <= len(packet):
        length = int.from_bytes(packet[place:place + size], "big")
        place += size
        if length > len(packet) - place:
            return "its data are longer than they can be"
        unit = packet[place:place + length]
        whole = unit.rstrip(b"\0")
        is_padded = len(unit) - len(whole) > _PADDING
        if _is_picture(unit, codec) and (is_padded or any(pattern in whole for pattern in _NEVER)):
            return "its data are overwritten with bytes that no encoder writes"
        place += length
    return ""


def end_of_chain(path: str | Path, container: str) -> int | None:
    """The byte from which the parts of a file do not follow one another; None where they do so to the end.

    The part before the broken place counts as broken, too: it may have lost some of its bytes. A file that just ends
    early has no such place.

    Args:
        path: the file.
        container: FFmpeg's name of its kind; AVI and Matroska (WebM) are looked at.
    """
    kind = container.split(",")[0]
    if kind not in _PARTS:
        return None
    end = os.path.getsize(path)
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = before = 0
        while place < end:
            following = _PARTS[kind](content, place)
            if following is None:
                return before
            before, place = place, following
    return None


def _is_picture(unit: bytes, codec: str) -> bool:
    """Whether a unit holds a part of a picture; a unit that begins with a zero byte is none that the standard knows."""
    kind = unit[0] if unit else 0
    return kind >> 1 & 63 < 32 if codec == "hevc" else 1 <= kind & 31 <= 5 or not kind


def zeros_complaint(packet: bytes, codec: str) -> str:
    """The same for codecs without any forbidden bytes, whose data are as good as random: no long run of zeros.

    >>> zeros_complaint(b"data" + bytes(31) + b"data", "vp9"), zeros_complaint(b"data" + bytes(100), "vp9")
    ('', '')
    """
    is_hole = codec in _RANDOM_LOOKING and bytes(_HOLE) in packet.rstrip(b"\0")
    return "its data have a hole of zeros" if is_hole else ""


def is_cut_short(path: str | Path, container: str) -> bool:
    """Whether an AVI or Matroska file says that it is longer than it is; False for others.

    Args:
        path: the file; container: FFmpeg's name of its kind.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(4096)
    if container == "avi" and len(head) >= 8:
        return struct.unpack_from("<I", head, 4)[0] + 8 > size
    segment = head.find(_WALKED[0]) if container.startswith("matroska") else -1
    if segment < 0 or segment + 5 > len(head) or not head[segment + 4]:
        return False
    width = 9 - head[segment + 4].bit_length()
    length = int.from_bytes(head[segment + 4:segment + 4 + width], "big") & ~(1 << 7 * width)
    return length != (1 << 7 * width) - 1 and segment + 4 + width + length > size  # all ones: not known


def _after_chunk(content: mmap.mmap, place: int) -> int | None:
    """Where the chunk of an AVI file at `place` ends, or where the content of a list begins; None where none is."""
    if place + 8 > len(content):
        return len(content)
    name, length = struct.unpack_from("<4sI", content, place)
    if not all(32 <= letter < 127 for letter in name):
        return None
    return place + (12 if name in _AVI_LISTS else 8 + length + length % 2)


def _after_element(content: mmap.mmap, place: int) -> int | None:
    """The same for an element of a Matroska file; segments and clusters are walked through."""
    head = content[place:place + 12]
    width = 9 - head[0].bit_length() if head[0] else 9
    name = head[:width]
    if name not in _ELEMENTS:
        return None
    if len(head) <= width:
        return len(content)
    first = head[width]
    size_width = 9 - first.bit_length() if first else 9
    if name in _WALKED:
        return place + width + size_width
    if size_width > 8:
        return None
    if len(head) < width + size_width:
        return len(content)
    length = int.from_bytes(head[width:width + size_width], "big") & ~(1 << 7 * size_width)
    return place + width + size_width + length


_PARTS = {"avi": _after_chunk, "matroska": _after_element}
