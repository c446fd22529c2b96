"""Runners of the ILA cases about data: samplers, crops, blending."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from clipapps.projects.ila import blending, losses, sampling, transforms
from clipapps.projects.ila.preprocessing import ILAPreprocessor

TOLERANCES = {
    "sampling": [("*", "relative", 0.0)],  # "exact"
    "preprocess": [  # "bilinear rounding may differ by 1 grey level between OpenCV builds: atol 0.02 after
        #               normalisation"
        ("*_uint8", "abs", 1), ("*", "abs", 0.02)],
    "blending": [("*", "abs", 1e-6)],
}
VIEWS = "multiview"


def frame_indices(case: Any) -> None:
    """Every sampler of every row, in the row's own order of keys."""
    found = []
    for row in case.spec["cases"]:
        length, frames = row["num_frames"], row["T"]
        found.append({key: value if key in ("num_frames", "T") else indices_of(key, value, length, frames)
                      for key, value in row.items()})
    case.compare("cases", found)


def indices_of(key: str, given: Any, length: int, frames: int) -> Any:
    """What one sampler gives; of `given` only the seeds are read."""
    if key == "uniform_train_segments":
        return [list(segment) for segment in sampling.SegmentSampler(frames).segments(length)]
    if key == "uniform_train_seeded":
        return {seed: seeded(sampling.SegmentSampler(frames), seed, length) for seed in given}
    if key.startswith(VIEWS):
        views = int("".join(letter for letter in key.removeprefix(VIEWS).split("_")[0] if letter.isdigit()))
        return {seed: seeded(sampling.ViewSampler(frames, views, random=True), seed, length) for seed in given}
    sampler: Any = {"uniform_test": sampling.SegmentSampler(frames, random=False),
                    "segment_test": sampling.CenterSampler(frames), "dense_test": sampling.DenseSampler(frames)}[key]
    return sampler(length).reshape(-1).tolist()


def seeded(sampler: sampling.FrameSampler, seed: str, length: int) -> list[int]:
    random.seed(int(seed))
    np.random.seed(int(seed))
    return sampler(length).reshape(-1).tolist()


def frames(case: Any) -> None:
    """Frames at test time: one view, and three crops."""
    options = case.options
    normalize = ILAPreprocessor([value / 255 for value in options["mean"]],
                                [value / 255 for value in options["std"]]).normalize
    sample = dict(frames=case.input("in.frames").numpy(), views=1)
    single = transforms.CropCenter(options["input_size"])(
        transforms.ResizeShortSide(options["short_side_single"])(sample))
    case.compare("single_view_uint8", torch.from_numpy(single["frames"].copy()))
    case.compare("single_view", normalize(transforms.PackClip()(single)["inputs"]))
    three = transforms.CropThree(options["input_size"])(
        transforms.ResizeShortSide(options["short_side_three_crop"])(sample))
    case.compare("three_crop", normalize(transforms.PackClip()(three)["inputs"]).flatten(0, 1))


def blended(case: Any) -> None:
    """Smoothed labels, mixup and cutmix with given draws, and the loss of the blended labels."""
    options, clips = case.options, case.input("in.imgs")
    targets = blending.smoothed(case.input("in.label"), options["num_classes"], options["smoothing"])
    case.compare("smoothed", targets)
    if case.has("mixup.perm"):
        mixed, labels = blending.mixup(clips, targets, case.input("mixup.perm"), case.input("mixup.lam").item())
        case.compare("mixup.imgs", mixed)
        case.compare("mixup.label", labels)
        if case.has("in.logits"):
            case.compare("soft_ce_of_mixup", losses.soft_cross_entropy(case.input("in.logits"), labels).reshape(1))
    if case.has("cutmix.perm"):
        case.input("cutmix.lam")  # only the box follows from it, which is given
        mixed, labels = blending.cutmix(clips, targets, case.input("cutmix.perm"),
                                        tuple(case.input("cutmix.bbox_x1y1x2y2").tolist()))
        case.compare("cutmix.imgs", mixed)
        case.compare("cutmix.label", labels)


RUNNERS = {"sampling": frame_indices, "preprocess": frames, "blending": blended}
