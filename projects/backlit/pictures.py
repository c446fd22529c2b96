"""Photo, enhanced photo, target and light map side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipapps.projects.backlit.metrics import as_picture
from clipapps.registry import VISUALIZERS
from clipapps.visualization.panels import side_by_side


@VISUALIZERS.register_module()
class BacklitPainter:
    """Paints what `BacklitEnhancer.predict` returns; the light map is shown in gray, 1 and above in white.

    Args:
        min_side: smaller pictures are enlarged to this height in pixels.
    """

    def __init__(self, min_side: int = 192) -> None:
        self.min_side = min_side

    def paint(self, inputs: Any, sample: dict[str, Any], dataset_meta: dict[str, Any]) -> np.ndarray:
        """One sample's picture, (H, W, 3) uint8 RGB."""
        panels = [("input", as_picture(sample["inputs"])), ("enhanced", as_picture(sample["enhanced"]))]
        if "target" in sample:
            panels.append(("well-lit", as_picture(sample["target"])))
        gray = (sample["light_map"].detach().cpu().clamp(0, 1)[0] * 255).round().numpy().astype(np.uint8)
        panels.append(("light map", np.repeat(gray[..., None], 3, axis=2)))
        return side_by_side(panels, height=max(self.min_side, inputs.shape[-2]))
