"""Normalization with the backbone's statistics, then padding."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample


def test_statistics_are_the_backbones_and_padding_is_zero_after_normalization(build):
    model = build()
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)  # BGR
    sample = SegDataSample(metainfo=dict(img_shape=(40, 50)))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 40, 50, dtype=torch.long))
    batch = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)
    images = batch["inputs"]
    assert images.shape == (1, 3, 64, 64)
    expected = model.backbone.normalize(image.flip(0)[None].float() / 255)
    torch.testing.assert_close(images[..., :40, :50], expected, atol=1e-5, rtol=1e-5)
    assert images[..., 40:, :].eq(0).all() and images[..., 50:].eq(0).all()
    labels = batch["data_samples"][0].gt_sem_seg.data
    assert labels[:, :40, :50].eq(0).all() and labels[:, 40:].eq(255).all()


def test_evaluation_does_not_pad_unless_asked(build):
    data = dict(inputs=[torch.zeros(3, 40, 50, dtype=torch.uint8)], data_samples=[SegDataSample()])
    assert build().data_preprocessor(data, training=False)["inputs"].shape == (1, 3, 40, 50)


def test_statistics_are_no_part_of_the_weights(build):
    assert not any(name.startswith("data_preprocessor") for name in build().state_dict())
