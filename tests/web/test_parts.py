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


def test_a_film_within_the_limits_is_taken(tmp_path) -> None:
    from clipapps.data.video.writing import write_video

    write_video(tmp_path / "a.mp4", [np.zeros((32, 48, 3), np.uint8)] * 300, 30)
    assert parts.video(str(tmp_path / "a.mp4")) == tmp_path / "a.mp4"


@pytest.mark.parametrize(("content", "words"), [(None, "Choose a video"), (b"", "empty"), (b"a text", "is no video")])
def test_what_is_no_film_is_refused_without_its_path(tmp_path, content, words) -> None:
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(BadSampleError, match=words) as caught:
        parts.video(str(tmp_path / "a.mp4") if content is not None else None)
    assert str(tmp_path) not in str(caught.value)


def test_fields_hand_on_what_came_also_when_they_are_built_anew() -> None:
    for field, kind in ((parts.picture_input(), "image"), (parts.video_input(), "video"),
                        (parts.files_input("x"), "file"), (parts.choice_input("x", ["a"]), "dropdown")):
        anew = field.__class__(**field.constructor_args)
        assert anew.get_block_name() == kind
        single = type("Data", (), {"path": "/cache/a.png"})()
        assert anew.preprocess(single) == "/cache/a.png" and anew.preprocess(None) is None
        assert anew.preprocess("not in the list") == "not in the list"
    many = parts.files_input("x")
    assert many.preprocess(many.data_model([{"path": "/cache/a"}, {"path": "/cache/b"}])) == ["/cache/a", "/cache/b"]


def test_a_choice_is_one_of_the_list() -> None:
    assert parts.chosen("a", ["a", "b"]) == "a"
    for wrong in ("c", None, ["a"], 3):
        with pytest.raises(UserError, match="Take one of the list"):
            parts.chosen(wrong, ["a", "b"])


def test_a_long_answer_ends_when_its_time_is_over(monkeypatch) -> None:
    now = iter(range(0, 1000, 40))
    monkeypatch.setattr(parts.time, "monotonic", lambda: float(next(now)))
    taken = []
    with pytest.raises(UserError, match="longer than 100 s"):
        for step in parts.in_time(iter("abcdefgh"), 100):
            taken.append(step)
    assert taken == ["a", "b", "c"]
    assert list(parts.in_time(iter("ab"), 100)) == ["a", "b"]


def test_folders_of_old_answers_are_removed(tmp_path) -> None:
    import os
    import time

    old, recent = parts.fresh_folder(tmp_path), parts.fresh_folder(tmp_path)
    (old / "a.png").write_text("old")
    os.utime(old, (time.time() - 2 * parts.KEPT_SECONDS,) * 2)
    new = parts.fresh_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([recent, new])


def test_an_archive_holds_the_files_by_their_names(tmp_path) -> None:
    import zipfile

    (tmp_path / "a.txt").write_text("a")
    with zipfile.ZipFile(parts.bundle([tmp_path / "a.txt"], tmp_path / "all.zip")) as archive:
        assert archive.namelist() == ["a.txt"] and archive.read("a.txt") == b"a"
