"""Captions: only true statements, only known words, many wordings, one number per meaning."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from clipapps.errors import ConfigError
from clipapps.toyworld import (
    CaptionDetail,
    Scene,
    SceneObject,
    SceneSpec,
    caption,
    known_words,
    make_caption,
    sample_caption,
    sample_scene,
    split_words,
)
from clipapps.toyworld import vocabulary as words
from clipapps.toyworld.captions import MAX_TOKENS, count_tokens, make_detail

SPECS = (SceneSpec(), SceneSpec(min_objects=1, max_objects=4, depth=0.3, empty=0.1),
         SceneSpec(min_objects=2, max_objects=4, group=1.0))
TABLES = {"category": words.CATEGORY_WORDS, "color": words.COLOR_WORDS, "texture": words.TEXTURE_WORDS,
          "size": words.SIZE_WORDS, "orientation": words.ORIENTATION_WORDS}
RICH = CaptionDetail(color=0.8, texture=0.8, size=0.8, orientation=0.5, position=0.5, background=0.7, lighting=0.5)


def mentions(text: str, phrases: tuple[str, ...]) -> bool:
    return any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in phrases)


def everything(detail: CaptionDetail | None) -> list[tuple[Scene, str]]:
    return [(scene, sample_caption(scene, 0, i, detail).text) for spec in SPECS for i in range(400)
            for scene in [sample_scene(0, i, spec)]]


@pytest.mark.parametrize("detail", [None, RICH])
def test_a_caption_names_only_what_is_there(detail: CaptionDetail | None) -> None:
    for scene, text in everything(detail):
        for key, table in TABLES.items():
            present = {getattr(item, key) for item in scene.objects}
            shared = text.replace("plain background", "").replace("empty background", "")
            for value, phrases in table.items():
                plurals = tuple(words.plural(p) for p in phrases) if key == "category" else ()
                if mentions(shared, (*phrases, *plurals)):
                    assert value in present, (text, key, value)
        for value, phrases in words.LIGHTING_PHRASES.items():
            if mentions(text, phrases):
                assert scene.lighting == value, text


def test_stated_facts_are_true_and_in_the_text() -> None:
    for spec in SPECS:
        for index in range(300):
            scene = sample_scene(5, index, spec)
            told = sample_caption(scene, 5, index, RICH)
            for kind, *values in told.facts:
                if kind == "background":
                    assert values == [scene.background]
                    names = words.BACKGROUND_PLACES[scene.background] + words.BACKGROUND_WORDS[scene.background]
                    assert mentions(told.text, names)
                elif kind == "lighting":
                    assert values == [scene.lighting]
                elif kind == "count" and scene.objects:
                    assert Counter(item.category for item in scene.objects)[values[0]] == int(values[1])
                elif kind == "object":
                    wanted = dict(value.split("=") for value in values)
                    assert any(all(getattr(item, k) == v for k, v in wanted.items()) for item in scene.objects)


def test_only_known_words_and_short_enough() -> None:
    for _, text in everything(RICH) + everything(None):
        assert set(split_words(text)) <= known_words(), text
        assert count_tokens(text) <= MAX_TOKENS


def test_every_known_word_is_used() -> None:
    spec = SceneSpec(min_objects=1, max_objects=4, depth=0.5, empty=0.15, tilted=0.6, group=0.4, backlit=0.3, dark=0.3,
                     backgrounds=(*words.BACKGROUNDS, "plain"))
    told = (sample_caption(sample_scene(0, i, spec), 0, i, RICH).text for i in range(6000))
    used = {word for text in told for word in split_words(text)}
    assert known_words() - used == set()


def test_short_names_are_among_the_wordings() -> None:
    item = SceneObject("star", "red", "plain", "large", "upright", "middle", 0.5, 0.5, 0.25)
    scene = Scene("meadow", "well-lit", (item,))
    told = {caption(scene, random.Random(i)) for i in range(1500)}
    assert {"star", "red star", "a star", "a photo of a star", "a red star", "a photo of a red star"} <= told
    assert len(told) > 300


def test_meaning_is_equal_for_equal_facts_and_stable() -> None:
    item = SceneObject("cup", "blue", "plain", "small", "upright", "middle", 0.5, 0.5, 0.1)
    scene = Scene("sea", "well-lit", (item,))
    by_meaning: dict[int, set] = {}
    for i in range(600):
        told = make_caption(scene, random.Random(i))
        by_meaning.setdefault(told.meaning, set()).add(tuple(sorted(told.facts)))
    assert all(len(facts) == 1 for facts in by_meaning.values())
    assert len({facts for group in by_meaning.values() for facts in group}) == len(by_meaning)
    assert make_caption(scene, random.Random(0), CaptionDetail(color=1, texture=0, size=0, orientation=0, position=0,
                        background=0, lighting=0, category=1)).meaning == 7037202751867322241


def test_an_unknown_detail_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour.*'color'"):
        make_detail(dict(colour=1.0))
