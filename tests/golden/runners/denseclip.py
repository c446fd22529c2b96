"""Runners of the DenseCLIP cases: public classes from configs, official weights through the conversion's own maps."""

from __future__ import annotations

import re
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FPNHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.necks import FPN
from mmseg.structures import SegDataSample
from torch.func import functional_call

from clipapps.clip import CLIPBackbone, DenseAttentionPool
from clipapps.projects.denseclip import convert
from clipapps.projects.denseclip.context_decoder import ContextDecoder
from clipapps.projects.denseclip.guidance import encode_with_contexts
from clipapps.projects.denseclip.models import DenseCLIPSegmentor, IdentityHead
from clipapps.projects.denseclip.pyramid import ViTPyramid
from clipapps.projects.denseclip.schedules import WarmupPolyLR
from clipapps.registry import MODELS, PARAM_SCHEDULERS

TOLERANCES = {
    "": [  # "max abs diff <= 1e-4 (float32, CPU); 1e-5 is normally reached"
        ("*", "abs", 1e-4)],
    "seg_": [  # "activations: max abs diff <= 2e-4; losses: 1e-4 relative; gradients: 1e-3 relative to the max abs of
        #         each gradient"
        ("grad.*", "relative", 1e-3),
        # An accuracy counts pixels: logits that agree within 2e-4 may still decide a near tie differently. As for label
        # maps elsewhere, at most 0.1 % of the pixels may do so; the accuracy is in percent.
        ("loss.*acc_seg", "abs", 0.1),
        ("loss.*", "relative", 1e-4),
        ("*", "abs", 2e-4)],
    "lr_schedule": [  # no rule: doubles, one formula
        ("*", "relative", 1e-9)],
}

TINY_VISION = dict(layers=1, width=32, head_width=32, patch_size=16, image_size=16)
TINY_TEXT = dict(context_length=8, vocab_size=16, width=32, heads=1, layers=1)


# ---- attention pool and image towers --------------------------------------------------------------------------


def attention_pool(case: Any, mode: str = "resize") -> None:
    """The dense attention pool alone."""
    options = case.options
    pool = DenseAttentionPool(options["spacial_dim"], options["embed_dim"], options["num_heads"], options["output_dim"],
                              mode=mode)
    pool.load_state_dict(case.state)
    pooled, dense = pool(case.input("x"))
    case.compare("global_feat", pooled)
    case.compare("dense_feat", dense)


def cropped_attention_pool(case: Any) -> None:
    """The detection flavor, whose positional grid is cropped."""
    attention_pool(case, mode="crop")


def clip_resnet(case: Any) -> None:
    """Pyramid, pooled and dense embeddings of a CLIP ResNet, in eval and in train mode."""
    options = case.options
    vision = resnet_config(options["layers"], options["width"], options["input_resolution"], options["attnpool_heads"])
    backbone = build_backbone(options["output_dim"], vision)
    backbone.load_state_dict(convert.convert_image_tower(case.state), strict=False)
    compare_resnet(case, backbone.eval()(case.input("x")))
    if case.names("train_") + case.names("after_train."):
        compare_resnet(case, backbone.train()(case.input("x")), prefix="train_")
        after = convert.convert_image_tower(case.state)
        own, names = backbone.state_dict(), dict(zip(case.state, after, strict=True))
        for name in case.names("after_train."):
            case.compare(name, own[names[name.removeprefix("after_train.")]])


def compare_resnet(case: Any, features: Any, prefix: str = "") -> None:
    for stage, level in enumerate(features.levels):
        case.compare(f"{prefix}c{stage + 2}", level)
    case.compare(f"{prefix}global_feat", features.pooled)
    case.compare(f"{prefix}dense_feat", features.dense)


def clip_vit(case: Any) -> None:
    """The four maps, pooled and dense embeddings of a ViT, as released and with the class token corrected."""
    options = case.options
    vision = vit_config(options["layers"], options["width"], options["heads"], options["patch_size"],
                        options["input_resolution"])
    backbone = build_backbone(options["output_dim"], vision, out_indices=options["out_indices"]).eval()
    pyramid = ViTPyramid(options["width"], options["patch_size"]).eval()
    pyramid.load_state_dict(convert.convert_pyramid(case.state))
    for prefix, is_official in (("", True), ("single_cls.", False)):
        state = convert.convert_image_tower(case.state, fold_class_embedding=is_official)
        backbone.load_state_dict(state, strict=False)
        features = backbone(case.input("x"))
        for index, level in enumerate(pyramid(features.levels)):
            case.compare(f"{prefix}fpn{index + 1}", level)
        case.compare(f"{prefix}global_feat", features.pooled)
        case.compare(f"{prefix}dense_feat", features.dense)


# ---- open_clip weights under the official loading rule --------------------------------------------------------


def openclip_resnet(case: Any) -> None:
    """An open_clip ResNet whose grid is resized once at load time, and its text tower with contexts."""
    backbone = load_openclip(case, case.options["input_resolution"])
    features = backbone(case.input("x"))
    compare_resnet(case, features)
    case.compare("attn_pos_resized", backbone.model.visual.attnpool.positional_embedding)
    case.compare("dense_feat_native_grid", load_openclip(case, None)(case.input("x")).dense)
    if case.has("text_embeddings"):
        ids = case.input("token_ids")
        case.compare("text_embeddings", encode_with_contexts(backbone, ids, case.input("contexts"), ids.argmax(dim=-1)))


def openclip_vit(case: Any) -> None:
    """An open_clip ViT whose grid is resized at load time; once as released, once with the class token corrected."""
    backbone = load_openclip(case, case.options["input_resolution"])
    visual = {name.removeprefix("visual."): value for name, value in backbone.model.state_dict().items()
              if name.startswith("visual.")}
    case.compare("pos_resized", visual["positional_embedding"])
    features = backbone(case.input("x"))
    case.compare("single_cls_global", features.pooled)
    case.compare("single_cls_dense", features.dense)
    backbone.load_state_dict(convert.convert_image_tower(visual), strict=False)
    features = backbone(case.input("x"))
    case.compare("global_feat", features.pooled)
    case.compare("dense_feat", features.dense)
    for index, level in zip(backbone.out_indices, features.levels, strict=True):
        case.compare(f"block{index}_tokens_nchw", level)


def load_openclip(case: Any, input_resolution: int | None) -> CLIPBackbone:
    options = case.options
    layers = options["vision_cfg"]["layers"]
    config = {name: options[name] for name in ("embed_dim", "vision_cfg", "quick_gelu")}
    is_vit = isinstance(layers, int)
    return CLIPBackbone.from_pretrained(
        {**config, "text_cfg": options.get("text_cfg", TINY_TEXT)}, str(case.path("state.safetensors")),
        out_indices=range(layers) if is_vit else range(4), input_resolution=input_resolution, size_policy="floor",
        with_text="text_cfg" in options)


# ---- text -----------------------------------------------------------------------------------------------------


def text_context_encoder(case: Any) -> None:
    """The text tower with contexts in front of the names."""
    options = case.options
    text = text_config(options, options["context_length"])
    backbone = build_backbone(options["embed_dim"], TINY_VISION, text)
    backbone.load_state_dict(convert.convert_text_encoder(case.state), strict=False)
    ids = case.input("token_ids")
    case.compare("text_embeddings", encode_with_contexts(backbone, ids, case.input("contexts"), ids.argmax(dim=-1)))


def tokens(case: Any) -> None:
    """Token ids of class names, at the length that the case has them."""
    backbone = build_backbone(8, TINY_VISION)
    for group in case.expected():
        ids = case.spec[group]
        length = len(next(iter(ids.values())))
        rows = backbone.tokenize(list(ids), context_length=length).tolist()
        case.compare(group, dict(zip(ids, rows, strict=True)))


def context_decoder(case: Any) -> None:
    """The context decoder with its intermediates."""
    options = case.options
    decoder = MODELS.build(decoder_config(options)).eval()
    decoder.load_state_dict(convert.convert_context_decoder(case.state))
    parts = {"memory": decoder.memory_proj, "text_proj": decoder.text_proj,
             **{f"after_layer{index}": layer for index, layer in enumerate(decoder.decoder)}}
    for name, part in parts.items():
        part.register_forward_hook(lambda module, inputs, output, name=name: case.compare(name, output))
    case.compare("out", decoder(case.input("text"), case.input("visual")))


# ---- the whole segmentor --------------------------------------------------------------------------------------


def segmentor(case: Any) -> None:
    """Score map, neck, logits, losses, gradients, and sliding windows of a whole segmentor."""
    model = build_segmentor(case.options)
    model.set_token_ids(case.input("token_ids"))
    leaves = {name.removeprefix("grad.") for name in case.names("grad.")}
    official = {name: value.requires_grad_() if name in leaves else value for name, value in case.state.items()}
    ours = convert.convert_model(official)
    convert.check_complete(convert.fill_unused(ours, model), model)
    if case.has("gt"):
        compare_losses(case, model, official, ours)
    model.load_state_dict(convert.fill_unused(ours, model))
    with torch.no_grad():
        if case.has("x"):
            compare_activations(case, model)
        if case.has("slide.x"):
            compare_sliding_windows(case, model)


def compare_losses(case: Any, model: DenseCLIPSegmentor, official: dict, ours: dict) -> None:
    """Gradients reach the official tensors through the conversion, so that it is tested, too."""
    x, labels = case.input("x"), case.input("gt")
    samples = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(img_shape=tuple(x.shape[2:]), ori_shape=tuple(x.shape[2:])))
        samples.append(sample.set_data(dict(gt_sem_seg=PixelData(data=label))) or sample)
    losses = functional_call(model, ours, (x, samples), dict(mode="loss"))
    total, _ = model.parse_losses(losses)
    for name, value in losses.items():
        case.compare(f"loss.{name}", value.reshape(1))
    case.compare("loss.total", total.reshape(1))
    names = [name.removeprefix("grad.") for name in case.names("grad.")]
    if not names:
        return
    for name, gradient in zip(names, torch.autograd.grad(total, [official[name] for name in names]), strict=True):
        case.compare(f"grad.{name}", gradient)


def compare_activations(case: Any, model: DenseCLIPSegmentor) -> None:
    x = case.input("x")
    features = model.encode(x)
    case.compare("text_embeddings", features.text_embeds)
    case.compare("score_map", features.score_map)
    case.compare("concat_feature", features.levels[model.score_concat_index])
    case.compare("global_feat", features.pooled)
    case.compare("dense_feat", features.dense)
    maps = model.neck(features.levels)
    for index, level in enumerate(maps):
        case.compare(f"neck{index}", level)
    case.compare("head_logits", model.decode_head(maps))
    case.compare("logits_full", model.encode_decode(x, [dict(img_shape=tuple(x.shape[2:]))]))


def compare_sliding_windows(case: Any, model: DenseCLIPSegmentor) -> None:
    x = case.input("slide.x")
    size = tuple(x.shape[2:])
    case.compare("slide.logits", model.slide_inference(x, [dict(img_shape=size)]))
    if case.has("slide.prob_flipped_rescaled"):
        original = tuple(case.io["slide.prob_flipped_rescaled"].shape[2:])
        metainfo = dict(img_shape=size, ori_shape=original, flip=True, flip_direction="horizontal")
        case.compare("slide.prob_flipped_rescaled", torch.stack(
            model.predict_probabilities(x, [SegDataSample(metainfo=metainfo)])))


def build_segmentor(options: dict[str, Any]) -> DenseCLIPSegmentor:
    backbone, head, test = options["backbone"], options["decode_head"], options["test_cfg"]
    is_vit = "out_indices" in backbone
    vision = vit_config(backbone["layers"], backbone["width"], backbone["heads"], backbone["patch_size"],
                        backbone["input_resolution"]) if is_vit else \
        resnet_config(backbone["layers"], backbone["width"], backbone["input_resolution"])
    text = text_config(options["text_encoder"], options["text_encoder"]["context_length"])
    weights = {name: options[name]["loss_decode"]["loss_weight"] for name in ("decode_head", "identity_head")}
    return MODELS.build(dict(
        type=DenseCLIPSegmentor,
        backbone=dict(type=CLIPBackbone, arch=arch_config(backbone["output_dim"], vision, text), size_policy="floor",
                      out_indices=backbone.get("out_indices", range(4)), trainable="image"),
        pyramid=dict(type=ViTPyramid, patch_size=backbone["patch_size"]) if is_vit else None,
        neck=dict(type=FPN, **without_type(options["neck"])),
        decode_head=dict(type=FPNHead, **{**without_type(head), "loss_decode": cross_entropy(weights["decode_head"])}),
        identity_head=dict(type=IdentityHead, loss_decode=cross_entropy(weights["identity_head"])),
        class_names=options["class_names"],
        num_contexts=options["text_encoder"]["context_length"] - options["context_length"],
        name_length=options["context_length"],
        context_decoder=decoder_config(options["context_decoder"]),
        tau=options.get("tau", 0.07),
        score_concat_index=options.get("score_concat_index", 3),
        count_ignored_pixels=True,  # as the released code logs accuracies
        test_cfg=ConfigDict(test))).eval()


# ---- configs --------------------------------------------------------------------------------------------------


def arch_config(embed_dim: int, vision: dict[str, Any], text: dict[str, Any] | None = None) -> dict[str, Any]:
    return dict(embed_dim=embed_dim, vision_cfg=vision, text_cfg=text or TINY_TEXT, quick_gelu=True)


def resnet_config(layers: list[int], width: int, input_resolution: int, heads: int = 32) -> dict[str, Any]:
    return dict(layers=layers, width=width, head_width=width * 32 // heads, image_size=input_resolution)


def vit_config(layers: int, width: int, heads: int, patch_size: int, input_resolution: int) -> dict[str, Any]:
    return dict(layers=layers, width=width, head_width=width // heads, patch_size=patch_size,
                image_size=input_resolution)


def text_config(options: dict[str, Any], context_length: int) -> dict[str, Any]:
    return dict(context_length=context_length, vocab_size=options["vocab_size"], width=options["transformer_width"],
                heads=options["transformer_heads"], layers=options["transformer_layers"])


def decoder_config(options: dict[str, Any]) -> dict[str, Any]:
    return dict(type=ContextDecoder, visual_dim=options["visual_dim"], width=options["transformer_width"],
                heads=options["transformer_heads"], layers=options["transformer_layers"], dropout=options["dropout"])


def build_backbone(embed_dim: int, vision: dict[str, Any], text: dict[str, Any] | None = None,
                   out_indices: Any = None) -> CLIPBackbone:
    if isinstance(vision["layers"], list):
        out_indices = range(4)
    return MODELS.build(dict(type=CLIPBackbone, arch=arch_config(embed_dim, vision, text), out_indices=out_indices,
                             size_policy="floor"))


def cross_entropy(weight: float) -> dict[str, Any]:
    return dict(type=CrossEntropyLoss, loss_weight=weight)


def without_type(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "type"}


# ---- learning rates -------------------------------------------------------------------------------------------


#: for a case that quotes no formula
PUBLISHED_RATES = "reg=(base-1e-6)*(1-it/80000)**0.9+1e-6; it<1500: reg*(1-(1-it/1500)*(1-1e-6))"


def lr_schedule(case: Any) -> None:
    """The learning rates of the published schedule; its constants are read from the formula that the case quotes."""
    constants = re.search(r"base-(\S+?)\)\*\(1-it/(\d+)\)\*\*(\S+?)\+.*1-it/(\d+)\)\*\(1-(\S+?)\)\)",
                          case.spec.get("formula", PUBLISHED_RATES))
    eta_min, end, power, warmup_iters, warmup_ratio = (float(number) for number in constants.groups())
    steps = case.input("iterations")
    for name in case.expected():
        group = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base_rate(name))
        schedule = PARAM_SCHEDULERS.build(dict(
            type=WarmupPolyLR, optimizer=group, end=int(end), power=power, eta_min=eta_min,
            warmup_iters=int(warmup_iters), warmup_ratio=warmup_ratio, lift_zero=name.endswith("official_bug")))
        rates = {}
        for step in range(max(steps) + 1):
            rates[step] = group.param_groups[0]["lr"]
            schedule.step()
        case.compare(name, [rates[step] for step in steps])


def base_rate(name: str) -> float:
    """The base learning rate in an entry's name: "head_base_2_5e_4" -> 2.5e-4; 0 when it has none."""
    found = re.search(r"base_(\d+)(?:[._](\d+))?(?:e[-_](\d+))?", name)
    return float(f"{found[1]}.{found[2] or 0}e-{found[3] or 0}") if found else 0.0


RUNNERS = {
    "attention_pool": attention_pool,
    "det_attention_pool_cropped": cropped_attention_pool,
    "clip_resnet_attn": clip_resnet,
    "clip_vit": clip_vit,
    "openclip_resnet": openclip_resnet,
    "openclip_vit": openclip_vit,
    "text_context_encoder": text_context_encoder,
    "tokens": tokens,
    "context_decoder": context_decoder,
    "seg_full": segmentor,
    "lr_schedule": lr_schedule,
}
