"""Walks over open_clip's image towers that yield what their plain forward hides: levels, tokens, dense maps.

A tower object owns no parameters: it reads those of the open_clip module it is given. Every walk calls the module's
own submodules, and the pooled embedding comes from its own pooling, so that it equals the plain forward bit for bit
when nothing is inserted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from clipapps.clip.attention_pool import attention_pool, value_pool
from clipapps.clip.blocks import Insertion, run_blocks, take_apart, value_path
from clipapps.clip.features import Features
from clipapps.clip.positions import resize_positions
from clipapps.errors import UserError


@dataclass(frozen=True)
class TowerOptions:
    """How a tower is walked; the same names as `CLIPBackbone`'s arguments."""

    out_indices: tuple[int, ...] = ()
    position_mode: str = "resize"
    position_interpolation: str = "bilinear"
    with_pool: bool = True
    grad_checkpoint: bool = False


class ImageTower(ABC):
    """What every image tower says about itself before it runs, and how it runs."""

    #: factor between the input and the coarsest grid; input sides must be multiples of it
    stride: int
    #: name of the positional table in the open_clip module's state dict, prefix rows in it
    position_key: str | None = None
    num_prefix: int = 1
    #: the walk's settings
    options: TowerOptions

    @property
    @abstractmethod
    def num_levels(self) -> int:
        """How many entries `out_indices` may choose from."""

    @property
    def default_indices(self) -> tuple[int, ...]:
        """Levels that are returned when the user names none: all of a pyramid, the last block of a transformer."""
        return tuple(range(self.num_levels))

    @abstractmethod
    def level_channels(self, index: int) -> int:
        """Channels of level `index`."""

    @abstractmethod
    def level_stride(self, index: int) -> int:
        """Input pixels per cell of level `index`."""

    @abstractmethod
    def __call__(self, images: Tensor, dense: str | None, insertions: Sequence[Insertion]) -> Features:
        """Normalized images (B, 3, H, W) -> Features."""


class ResNetTower(ImageTower):
    """CLIP's ModifiedResNet; levels 0..3 are the outputs of its four stages (strides 4, 8, 16, 32)."""

    stride = 32
    position_key = "attnpool.positional_embedding"

    def __init__(self, visual: Any, options: TowerOptions) -> None:
        self.visual, self.options = visual, options
        if not options.with_pool:
            visual.attnpool = None

    @property
    @override
    def num_levels(self) -> int:
        return 4

    @override
    def level_channels(self, index: int) -> int:
        return self.visual.conv3.out_channels * 4 * 2**index

    @override
    def level_stride(self, index: int) -> int:
        return 4 * 2**index

    @override
    def __call__(self, images: Tensor, dense: str | None, insertions: Sequence[Insertion]) -> Features:
        if insertions:
            raise UserError("Insertions run in transformer towers; this image tower is a ResNet. Choose a ViT.")
        visual, options = self.visual, self.options
        stages = []
        stem = x = visual.stem(images)
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            recompute = options.grad_checkpoint and x.requires_grad
            x = checkpoint(stage, x, use_reentrant=False) if recompute else stage(x)
            stages.append(x)
        features = Features(levels=[stages[i] for i in options.out_indices], stem=stem)
        if visual.attnpool is None:
            return features
        features.pooled, features.dense = attention_pool(
            visual.attnpool, x, mode=options.position_mode, interpolation=options.position_interpolation)
        if dense != "projected":
            features.dense = value_pool(visual.attnpool, x) if dense == "value" else None
        return features


class _TokenTower(ImageTower):
    """What open_clip's and timm's vision transformers share: a grid of tokens through the block loop."""

    visual: Any
    blocks: Sequence[nn.Module]
    width: int

    @property
    @override
    def num_levels(self) -> int:
        return len(self.blocks)

    @property
    @override
    def default_indices(self) -> tuple[int, ...]:
        return (self.num_levels - 1,)

    @override
    def level_channels(self, index: int) -> int:
        return self.width

    @override
    def level_stride(self, index: int) -> int:
        return self.stride

    @abstractmethod
    def embed(self, images: Tensor, insertions: Sequence[Insertion]) -> tuple[Tensor, tuple[int, int], int]:
        """Tokens with positions after the tower's first norm, the grid (h, w), and how many tokens are the image's."""

    @abstractmethod
    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Block output -> pooled (B, D), final tokens (B, N, C)."""

    @abstractmethod
    def project(self, tokens: Tensor) -> Tensor:
        """Block output at grid positions (B, hw, C) -> joint space (B, hw, D), the pooling's own way."""

    @override
    def __call__(self, images: Tensor, dense: str | None, insertions: Sequence[Insertion]) -> Features:
        options, last = self.options, len(self.blocks) - 1
        tokens, grid, count = self.embed(images, insertions)
        has_maps = bool(options.out_indices) or dense is not None
        if has_maps and self.visual.training and count != self.num_prefix + grid[0] * grid[1]:
            raise UserError("This image tower drops patches while it trains (patch dropout), so it has no feature maps "
                            "then. Ask for none (out_indices=() and dense=None), use eval(), or build the architecture "
                            "with patch_dropout 0.")
        taps = {*options.out_indices, last - 1} if dense == "value" else set(options.out_indices)
        first = tokens
        tokens, tapped = run_blocks(self.blocks, tokens, insertions=insertions, taps=taps,
                                    grad_checkpoint=options.grad_checkpoint)

        def to_map(x: Tensor) -> Tensor:
            x = x[:, self.num_prefix:count]
            return x.transpose(1, 2).unflatten(2, grid)  # (B, C, h, w)

        features = Features(levels=[to_map(tapped[i]) for i in options.out_indices])
        if not options.with_pool:
            return features
        tokens = tokens[:, :count]
        features.pooled, features.tokens = self.finish(tokens)
        if dense == "value":
            tokens = value_path(self.blocks[last], (tapped[last - 1] if last else first)[:, :count])
        if dense is not None:
            features.dense = self.project(tokens[:, self.num_prefix:]).transpose(1, 2).unflatten(2, grid)
        return features


class ViTTower(_TokenTower):
    """open_clip's VisionTransformer, with class-token or average pooling."""

    position_key = "positional_embedding"

    def __init__(self, visual: Any, options: TowerOptions) -> None:
        self.visual, self.options = visual, options
        self.blocks = visual.transformer.resblocks
        self.width = visual.conv1.out_channels
        self.stride = visual.patch_size[0]
        if visual.attn_pool is not None and options.with_pool:
            raise UserError("Attentional poolers (CoCa) are not supported; use with_pool=False for the levels alone.")
        if not options.with_pool:
            visual.ln_post, visual.proj = nn.Identity(), None

    @override
    def embed(self, images: Tensor, insertions: Sequence[Insertion]) -> tuple[Tensor, tuple[int, int], int]:
        visual, options = self.visual, self.options
        x = visual.conv1(images)  # (B, C, h, w)
        grid = (x.shape[2], x.shape[3])
        x = x.flatten(2).permute(0, 2, 1)  # (B, hw, C)
        token = visual.class_embedding.view(1, 1, -1).expand(x.shape[0], -1, -1).to(x.dtype)
        x = torch.cat([token, x], dim=1)
        positions = resize_positions(visual.positional_embedding, grid, mode=options.position_mode,
                                     interpolation=options.position_interpolation)
        x = visual.patch_dropout(x + positions.to(x.dtype))
        count = x.shape[1]
        for insertion in insertions:
            x = insertion.embed(x)
        return visual.ln_pre(x), grid, count

    @override
    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        visual = self.visual
        normed = visual.ln_post(tokens)
        if visual.final_ln_after_pool:
            pooled = visual.ln_post(visual._global_pool(tokens)[0])
        else:
            pooled = visual._global_pool(normed)[0]
        return (pooled if visual.proj is None else pooled @ visual.proj), normed

    @override
    def project(self, tokens: Tensor) -> Tensor:
        normed = self.visual.ln_post(tokens)
        return normed if self.visual.proj is None else normed @ self.visual.proj


class TimmViTTower(_TokenTower):
    """A timm vision transformer inside open_clip (SigLIP and relatives), with any of timm's poolings."""

    position_key = "trunk.pos_embed"

    def __init__(self, visual: Any, options: TowerOptions) -> None:
        self.visual, self.options = visual, options
        self.trunk = visual.trunk
        self.blocks = self.trunk.blocks
        self.width = self.trunk.embed_dim
        self.num_prefix = self.trunk.num_prefix_tokens
        self.stride = self.trunk.patch_embed.patch_size[0]
        self.num_prefix_rows = 0 if self.trunk.no_embed_class else self.num_prefix
        if not options.with_pool:
            self.trunk.norm, self.trunk.attn_pool, visual.head = nn.Identity(), None, nn.Identity()

    @override
    def embed(self, images: Tensor, insertions: Sequence[Insertion]) -> tuple[Tensor, tuple[int, int], int]:
        trunk, options = self.trunk, self.options
        x = trunk.patch_embed.proj(images)  # (B, C, h, w)
        grid = (x.shape[2], x.shape[3])
        x = trunk.patch_embed.norm(x.flatten(2).transpose(1, 2))  # (B, hw, C)
        positions = resize_positions(trunk.pos_embed[0], grid, num_prefix=self.num_prefix_rows,
                                     mode=options.position_mode, interpolation=options.position_interpolation)
        prefix = [token.expand(x.shape[0], -1, -1) for token in (trunk.cls_token, trunk.reg_token)
                  if token is not None]
        if trunk.no_embed_class:
            x = torch.cat([*prefix, x + positions], dim=1)
        else:
            x = torch.cat([*prefix, x], dim=1) + positions
        x = trunk.patch_drop(trunk.pos_drop(x))
        count = x.shape[1]
        for insertion in insertions:
            x = insertion.embed(x)
        return trunk.norm_pre(x), grid, count

    @override
    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        normed = self.trunk.norm(tokens)
        return self.visual.head(self.trunk.forward_head(normed)), normed

    @override
    def project(self, tokens: Tensor) -> Tensor:
        trunk, normed = self.trunk, self.trunk.norm(tokens)
        if trunk.attn_pool is not None:
            normed = _map_pool_values(trunk.attn_pool, normed)
        return self.visual.head(trunk.head(trunk.head_drop(trunk.fc_norm(normed))))


def _map_pool_values(pool: Any, tokens: Tensor) -> Tensor:
    """A latent-query (MAP) pool with every position as the only one that is attended to: its value path."""
    values = pool.kv(tokens).chunk(2, dim=-1)[1]
    values = pool.proj_drop(pool.proj(values))
    return values if pool.mlp is None else values + pool.mlp(pool.norm(values))


class TimmMapTower(ImageTower):
    """Any other timm tower inside open_clip (ConvNeXt, ...): levels and the pooled embedding, no dense map."""

    position_key = None

    def __init__(self, visual: Any, options: TowerOptions) -> None:
        self.visual, self.options = visual, options
        self.info = visual.trunk.feature_info
        self.stride = max(self.level_stride(i) for i in range(self.num_levels))

    @property
    @override
    def num_levels(self) -> int:
        return len(self.info)

    @override
    def level_channels(self, index: int) -> int:
        return self.info[index]["num_chs"]

    @override
    def level_stride(self, index: int) -> int:
        return self.info[index]["reduction"]

    @override
    def __call__(self, images: Tensor, dense: str | None, insertions: Sequence[Insertion]) -> Features:
        if insertions or dense == "value":
            raise UserError(f"{type(self.visual.trunk).__name__} has neither token blocks nor a value path; "
                            "choose a ViT or a CLIP ResNet.")
        last, levels = self.visual.trunk.forward_intermediates(images, indices=list(self.options.out_indices) or [-1])
        features = Features(levels=levels if self.options.out_indices else [])
        if self.options.with_pool:
            features.pooled = self.visual.head(self.visual.trunk.forward_head(last))
        return features


def build_image_tower(visual: Any, options: TowerOptions) -> ImageTower:
    """The walk that fits an open_clip image tower."""
    if hasattr(visual, "attnpool"):
        return ResNetTower(visual, options)
    if hasattr(visual, "transformer") and hasattr(visual, "class_embedding"):
        return ViTTower(visual, options)
    trunk = getattr(visual, "trunk", None)
    if trunk is not None and hasattr(trunk, "blocks") and getattr(trunk, "pos_embed", None) is not None:
        try:
            take_apart(trunk.blocks[0])
            return TimmViTTower(visual, options)
        except TypeError:
            pass
    if trunk is not None and hasattr(trunk, "feature_info"):
        return TimmMapTower(visual, options)
    raise UserError(f"Image towers of type {type(visual).__name__} are not supported.")
