"""A depth head on the frozen backbone, for toy scenes: meters on a fine grid. `python demos/heads/depth_head.py`"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps import CLIPBackbone
from clipapps.toyworld import SceneSpec, render, sample_scene

METERS = {"near": 1.6, "middle": 2.0, "far": 3.3}  # what lies behind all objects is at 5 m
SPEC = SceneSpec(min_objects=1, max_objects=3, depth=1.0, backlit=0.0, dark=0.0)


class DepthHead(nn.Module):
    """Images (B, 3, H, W) in 0..1 -> logarithm of the depth, (B, H / 4, W / 4)."""

    def __init__(self, arch: str = "tiny-rn", weights: str | None = "builtin") -> None:
        super().__init__()
        self.backbone = CLIPBackbone.from_pretrained(arch, weights, out_indices=(0, 1, 2), trainable="none", dense=None)
        self.head = nn.Sequential(nn.Conv2d(sum(self.backbone.out_channels), 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Levels of three stages, brought to the finest grid."""
        finest, *others = self.backbone(self.backbone.normalize(images)).levels
        others = [F.interpolate(level, size=finest.shape[2:], mode="bilinear") for level in others]
        return self.head(torch.cat([finest, *others], dim=1)).squeeze(1)


def scenes(count: int, seed: int, size: int = 96) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, S, S) in 0..1 and their depth in meters (N, S / 4, S / 4)."""
    drawn = [(scene, render(scene, size)) for scene in (sample_scene(seed, index, SPEC) for index in range(count))]
    depth = np.stack([np.array([5.0, *(METERS[item.distance] for item in scene.objects)], np.float32)[picture.instances]
                      for scene, picture in drawn])
    images = torch.from_numpy(np.stack([picture.image for _, picture in drawn])).permute(0, 3, 1, 2) / 255
    return images, torch.from_numpy(depth)[:, 2::4, 2::4]


if __name__ == "__main__":
    torch.manual_seed(0)
    model = DepthHead()
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=3e-3)
    for step in range(100):
        images, depth = scenes(8, seed=1000 + step)
        loss = (model(images) - depth.log()).abs().mean()
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    images, depth = scenes(64, seed=7)
    own, constant = (((guess - depth).abs() / depth).mean().item() for guess in (model(images).exp(), depth.median()))
    print(f"relative error {own:.3f}; {constant:.3f} with the median depth everywhere")
