"""The one way into inference: weights decide whether pictures are segmented or objects detected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import init_default_scope

from clipapps.engine.trained_config import config_of_weights
from clipapps.inference import Inferencer
from clipapps.project import get_project
from clipapps.projects.denseclip.inferencer import DenseCLIPInferencer
from clipapps.registry import MODELS

_FOR_CLIP_ALONE = {"classes", "arch", "clip_weights"}


def open_inferencer(weights: str | Path | None = None, device: Any = "cpu", **options: Any) -> Inferencer:
    """A `DetectionInferencer` for a detector's weights, else a `DenseCLIPInferencer`; they take the options.

    Without weights, class names, or another CLIP, the shipped segmentor of the toy world answers. Names of one's own
    are CLIP's to answer, training-free: it knows names that nobody trained better than a trained decoder does.

    Raises:
        WeightsError: the weights cannot be used.
    """
    if weights is None and not options.keys() & _FOR_CLIP_ALONE:
        weights = get_project("denseclip").shipped_weights()
    if weights is not None and _is_detector(
            config_of_weights("denseclip", weights, options.get("config")).model["type"]):
        from clipapps.projects.denseclip.detection.inferencer import DetectionInferencer

        return DetectionInferencer(weights, device, **options)
    return DenseCLIPInferencer(weights, device, **options)


def _is_detector(kind: Any) -> bool:
    from clipapps.projects.denseclip.detection.models import CLIPDetector

    init_default_scope("clipapps")
    model = MODELS.get(kind) if isinstance(kind, str) else kind
    return isinstance(model, type) and issubclass(model, CLIPDetector)
