"""Any ImageNet backbone in place of CLIP's image tower (DenseCLIP, section 4.4, "any backbone")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from clipapps.clip import CLIPBackbone, DenseAttentionPool, Features
from clipapps.errors import UserError, WeightsError, did_you_mean
from clipapps.registry import MODELS
from clipapps.safe_load import load

HEAD_WIDTH = 64  # channels of one attention head of the pool, as in CLIP's own
TEXT_ARCH = "ViT-B-16-quickgelu"


@MODELS.register_module(name="DenseCLIPImageNetBackbone")
class ImageNetBackbone(nn.Module):
    """A timm feature pyramid, a dense attention pool that starts at random, and CLIP's text tower.

    It answers what segmentors and detectors ask of a `CLIPBackbone`; the joint space is the text tower's.

    Args:
        arch: timm name of a backbone with at least four feature levels, such as "resnet50".
        weights: "imagenet" (timm's default tag of `arch`), a file, or None for random weights.
        out_indices: which of the last four levels (strides 4 to 32) `Features.levels` holds.
        text_arch, text_weights: the CLIP that lends its text tower, see `CLIPBackbone`.
        input_resolution: input size (pixels) that the pool's positions are made for.
        with_text, with_pool: False leaves out the text tower; the attention pool: an ImageNet baseline has neither.
        trainable: "image" freezes the text tower, "all" does not, "none" freezes everything.

    Raises:
        UserError: an unknown timm name or `trainable`. WeightsError (from loading): weights that cannot be used.

    >>> import torch
    >>> backbone = ImageNetBackbone("resnet18", text_arch="tiny-rn", input_resolution=64).eval()
    >>> features = backbone(torch.rand(1, 3, 64, 96))
    >>> [tuple(level.shape[1:]) for level in features.levels][0], tuple(features.dense.shape)
    ((64, 16, 24), (1, 128, 2, 3))
    """

    stride = 32

    def __init__(
        self,
        arch: str,
        weights: str | None = None,
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        text_arch: str | dict[str, Any] = TEXT_ARCH,
        text_weights: str | None = None,
        input_resolution: int = 512,
        with_text: bool = True,
        with_pool: bool = True,
        trainable: str = "image",
    ) -> None:
        super().__init__()
        if trainable not in ("image", "all", "none"):
            raise UserError(f"`trainable={trainable!r}` is unknown; an ImageNet backbone takes image, all, or none.")
        self.arch, self.weights, self.text_arch, self.text_weights = arch, weights, text_arch, text_weights
        self.out_indices = tuple(out_indices)
        self.image = _build(arch)
        self.image_mean, self.image_std = _statistics(arch)
        channels = self.image.feature_info.channels()[-4:]
        self.out_channels = [channels[index] for index in self.out_indices]
        self.clip: CLIPBackbone | None = None
        self.attnpool: DenseAttentionPool | None = None
        if with_text:
            self.clip = CLIPBackbone(text_arch, dense=None, with_pool=False)
            del self.clip.model.visual  # the text tower alone is wanted
            self.clip.requires_grad_(trainable == "all")
        if with_pool:
            embed_dim = self.clip.embed_dim if self.clip is not None else 512
            self.attnpool = DenseAttentionPool(input_resolution // self.stride, channels[-1],
                                               max(channels[-1] // HEAD_WIDTH, 1), embed_dim)
        if trainable == "none":
            self.requires_grad_(False)
        self._weights_pending = weights is not None or text_weights is not None
        self.register_load_state_dict_post_hook(_note_loaded)

    def init_weights(self) -> None:
        """Load the weights named at construction, once (reads files; may download)."""
        if not self._weights_pending:
            return
        self._weights_pending = False
        if self.weights is not None:
            self.image.load_state_dict(_read_weights(self.arch, self.weights, self.image))
        if self.clip is not None and self.text_weights is not None:
            source = CLIPBackbone.from_pretrained(self.text_arch, self.text_weights).model.state_dict()
            self.clip.model.load_state_dict({name: source[name] for name in self.clip.model.state_dict()})

    def forward(self, images: Tensor) -> Features:
        """Normalized images (B, 3, H, W) -> levels; with the pool also the pooled and dense embeddings."""
        self.init_weights()
        maps = self.image(images)[-4:]
        if str(getattr(self.image, "output_fmt", "NCHW")).endswith("NHWC"):
            maps = [level.permute(0, 3, 1, 2).contiguous() for level in maps]
        features = Features(levels=[maps[index] for index in self.out_indices])
        if self.attnpool is not None:
            features.pooled, features.dense = self.attnpool(maps[-1])
        return features

    def __getattr__(self, name: str) -> Any:
        """What belongs to the text tower (`tokenize`, `encode_text_embeddings`, `text_width`, ...) is asked there."""
        if name not in _FACTS + _COMPUTED:
            return super().__getattr__(name)
        if self.clip is None:
            raise UserError("This backbone was built without its text tower; build it with with_text=True.")
        if name in _COMPUTED:
            self.init_weights()
        return getattr(self.clip, name)


#: what the text tower answers, before and after it has its weights
_FACTS = ("arch_config", "embed_dim", "text_width", "context_length", "token_counts", "tokenize", "pool_index",
          "text_parameters")
_COMPUTED = ("embed_tokens", "encode_text", "encode_text_embeddings", "encode_classes", "logit_scale")


def _build(arch: str) -> Any:
    import timm

    if not timm.is_model(arch):
        raise UserError(f"timm has no model {arch!r}.{did_you_mean(arch, timm.list_models())}")
    sizes: dict[str, Any] = {}
    if "swin" in arch:
        sizes = dict(strict_img_size=False)  # windows are fitted to every input
    try:
        return timm.create_model(arch, pretrained=False, features_only=True, out_indices=(-4, -3, -2, -1), **sizes)
    except (RuntimeError, AssertionError, TypeError, IndexError) as error:
        raise UserError(f"The timm model {arch!r} gives no four feature levels ({error}); choose a pyramid such as "
                        "resnet50, convnext_tiny, or swin_tiny_patch4_window7_224.") from error


def _statistics(arch: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (0..1) of the backbone's own pre-training."""
    import timm

    config = timm.get_pretrained_cfg(arch, allow_unregistered=True) or timm.models.PretrainedCfg()
    return tuple(config.mean), tuple(config.std)


def _read_weights(arch: str, weights: str, image: nn.Module) -> dict[str, Tensor]:
    """Tensors for the feature pyramid; the classifier's are left out."""
    import timm

    try:
        if weights == "imagenet":
            state = timm.create_model(arch, pretrained=True, features_only=True,
                                      out_indices=(-4, -3, -2, -1)).state_dict()
        else:
            state = load(weights)
    except (OSError, RuntimeError) as error:  # no network, or no such tag
        reason = str(error).strip().splitlines()[0][:200]
        raise WeightsError(f"{arch}: its weights cannot be fetched ({reason}). Without a network, download timm's "
                           "file elsewhere and give its path as `weights`.") from error
    wanted = image.state_dict()
    renamed = {name.replace(".", "_", 1): value for name, value in state.items()}  # "layers.0.x", timm: "layers_0.x"
    state = {**renamed, **state}
    missing = [name for name in wanted if name not in state]
    if missing:
        raise WeightsError(f"{weights} is not for {arch}: {len(missing)} entries are missing, such as {missing[0]}.")
    return {name: state[name] for name in wanted}


def _note_loaded(module: nn.Module, incompatible: Any) -> None:
    """A checkpoint that filled the whole backbone makes loading its own weights needless."""
    if isinstance(module, ImageNetBackbone) and not incompatible.missing_keys:
        module._weights_pending = False
