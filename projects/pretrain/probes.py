"""What zero-shot evaluation on the toy world asks: names and prompt templates of each attribute."""

from __future__ import annotations

from typing import Any

from clipapps.toyworld import ATTRIBUTES, CATEGORIES
from clipapps.toyworld.vocabulary import BACKGROUND_PLACES, COUNT_WORDS, DISTANCE_WORDS, plural

_ADJECTIVE = tuple(f"a {{}} {category}" for category in CATEGORIES)
_TRAILING = tuple(f"a {category} {{}}" for category in CATEGORIES)
_NAMES = {"size": ("small", "medium-sized", "large"),
          "position": ("on the left", "on the right", "at the top", "at the bottom", "in the middle"),
          "distance": (DISTANCE_WORDS["near"][0], "", DISTANCE_WORDS["far"][0]),
          "background": tuple(BACKGROUND_PLACES[name][0] for name in ATTRIBUTES["background"][:-1]),
          "lighting": ("in good light", "against the light", "in the dark")}
MIN_COUNT = 2
"""The number of objects that the first name of the "count" probe stands for."""
_NAMING = ("{}", "a {}", "a photo of a {}")
_TEMPLATES = {"category": _NAMING, "color": _ADJECTIVE, "texture": _ADJECTIVE, "size": _ADJECTIVE,
              "position": _TRAILING, "background": _TRAILING, "lighting": _TRAILING}

TOY_PROBES: dict[str, dict[str, Any]] = {
    **{name: dict(names=_NAMES.get(name, ATTRIBUTES[name]), templates=_TEMPLATES[name]) for name in _TEMPLATES},
    # captions put "upright" in front of the noun and "tilted to the left" behind it
    "orientation": dict(names=ATTRIBUTES["orientation"], texts=tuple(
        tuple(phrase.format(name) for name in CATEGORIES)
        for phrase in ("an upright {}", "a {} tilted to the left", "a {} tilted to the right", "an upside down {}"))),
    # asked of scenes whose objects share their category; captions never say "one"
    "count": dict(names=COUNT_WORDS[MIN_COUNT:], templates=tuple(f"{{}} {plural(name)}" for name in CATEGORIES)),
    "dense": dict(names=("background", *CATEGORIES), templates=_NAMING),
}
"""Attribute -> dict(names, templates or texts), in the order of its values; see `ContrastivePretrainer`."""
