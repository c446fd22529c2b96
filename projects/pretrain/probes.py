"""What zero-shot evaluation on the toy world asks: names and prompt templates of each attribute."""

from __future__ import annotations

from clipapps.toyworld import ATTRIBUTES, CATEGORIES
from clipapps.toyworld.vocabulary import BACKGROUND_PLACES, COUNT_WORDS, DISTANCE_WORDS, plural

_ADJECTIVE = tuple(f"a {{}} {category}" for category in CATEGORIES)
_TRAILING = tuple(f"a {category} {{}}" for category in CATEGORIES)
_NAMES = {"size": ("small", "medium-sized", "large"),
          "orientation": ("upright", "tilted to the left", "tilted to the right", "upside down"),
          "position": ("on the left", "on the right", "at the top", "at the bottom", "in the middle"),
          "distance": (DISTANCE_WORDS["near"][0], "", DISTANCE_WORDS["far"][0]),
          "background": tuple(BACKGROUND_PLACES[name][0] for name in ATTRIBUTES["background"][:-1]),
          "lighting": ("in good light", "against the light", "in the dark")}
MIN_COUNT = 2
"""The number of objects that the first name of the "count" probe stands for."""
_NAMING = ("{}", "a {}", "a photo of a {}")
_TEMPLATES = {"category": _NAMING, "color": _ADJECTIVE, "texture": _ADJECTIVE, "size": _ADJECTIVE,
              "orientation": _TRAILING, "position": _TRAILING, "background": _TRAILING, "lighting": _TRAILING}

TOY_PROBES: dict[str, dict[str, tuple[str, ...]]] = {
    **{name: dict(names=_NAMES.get(name, ATTRIBUTES[name]), templates=_TEMPLATES[name]) for name in _TEMPLATES},
    # asked of scenes whose objects share their category; captions never say "one"
    "count": dict(names=COUNT_WORDS[MIN_COUNT:], templates=tuple(f"{{}} {plural(name)}" for name in CATEGORIES)),
    "dense": dict(names=("background", *CATEGORIES), templates=_NAMING),
}
"""Attribute -> dict(names, templates), in the order of the attribute's values; see `ContrastivePretrainer`."""
