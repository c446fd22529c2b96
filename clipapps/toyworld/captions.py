"""Captions: sentences, short phrases and bare names that are true of a scene, in many wordings.

A caption states facts (`Fact` tuples). Two captions with the same facts mean the same whatever their wording, so that a
contrastive loss can treat them as equal (`Caption.meaning`).
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from clipapps.errors import ConfigError, did_you_mean

from . import vocabulary as words
from .scene import Scene, SceneObject, scene_random

Fact = tuple[str, ...]
"""("object", "category=star", "color=red"), ("background", "sea"), ("lighting", "dark") or ("count", "star", "3")."""

MAX_TOKENS = 30
"""Longest caption in tokens of CLIP's byte-pair encoding, so that it fits a context of 32 with start and end."""
_SPLIT_WORDS = {"automobiles": 2, "backlit": 2, "checkered": 2, "sailboat": 2, "sailboats": 2, "tilted": 2,
                "toadstool": 3, "toadstools": 4, "underexposed": 3}
_PIECE = re.compile(r"[a-z]+|[^a-z\s]")
_OPENINGS = ("", "", "", "a photo of ", "a photo of ", "a picture of ", "an image of ", "a drawing of ", "this is ",
             "there is ", "a scene with ", "a close-up photo of ", "a good photo of ", "one can see ")
_THE_OPENINGS = ("a photo of the ", "a picture of the ", "the ")
_LIGHT_OPENINGS = {"well-lit": ("a well-lit photo of ", "a bright photo of "), "backlit": ("a backlit photo of ",),
                   "dark": ("a dark photo of ", "an underexposed photo of ")}
_ADJECTIVES = (("size", words.SIZE_WORDS), ("texture", words.TEXTURE_WORDS), ("color", words.COLOR_WORDS))
_EMPTY = ("background", "the background", "an empty scene", "nothing")


@dataclass(frozen=True)
class CaptionDetail:
    """How often a caption names what, as probabilities 0..1.

    Args:
        color, texture, size, orientation, position, distance: of each object that is mentioned.
        background, lighting: of the scene.
        category: of naming the category instead of saying "object"; others: of mentioning each further object.
        bare: of a caption without opening and article ("red star").
    """

    color: float = 0.6
    texture: float = 0.3
    size: float = 0.2
    orientation: float = 0.1
    position: float = 0.15
    distance: float = 0.3
    background: float = 0.4
    lighting: float = 0.2
    category: float = 0.9
    others: float = 0.6
    bare: float = 0.25


@dataclass(frozen=True)
class Caption:
    """A caption, the facts it states, and a number that is equal for equal facts."""

    text: str
    facts: tuple[Fact, ...]

    @property
    def meaning(self) -> int:
        """A 63-bit number of the facts, the same in every process."""
        digest = hashlib.blake2b(repr(sorted(self.facts)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1


def make_detail(detail: CaptionDetail | dict[str, Any] | None) -> CaptionDetail:
    """A CaptionDetail from a config dict; raises ConfigError on an unknown key."""
    if isinstance(detail, CaptionDetail):
        return detail
    known = [field.name for field in fields(CaptionDetail)]
    for key in detail or {}:
        if key not in known:
            raise ConfigError(f"A caption detail has no key {key!r}.{did_you_mean(key, known)}")
    return CaptionDetail(**(detail or {}))


def caption(scene: Scene, rng: random.Random, detail: CaptionDetail | None = None) -> str:
    """A true caption of the scene in one of many wordings.

    >>> from clipapps.toyworld import sample_scene
    >>> isinstance(caption(sample_scene(0, 0), random.Random(0)), str)
    True
    """
    return make_caption(scene, rng, detail).text


def sample_caption(scene: Scene, seed: int, index: int, detail: CaptionDetail | None = None) -> Caption:
    """The caption of that seed and index for a scene."""
    return make_caption(scene, scene_random(seed, index, purpose=1), detail)


def make_caption(scene: Scene, rng: random.Random, detail: CaptionDetail | None = None) -> Caption:
    """A true caption of at most `MAX_TOKENS` tokens, with the facts it states."""
    detail = detail or CaptionDetail()
    while True:
        told = _draw_caption(scene, rng, detail)
        if count_tokens(told.text) <= MAX_TOKENS:
            return told
        detail = replace(detail, others=0.5 * detail.others)


def _draw_caption(scene: Scene, rng: random.Random, detail: CaptionDetail) -> Caption:
    facts: list[Fact] = []
    place = rng.random() < detail.background
    light = rng.random() < detail.lighting
    if place:
        facts.append(("background", scene.background))
    if light:
        facts.append(("lighting", scene.lighting))
    if not scene.objects:
        return Caption(_empty_scene(scene, rng, place, light), tuple(facts) or (("count", "object", "0"),))
    if _is_group(scene) and rng.random() < 0.6:
        phrase, group_facts = _group_phrase(scene, rng, detail)
        text = _sentence(scene, rng, phrase, place, light, article=False, bare=rng.random() < 0.5)
        return Caption(text, (*group_facts, *facts))
    mentioned = _mentioned(scene, rng, detail)
    phrases = []
    for item in mentioned:
        phrase, object_facts = _object_phrase(item, rng, detail, several=len(mentioned) > 1)
        phrases.append(phrase)
        facts.insert(0, object_facts)
    bare = rng.random() < detail.bare
    if len(phrases) == 1:
        return Caption(_sentence(scene, rng, phrases[0], place, light, article=True, bare=bare), tuple(facts))
    joined = _join(phrases if bare else [words.with_article(p) for p in phrases])
    return Caption(_sentence(scene, rng, joined, place, light, article=False, bare=bare), tuple(facts))


def _is_group(scene: Scene) -> bool:
    return len(scene.objects) > 1 and len({item.category for item in scene.objects}) == 1


def _mentioned(scene: Scene, rng: random.Random, detail: CaptionDetail) -> list[SceneObject]:
    """One object, the larger ones sooner, and each other one with the probability `others`, in random order."""
    items = list(scene.objects)
    first = rng.choices(items, weights=[item.radius for item in items])[0]
    mentioned = [item for item in items if item is first or rng.random() < detail.others]
    rng.shuffle(mentioned)
    return mentioned


def _object_phrase(item: SceneObject, rng: random.Random, detail: CaptionDetail, several: bool) -> tuple[str, Fact]:
    """A noun phrase without article, and the attributes that it states."""
    thin = 0.6 if several else 1.0
    named = {key: rng.random() < thin * getattr(detail, key)
             for key in ("color", "texture", "size", "orientation", "position", "distance")}
    named["distance"] &= item.distance != "middle"
    adjectives = [rng.choice(table[getattr(item, key)]) for key, table in _ADJECTIVES if named[key]]
    generic = bool(adjectives) and rng.random() > detail.category
    noun = "object" if generic else rng.choice(words.CATEGORY_WORDS[item.category])
    turn = rng.choice(words.ORIENTATION_WORDS[item.orientation]) if named["orientation"] else ""
    before = [turn] if turn in ("upright", "upside down") else []
    after = [turn] if turn and not before else []
    if named["position"]:
        after.append(rng.choice(words.POSITION_WORDS[item.position]))
    if named["distance"]:
        after.append(rng.choice(words.DISTANCE_WORDS[item.distance]))
    stated = [f"{key}={getattr(item, key)}" for key, on in named.items() if on]
    if not generic:
        stated.append(f"category={item.category}")
    if not before and len(adjectives) in (1, 2) and rng.random() < 0.12:
        return f"{noun} that is {' and '.join(adjectives)}{_tail(after)}", ("object", *sorted(stated))
    return f"{' '.join([*before, *adjectives, noun])}{_tail(after)}", ("object", *sorted(stated))


def _tail(parts: list[str]) -> str:
    return "".join(f" {part}" for part in parts)


def _group_phrase(scene: Scene, rng: random.Random, detail: CaptionDetail) -> tuple[str, list[Fact]]:
    count, first = len(scene.objects), scene.objects[0]
    facts: list[Fact] = [("count", first.category, str(count))]
    parts = [words.COUNT_WORDS[count]]
    if len({item.color for item in scene.objects}) == 1 and rng.random() < detail.color:
        parts.append(rng.choice(words.COLOR_WORDS[first.color]))
        facts.append(("object", f"category={first.category}", f"color={first.color}"))
    parts.append(words.plural(rng.choice(words.CATEGORY_WORDS[first.category])))
    return " ".join(parts), facts


def _join(phrases: list[str]) -> str:
    return " and ".join(phrases) if len(phrases) < 3 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _sentence(scene: Scene, rng: random.Random, phrase: str, place: bool, light: bool, *, article: bool,
              bare: bool) -> str:
    """The phrase with opening, article, place, light and, now and then, a full stop."""
    if bare:
        text = phrase
    elif light and rng.random() < 0.5:
        text = rng.choice(_LIGHT_OPENINGS[scene.lighting]) + (words.with_article(phrase) if article else phrase)
        light = False
    elif article and rng.random() < 0.15:
        text = rng.choice(_THE_OPENINGS) + phrase
    else:
        text = rng.choice(_OPENINGS) + (words.with_article(phrase) if article else phrase)
    if place:
        text += " " + rng.choice(words.BACKGROUND_PLACES[scene.background])
    if light:
        text += rng.choice((", ", " ")) + rng.choice(words.LIGHTING_PHRASES[scene.lighting])
    return text + "." if rng.random() < 0.1 else text


def _empty_scene(scene: Scene, rng: random.Random, place: bool, light: bool) -> str:
    if not place:
        text = rng.choice(_EMPTY)
    else:
        name = rng.choice(words.BACKGROUND_WORDS[scene.background])
        text = rng.choice(("", "", "a photo of the ", "a picture of the ", "the ", "the empty ")) + name
    return f"{text}, {rng.choice(words.LIGHTING_PHRASES[scene.lighting])}" if light else text


def count_tokens(text: str) -> int:
    """How many tokens CLIP's encoding makes of a caption, known here without the tokenizer.

    >>> count_tokens("a well-lit toadstool.")
    8
    """
    return sum(_SPLIT_WORDS.get(piece, 1) for piece in _PIECE.findall(text))


@cache
def known_words() -> frozenset[str]:
    """Every word, in lower case, that a caption can contain.

    >>> {"star", "mug", "golden"} <= known_words()
    True
    """
    tables = (words.CATEGORY_WORDS, words.COLOR_WORDS, words.TEXTURE_WORDS, words.SIZE_WORDS, words.ORIENTATION_WORDS,
              words.POSITION_WORDS, words.DISTANCE_WORDS, words.BACKGROUND_WORDS, words.BACKGROUND_PLACES,
              words.LIGHTING_PHRASES, _LIGHT_OPENINGS)
    texts = [text for table in tables for entry in table.values() for text in entry]
    texts += [words.plural(noun) for entry in words.CATEGORY_WORDS.values() for noun in entry]
    texts += [*words.COUNT_WORDS[2:], *_OPENINGS, *_THE_OPENINGS, *_EMPTY, "a an and that is the empty object"]
    return frozenset(word for text in texts for word in split_words(text))


def split_words(text: str) -> list[str]:
    """The lower-case words of a text, hyphens kept: the unit in which "seen" and "unseen" are counted.

    >>> split_words("A well-lit star, here.")
    ['a', 'well-lit', 'star', 'here']
    """
    return re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())
