"""The names of the toy world: what a scene can contain, and the words that captions use for it.

Words matter: a contrastive model knows only the wordings that it saw. Every name therefore has its synonyms here, and
`known_words` lists everything a caption can contain.
"""

from __future__ import annotations

CATEGORIES: tuple[str, ...] = ("house", "tree", "car", "boat", "fish", "butterfly", "mushroom", "cup", "star", "heart")
"""Semantic label k (1..10) is `CATEGORIES[k - 1]`; label 0 is the background."""

COLORS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
TEXTURES: tuple[str, ...] = ("plain", "striped", "dotted", "checkered")
SIZES: tuple[str, ...] = ("small", "medium", "large")
ORIENTATIONS: tuple[str, ...] = ("upright", "tilted left", "tilted right", "upside down")
POSITIONS: tuple[str, ...] = ("left", "right", "top", "bottom", "center")
DISTANCES: tuple[str, ...] = ("near", "middle", "far")
BACKGROUNDS: tuple[str, ...] = ("meadow", "beach", "sea", "desert", "snow", "mountains", "night sky", "brick wall")
PLAIN_BACKGROUND = "plain"
"""A ninth, empty background, used by the first steps of a curriculum and by pictures that need calm."""
LIGHTINGS: tuple[str, ...] = ("well-lit", "backlit", "dark")

CATEGORY_WORDS: dict[str, tuple[str, ...]] = {
    "house": ("house", "home", "cottage"),
    "tree": ("tree", "fir tree", "pine"),
    "car": ("car", "automobile"),
    "boat": ("boat", "sailboat", "ship"),
    "fish": ("fish",),
    "butterfly": ("butterfly",),
    "mushroom": ("mushroom", "toadstool"),
    "cup": ("cup", "mug"),
    "star": ("star",),
    "heart": ("heart",),
}
PLURALS: dict[str, str] = {"fish": "fish", "butterfly": "butterflies"}
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}
TEXTURE_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid"),
    "striped": ("striped",),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "checked"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized",),
    "large": ("large", "big"),
}
ORIENTATION_WORDS: dict[str, tuple[str, ...]] = {
    "upright": ("upright",),
    "tilted left": ("tilted to the left", "leaning left"),
    "tilted right": ("tilted to the right", "leaning right"),
    "upside down": ("upside down",),
}
POSITION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left",),
    "right": ("on the right",),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "center": ("in the middle", "in the center"),
}
DISTANCE_WORDS: dict[str, tuple[str, ...]] = {
    "near": ("nearby", "close to the viewer"),
    "middle": (),
    "far": ("far away", "in the distance"),
}
BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {
    "meadow": ("meadow", "grass", "field"),
    "beach": ("beach", "sandy beach"),
    "sea": ("sea", "ocean", "water"),
    "desert": ("desert", "sand dunes"),
    "snow": ("snow", "snowy landscape"),
    "mountains": ("mountains", "mountain landscape"),
    "night sky": ("night sky", "starry night"),
    "brick wall": ("brick wall", "wall"),
    "plain": ("plain background", "empty background"),
}
BACKGROUND_PLACES: dict[str, tuple[str, ...]] = {
    "meadow": ("on a meadow", "in a meadow", "on the grass", "in a field"),
    "beach": ("at the beach", "on a sandy beach", "on a beach"),
    "sea": ("at sea", "in the sea", "on the ocean", "on the water"),
    "desert": ("in the desert", "on sand dunes"),
    "snow": ("in the snow", "in a snowy landscape"),
    "mountains": ("in the mountains", "in front of mountains", "in a mountain landscape"),
    "night sky": ("in the night sky", "under a starry night", "at night"),
    "brick wall": ("in front of a brick wall", "on a brick wall", "in front of a wall"),
    "plain": ("on a plain background", "on an empty background"),
}
LIGHTING_PHRASES: dict[str, tuple[str, ...]] = {
    "well-lit": ("well-lit", "in good light", "in bright light"),
    "backlit": ("backlit", "against the light"),
    "dark": ("in the dark", "in dim light", "underexposed"),
}
COUNT_WORDS: tuple[str, ...] = ("no", "one", "two", "three", "four")

COLOR_RGB: dict[str, tuple[int, int, int]] = {
    "red": (222, 48, 52),
    "orange": (246, 138, 30),
    "yellow": (252, 216, 54),
    "green": (66, 172, 76),
    "blue": (48, 108, 226),
    "purple": (134, 66, 190),
    "pink": (250, 152, 200),
    "white": (247, 246, 240),
}
SECOND_RGB: dict[str, tuple[int, int, int]] = {
    "red": (255, 214, 200),
    "orange": (150, 66, 14),
    "yellow": (176, 124, 10),
    "green": (206, 244, 190),
    "blue": (196, 226, 255),
    "purple": (230, 204, 250),
    "pink": (176, 56, 112),
    "white": (132, 138, 156),
}
"""The second tone of each color, in which stripes, dots and checks are drawn."""

_SEGMENTATION_RGB: tuple[tuple[int, int, int], ...] = (
    (60, 64, 72), (214, 84, 72), (72, 150, 92), (236, 168, 60), (84, 122, 206), (70, 186, 196),
    (196, 108, 208), (176, 116, 76), (124, 212, 62), (244, 222, 96), (240, 122, 168),
)


def class_names() -> tuple[str, ...]:
    """The 11 segmentation class names in label order, "background" first."""
    return ("background", *CATEGORIES)


def palette() -> list[list[int]]:
    """One RGB color (0..255) per segmentation class, in label order."""
    return [list(color) for color in _SEGMENTATION_RGB]


def plural(noun: str) -> str:
    """The plural of a noun that a caption may use.

    >>> plural("butterfly"), plural("fir tree"), plural("fish")
    ('butterflies', 'fir trees', 'fish')
    """
    return PLURALS.get(noun, noun + "s")


def with_article(phrase: str) -> str:
    """The phrase behind "a" or "an".

    >>> with_article("orange cup"), with_article("red star")
    ('an orange cup', 'a red star')
    """
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
