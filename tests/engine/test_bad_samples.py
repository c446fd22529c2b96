"""Samples that cannot be used: named, or skipped and counted; and samples without a label."""

from __future__ import annotations

import json

import pytest
import torch

from clipapps.engine import checkpoint
from clipapps.engine.hooks import IgnoredLabelsHook


def command(config, folder, *overrides: str) -> tuple:
    return ("train", config, "--work-dir", folder, *overrides)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample_ends_the_run_with_its_name(tmp_path, toy_config, clipapps_cli, workers):
    result = clipapps_cli(*command(toy_config, tmp_path / "run", "train_dataloader.dataset.bad=(3, 8)",
                                   f"train_dataloader.num_workers={workers}"))
    assert result.code == 2
    assert result.err.strip() in ("error: sample_3.png cannot be decoded.", "error: sample_8.png cannot be decoded.")


@pytest.mark.parametrize("bad", [(3,), (3, 8), (0, 31, 17)])
def test_skipped_samples_are_counted_and_listed_whatever_the_workers(tmp_path, toy_config, clipapps_cli, bad):
    """The counts are those of the files that were made bad, and the weights do not depend on the workers."""
    weights = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        result = clipapps_cli(*command(
            toy_config, folder, f"train_dataloader.dataset.bad={bad}", "train_dataloader.on_bad_sample=skip",
            f"train_dataloader.num_workers={workers}", "train_dataloader.dataset.augment=True"))
        assert result.code == 0, result.err
        assert f"{len(bad)} bad sample{'s were' if len(bad) > 1 else ' was'} skipped:" in result.out
        assert all(f"\n  sample_{index}.png cannot be decoded.\n" in result.out for index in bad)
        noted = {json.loads(line)["index"] for line in (folder / "bad_samples.jsonl").read_text().splitlines()}
        assert noted == set(bad)
        weights.append(checkpoint.load(folder / "iter_40.pth")["state_dict"]["net.0.weight"])
    assert torch.equal(*weights)


@pytest.mark.parametrize(("size", "allowed"), [(32, 3), (400, 4), (1000, 10)])
def test_more_than_one_percent_end_the_run(tmp_path, toy_config, clipapps_cli, size, allowed):
    """One percent of the set, and three of a small one, are skipped; one more is too much."""
    steps = "train_cfg.max_iters=250", "train_cfg.val_interval=250", "default_hooks.logger.interval=100"
    for count, code in ((allowed, 0), (allowed + 1, 2)):
        bad = tuple(range(0, 3 * count, 3))
        result = clipapps_cli(*command(
            toy_config, tmp_path / str(count), f"train_dataloader.dataset.size={size}", *steps,
            f"train_dataloader.dataset.bad={bad}", "train_dataloader.on_bad_sample=skip"))
        assert result.code == code, result.err
        if code:
            assert f"{allowed + 1} of {size} samples are bad, and at most {allowed} are skipped" in result.err
            assert "bad_samples.jsonl" in result.err and ".png cannot be decoded" in result.err
        else:
            assert f"{allowed} bad samples were skipped" in result.out
            assert ("and 0 more" in result.out) is False


class Drawn:
    """What the hook needs of a runner."""

    rank, iter = 0, 6


def sample(labels: torch.Tensor, index: int) -> object:
    from mmengine.structures import BaseDataElement, PixelData

    return BaseDataElement(gt_sem_seg=PixelData(data=labels[None]), metainfo=dict(sample_idx=index))


def test_samples_without_a_labeled_pixel_are_counted(capsys):
    hook, empty, labeled = IgnoredLabelsHook(), torch.full((4, 5), 255), torch.zeros(4, 5).long()
    hook.before_train_iter(Drawn(), 0, {"data_samples": [sample(labeled, 1), sample(labeled, 2)]})
    assert capsys.readouterr().out == ""
    hook.before_train_iter(Drawn(), 1, {"data_samples": [sample(labeled, 3), sample(empty, 4)]})
    assert "step 7: 1 of 2 samples have no labeled pixel (all are 255)" in capsys.readouterr().out
    hook.before_train_iter(Drawn(), 2, {"data_samples": [sample(empty, 4), sample(empty, 9)]})
    assert capsys.readouterr().out == ""
    hook.after_train(Drawn())
    assert capsys.readouterr().out == "3 of 6 samples drawn had no labeled pixel; samples [4, 9].\n"
    hook.before_train_iter(Drawn(), 3, {"inputs": [1]})
    assert hook.count == 3


def test_a_sample_without_a_labeled_pixel_has_a_loss_of_zero_and_moves_nothing():
    pytest.importorskip("mmseg")
    from clipapps.projects.denseclip.mmseg_parts import CrossEntropyLoss

    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 5))
    for changed, is_zero in ((labels, False), (torch.full_like(labels, 255), True)):
        loss = CrossEntropyLoss()(logits, changed, ignore_index=255)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (float(loss) == 0.0) is is_zero
        assert bool((gradient == 0).all()) is is_zero
    half = torch.cat([labels[:1], torch.full_like(labels[:1], 255)])
    loss = CrossEntropyLoss()(logits, half, ignore_index=255)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[1] == 0).all() and (gradient[0] != 0).any()
