"""Damage that decoders pass over in silence, found in the structure of a video's bytes.

An H.264 or H.265 decoder that meets zeros in the midst of a picture, as a download with holes has them, decodes them
into something; but the encoding never contains two zero bytes before a byte below 3, so that such bytes prove damage.
A reader of AVI files that meets a broken chunk looks for the next one that makes sense and leaves out those between,
after which all frames stand at wrong places; but the chunks of a whole file follow one another without gaps.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_PREFIXED = {"h264": (4, 7), "hevc": (21, 23)}  # codec -> where its header tells the length's size, its shortest header
_NEVER = (b"\0\0\0", b"\0\0\1", b"\0\0\2")
_AVI_LISTS = (b"RIFF", b"LIST")


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


def units_complaint(packet: bytes, size: int) -> str:
    """Why a packet of length-prefixed units is damaged, as far as its bytes tell; empty where they do not.

    Args:
        packet: its data.
        size: from `length_size`.

    >>> units_complaint(bytes([0, 0, 0, 3, 9, 0, 7]), 4), units_complaint(bytes([0, 0, 0, 4, 9, 0, 0, 0]), 4)
    ('', '')
    >>> units_complaint(bytes([0, 0, 0, 5, 9, 0, 0, 0, 7]), 4)
    'its data are overwritten with bytes that no encoder writes'
    """
    place = 0
    while place + size <= len(packet):
        length = int.from_bytes(packet[place:place + size], "big")
        place += size
        if length > len(packet) - place:
            return "its data are longer than they can be"
        unit = packet[place:place + length].rstrip(b"\0")  # some programs pad
        if any(pattern in unit for pattern in _NEVER):
            return "its data are overwritten with bytes that no encoder writes"
        place += length
    return ""


def end_of_chunks(path: str | Path) -> int | None:
    """The byte at which the chunks of an AVI file stop to follow one another; None where they do so to the end.

    A file that just ends early has no such place.
    """
    end = os.path.getsize(path)
    with open(path, "rb") as stream:
        place = 0
        while place + 8 <= end:
            stream.seek(place)
            name, length = struct.unpack("<4sI", stream.read(8))
            if not all(32 <= letter < 127 for letter in name):
                return place
            place += 12 if name in _AVI_LISTS else 8 + length + length % 2
    return None
