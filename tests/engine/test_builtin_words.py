"""Words that a built-in CLIP never saw are named, once."""

from __future__ import annotations

import logging

import pytest

from clipapps.clip.tiny import TINY_ARCHS
from clipapps.engine.builtin_words import warn_of_unknown_words


@pytest.mark.parametrize("arch", TINY_ARCHS)
def test_unknown_words_are_named_once_with_the_way_out(caplog, arch) -> None:
    with caplog.at_level(logging.WARNING, logger="clipapps"):
        assert warn_of_unknown_words(["red star", "asphalt road", "zebra road"], arch, "take another") == [
            "asphalt", "road", "zebra"]
    assert "never saw: asphalt, road, zebra. Expect no sense there; take another." in caplog.text


def test_known_words_cause_no_warning(caplog) -> None:
    assert warn_of_unknown_words(["a red star", "sea"], "tiny-rn", "") == [] and caplog.text == ""
