"""A seeded, procedural, resolution-free world for learning, tests and demos.

Scenes, their pictures and exact masks at any size, captions, pairs that differ in one attribute, films of motions, and
datasets.
"""

from __future__ import annotations

from .captions import Caption, CaptionDetail, caption, known_words, make_caption, sample_caption, split_words
from .datasets import ATTRIBUTES, ToyWorldScenes, ToyWorldSegmentation, scene_attributes
from .instances import ToyWorldInstances
from .motions import MOTIONS, Motion, sample_motion
from .pairs import PAIR_ATTRIBUTES, ScenePair, differences, sample_pair
from .render import Rendering, render
from .scene import Scene, SceneObject, SceneSpec, sample_scene
from .videos import ToyWorldVideoFiles, ToyWorldVideos, write_film
from .vocabulary import (
    BACKGROUNDS,
    CATEGORIES,
    COLORS,
    DISTANCES,
    LIGHTINGS,
    ORIENTATIONS,
    POSITIONS,
    SIZES,
    TEXTURES,
    class_names,
    palette,
)

__all__ = [
    "ATTRIBUTES", "BACKGROUNDS", "CATEGORIES", "COLORS", "DISTANCES", "LIGHTINGS", "MOTIONS", "ORIENTATIONS",
    "PAIR_ATTRIBUTES", "POSITIONS", "SIZES", "TEXTURES", "Caption", "CaptionDetail", "Motion", "Rendering", "Scene",
    "SceneObject", "ScenePair", "SceneSpec", "ToyWorldInstances", "ToyWorldScenes", "ToyWorldSegmentation",
    "ToyWorldVideoFiles", "ToyWorldVideos", "caption", "class_names", "differences", "known_words", "make_caption",
    "palette", "render", "sample_caption", "sample_motion", "sample_pair", "sample_scene", "scene_attributes",
    "split_words", "write_film",
]
