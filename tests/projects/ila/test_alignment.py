"""Masks, points, and the insert in front of a block."""

from __future__ import annotations

import pytest
import torch

from clipapps.errors import UserError
from clipapps.projects.ila.alignment import Alignment, AlignmentInsert, AlignmentPass, between_frames, point_mask


def insert(channels: int = 16, variant: str = "k400") -> AlignmentInsert:
    torch.manual_seed(0)
    module = AlignmentInsert(24, channels, variant)
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return module


def test_the_first_coordinate_of_a_point_chooses_columns():
    mask = point_mask(torch.tensor([0.75, -0.75]), (9, 5))
    assert mask.shape == (9, 5)
    assert (mask == 1).nonzero().tolist() == [[row, column] for row in (0, 1, 2) for column in (3, 4)]
    assert mask[:, 0].max() == 0 and mask[-1].max() == 0  # 1.75 half images away: nothing


@pytest.mark.parametrize("offset", [0.2, 0.05])
def test_disturbed_masks_are_the_mean_of_nine(offset):
    points = torch.rand(3, 2) * 1.5 - 0.75
    shifts = torch.cartesian_prod(*2 * [torch.tensor([-offset, 0.0, offset])])
    nine = torch.stack([point_mask(points + shift, (6, 7)) for shift in shifts]).mean(dim=0)
    torch.testing.assert_close(point_mask(points, (6, 7), offset), nine)


def test_frames_between_two_pairs_get_the_mean():
    first, second = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    assert between_frames(first, second, dim=1).tolist() == [[1.0, 6.0, 11.5, 30.0]]
    assert between_frames(first[:, :1], second[:, :1], dim=1).tolist() == [[1.0, 10.0]]


def test_a_fresh_module_looks_at_the_middle():
    points = Alignment(24, 16)(torch.randn(1, 3, 5, 4, 24)).points
    assert not points.any()


def test_a_grid_too_small_or_a_single_frame_is_refused():
    module = Alignment(24, 16)
    with pytest.raises(UserError, match="grid of 3 x 5"):
        module(torch.zeros(1, 2, 3, 5, 24))
    with pytest.raises(UserError, match="1 frame and"):
        module(torch.zeros(1, 1, 4, 4, 24))


def test_an_unknown_variant_is_refused():
    with pytest.raises(UserError, match="k400, ssv2"):
        Alignment(24, 16, "k600")


@pytest.mark.parametrize("variant", ["k400", "ssv2"])
@pytest.mark.parametrize("training", [True, False])
def test_multiplied_layers_give_what_one_after_the_other_gives(variant, training):
    module, tokens = insert(variant=variant).train(training), torch.randn(6, 21, 24)
    out, distance, aligned = module(tokens, 3, (4, 5), with_distance=True)
    messages = module.message_ln(module.message_fc(tokens)).unflatten(0, (-1, 3))
    alignment = module.message_attn
    step = tokens + module.temporal_skip_align_fc(alignment.aligned_tokens(messages, aligned)).flatten(0, 1)
    step = step + module.temporal_skip_fc(alignment.interaction_tokens(messages, aligned)).flatten(0, 1)
    torch.testing.assert_close(out, step)
    assert 0 < distance < 2


def test_the_multiplied_layers_follow_their_parameters_without_gradients():
    module, tokens = insert().eval(), torch.randn(4, 17, 24)
    with torch.no_grad():
        before = module(tokens, 2, (4, 4))[0]
        module.temporal_skip_fc.weight.mul_(2)
        changed = module(tokens, 2, (4, 4))[0]
    assert not torch.allclose(before, changed)
    torch.testing.assert_close(changed, module(tokens, 2, (4, 4))[0])


def test_clips_do_not_hear_each_other():
    module, tokens = insert().eval(), torch.randn(6, 17, 24)
    both = module(tokens, 3, (4, 4))[0]
    torch.testing.assert_close(both[3:], module(tokens[3:], 3, (4, 4))[0])


def test_a_block_that_runs_again_counts_its_batch_once():
    module, tokens = insert().train(), torch.randn(6, 17, 24)
    norm = module.message_attn.interactive_block[0].depthwise_conv[1]
    walk = AlignmentPass(torch.nn.ModuleList([module]), 3, (4, 4), with_distance=True)
    first = walk.before(0, tokens)
    mean, count = norm.running_mean.clone(), norm.num_batches_tracked.clone()
    torch.testing.assert_close(walk.before(0, tokens), first)
    assert torch.equal(norm.running_mean, mean) and norm.num_batches_tracked == count == 1
    assert norm.momentum == 0.1


def test_the_disturbance_is_for_training_alone():
    module = Alignment(24, 16, disturbance=0.2)
    frames = torch.randn(1, 2, 6, 6, 24)
    assert not torch.equal(module.train()(frames).mask_pre, module.eval()(frames).mask_pre)


def test_masks_stay_in_float32_under_autocast():
    module, tokens = insert(), torch.randn(4, 17, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, distance, aligned = module(tokens, 2, (4, 4), with_distance=True)
    assert aligned.mask_pre.dtype == distance.dtype == torch.float32
    torch.testing.assert_close(out.float(), module(tokens, 2, (4, 4))[0], atol=0.1, rtol=0.1)
