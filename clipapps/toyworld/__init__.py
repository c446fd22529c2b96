"""A seeded, procedural, resolution-free world for learning, tests and demos: scenes, pictures, masks, captions, pairs."""

from __future__ import annotations

from .render import Rendering, render
from .scene import Scene, SceneObject, SceneSpec, sample_scene
