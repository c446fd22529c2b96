"""Learned prompts (CoOp, arXiv 2109.01134) for the size of things. `python demos/heads/learned_prompts.py`"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps import CLIPBackbone
from clipapps.toyworld import SIZES, ToyWorldScenes


class LearnedPrompts(nn.Module):
    """"[v1] ... [vM] name." for every name -> normalized class embeddings (K, D), through the frozen text tower."""

    def __init__(self, clip: CLIPBackbone, names: tuple[str, ...], num_contexts: int = 8) -> None:
        super().__init__()
        self.ids = clip.tokenize([f"{'x ' * num_contexts}{name}." for name in names])  # an x is a vector's place
        self.contexts = nn.Parameter(torch.randn(num_contexts, clip.text_width) * 0.02)

    def forward(self, clip: CLIPBackbone) -> Tensor:
        """Vectors take the places of the x; the end token stays where it is."""
        words, count = clip.embed_tokens(self.ids), len(self.contexts)
        contexts = self.contexts.expand(len(words), -1, -1)
        prompts = torch.cat([words[:, :1], contexts, words[:, 1 + count:]], dim=1)
        return F.normalize(clip.encode_text_embeddings(prompts, clip.pool_index(self.ids)), dim=-1)


def embeddings(clip: CLIPBackbone, count: int, split: str) -> tuple[Tensor, Tensor]:
    """Normalized image embeddings (N, D) and labels (N,) of toy scenes."""
    scenes = ToyWorldScenes(num_scenes=count, size=96, split=split, spec=dict(backlit=0.0, dark=0.0))
    samples = [scenes[index] for index in range(count)]
    with torch.no_grad():
        pooled = torch.cat([clip(clip.normalize(images / 255)).pooled
                            for images in torch.stack([sample["inputs"] for sample in samples]).split(32)])
    return F.normalize(pooled, dim=-1), torch.tensor([sample["attributes"]["size"] for sample in samples])


if __name__ == "__main__":
    torch.manual_seed(0)
    clip = CLIPBackbone.from_pretrained("tiny-rn", weights="builtin", trainable="none", dense=None)
    (train, labels), (test, truth) = embeddings(clip, 512, "train"), embeddings(clip, 400, "test")
    prompts = LearnedPrompts(clip, SIZES)
    optimizer = torch.optim.AdamW(prompts.parameters(), lr=1e-2)
    for _ in range(200):
        loss = F.cross_entropy(clip.logit_scale() * train @ prompts(clip).t(), labels)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    written = clip.encode_text([f"a picture of a {name} thing." for name in SIZES], normalize=True)
    right = [(test @ classes.t()).argmax(1).eq(truth).float().mean().item() for classes in (prompts(clip), written)]
    print(f"size: learned prompts {right[0]:.3f}, written ones {right[1]:.3f}")
