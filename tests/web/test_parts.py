"""Uploads and texts within limits, errors as sentences."""

from __future__ import annotations

import numpy as np
import pytest

from clipapps.data.images import write_image
from clipapps.errors import BadSampleError, UserError

parts = pytest.importorskip("clipapps.web.parts", exc_type=UserError, reason="gradio is not installed")


def test_a_picture_is_decoded(tmp_path) -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    write_image(tmp_path / "a.png", image)
    assert np.array_equal(parts.picture(str(tmp_path / "a.png")), image)


def test_a_wrong_file_is_named_without_its_path(tmp_path) -> None:
    (tmp_path / "a.png").write_text("<svg onload=alert(1)>")
    with pytest.raises(BadSampleError, match="This file is no image") as caught:
        parts.picture(str(tmp_path / "a.png"))
    assert str(tmp_path) not in str(caught.value)


def test_a_bomb_is_refused_by_its_header(tmp_path) -> None:
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
           + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 0) + b"IDAT" + b"\x35\xaf\x06\x1e")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(BadSampleError, match="pixels"):
        parts.picture(str(tmp_path / "a.png"))


@pytest.mark.parametrize(("text", "words"), [
    ("", "at least 1 name"), ("x" * 4001, "4,001 characters"), (",".join(map(str, range(101))), "At most 100 names"),
    ("y" * 101, "100 characters each")])
def test_names_are_bounded(text, words) -> None:
    with pytest.raises(UserError, match=words):
        parts.names(text)


def test_a_users_mistake_reaches_the_page_and_a_fault_of_ours_says_nothing_inside() -> None:
    @parts.answering
    def mistaken() -> None:
        raise UserError("Write a name.")

    @parts.answering
    def broken():
        yield 1
        raise KeyError("/secret/place")

    with pytest.raises(parts.gr.Error, match="Write a name"):
        mistaken()
    answers = broken()
    assert next(answers) == 1
    with pytest.raises(parts.gr.Error) as caught:
        next(answers)
    assert caught.value.message == parts.FAULT_OF_OURS and "secret" not in str(caught.value)
