"""Training-free segmentation with CLIP's own dense embeddings (MaskCLIP, arXiv 2112.01071, section 3).

    image -> value path of the last attention -> dense embeddings z in the joint space
    class names x templates -> text tower -> class embeddings t
    scores = cosine(z, t) over CLIP's temperature -> upsampled: the logits

Useful on its own for any class names, and the baseline of everything that trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.errors import ConfigError, UserError, did_you_mean
from clipapps.projects.denseclip.class_names import resolve_class_names
from clipapps.projects.denseclip.guidance import pixel_text_scores
from clipapps.projects.denseclip.mmseg_parts import BaseSegmentor, EncoderDecoder
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor
from clipapps.projects.denseclip.windows import BatchedWindows
from clipapps.registry import MODELS

TEMPLATES = ("{}", "a {}", "a photo of a {}")


@MODELS.register_module(name="DenseCLIPMaskCLIP")
class MaskCLIPSegmentor(BatchedWindows, EncoderDecoder):
    """Segment for any class names with a frozen CLIP; nothing trains.

    A class may have several wordings; its probability is the sum of theirs. This is how a background is named: by
    what it consists of ("grass", "sky", "wall"), for no caption says "background".

    Args:
        backbone: config of a `CLIPBackbone`, or one; its `dense` chooses the map ("value" is MaskCLIP's).
        class_names: names in label order, or the name of a known list ("ade20k", "camvid").
        wordings: class name -> the phrases that stand for it; classes without an entry stand for themselves.
        templates: sentences with {} for the phrase; class embeddings are means over them.
        scale: factor on the cosines; None: CLIP's own (the inverse of its temperature).
        data_preprocessor: config of a `CLIPSegPreprocessor`; its statistics come from the backbone.
        test_cfg: as in mmseg: whole or sliding inference.
        init_cfg: as in mmseg.

    Raises:
        ConfigError: an empty or unknown class name.

    >>> from clipapps.clip import CLIPBackbone
    >>> clip = CLIPBackbone("tiny-rn", dense="value")
    >>> model = MaskCLIPSegmentor(clip, ["background", "star"], wordings={"background": ["sea", "snow"]}).eval()
    >>> model.encode_decode(clip.normalize(torch.rand(1, 3, 64, 96)), []).shape
    torch.Size([1, 2, 64, 96])
    """

    def __init__(
        self,
        backbone: Mapping[str, Any] | CLIPBackbone,
        class_names: str | Sequence[str],
        *,
        wordings: Mapping[str, Sequence[str]] | None = None,
        templates: Sequence[str] = TEMPLATES,
        scale: float | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        BaseSegmentor.__init__(self, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.class_names = resolve_class_names(class_names)
        if not self.class_names:
            raise ConfigError("model.class_names is empty; give at least one name.")
        for name in wordings or {}:
            if name not in self.class_names:
                raise ConfigError(f"model.wordings has {name!r}, which is no class."
                                  f"{did_you_mean(name, self.class_names)}")
        words = [tuple((wordings or {}).get(name) or (name,)) for name in self.class_names]
        self.phrases = tuple(phrase for of_class in words for phrase in of_class)
        owners = torch.tensor([index for index, of_class in enumerate(words) for _ in of_class])
        self.register_buffer("owners", owners, persistent=False)  # class of each phrase
        self.templates, self.scale = tuple(templates), scale
        self.test_cfg = ConfigDict(test_cfg or dict(mode="whole"))
        self.num_classes = self.out_channels = len(self.class_names)
        self.align_corners = False
        self.backbone: CLIPBackbone = MODELS.build(backbone) if isinstance(backbone, Mapping) else backbone
        if isinstance(self.data_preprocessor, CLIPSegPreprocessor):
            self.data_preprocessor.use_statistics(self.backbone.image_mean, self.backbone.image_std)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> dense embeddings (B, E, h, w), not normalized."""
        dense = self.backbone(inputs).dense
        if dense is None:
            raise ConfigError("model.backbone.dense is None; choose \"value\" or \"projected\".")
        return dense

    def score(self, inputs: Tensor) -> Tensor:
        """Class logits (B, K, h, w) on the dense grid of normalized images (B, 3, H, W)."""
        text = self.backbone.encode_classes(self.phrases, self.templates)
        scores = pixel_text_scores(self.extract_feat(inputs), text[None])  # (B, phrases, h, w)
        scores = scores * (self.backbone.logit_scale().float() if self.scale is None else self.scale)
        if len(self.phrases) == self.num_classes:
            return scores
        return torch.stack([scores[:, self.owners == index].logsumexp(dim=1) for index in range(self.num_classes)], 1)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, K, H, W)."""
        return F.interpolate(self.score(inputs), size=inputs.shape[2:], mode="bilinear", align_corners=False)

    def loss(self, inputs: Tensor, data_samples: Any) -> NoReturn:
        """Refused: there is nothing to train."""
        raise UserError("This model is training-free: `clipapps test CONFIG` evaluates it as it is. To train, choose "
                        "a denseclip_* config.")

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return self.score(inputs)
