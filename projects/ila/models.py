"""Video classifiers on a frozen CLIP: ILA, and what it is compared with (the same without alignment, mean pooling).

    clip -> CLIP image tower, `alignment.AlignmentInsert` in front of each block -> class token and patches per frame
    class tokens -> `integration.FrameIntegration` (or their mean) -> one embedding
    embedding, patches -> `heads.TextHead` or `heads.LinearHead` -> scores

Letters: B clips, V views of a clip, T frames, H x W grid, D tower width, E joint space, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.errors import UserError
from clipapps.projects.ila.alignment import Aligned, AlignmentInsert, AlignmentPass
from clipapps.projects.ila.heads import LinearHead, TextHead
from clipapps.projects.ila.integration import FrameIntegration
from clipapps.projects.ila.losses import soft_cross_entropy
from clipapps.projects.ila.preprocessing import ILAPreprocessor
from clipapps.registry import MODELS


class ClipFeatures(NamedTuple):
    """What the tower and the integration say about B clips.

    Args:
        clips: (B, E), not normalized.
        frames: the frames' own embeddings (B, T, E).
        patches: tokens of the last block's output (B, T, HW, D).
        distances: mean distance of aligned pairs at each block; empty unless asked for.
        aligned: points and masks at each block; empty without alignment.
    """

    clips: Tensor
    frames: Tensor
    patches: Tensor
    distances: list[Tensor]
    aligned: list[Aligned]


@MODELS.register_module()
class ILAClassifier(BaseModel):
    """Implicit learnable alignment (ICCV 2023) on any open_clip ViT with a class token.

    Args:
        backbone: config of a `CLIPBackbone`, frozen by `trainable="none"`.
        num_frames: T, that positions are learned for; clips of other lengths interpolate them.
        alignment: arguments of `AlignmentInsert` (`channels`, `variant`, `disturbance`); None: frames do not meet in
            the tower.
        integration: arguments of `FrameIntegration` (`layers`); None: the mean of the frames.
        head: dict(class_names=...) with arguments of `TextHead`, or dict(num_classes=...) with those of `LinearHead`.
        cosine_weight: of the sum over blocks of the mean distance of aligned pairs.
        label_smoothing: for labels that are indices; blended ones come smoothed.
        bn_batch_stats_in_test: batch norms use the test batch, as the released Kinetics code did by accident.
        data_preprocessor: config of an `ILAPreprocessor`.

    Raises:
        UserError: the backbone is no ViT with a class token; the head says neither names nor a number of classes.

    >>> model = ILAClassifier(backbone=dict(type=CLIPBackbone, arch="tiny-vit", trainable="none"), num_frames=2,
    ...                       alignment=dict(channels=32), integration={}, head=dict(class_names=["up", "down"])).eval()
    >>> model(torch.rand(1, 2, 3, 128, 128)).shape
    torch.Size([1, 2])
    """

    def __init__(self, backbone: Mapping[str, Any], num_frames: int, *, alignment: Mapping[str, Any] | None = None,
                 integration: Mapping[str, Any] | None = None, head: Mapping[str, Any], cosine_weight: float = 1.0,
                 label_smoothing: float = 0.0, bn_batch_stats_in_test: bool = False,
                 data_preprocessor: Mapping[str, Any] | None = None, init_cfg: Any = None) -> None:
        preprocessor = {"type": ILAPreprocessor} if data_preprocessor is None else data_preprocessor
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.backbone: CLIPBackbone = MODELS.build(backbone)
        self.cosine_weight, self.label_smoothing = cosine_weight, label_smoothing
        self.num_frames, self.bn_batch_stats_in_test = num_frames, bn_batch_stats_in_test
        visual, embed_dim = self.backbone.model.visual, self.backbone.embed_dim
        check_tower(visual)
        self.width = visual.conv1.out_channels
        self.inserts: nn.ModuleList | None = None
        if alignment is not None:
            self.inserts = nn.ModuleList(AlignmentInsert(self.width, **alignment) for _ in visual.transformer.resblocks)
        self.mit: FrameIntegration | None = None
        if integration is not None:
            self.mit = FrameIntegration(embed_dim, num_frames, **integration)
        self.head = build_head(head, self.width, embed_dim)
        if isinstance(self.data_preprocessor, ILAPreprocessor) and not self.data_preprocessor.has_own_statistics:
            self.data_preprocessor.use_statistics(self.backbone.image_mean, self.backbone.image_std)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names in label order; None when the classes are only numbered."""
        return self.head.class_names if isinstance(self.head, TextHead) else None

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.head.class_names) if isinstance(self.head, TextHead) else self.head.fc.out_features

    def set_disturbance(self, offset: float) -> None:
        """Offset of the extra points around every interactive point while training, in half images."""
        for insert in self.inserts or ():
            insert.message_attn.disturbance = offset

    def forward(self, inputs: Tensor, mode: str = "tensor", label: Tensor | None = None, **facts: Any) -> Any:
        """Normalized clips -> logits, losses, or predictions.

        Args:
            inputs: (B, T, 3, H, W); for "predict" also (B, V, T, 3, H, W), views whose probabilities are averaged.
            mode: "tensor": logits (B, K); "loss": dict, needs `label`; "predict": a dict for each clip.
            label: indices (B,), or distributions (B, K).
            **facts: other parts of the samples; predictions carry their `sample_idx`.
        """
        if mode == "loss":
            if label is None:
                raise UserError("Training needs a label for every clip.")
            return self.loss(inputs, label)
        if mode == "predict":
            return self.predict(inputs, label, **facts)
        return self.classify(self.encode(inputs))

    def encode(self, clips: Tensor, *, with_distance: bool = False) -> ClipFeatures:
        """Normalized clips (B, T, 3, S, S) -> their features; distances only for the loss."""
        b, t, _, height, width = clips.shape
        stride = self.backbone.stride
        grid = (height // stride, width // stride)
        insertions = () if self.inserts is None else (AlignmentPass(
            self.inserts, t, grid, with_distance=with_distance, batch_statistics=self.bn_batch_stats_in_test),)
        features = self.backbone(clips.flatten(0, 1), dense=None, insertions=insertions)
        frames = features.pooled.unflatten(0, (b, t))
        patches = features.levels[-1].flatten(2).transpose(1, 2).unflatten(0, (b, t))  # (B, T, HW, D)
        found = insertions[0] if insertions else None
        return ClipFeatures(frames.mean(dim=1) if self.mit is None else self.mit(frames), frames, patches,
                            list(found.distances.values()) if found else [],
                            list(found.aligned.values()) if found else [])

    def classify(self, features: ClipFeatures) -> Tensor:
        """Logits (B, K) of encoded clips."""
        if isinstance(self.head, TextHead):
            return self.head(features.clips, features.patches, self.head.embed_names(self.backbone),
                             self.backbone.logit_scale())
        return self.head(features.clips)

    def loss(self, clips: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Classification loss, weighted sum of the blocks' distances, and each block's distance for the log."""
        features = self.encode(clips, with_distance=self.cosine_weight != 0)
        return self.losses(features, self.classify(features), label)

    def losses(self, features: ClipFeatures, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """The same of clips that are encoded and classified."""
        losses = {"loss_classes": soft_cross_entropy(logits, label, self.label_smoothing)}
        if features.distances:
            losses["loss_alignment"] = self.cosine_weight * torch.stack(features.distances).sum()
            losses |= {f"distance_{index}": value.detach() for index, value in enumerate(features.distances)}
        return losses

    def predict(self, clips: Tensor, label: Tensor | None = None, sample_idx: Any = None,
                **_: Any) -> list[dict[str, Any]]:
        """One dict a clip: `scores` (K,), probabilities averaged over its views; `num_views`, `sample_idx`, `label`."""
        views = clips if clips.ndim == 6 else clips.unsqueeze(1)
        # View by view: the same result in evaluation as all at once, in the memory of one.
        scores = torch.stack([self.classify(self.encode(view)).float().softmax(dim=-1)
                              for view in views.unbind(dim=1)]).mean(dim=0)
        facts = {"sample_idx": sample_idx, "label": label}
        return [dict(scores=row, num_views=views.shape[1],
                     **{name: int(values[index]) for name, values in facts.items() if values is not None})
                for index, row in enumerate(scores)]


def build_head(head: Mapping[str, Any], tower_width: int, width: int) -> TextHead | LinearHead:
    """The head that its arguments belong to; raises UserError unless exactly one of names and number is given."""
    if ("class_names" in head) == ("num_classes" in head):
        raise UserError("The head needs either class_names (it scores by their text) or num_classes (a linear layer).")
    return TextHead(tower_width, width, **head) if "class_names" in head else LinearHead(width, **head)


def check_tower(visual: Any) -> None:
    """Raise UserError unless an image tower is a ViT that pools its class token, which the alignment reads."""
    is_fit = hasattr(visual, "class_embedding") and getattr(visual, "attn_pool", None) is None
    if not is_fit or visual.pool_type != "tok":
        raise UserError("ILA needs a ViT whose embedding comes from its class token; this image tower "
                        f"({type(visual).__name__}) has another pooling. Choose for example ViT-B-32-quickgelu.")
