"""Configs of detectors: the published recipes in numbers, parameters equal to the table, a step at full width."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from clipapps.data.images import write_image
from clipapps.engine.config import list_configs, load_config
from clipapps.engine.config_check import check_config
from clipapps.projects.denseclip import convert
from clipapps.projects.denseclip.class_names import COCO
from clipapps.projects.denseclip.complexity import count_parameters, measure
from clipapps.projects.denseclip.guidance import LanguageGuidance
from clipapps.registry import MODELS, PARAM_SCHEDULERS

CONFIGS = [name for name in list_configs()
           if name.startswith("denseclip/") and ("retinanet" in name or "mask_rcnn" in name)]
TINY = [name for name in CONFIGS if "tiny" in name]
#: config -> backbone, context decoder, neck, heads, all of them; GMACs at 1280 x 800 (table 6.1 of the specification)
TABLE = {
    "retinanet_rn50_1x_coco": (23_527_264, 0, 7_997_440, 6_463_220, 37_987_924, 265.17),
    "denseclip_retinanet_rn50_1x_coco": (41_829_216, 3_948_800, 8_202_240, 6_463_220, 60_448_596, 285.18),
    "retinanet_rn101_1x_coco": (42_519_392, 0, 7_997_440, 6_463_220, 56_980_052, 341.14),
    "denseclip_retinanet_rn101_1x_coco": (59_772_256, 3_553_024, 8_202_240, 6_463_220, 77_995_348, 359.90),
    "mask_rcnn_rn50_1x_coco": (23_527_264, 0, 3_344_384, 17_543_920, 44_415_568, 285.97),
    "denseclip_mask_rcnn_rn50_1x_coco": (41_829_216, 3_948_800, 3_364_864, 17_543_920, 66_691_920, 305.93),
    "mask_rcnn_rn101_1x_coco": (42_519_392, 0, 3_344_384, 17_543_920, 63_407_696, 361.94),
    "denseclip_mask_rcnn_rn101_1x_coco": (59_772_256, 3_553_024, 3_364_864, 17_543_920, 84_238_672, 380.65),
}
PARTS = ("backbone", "context decoder", "neck", "head", "total")
#: official key list -> config
KEY_LISTS = {f"{kind}_denseclip_r{depth}_fpn_1x_coco": f"denseclip_{kind}_rn{depth}_1x_coco"
             for kind in ("retinanet", "mask_rcnn") for depth in (50, 101)}


def load(name: str, *overrides: str):
    init_default_scope("clipapps")
    return load_config(name if "/" in name else f"denseclip/{name}", ["model.backbone.weights=None", *overrides])


def build_empty(name: str):
    cfg = load(name)
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def test_the_published_recipes_and_the_tiny_ones_are_there():
    assert {name.partition("/")[2] for name in CONFIGS if "coco" in name} == set(TABLE)
    assert {name.partition("/")[2] for name in TINY} == {
        f"{front}{kind}_tiny_toyworld" for front in ("", "denseclip_") for kind in ("retinanet", "mask_rcnn")}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_passes_the_check_and_says_how_to_launch_it(name):
    text = list_configs()[name].read_text()
    assert f"train {name}" in text.split('"""')[1] and len(text.splitlines()) <= 100
    assert check_config(load(name)) == ([], [])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_baseline_differs_in_language_alone(name):
    method, baseline = load(name), load(name.replace("/denseclip_", "/"))
    for key in ("train_dataloader", "val_dataloader", "optim_wrapper", "param_scheduler", "train_cfg", "val_evaluator"):
        assert method[key] == baseline[key], key
    for key in ("neck", "bbox_head", "rpn_head", "roi_head", "class_names", "data_preprocessor"):
        assert method.model.get(key) == baseline.model.get(key), key


@pytest.mark.parametrize("name", TABLE)
def test_parameters_equal_the_table(name):
    model = build_empty(name)
    counts = count_parameters(model)
    assert tuple(counts.get(part, 0) for part in PARTS) == TABLE[name][:-1]
    assert isinstance(model, LanguageGuidance) == name.startswith("denseclip") and model.class_names == COCO


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_macs_equal_the_table_within_a_thousandth(name):
    macs = measure(MODELS.build(load(name).model)).macs
    assert macs["total"] / 1e9 == pytest.approx(TABLE[name][-1], rel=1e-3)


@pytest.mark.parametrize(("keys", "name"), KEY_LISTS.items())
def test_every_key_of_the_released_checkpoints_has_its_place(keys, name, shared):
    shapes = json.loads((shared / "golden/denseclip/official_keys" / f"{keys}.json").read_text())
    shapes = shapes.get("keys", shapes)
    state = {key: torch.empty(shape if isinstance(shape, list) else shape["shape"], device="meta")
             for key, shape in shapes.items() if isinstance(shape, list | dict)}
    model = build_empty(name)
    ours = convert.fill_unused(convert.convert_model(state), model)
    convert.check_complete(ours, model)


@pytest.mark.parametrize("name", TABLE)
def test_the_published_recipe(name):
    cfg = load(name)
    masks = "mask" in name
    assert cfg.optim_wrapper.optimizer == dict(type=torch.optim.AdamW, lr=2e-4 if masks else 1e-4, betas=(0.9, 0.999),
                                               eps=1e-8, weight_decay=1e-4)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=0.1, norm_type=2)
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (12, 2)
    steps = {step["type"].__name__: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps["ResizeInstances"]["scale"] == (1333, 800) and steps["FlipInstances"]["prob"] == 0.5
    assert steps["LoadInstances"]["with_masks"] == masks
    assert tuple(cfg.val_evaluator.kinds) == tuple(cfg.test_evaluator.kinds) == (("box", "mask") if masks else ("box",))
    if name.startswith("denseclip"):
        assert cfg.model.backbone.input_resolution == 1344 and cfg.model.backbone.position_mode == "crop"
        assert cfg.model.concat_over_tau and cfg.model.box_score_loss["weight"] == 1.0


def test_the_published_rates():
    """Warm-up over 500 steps from a thousandth, then a tenth from epochs 8 and 11 on; the backbone at a tenth."""
    cfg = load("retinanet_rn50_1x_coco")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup, decay = (PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer)) for one in cfg.param_scheduler)
    rates = []
    for step in range(1300):
        rates.append(optimizer.param_groups[0]["lr"])
        warmup.step()
        if step % 100 == 99:
            decay.step()
    for step in (0, 1, 250, 499):
        assert rates[step] == pytest.approx(1 - (1 - step / 500) * (1 - 0.001))
    assert (rates[500], rates[799], rates[800], rates[1099]) == pytest.approx((1.0, 1.0, 0.1, 0.1))
    assert rates[1100] == pytest.approx(0.01)

    model = build_empty("denseclip_retinanet_rn50_1x_coco")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    for group in groups:
        name = names[id(group["params"][0])]
        assert group["lr"] == pytest.approx(1e-5 if name.startswith("backbone") else 1e-4), name
        is_norm = name.startswith("context_decoder.decoder") and ".norm" in name
        assert (group["weight_decay"] == 0) == is_norm, name


def write_coco_layout(root: Path, count: int = 2) -> None:
    """Files in the official layout: noise with squares of random classes; category ids have gaps."""
    generator = np.random.default_rng(0)
    (root / "annotations").mkdir()
    categories = [dict(id=index + index // 7 + 1, name=name) for index, name in enumerate(COCO)]
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        images, annotations = [], []
        for index in range(count):
            images.append(dict(id=index, file_name=f"{index:012d}.jpg", height=96, width=128))
            write_image(root / split / images[-1]["file_name"], generator.integers(0, 256, (96, 128, 3), np.uint8))
            for left, top in ((8, 10), (50, 30)):
                box, right, bottom = [left, top, 40, 50], left + 40, top + 50
                annotations.append(dict(
                    id=len(annotations) + 1, image_id=index, iscrowd=0, area=2000, bbox=box,
                    category_id=categories[int(generator.integers(80))]["id"],
                    segmentation=[[left, top, right, top, right, bottom, left, bottom]]))
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_a_published_recipe_takes_a_step_at_full_width(name, tmp_path):
    write_coco_layout(tmp_path)
    cfg = load(name, f"data_root={tmp_path}", "train_dataloader.batch_size=1", "train_dataloader.num_workers=0",
               "train_dataloader.persistent_workers=False", "train_dataloader.dataset.pipeline.2.scale=(320,256)",
               "val_dataloader.num_workers=0", "val_dataloader.persistent_workers=False",
               "val_dataloader.dataset.pipeline.1.scale=(320,256)")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    for key, value in model.named_parameters():
        if key.endswith("bn3.weight") or key == "gamma":  # zero or tiny at first: one step would not show behind them
            torch.nn.init.ones_(value)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    losses = model.train_step(next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))), wrapper)
    assert all(torch.isfinite(value) for value in losses.values())
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    text = {key for key in before if key.startswith("backbone.model.") and ".visual." not in key}
    assert not moved & text
    parts = {key.removeprefix("backbone.model.visual.").partition(".")[0] for key in set(before) - text}
    assert parts == {key.removeprefix("backbone.model.visual.").partition(".")[0] for key in moved}
    found = model.eval().val_step(next(iter(Runner.build_dataloader(cfg.val_dataloader, seed=0))))[0]
    assert found.ori_shape == (96, 128) and found.pred_instances.bboxes.shape[1:] == (4,)
