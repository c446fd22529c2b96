"""CLIPBackbone: one CLIP, image tower and text tower, for every project and every custom head."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip import open_clip_models
from clipapps.clip.blocks import Insertion
from clipapps.clip.drop_path import add_drop_path
from clipapps.clip.features import Features
from clipapps.clip.freezing import Trainable, set_trainable
from clipapps.clip.image_sizes import check_size
from clipapps.clip.image_towers import ImageTower, TowerOptions, ViTTower, build_image_tower
from clipapps.clip.positions import INTERPOLATIONS, MODES, grid_side
from clipapps.clip.prompts import fill_templates
from clipapps.clip.text_cache import VersionedCache
from clipapps.clip.text_towers import TextTower
from clipapps.clip.weights import find_weights, load_into, read_state
from clipapps.errors import UserError, WeightsError, did_you_mean
from clipapps.registry import MODELS

DENSE_MODES = ("projected", "value", None)
_TEXT_PARTS = ("transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection", "attn_mask",
               "text", "logit_scale", "logit_bias")
_DEFAULT = "default"


@MODELS.register_module()
class CLIPBackbone(nn.Module):
    """Any open_clip model (or the built-in tiny one) behind one interface.

    The constructor builds; `init_weights()` loads `weights` (mmengine calls it before training, the first forward
    calls it otherwise); `from_pretrained` does both. State dict keys are open_clip's under the prefix "model.".

    Args:
        arch: open_clip architecture name, "tiny-rn", "hf-hub:org/repo", a .json file, or an open_clip config dict.
        weights: "builtin", a pretrained tag, "hf-hub:org/repo", a file, or None for random weights.
        out_indices: blocks (ViT) or stages (ResNet, 0..3) whose maps `Features.levels` holds; negative ones count
            from the end; default: the last block, or all stages.
        dense: "projected" (ViT: final tokens, normed and projected; ResNet: the attention pool at every position),
            "value" (attention of the last block, or of the pool, replaced by its value path: MaskCLIP), or None.
        trainable: see `clipapps.clip.set_trainable`.
        input_resolution: input size (pixels; int or (H, W) square) whose positional grid is kept as the parameter;
            the grid of the weights is resized to it once at load time. None: the native size.
        position_interpolation: "bilinear" or "bicubic", for that resize and for the one to other inputs at run time.
        position_mode: "resize", or "crop" for the top-left corner of the kept grid.
        size_policy: "raise" refuses inputs that are no multiple of `stride`; "floor" lets the strides round down.
        with_text, with_pool: False leaves out the text tower; the pooling and projection parts of the image tower.
        drop_path_rate: stochastic depth of an open_clip ViT while training, rising linearly to this rate.
        grad_checkpoint: recompute blocks in the backward pass (less memory, about a third more time).

    Raises:
        UserError: unknown architecture, index, mode, or pattern. WeightsError (from loading): see `weights`.

    >>> clip = CLIPBackbone("tiny-rn", out_indices=(0, 3)).eval()
    >>> features = clip(clip.normalize(torch.rand(2, 3, 128, 96)))
    >>> [tuple(level.shape[1:]) for level in features.levels], tuple(features.dense.shape)
    ([(96, 32, 24), (768, 4, 3)], (2, 128, 4, 3))
    >>> clip.encode_text(["a red star"]).shape
    torch.Size([1, 128])
    """

    def __init__(
        self,
        arch: str | dict[str, Any],
        weights: str | None = None,
        *,
        out_indices: Sequence[int] | None = None,
        dense: str | None = "projected",
        trainable: Trainable = "all",
        input_resolution: int | Sequence[int] | None = None,
        position_interpolation: str = "bilinear",
        position_mode: str = "resize",
        size_policy: str = "raise",
        with_text: bool = True,
        with_pool: bool = True,
        drop_path_rate: float = 0.0,
        grad_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        _check_choice("dense", dense, DENSE_MODES)
        _check_choice("position_interpolation", position_interpolation, INTERPOLATIONS)
        _check_choice("position_mode", position_mode, MODES)
        _check_choice("size_policy", size_policy, ("raise", "floor"))
        self._arch = open_clip_models.resolve_arch(arch)
        self.weights, self._weights_pending = weights, weights is not None
        self.dense, self.size_policy = (dense if with_pool else None), size_policy
        mean, std = open_clip_models.normalization(self._arch, weights)
        self.image_mean, self.image_std = mean, std
        self.model: Any = open_clip_models.build_model(self._arch)
        options = TowerOptions(position_mode=position_mode, position_interpolation=position_interpolation,
                               with_pool=with_pool, grad_checkpoint=grad_checkpoint)
        tower = build_image_tower(self.model.visual, options)
        tower.options = TowerOptions(**{**vars(options), "out_indices": _indices(out_indices, tower)})
        self._image_tower = tower
        self._text_tower = TextTower(self.model, grad_checkpoint) if with_text else None
        self._text_cache: VersionedCache[Tensor] = VersionedCache()
        if not with_text:
            self.drop_text_tower()
        if input_resolution is not None:
            self._keep_grid_for(input_resolution)
        if drop_path_rate:
            if not isinstance(tower, ViTTower):
                raise UserError("`drop_path_rate` works on open_clip ViTs only; this image tower is another.")
            add_drop_path(tower.blocks, drop_path_rate)
        set_trainable(self.model, trainable)
        self.register_load_state_dict_post_hook(_note_loaded)

    @classmethod
    def from_pretrained(cls, arch: str | dict[str, Any], weights: str | None, **options: Any) -> CLIPBackbone:
        """Build and load in one call, in eval mode; takes the constructor's arguments."""
        backbone = cls(arch, weights, **options)
        backbone.init_weights()
        return backbone.eval()

    # ---- what it says about itself before it runs -------------------------------------------------------------

    @property
    def arch_config(self) -> dict[str, Any]:
        """open_clip's description of the architecture."""
        return self._arch.config

    @property
    def out_indices(self) -> tuple[int, ...]:
        """Blocks or stages that `Features.levels` holds."""
        return self._image_tower.options.out_indices

    @property
    def out_channels(self) -> list[int]:
        """Channels of each level."""
        return [self._image_tower.level_channels(index) for index in self.out_indices]

    @property
    def out_strides(self) -> list[int]:
        """Input pixels per cell of each level."""
        return [self._image_tower.level_stride(index) for index in self.out_indices]

    @property
    def stride(self) -> int:
        """Input sides must be multiples of this."""
        return self._image_tower.stride

    @property
    def embed_dim(self) -> int:
        """Size D of the joint space."""
        return int(self._arch.config["embed_dim"])

    @property
    def native_size(self) -> tuple[int, int]:
        """Input size (H, W) in pixels that the kept positional grid was made for."""
        key = self._image_tower.position_key
        if key is None or not self._has(key):
            size = self._arch.config["vision_cfg"].get("image_size", 224)
            return (size, size) if isinstance(size, int) else tuple(size)
        side = self._grid_side(self.model.visual.get_parameter(key)) * self.stride
        return side, side

    @property
    def context_length(self) -> int:
        """Longest text in tokens, start and end included."""
        return self._text().context_length

    @property
    def text_width(self) -> int:
        """Width W of token embeddings and of learnable contexts."""
        return self._text().width

    @property
    def has_text(self) -> bool:
        """Whether it was built with its text tower."""
        return self._text_tower is not None

    @property
    def has_causal_text(self) -> bool:
        """Whether nothing behind a text's pooled position matters to its embedding."""
        return self._text().is_causal

    # ---- weights ----------------------------------------------------------------------------------------------

    def init_weights(self) -> None:
        """Load the weights named at construction, once (reads a file; may download)."""
        if not self._weights_pending:
            return
        path = self.weights_file()
        load_into(self.model, read_state(path, self.model), source=str(path.name),
                  position_key=self._image_tower.position_key, num_prefix=self._prefix_rows(),
                  interpolation=self._image_tower.options.position_interpolation)
        self._weights_pending = False

    def weights_file(self) -> Path:
        """The local file of the weights named at construction (may download); raises WeightsError without one."""
        if self.weights is None:
            raise WeightsError("This backbone has random weights, and no file of them.")
        return find_weights(self._arch, str(self.weights))

    # ---- images -----------------------------------------------------------------------------------------------

    def normalize(self, images: Tensor) -> Tensor:
        """RGB images (B, 3, H, W) in 0..1 -> what `forward` takes; raises UserError for integers, which are 0..255."""
        if not images.is_floating_point():
            raise UserError(f"`normalize` takes floating-point images in 0..1, not {images.dtype}; divide by 255.")
        mean = images.new_tensor(self.image_mean).view(-1, 1, 1)
        std = images.new_tensor(self.image_std).view(-1, 1, 1)
        return (images - mean) / std

    def forward(self, images: Tensor, *, dense: str | None = _DEFAULT,
                insertions: Sequence[Insertion] = ()) -> Features:
        """Run the image tower.

        Args:
            images: normalized (B, 3, H, W); H and W multiples of `stride` unless `size_policy` is "floor".
            dense: overrides the constructor's choice for this call.
            insertions: code to run inside the blocks, see `Insertion`.

        Raises:
            UserError: an illegal size, with the nearest legal one.
        """
        self.init_weights()
        dense = self.dense if dense == _DEFAULT else dense
        _check_choice("dense", dense, DENSE_MODES)
        check_size(images, self.stride, strict=self.size_policy == "raise")
        return self._image_tower(images, dense, insertions)

    # ---- text -------------------------------------------------------------------------------------------------

    @cached_property
    def _tokenizer(self) -> open_clip_models.Tokenizer:
        return open_clip_models.build_tokenizer(self._arch)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, start and end token included."""
        return [len(self._tokenizer.encode(text)) + 2 for text in texts]

    def tokenize(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        """Token ids (K, L), padded; L is `context_length` or the tower's own.

        Raises:
            UserError: a text does not fit; nothing is cut silently.
        """
        length = context_length or self.context_length
        if hasattr(self._tokenizer, "encode"):
            for text, count in zip(texts, self.token_counts(texts), strict=True):
                if count > length:
                    raise UserError(f"The text {text!r} has {count} tokens (start and end included); {length} fit. "
                                    "Shorten it, or raise the context length.")
        return self._tokenizer(list(texts), context_length=length)

    def vocabulary(self) -> list[str]:
        """The text of every token by its id; parts of characters become replacement marks, so texts may repeat."""
        return [self._tokenizer.decode([index]).strip() for index in range(self.arch_config["text_cfg"]["vocab_size"])]

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token ids (K, L) -> token embeddings (K, L, W), without positions."""
        self.init_weights()
        return self._text().embed(ids)

    def pool_index(self, ids: Tensor) -> Tensor:
        """Position (K,) of each text's end token in ids (K, L)."""
        return self._text().pool_index(ids)

    def encode_text(self, texts: Sequence[str] | Tensor, *, normalize: bool = False, pool_index: Tensor | None = None,
                    insertions: Sequence[Insertion] = ()) -> Tensor:
        """Texts, or token ids (K, L), -> text embeddings (K, D), not normalized unless asked."""
        ids = texts if isinstance(texts, Tensor) else self.tokenize([texts] if isinstance(texts, str) else texts)
        ids = ids.to(self._device)
        index = self.pool_index(ids) if pool_index is None else pool_index
        embeds = self.encode_text_embeddings(self.embed_tokens(ids), index, insertions=insertions)
        return F.normalize(embeds, dim=-1) if normalize else embeds

    def encode_text_embeddings(self, embeds: Tensor, pool_index: Tensor, *,
                               insertions: Sequence[Insertion] = ()) -> Tensor:
        """Token embeddings (K, L, W) and the position (K,) to pool -> text embeddings (K, D), not normalized."""
        self.init_weights()
        return self._text()(embeds, pool_index, insertions)

    def encode_classes(self, names: Sequence[str], templates: Sequence[str] = ("{}",)) -> Tensor:
        """L2-normalized class embeddings (K, D): the mean over templates of normalized text embeddings.

        Without gradients the last result is remembered until names, templates, or text weights change.
        """
        if not names or not templates:
            raise UserError("Class embeddings need at least one name and one template.")
        self.init_weights()
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.text_parameters()):
            return self._embed_classes(names, templates)
        with torch.inference_mode(False), torch.no_grad():  # an inference tensor could not serve a later training step
            return self._text_cache.get((tuple(names), tuple(templates)), self.text_parameters(),
                                        lambda: self._embed_classes(names, templates))

    def _embed_classes(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        texts = fill_templates(names, templates)
        # Nothing behind the end token matters to a causal tower, so the batch is as long as its longest text.
        length = min(max(self.token_counts(texts)), self.context_length) if self.has_causal_text else None
        embeds = self.encode_text(self.tokenize(texts, length), normalize=True)
        return F.normalize(embeds.unflatten(0, (len(templates), len(names))).mean(dim=0), dim=-1)

    def text_parameters(self) -> list[nn.Parameter]:
        """Parameters of the text tower, the temperature left out."""
        return [parameter for name, parameter in self.model.named_parameters()
                if not name.startswith(("visual.", "logit_"))]

    def logit_scale(self) -> Tensor:
        """The factor on cosine similarities, exp already applied."""
        self._text()
        self.init_weights()
        return self.model.logit_scale.exp()

    # ---- internals --------------------------------------------------------------------------------------------

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _text(self) -> TextTower:
        if self._text_tower is None:
            raise UserError("This backbone was built without its text tower; build it with with_text=True.")
        return self._text_tower

    def drop_text_tower(self) -> None:
        """Leave the text tower and the temperature out from now on, as `with_text=False` does."""
        self._text_tower = None
        for name in _TEXT_PARTS:
            if hasattr(self.model, name):
                delattr(self.model, name)

    def _has(self, key: str) -> bool:
        return key in dict(self.model.visual.named_parameters())

    def _prefix_rows(self) -> int:
        return getattr(self._image_tower, "num_prefix_rows", self._image_tower.num_prefix)

    def _grid_side(self, table: Tensor) -> int:
        return grid_side(table.shape[-2], self._prefix_rows())

    def _keep_grid_for(self, resolution: int | Sequence[int]) -> None:
        """Replace the positional parameter by one of the grid that inputs of this size have."""
        key = self._image_tower.position_key
        sides = {resolution} if isinstance(resolution, int) else set(resolution)
        if key is None or not self._has(key) or len(sides) != 1:
            raise UserError(f"`input_resolution={resolution}` needs a square size and an image tower with learned "
                            "positions.")
        side = sides.pop() // self.stride
        if side < 1:
            raise UserError(f"`input_resolution={resolution}` is smaller than the stride of this image tower, "
                            f"{self.stride}.")
        owner, _, name = key.rpartition(".")
        old = self.model.visual.get_parameter(key)
        rows = self._prefix_rows() + side * side
        new = torch.randn(*old.shape[:-2], rows, old.shape[-1]) * old.shape[-1] ** -0.5
        setattr(self.model.visual.get_submodule(owner), name, nn.Parameter(new.to(old.dtype)))


def _note_loaded(module: nn.Module, incompatible: Any) -> None:
    """A checkpoint that filled the whole backbone makes loading its own weights needless."""
    if isinstance(module, CLIPBackbone) and not incompatible.missing_keys:
        module._weights_pending = False


def _indices(out_indices: Sequence[int] | None, tower: ImageTower) -> tuple[int, ...]:
    if out_indices is None:
        return tower.default_indices
    count = tower.num_levels
    for index in out_indices:
        if not -count <= index < count:
            raise UserError(f"`out_indices` holds {index}; this image tower has levels 0 to {count - 1}.")
    return tuple(index % count for index in out_indices)


def _check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        words = [choice for choice in choices if choice is not None]
        raise UserError(f"`{name}={value!r}` is unknown.{did_you_mean(str(value), words)} Choose one of "
                        f"{', '.join(repr(choice) for choice in choices)}.")
