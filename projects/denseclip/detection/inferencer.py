"""Detect and cut out objects in pictures with a trained detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from clipapps.engine import checkpoint
from clipapps.engine.trained_config import config_of_weights
from clipapps.errors import UserError
from clipapps.inference import Image, Inferencer, Result
from clipapps.projects.denseclip.detection.masks import encode_mask
from clipapps.projects.denseclip.detection.models import CLIPDetector
from clipapps.projects.denseclip.detection.transforms import PackDetection, ResizeInstances
from clipapps.registry import MODELS, TRANSFORMS
from clipapps.visualization.instances import Instances, draw_instances
from clipapps.visualization.masks import class_colors, legend
from clipapps.visualization.panels import stacked

MIN_LEGEND_WIDTH = 320
MAX_ASPECT = 4  # pictures longer than this many times their short side are scaled down further


@dataclass
class DetectionResult(Result):
    """The objects of a picture.

    Args:
        name, image: see `Result`.
        instances: boxes, scores, labels and, from a mask head, masks, in the picture's pixels, best first.
        class_names: name of each label.
        palette: its RGB color.
        method: which model.
    """

    instances: Instances
    class_names: tuple[str, ...]
    palette: Sequence[Sequence[int]]
    method: str = ""

    def annotated(self) -> Image:
        """The picture with masks, boxes, names and scores."""
        return draw_instances(self.image, self.instances, self.class_names, self.palette)

    def plot(self) -> Image:
        """The annotated picture, and a legend of the classes in it."""
        drawn = self.annotated()
        present = sorted(set(self.instances.labels.tolist()))
        names, colors = [self.class_names[i] for i in present], [self.palette[i] for i in present]
        return stacked([drawn, legend(names, colors, width=max(drawn.shape[1], MIN_LEGEND_WIDTH))])

    def to_dict(self) -> dict[str, Any]:
        """The objects as COCO's result files have them: `bbox` is left, top, width, height; masks are run lengths."""
        found, objects = self.instances, []
        scores = np.ones(len(found.labels)) if found.scores is None else found.scores
        for index, (box, label) in enumerate(zip(found.boxes.tolist(), found.labels.tolist(), strict=True)):
            left, top, right, bottom = (round(side, 2) for side in box)
            entry = dict(category=self.class_names[label], category_id=label, score=round(float(scores[index]), 4),
                         bbox=[left, top, round(right - left, 2), round(bottom - top, 2)])
            if found.masks is not None:
                entry |= dict(area=int(found.masks[index].sum()), segmentation=encode_mask(found.masks[index]))
            objects.append(entry)
        return dict(size=list(self.image.shape[:2]), method=self.method, objects=objects)


class DetectionInferencer(Inferencer):
    """Objects of pictures, by the classes that a detector was trained with.

    Args:
        weights: `best.safetensors` or a checkpoint of a training run of a detection config.
        device: where to run.
        config: config of the weights; None: found beside them or by the name that they carry.
        classes: None; a detector only knows what it was trained with.
        min_score: objects below this score are left out.

    >>> from clipapps.project import get_project
    >>> from clipapps.toyworld import SceneSpec, render, sample_scene
    >>> detect = DetectionInferencer(get_project("denseclip").shipped_weights("denseclip_mask_rcnn_tiny_toyworld"))
    >>> scene = sample_scene(5, 1, SceneSpec(min_objects=2, max_objects=2, sizes=("large",)))
    >>> found = detect(render(scene, 128).image)[0].to_dict()["objects"]
    >>> sorted(entry["category"] for entry in found) == sorted(item.category for item in scene.objects)
    True
    """

    def __init__(self, weights: str | Path, device: torch.device | str = "cpu", *, config: str | Path | None = None,
                 classes: Sequence[str] | None = None, min_score: float = 0.3) -> None:
        self.device, self.min_score = torch.device(device), min_score
        cfg = config_of_weights("denseclip", weights, config)
        init_default_scope("clipapps")
        self.detector: CLIPDetector = MODELS.build(cfg.model)
        checkpoint.load_weights(self.detector, weights)
        self.detector.to(self.device).eval()
        self.class_names = self.detector.class_names
        self.label = checkpoint.read_metadata(weights).get("config") or Path(cfg.filename).stem
        if classes is not None and tuple(classes) != self.class_names:
            raise UserError(f"{self.label} is a detector of fixed classes: {', '.join(self.class_names)}. Leave out "
                            "the class names, or use weights of a segmentation config of DenseCLIP.")
        self.palette = class_colors(self.class_names)
        self.resize, self.pack = find_resize(cfg), PackDetection()

    def predict(self, image: Image, name: str) -> DetectionResult:
        """One RGB image -> its objects."""
        return self.predict_batch([image], [name])[0]

    def predict_batch(self, images: Sequence[Image], names: Sequence[str]) -> list[DetectionResult]:
        """RGB images of one size -> their objects."""
        packed = [self._packed(image) for image in images]
        batch = self.detector.data_preprocessor({key: [sample[key] for sample in packed]
                                                 for key in ("inputs", "data_samples")})
        return [self._result(image, name, sample.pred_instances)
                for image, name, sample in zip(images, names, self.detector.predict(**batch), strict=True)]

    def _packed(self, image: Image) -> dict[str, Any]:
        results = dict(img=np.ascontiguousarray(image[..., ::-1]), img_shape=image.shape[:2], ori_shape=image.shape[:2])
        packed: dict[str, Any] = self.pack.transform(self.resize(results) if self.resize is not None else results)
        return packed

    def _result(self, image: Image, name: str, found: Any) -> DetectionResult:
        found = found[found.scores >= self.min_score].cpu()
        masks = found.masks.numpy() if "masks" in found else None
        instances = Instances(found.bboxes.float().numpy(), found.labels.numpy(), found.scores.float().numpy(), masks)
        return DetectionResult(name, image, instances, self.class_names, self.palette, self.label)


def find_resize(cfg: Config) -> Any:
    """The resizing that a config evaluates with; for pictures drawn at one size, to that short side; or None."""
    dataset = cfg.val_dataloader.dataset
    for step in dataset.get("pipeline", []):
        if "scale" in step:
            return TRANSFORMS.build(step)
    size = dataset.get("size")
    return None if size is None else ResizeInstances(scale=(MAX_ASPECT * size, size), keep_ratio=True)
