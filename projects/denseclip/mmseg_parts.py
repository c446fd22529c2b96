"""What we use of mmsegmentation, imported without the lines and warnings it prints about parts nobody needs here."""

from __future__ import annotations

import contextlib
import io
import warnings

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # compiled mmcv operations are absent on purpose
    from mmseg.datasets.ade import ADE20KDataset
    from mmseg.datasets.basesegdataset import BaseSegDataset
    from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion, RandomCrop
    from mmseg.evaluation import IoUMetric
    from mmseg.models.data_preprocessor import SegDataPreProcessor
    from mmseg.models.decode_heads import FCNHead, FPNHead
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.losses import CrossEntropyLoss
    from mmseg.models.necks import FPN
    from mmseg.models.segmentors import BaseSegmentor, EncoderDecoder
    from mmseg.models.utils import Upsample
    from mmseg.utils import SampleList, add_prefix

__all__ = [
    "ADE20KDataset", "BaseDecodeHead", "BaseSegDataset", "BaseSegmentor", "CrossEntropyLoss", "EncoderDecoder",
    "FCNHead", "FPN", "FPNHead", "IoUMetric", "PackSegInputs", "PhotoMetricDistortion", "RandomCrop", "SampleList",
    "SegDataPreProcessor", "Upsample", "add_prefix",
]
