"""Multi-scale and flip testing: probabilities averaged over views of an image (DenseCLIP, table 1, "MS")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from torch import Tensor

from clipapps.projects.denseclip.mmseg_parts import SampleList
from clipapps.registry import MODELS


def averaged(views: Iterable[Sequence[Any]]) -> SampleList:
    """[view][image] predictions with `seg_logits` -> the first view's samples with mean probabilities' logarithm."""
    merged: SampleList = []
    total: list[Tensor] = []
    count = 0
    for predicted in views:
        count += 1
        probabilities = [sample.seg_logits.data.softmax(dim=0) for sample in predicted]
        total = [a + b for a, b in zip(total, probabilities, strict=True)] if total else probabilities
        merged = merged or list(predicted)
    for sample, probability in zip(merged, total, strict=True):
        sample.set_data(dict(seg_logits=PixelData(data=(probability / count).log()),
                             pred_sem_seg=PixelData(data=probability.argmax(dim=0, keepdim=True))))
    return merged


@MODELS.register_module(name="DenseCLIPAveragedViews")
class AveragedViews(BaseTTAModel):
    """A segmentor over several views of each image, as `clipapps test --tta` uses it.

    What mmseg's `SegTTAModel` computes: every view's logits at the original size, turned back when flipped, softmax,
    mean, argmax. The views are summed one after another, so that twelve of them need the memory of two; and the
    weights keep the names that they have without views.

    Args:
        module: config of a segmentor, or one.

    >>> from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
    >>> from clipapps.clip import CLIPBackbone
    >>> model = AveragedViews(MaskCLIPSegmentor(CLIPBackbone("tiny-rn", dense="value"), ["sea", "star"]))
    >>> model.class_names
    ('sea', 'star')
    """

    module: Any

    @property
    def class_names(self) -> tuple[str, ...]:
        """The segmentor's."""
        names: tuple[str, ...] = self.module.class_names
        return names

    def test_step(self, data: dict[str, Any]) -> SampleList:
        """Views of B images, `inputs` and `data_samples` [view][image] -> B samples with `pred_sem_seg`."""
        return averaged(self.module.test_step(dict(inputs=inputs, data_samples=samples))
                        for inputs, samples in zip(data["inputs"], data["data_samples"], strict=True))

    def merge_preds(self, data_samples_list: Sequence[SampleList]) -> SampleList:
        """Predictions [image][view], mmengine's order, -> one sample an image; `test_step` holds one view at a time."""
        return averaged(zip(*data_samples_list, strict=True))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The segmentor's weights under its own names."""
        state: dict[str, Any] = self.module.state_dict(*args, **kwargs)
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load weights of the segmentor."""
        return self.module.load_state_dict(state_dict, strict, assign)
