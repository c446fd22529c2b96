"""One-call inference: `load("denseclip")("photo.jpg").save("out/")`, for any project, from Python, CLI, and demos."""

from clipapps.inference.inferencer import Inferencer, Input, iterate_images, load
from clipapps.inference.result import Image, Result, Results

__all__ = ["Image", "Inferencer", "Input", "Result", "Results", "iterate_images", "load"]
