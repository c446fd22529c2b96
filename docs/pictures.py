"""Draws the pictures of the front page with what ships: `python docs/pictures.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data as photos

import clipapps
from clipapps.projects.backlit.backlighting import backlight
from clipapps.toyworld import SceneSpec, render, sample_scene, write_film
from clipapps.visualization.panels import side_by_side

HERE = Path(__file__).parent
HEIGHT = 300


def save(name: str, picture: np.ndarray) -> None:
    """A picture (H, W, 3) uint8 RGB as WebP."""
    Image.fromarray(picture).save(HERE / f"{name}.webp", quality=85, method=6)
    print(HERE / f"{name}.webp", (HERE / f"{name}.webp").stat().st_size // 1000, "kB")


def backlit() -> np.ndarray:
    """A free photo (scikit-image, CC0), put into shade by computation, before and after."""
    shaded = backlight(np.asarray(photos.coffee())[..., :3], np.random.default_rng(4)).backlit
    result = clipapps.load("backlit")(shaded)[0]
    return side_by_side([("a photo in the shade", shaded), ("after `predict backlit`", result.enhanced)], height=HEIGHT)


def denseclip() -> np.ndarray:
    """A toy scene, its segmentation, and its objects."""
    scene = render(sample_scene(3, 11, SceneSpec(min_objects=4, max_objects=4, group=0.0, backlit=0.0, dark=0.0)), 384)
    segmented = clipapps.load("denseclip")(scene.image)[0]
    objects = clipapps.load("denseclip", "denseclip_mask_rcnn_tiny_toyworld")(scene.image)[0]
    return side_by_side([("a toy scene", scene.image), ("classes", segmented.annotated()),
                         ("objects", objects.annotated())], height=HEIGHT)


def ila() -> np.ndarray:
    """A toy film: sampled frames with interactive points, and the best classes."""
    with tempfile.TemporaryDirectory() as folder:
        film = write_film(Path(folder) / "film.mp4", "moves right", seed=3)
        return clipapps.load("ila")(film)[0].plot()


if __name__ == "__main__":
    for draw in (backlit, denseclip, ila):
        save(draw.__name__, draw())
