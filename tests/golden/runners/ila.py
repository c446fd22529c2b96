"""Runners of the ILA cases about the model: public classes from configs, official weights through `convert`'s maps."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch.optim import SGD

from clipapps.clip import CLIPBackbone
from clipapps.projects.ila import convert
from clipapps.projects.ila.alignment import Alignment, AlignmentInsert, AlignmentPass, point_mask
from clipapps.projects.ila.heads import LinearHead
from clipapps.projects.ila.hooks import offset_at
from clipapps.projects.ila.integration import FrameIntegration
from clipapps.projects.ila.losses import pair_distance
from clipapps.projects.ila.models import ILAClassifier
from clipapps.projects.ila.optimization import ILAParameterGroups, WarmupCosineLR
from clipapps.projects.ila.prompts import VideoPrompts
from clipapps.registry import MODELS, PARAM_SCHEDULERS

TOLERANCES = {
    "": [("*", "close", (2e-5, 1e-4))],  # every case with tensors states its own
    "lr_schedule": [("*", "relative", 1e-6)],  # "relative 1e-6"
    "param_groups": [("*", "relative", 1e-9)],  # "exact"; 10 * base_lr is rounded differently from the product's digits
}
DECAY = "train_decay"
COPIES = ("pre", "cur", "cls_token")  # of the tokens that an alignment case is given


def floats(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


# ---- parts ----------------------------------------------------------------------------------------------------


def mask(case: Any) -> None:
    """Masks around points, with and without the nine offsets, and their gradient at the points."""
    points = case.input("in.points").clone().requires_grad_()
    size = case.options["grid"]
    plain = point_mask(points, (size, size)).squeeze(2)
    case.compare("eval.mask", plain)
    weights = torch.linspace(0.5, 1.5, size * size).reshape(size, size)
    case.compare("grad.points", torch.autograd.grad((plain * weights).sum(), points)[0])
    for name in case.names("train_delta"):
        offset = float(name.removeprefix("train_delta").removesuffix(".mask"))
        case.compare(name, point_mask(points, (size, size), offset).squeeze(2))


def align(case: Any) -> None:
    """The alignment module in evaluation, in training, and in training after some halvings of the offset."""
    options = case.options
    modes = sorted({name.split(".")[0] for name in case.expected()})
    for mode in modes:
        module = Alignment(options["d_model"], options["hidden_channels"], options["variant"], options["delta"])
        module.load_state_dict(convert.convert_alignment(floats(case.state)))
        module.train(mode != "eval")
        if mode.startswith(DECAY):
            halvings = int(mode.removeprefix(DECAY))
            module.disturbance = offset_at(halvings - 1, options["delta"], decay_from=0)
        compare_alignment(case, mode, module)


def compare_alignment(case: Any, mode: str, module: Alignment) -> None:
    pre, cur, class_tokens = (case.input(f"in.{name}") for name in COPIES)
    tokens = torch.cat([pre, cur[:, -1:]], dim=1)  # (B, T, L, D): frames 0 .. T-2, then the last
    assert torch.equal(tokens[:, :, 0], class_tokens[0]), "the case's class tokens are those of its frames"
    tokens = tokens.clone().requires_grad_()
    frames = tokens[:, :, 1:].unflatten(2, (case.options["grid"],) * 2)
    found = module(frames)
    sums = module.pair_sums(frames, found)
    aligned, interaction = module.aligned_tokens(tokens, found), module.interaction_tokens(tokens, found)
    case.compare(f"{mode}.pair", torch.cat(sums, dim=-1)[None])
    case.compare(f"{mode}.aligned_frame", aligned)
    case.compare(f"{mode}.interactive_feature", interaction.flatten(0, 1).transpose(0, 1))
    case.compare(f"{mode}.points", found.points)
    case.compare(f"{mode}.interactive_block_out", found.pair_features)
    case.compare(f"{mode}.mask_pre", found.mask_pre)
    case.compare(f"{mode}.mask_cur", found.mask_cur)
    for name in case.names(f"{mode}.after."):
        case.compare(name, module.get_buffer(name.removeprefix(f"{mode}.after.")))
    if not case.names(f"{mode}.grad.") + case.names(f"{mode}.loss"):
        return
    loss = pair_distance(*sums) + aligned.square().mean() + interaction.square().mean()
    case.compare(f"{mode}.loss", loss.reshape(1))
    loss.backward()
    compare_copies(case, f"{mode}.grad.", tokens.grad)
    for name in case.names(f"{mode}.grad."):
        tail = name.removeprefix(f"{mode}.grad.")
        if tail not in COPIES:
            case.compare(name, module.get_parameter(tail).grad)


def compare_copies(case: Any, prefix: str, total: Tensor) -> None:
    """The case is given up to three copies of a token and differentiates by each; ours is one, its gradient their sum.

    What the sum lacks is held against every copy.
    """
    copies = {name: case.io[prefix + name] for name in COPIES if case.has(prefix + name)}
    if set(copies) != set(COPIES):
        return
    places = {"pre": (slice(None), slice(None, -1)), "cur": (slice(None), slice(1, None)),
              "cls_token": (slice(None), slice(None), 0)}
    lacking = total.clone()
    for name, gradient in copies.items():
        lacking[places[name]] -= gradient[0] if name == "cls_token" else gradient
    for name, gradient in copies.items():
        rest = lacking[places[name]]
        case.compare(prefix + name, gradient + (rest[None] if name == "cls_token" else rest))


def block(case: Any) -> None:
    """One block with and without the insert, and the gradients of its own training step."""
    options = case.options
    vision = dict(layers=1, width=options["d_model"], head_width=options["d_model"] // options["n_head"],
                  patch_size=options["patch_size"], image_size=options["input_resolution"])
    insert_state, block_state = convert.convert_block(floats(case.state))
    backbone = MODELS.build(dict(type=CLIPBackbone, arch=vit_arch(options, vision), with_text=False))
    tower_block = backbone.model.visual.transformer.resblocks[0]
    tower_block.load_state_dict(block_state)
    tokens = case.input("in.x").transpose(0, 1)
    for mode in sorted({name.split(".")[0] for name in case.expected()}):
        insert = AlignmentInsert(options["d_model"], options["hidden_channels"], options["variant"])
        insert.load_state_dict(insert_state)
        insert.train(mode == "train")
        x = tokens.clone().requires_grad_()
        if mode == "plain_clip_block":
            case.compare("plain_clip_block.out", tower_block(x).transpose(0, 1))
            continue
        walk = AlignmentPass(nn.ModuleList([insert]), options["T"], (options["grid"],) * 2, with_distance=True)
        out = tower_block(walk.before(0, x))
        case.compare(f"{mode}.out", out.transpose(0, 1))
        case.compare(f"{mode}.cosine", walk.distances[0].reshape(1))
        if case.names(f"{mode}.grad."):
            (out.square().mean() + walk.distances[0]).backward()
            case.compare(f"{mode}.grad.x", x.grad.transpose(0, 1))
            for name in case.names(f"{mode}.grad."):
                if not name.endswith(".x"):
                    case.compare(name, insert.get_parameter(name.removeprefix(f"{mode}.grad.")).grad)


def integration(case: Any) -> None:
    """The integration transformer alone, with the classifier where the case has one."""
    options, state = case.options, floats(case.state)
    module = FrameIntegration(options["embed_dim"], options["T"], options["layers"]).eval()
    module.load_state_dict(convert.convert_integration(state))
    out = module(case.input("in.x"))
    if "num_classes" in options:
        head = LinearHead(options["embed_dim"], options["num_classes"]).eval()
        head.load_state_dict(convert.convert_classifier(state))
        out = head(out)
    case.compare("out", out)


def prompt(case: Any) -> None:
    """The prompt generator alone."""
    layers = 1 + max(int(name.split(".")[1]) for name in case.state if name.startswith("decoder."))
    module = VideoPrompts(case.options["embed_dim"], layers).eval()
    module.load_state_dict(convert.convert_prompts(floats(case.state)))
    case.compare("out", module(case.input("in.text"), case.input("in.visual")))


# ---- the whole model ------------------------------------------------------------------------------------------


def vit_arch(options: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    text = dict(context_length=options.get("context_length", 8), vocab_size=options.get("vocab_size", 16),
                width=options.get("text_width", options.get("transformer_width", 32)),
                heads=options.get("text_heads", options.get("transformer_heads", 1)),
                layers=options.get("text_layers", options.get("transformer_layers", 1)))
    return dict(embed_dim=options.get("embed_dim", 64), vision_cfg=vision, text_cfg=text, quick_gelu=True)


def build_model(options: dict[str, Any]) -> ILAClassifier:
    vision = dict(layers=options["vision_layers"], width=options["vision_width"],
                  head_width=options["vision_width"] // options.get("vision_heads", options["vision_width"] // 64),
                  patch_size=options.get("patch_size", options.get("vision_patch_size")),
                  image_size=options.get("image_resolution"))
    variant = options.get("variant", "k400")
    head: dict[str, Any] = dict(num_classes=options.get("num_classes"))
    if variant == "k400":
        head = dict(class_names=[f"class {index}" for index in range(options.get("classes", 2))],
                    prompts=dict(layers=options["prompts_layers"]))
    return MODELS.build(dict(
        type=ILAClassifier, num_frames=options["T"],
        backbone=dict(type=CLIPBackbone, arch=vit_arch(options, vision), trainable="none",
                      with_text=variant == "k400"),
        alignment=dict(channels=options.get("hidden_channels", 256), variant=variant),
        integration=dict(layers=options["mit_layers"]), head=head))


def model(case: Any) -> None:
    """Logits, distances and intermediates of the whole model, and one training step."""
    for mode in ("eval", "train"):
        network = build_model(case.options)
        network.load_state_dict(convert.convert_model(floats(case.state)))
        network.train(mode == "train")
        for part in network.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # as the case says of its training step
        features = network.encode(case.input("in.video"), with_distance=True)
        text = None
        if case.has("in.tokens"):
            ids = case.input("in.tokens")
            text = network.head.embed_ids(network.backbone, ids, ids.argmax(dim=-1))
            logits = network.head(features.clips, features.patches, text, network.backbone.logit_scale())
        else:
            logits = network.classify(features)
        case.compare(f"{mode}.logits", logits)
        case.compare(f"{mode}.cosine_per_layer", torch.stack(features.distances))
        if mode == "eval":
            compare_intermediates(case, network, features, text)
        else:
            compare_step(case, network, features, logits)


def compare_intermediates(case: Any, network: Any, features: Any, text: Tensor | None) -> None:
    case.compare("eval.frame_cls_features", features.frames)
    case.compare("eval.patch_tokens_last_block", features.patches.flatten(0, 1))
    case.compare("eval.video_features", features.clips)
    if text is not None:
        case.compare("eval.patch_features_projected", network.head.project_patches(features.patches))
        case.compare("eval.text_features", text)
        case.compare("eval.prompted_text_unnormalised", network.head.prompted(text, features.patches))


def compare_step(case: Any, network: Any, features: Any, logits: Tensor) -> None:
    losses = network.losses(features, logits, case.input("in.soft_target"))
    total = network.parse_losses(losses)[0]
    case.compare("train.loss_ce", losses["loss_classes"].reshape(1))
    case.compare("train.loss_total", total.reshape(1))
    total.backward()
    for name in case.names("train.grad."):
        case.compare(name, network.get_parameter(convert.our_name(name.removeprefix("train.grad."))).grad)


# ---- recipe ---------------------------------------------------------------------------------------------------


def recipe() -> list[dict[str, Any]]:
    """The groups of the shipped recipes."""
    from clipapps.engine.config import load_config

    groups = load_config("ila/ila_vit_b32_8f_k400").optim_wrapper.groups
    return [dict(group) for group in groups]


def param_groups(case: Any) -> None:
    """Which parameter is optimized with what rate and decay, which is left alone, which is frozen."""
    options = dict(case.options, variant="k400", hidden_channels=256)
    network = build_model(options)
    wrapper = build_optim_wrapper(network, dict(
        type="OptimWrapper", optimizer=dict(type=SGD, lr=options["base_lr"], weight_decay=options["weight_decay"]),
        constructor=ILAParameterGroups, groups=recipe()))
    names = {id(parameter): convert.official_name(name) for name, parameter in network.named_parameters()}
    ours = [dict(lr=group["lr"], weight_decay=group["weight_decay"],
                 params=sorted(names[id(parameter)] for parameter in group["params"]))
            for group in wrapper.optimizer.param_groups]
    order = [(group["lr"], group["weight_decay"]) for group in case.spec["groups"]]
    ours.sort(key=lambda group: min(range(len(order)), key=lambda index: abs(order[index][0] - group["lr"])
                                    + abs(order[index][1] - group["weight_decay"])))
    case.compare("groups", ours)
    untrained = {names[id(p)] for p in network.parameters()} - {name for group in ours for name in group["params"]}
    case.compare("requires_grad_not_optimised", sorted(name for name in untrained if name.startswith("prompts_")))
    case.compare("frozen", sorted(name for name in untrained if not name.startswith("prompts_")))


def lr_schedule(case: Any) -> None:
    """Rates of the three groups after each update of the schedule."""
    options = case.options
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=group["lr"]) for group in recipe()]
    optimizer = SGD(groups, lr=options["base_lr"])
    scheduler = PARAM_SCHEDULERS.build(dict(
        type=WarmupCosineLR, optimizer=optimizer, by_epoch=True, convert_to_iter_based=True, end=options["epochs"],
        warmup=options["warmup_epochs"], eta_min=options["lr_min"], accumulation=options["accumulation_steps"],
        epoch_length=options["iters_per_epoch"]))
    optimizer.step()
    rates = []
    for _ in range(options["epochs"] * options["iters_per_epoch"]):
        rates.append([group["lr"] for group in optimizer.param_groups])
        scheduler.step()
    rates.append([group["lr"] for group in optimizer.param_groups])
    case.compare("rows", [dict(row, lr=rates[row["t"] + 1 if "t" in row else 0]) for row in case.spec["rows"]])


RUNNERS = {
    "mask": mask,
    "align": align,
    "block": block,
    "mit": integration,
    "prompt": prompt,
    "model": model,
    "param_groups": param_groups,
    "lr_schedule": lr_schedule,
}
