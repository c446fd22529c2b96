"""A linear probe: what frozen features know of textures that no prompt gets out of the tiny CLIP.

`python demos/heads/linear_probe.py`
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps import CLIPBackbone
from clipapps.toyworld import TEXTURES, ToyWorldScenes


def features(clip: CLIPBackbone, count: int, split: str) -> tuple[Tensor, Tensor, Tensor]:
    """Means over the maps of all stages (N, C), pooled embeddings (N, D), and labels (N,) of toy scenes."""
    scenes = ToyWorldScenes(num_scenes=count, size=96, split=split, spec=dict(sizes=["large"], backlit=0.0, dark=0.0))
    samples = [scenes[index] for index in range(count)]
    means, pooled = [], []
    with torch.no_grad():
        for images in torch.stack([sample["inputs"] for sample in samples]).split(32):
            found = clip(clip.normalize(images / 255))
            means.append(torch.cat([level.mean((2, 3)) for level in found.levels], dim=1))
            pooled.append(found.pooled)
    return torch.cat(means), torch.cat(pooled), torch.tensor([sample["attributes"]["texture"] for sample in samples])


if __name__ == "__main__":
    torch.manual_seed(0)
    clip = CLIPBackbone.from_pretrained("tiny-rn", weights="builtin", trainable="none", dense=None)
    (train, _, labels), (test, pooled, truth) = features(clip, 1000, "train"), features(clip, 400, "test")
    mean, std = train.mean(0), train.std(0) + 1e-6
    probe = nn.Linear(train.shape[1], len(TEXTURES))
    optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=0.1)
    for _step in range(400):
        loss = F.cross_entropy(probe((train - mean) / std), labels)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    prompts = clip.encode_text([f"a picture of a {name} thing." for name in TEXTURES], normalize=True)
    probed, asked = ((scores.argmax(1) == truth).float().mean().item()
                     for scores in (probe((test - mean) / std), pooled @ prompts.t()))
    print(f"texture: probe {probed:.3f}, zero-shot {asked:.3f}, guessing {1 / len(TEXTURES):.3f}")
