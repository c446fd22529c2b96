"""Runners of the backlit cases: public classes from configs, official weights through the conversion's own maps."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from kinks import nearest_gradients
from mmengine.optim import OptimWrapper

from clipapps.clip import CLIPBackbone
from clipapps.projects.backlit import convert, losses
from clipapps.projects.backlit.augmentation import Draw, augment
from clipapps.projects.backlit.guidance import LatentPair, PromptPair, ResidualDirection
from clipapps.projects.backlit.metrics import quality
from clipapps.projects.backlit.models import BacklitEnhancer, to_bytes
from clipapps.projects.backlit.network import EnhancementNetwork, enhance
from clipapps.projects.backlit.residual import corrected, interpret, residual_vector
from clipapps.projects.backlit.schedule import OfficialSchedule
from clipapps.projects.backlit.towers import GuidanceTowers, squash
from clipapps.registry import LOOPS, MODELS

# atol and rtol, element by element, as case.json states them; gradients "1e-3 * max abs of the reference tensor".
TOLERANCES = {
    "": [("grad.*", "relative", 1e-3), ("*", "close", (2e-5, 1e-4))],
    "loss_clip_guidance": [("grad.*", "relative", 1e-3), ("*", "close", (2e-5, 2e-4))],
    "loss_identity": [("grad.*", "relative", 1e-3), ("*", "close", (5e-5, 5e-4))],
    "prompt_learner": [  # after three steps: "compare the displacement ...: max abs error <= 1e-6"
        ("grad.*", "relative", 1e-3), ("out.embedding_after_*", "abs", 1e-6), ("*", "close", (2e-5, 1e-4))],
    "rank_loss": [("grad.*", "relative", 1e-3), ("*", "close", (1e-5, 1e-5))],
    "rave_residual": [("*", "close", (2e-6, 1e-5))],
    "train_step": [  # after three steps: "abs error <= 3e-6 on at least 99.9 % of elements"
        ("grad.*", "relative", 1e-3), ("out.*.after*", "most", (3e-6, 0.001)), ("*", "close", (1e-4, 1e-3))],
    "published_weights_photo": [  # "at most 1 level, on fewer than 0.1 % of values"
        ("*light_map*", "close", (2e-5, 1e-4)), ("*", "most", (0, 0.001))],
    "augmentation": [("*", "abs", 1)],
    "metrics": [("*", "abs", 1e-6)],
    "schedule": [("*", "abs", 0)],
}


# ---- network --------------------------------------------------------------------------------------------------


def enhancer(case: Any) -> None:
    """Light maps, enhanced images, intermediates and gradients of the network, under both paddings."""
    for padding in ("reflect", "zeros"):
        network = MODELS.build(dict(type=EnhancementNetwork, padding_mode=padding))
        network.load_state_dict(convert.convert_network(case.state))
        for name in case.names(f"mid.{padding}."):
            network.get_submodule(name.removeprefix(f"mid.{padding}.")).register_forward_hook(
                lambda module, inputs, output, name=name: case.compare(name, output[:1]))
        for name in [name for name in case.io if name.startswith("in.image")]:
            images = case.input(name).clone().requires_grad_()
            light_map = network(images)
            stem = f"out.{padding}.{name.removeprefix('in.')}"
            case.compare(f"{stem}.light_map", light_map)
            case.compare(f"{stem}.enhanced", enhance(images, light_map))
            for module in network.modules():
                module._forward_hooks.clear()
            if light_map.shape == case.input("in.cotangent").shape:
                expected = {name.removeprefix(f"grad.{padding}."): case.io[name]
                            for name in case.names(f"grad.{padding}.")}
                run = partial(_gradients, network, images, case.input("in.cotangent"))
                for name, value in nearest_gradients(run, expected).items():
                    case.compare(f"grad.{padding}.{name}", value)


def _gradients(network: Any, images: Any, cotangent: Any) -> dict[str, Any]:
    """Of the sum of the light map times the cotangent: "input", and every parameter by name."""
    images.grad = None
    network.zero_grad()
    network(images).backward(cotangent)
    return {"input": images.grad.clone(), **{name: value.grad.clone() for name, value in network.named_parameters()}}


def published_photo(case: Any) -> None:
    """The published weights on photos."""
    from safetensors.torch import load_file

    weights = case.path(case.spec["params"]["weights"].split(" ")[0])
    if not weights.is_file():
        pytest.skip("the published weights are not on this machine")
    network = MODELS.build(dict(type=EnhancementNetwork))
    network.load_state_dict(convert.convert_network(load_file(weights)))
    for name in [name for name in case.io if name.startswith("in.")]:
        photo = case.input(name).permute(2, 0, 1)[None].float() / 255
        for padding in ("reflect", "zeros"):
            network.padding_mode = padding
            with torch.no_grad():
                light_map = network(photo)
            stem = name.removeprefix("in.")
            case.compare(f"out.{padding}.light_map.{stem}", light_map)
            enhanced = to_bytes(enhance(photo, light_map))[0]
            case.compare(f"out.{padding}.enhanced_uint8.{stem}", enhanced.permute(1, 2, 0))


# ---- towers and losses ----------------------------------------------------------------------------------------


def clip_guidance(case: Any) -> None:
    """Both guidance losses through the preprocessing and a ViT, and their gradients at the image."""
    options = case.spec["params"]
    backbone = load_tower(vit_arch(options["clip"], options.get("image_size", 224)), case.state)
    for antialias in (False, True):
        towers = GuidanceTowers(backbone, antialias=antialias)
        label = "antialias" if antialias else "noantialias"
        if not antialias and case.has("mid.noantialias.clip_input0"):
            first = squash(as_floats(case.input("in.image_small")[:1]), backbone.native_size, antialias=False)
            case.compare("mid.noantialias.clip_input0", backbone.normalize(first)[:, :, ::4, ::4])
        for name in [name for name in case.io if name.startswith("in.image")]:
            images = as_floats(case.input(name)).requires_grad_()
            stem = f"{label}.{name.removeprefix('in.')}"
            embeds = towers.embed(images)
            case.compare(f"out.{stem}.embedding", backbone(
                backbone.normalize(squash(images, backbone.native_size, antialias=antialias)), dense=None).pooled)
            residual = case.input("in.residual")[0], case.input("in.thr")
            for mode, loss in (("prompt", losses.pair_guidance_loss(embeds, case.input("in.text_features"))),
                               ("rave", losses.residual_guidance_loss(embeds, *residual))):
                case.compare(f"out.{stem}.{mode}.loss", loss.reshape(1))
                gradient = torch.autograd.grad(loss, images, retain_graph=True)[0]
                expected = case.io.get(f"grad.{stem}.{mode}")
                step = 1 if expected is None or expected.shape == gradient.shape else 4
                case.compare(f"grad.{stem}.{mode}", gradient[:, :, ::step, ::step])


def identity(case: Any) -> None:
    """The identity loss over five maps of a ResNet, and its gradient at the enhanced image."""
    options = case.spec["params"]
    backbone = load_tower(resnet_arch(options["rn"], options.get("image_size", 224)), case.state)
    stages = {"enhance": options["stage_weights_enhance"], "reconstruct": [1, 1, 1, 1, 1]}
    for antialias in (False, True):
        towers = GuidanceTowers(backbone, antialias=antialias)
        label = "antialias" if antialias else "noantialias"
        enhanced = case.input("in.pred").clone().requires_grad_()
        ours, original = towers.levels(enhanced), towers.levels(case.input("in.input"))
        for name, weights in stages.items():
            loss = losses.identity_loss(ours, original, weights, reduction="sum")
            case.compare(f"out.{label}.{name}.loss", loss.reshape(1))
            case.compare(f"grad.{label}.{name}", torch.autograd.grad(loss, enhanced, retain_graph=True)[0])
        if not antialias:
            compare_features(case, ours, original)


def compare_features(case: Any, ours: list, original: list) -> None:
    for level, (one, other) in enumerate(zip(ours, original, strict=True)):
        per_image = [losses.identity_loss([one[i:i + 1]], [other[i:i + 1]], [1.0]) for i in range(len(one))]
        case.compare(f"mid.feature{level}.mse_per_image", torch.stack(per_image))
        case.compare(f"mid.feature{level}_mean_over_space", one.mean(dim=(2, 3)))
        if case.has(f"mid.feature{level}"):
            case.compare(f"mid.feature{level}", one[:len(case.io[f"mid.feature{level}"])])


def rank(case: Any) -> None:
    """Rank losses of given scores, and their gradients."""
    for count, margins in case.spec["params"]["margins"].items():
        names = rank_groups(int(count))
        scores = [case.input(f"in.p_{name}").clone().requires_grad_() for name in names]
        loss = BacklitEnhancer.__init__.__kwdefaults__["rank_weight"] * losses.rank_loss(scores, margins)
        case.compare(f"out.rank{count}.loss", loss.reshape(1))
        for name, gradient in zip(names, torch.autograd.grad(loss, scores, allow_unused=True), strict=True):
            case.compare(f"grad.rank{count}.p_{name}", gradient)


def rank_groups(count: int) -> list[str]:
    return ["input", *[f"semi{number}" for number in range(1, count - 1)], "ref"]


# ---- guidance -------------------------------------------------------------------------------------------------


def prompt_learner(case: Any) -> None:
    """A prompt pair through a text tower: features, scores, losses, gradients, and Adam."""
    options = case.spec["params"]
    arch = vit_arch(options["clip"], 224, options["context"])
    backbone = MODELS.build(dict(type=CLIPBackbone, arch=arch)).eval()
    backbone.load_state_dict(convert.convert_text_tower(case.state), strict=False)
    pair = MODELS.build(dict(type=PromptPair, clip=backbone, length=options["length_prompt"]))
    assert pair.pool_index == options["eot_index"]
    pair.load_state_dict(convert.convert_guidance(case.state))
    case.compare("out.text_features", pair.vectors())
    compare_pair(case, pair)
    margins = BacklitEnhancer.__init__.__kwdefaults__["margins"]
    weight = BacklitEnhancer.__init__.__kwdefaults__["rank_weight"]
    for count in (2, 3, 4):
        groups = [case.input(f"in.rank_{name}") for name in rank_groups(count)]
        loss = weight * pair.ranking_loss(groups, margins[count - 2])
        case.compare(f"out.rank{count}.loss", loss.reshape(1))
        case.compare(f"grad.rank{count}.embedding", torch.autograd.grad(loss, pair.embedding)[0])
    for name in rank_groups(4):
        case.compare(f"mid.prob_{name}", losses.backlit_scores(case.input(f"in.rank_{name}"), pair.vectors()))
    compare_steps(case, pair, "out.embedding_after_")


def latent_learner(case: Any) -> None:
    """Two free vectors: scores, cross-entropy, its gradient, and Adam."""
    backbone = MODELS.build(dict(type=CLIPBackbone, arch=vit_arch(dict(embed=case.spec["params"]["dim"]), 32)))
    pair = MODELS.build(dict(type=LatentPair, clip=backbone))
    pair.load_state_dict(convert.convert_guidance(case.state))
    compare_pair(case, pair)
    compare_steps(case, pair, "out.embeddings_after_")


def compare_pair(case: Any, pair: Any) -> None:
    embeds, labels = case.input("in.features"), case.input("in.labels")
    case.compare("out.logits", losses.pair_logits(embeds, pair.vectors()))
    case.compare("out.prob_negative", losses.backlit_scores(embeds, pair.vectors()))
    loss = pair.initialization_loss(embeds, labels)
    case.compare("out.ce_loss", loss.reshape(1))
    gradient = torch.autograd.grad(loss, pair.embedding)[0]
    case.compare("grad.ce.embedding", gradient)
    case.compare("grad.ce.embeddings", gradient)


def compare_steps(case: Any, pair: Any, prefix: str) -> None:
    options = case.spec["params"]
    for name in case.names(prefix):
        wrapper = adam(pair, options)
        for _ in range(int(name.removeprefix(prefix).split("_")[0])):
            wrapper.update_params(pair.initialization_loss(case.input("in.features"), case.input("in.labels")))
        case.compare(name, pair.embedding)


def rave_residual(case: Any) -> None:
    """Residual, threshold, token ranking, and the correction."""
    found = residual_vector(case.input("in.raw_backlit"), case.input("in.raw_welllit"))
    vocabulary, count = case.input("in.vocab"), case.spec["params"]["shift_tokens"]
    case.compare("out.vector_neg", found.negative)
    case.compare("out.vector_pos", found.positive)
    case.compare("out.plain.residual", found.direction[None])
    case.compare("out.plain.thr", found.threshold.reshape(1))
    words = interpret(found, vocabulary, count)
    case.compare("out.token_cos_sorted_ascending", words.cosines.sort().values)
    label = f"shifted{count}"
    case.compare(f"out.{label}.nearest", words.nearest)
    case.compare(f"out.{label}.farthest", words.farthest)
    shifted = corrected(found, vocabulary, words)
    case.compare(f"mid.{label}.remove_emb", shifted.removed)
    case.compare(f"out.{label}.residual", shifted.direction[None])
    case.compare(f"out.{label}.thr", shifted.threshold.reshape(1))


# ---- a whole step ---------------------------------------------------------------------------------------------


def train_step(case: Any) -> None:
    """Three objectives, three Adam steps each, of the whole model."""
    options = case.spec["params"]
    towers = dict(clip=load_tower(vit_arch(options["clip"], 224), case.state, "vit."),
                  identity_clip=load_tower(resnet_arch(options["rn"], 224), case.state, "rn."))
    network = {name: value for name, value in case.state.items() if name.startswith(convert.WRAPPER)}
    for mode, guidance, changes, phase in (
            ("cliplit", LatentPair, {}, "enhance"),
            ("rave", ResidualDirection, dict(guidance_boost=6.0), "enhance"),
            ("reconstruct", LatentPair, {}, "reconstruct")):
        if not [name for name in case.io if f".{mode}." in name]:
            continue
        model = MODELS.build(dict(
            type=BacklitEnhancer, guidance=dict(type=guidance), train_padding="zeros", antialias=options["antialias"],
            clamp_gradient="none", identity_reduction="sum", **towers, **changes))
        model.network.load_state_dict(convert.convert_network(network))
        set_guidance(case, model.guidance)
        compare_training(case, model, mode, phase)


def set_guidance(case: Any, guidance: Any) -> None:
    if isinstance(guidance, LatentPair):
        guidance.load_state_dict({"embedding": case.input("in.text_features")})
    else:
        guidance.load_state_dict({"direction": case.input("in.residual")[0], "threshold": case.input("in.thr")[0],
                                  "is_fitted": torch.tensor(True)})


def compare_training(case: Any, model: Any, mode: str, phase: str) -> None:
    images, expected = case.input("in.image"), f"out.{mode}.loss_total_clip_identity"
    case.compare(f"out.{mode}.enhanced", model.enhance(images, model.train_padding)[0])
    wrapper, rows = adam(model, case.spec["params"]), []
    for step in range(len(case.io[expected])):
        found = model(images, mode="loss", phase=phase)
        if step == 0:
            names = [name.removeprefix(f"grad.{mode}.") for name in case.names(f"grad.{mode}.")]
            leaves = [model.network.get_parameter(name) for name in names]
            gradients = torch.autograd.grad(found["loss"], leaves, retain_graph=True)
            for name, gradient in zip(names, gradients, strict=True):
                case.compare(f"grad.{mode}.{name}", gradient)
        rows.append(torch.stack([found["loss"].detach(), found.get("guidance", found["loss"]).detach(),
                                 found["identity"]]))
        wrapper.update_params(found["loss"])
    case.compare(expected, torch.stack(rows))
    for name in case.names(f"out.{mode}.after"):
        case.compare(name, model.network.get_parameter(name.split(".", 3)[3]))


# ---- data and metrics -----------------------------------------------------------------------------------------


def augmentation(case: Any) -> None:
    """Flips and warps of given draws."""
    image = case.input("in.image").numpy()
    for index, drawn in enumerate(case.spec["params"]["cases"]):
        draw = Draw(drawn["hflip"], drawn["vflip"], drawn["transpose"],
                    (drawn["zx"], drawn["zy"]) if drawn["zoom"] else None, drawn["angle"] if drawn["rotate"] else None)
        case.compare(f"out.{index}", torch.from_numpy(augment(image, draw)))


def metrics(case: Any) -> None:
    """PSNR and SSIM of both protocols."""
    enhanced, target = case.input("in.enhanced_rgb").numpy(), case.input("in.ground_truth_rgb").numpy()
    for protocol, names in (("standard", ("rgb_psnr", "rgb_ssim_range255")),
                            ("rave", ("official_psnr_grey", "official_ssim_grey"))):
        for name, value in zip(names, quality(enhanced, target, protocol), strict=True):
            case.compare(f"out.{name}", [value])


# ---- schedule -------------------------------------------------------------------------------------------------


def schedule(case: Any) -> None:
    """Event traces of the released loop under scripted losses."""
    settings = case.input("fixed_settings")
    for scenario in case.input("scenarios"):
        found = trace(settings, scenario["settings"], scenario["scripted"])
        for name, expected in scenario["expected"].items():
            if not is_same(found[name], expected):
                case.findings.append(f"{scenario['name']}.{name}: {found[name]}, expected {expected}")


def is_same(found: Any, expected: Any) -> bool:
    """Exact, but for the last of the eight printed characters of a score: a sum of 30 single-precision losses."""
    if not (isinstance(expected, list) and expected and "score" in expected[0]):
        return found == expected
    return (len(found) == len(expected) and all(
        one["after_iteration"] == other["after_iteration"]
        and float(one["score"]) == pytest.approx(float(other["score"]), rel=5e-6) for one, other
        in zip(found, expected, strict=True)))


def trace(fixed: dict[str, Any], settings: dict[str, Any], scripted: dict[str, Any]) -> dict[str, Any]:
    plan = LOOPS.build(dict(
        type=OfficialSchedule, initialize_iters=settings["prompt_init_iters"],
        reconstruct_iters=settings["reconstruction_iters"], enhance_iters=fixed["enhance_iters_per_round"],
        refine_iters=fixed["round_length"] - fixed["enhance_iters_per_round"],
        enhance_extension=fixed["enhance_extension"], refine_extension=fixed["refine_extension"],
        enhance_threshold=fixed["guided_loss_threshold"], refine_threshold=fixed["rank_loss_threshold"],
        display_every=fixed["display_every"], score_window=fixed["score_window"], reinit_psnr=fixed["reinit_psnr"],
        reinit_grace=fixed["reinit_grace"], reinit_extension=fixed["reconstruction_extension_on_reinit"]))
    batches = settings["batches_per_pass"]
    plan.start(dict(enhance=batches["enhance"], initialize=batches["prompt_init"], refine=batches["refine"]),
               has_network=settings["load_network"], has_guidance=settings["load_prompt"])
    events = [] if settings["load_network"] else [dict(event="new_network", before_iteration=0)]
    dumps, saves = [], []
    for iteration in range(settings["stop_after_iterations"]):
        step = plan.next()
        add_event(events, plan, step, iteration)
        outcome = plan.done(*scripted_values(scripted, step.phase, iteration))
        is_last = iteration + 1 == settings["stop_after_iterations"]  # the traces end before its display
        if outcome.is_best and not is_last:
            dumps.append(dict(after_iteration=iteration + 1, score=outcome.mean))
            saves.append(dict(iteration_index=iteration, file=f"best_model_round{plan.round}.pth"))
        if outcome.reinitialize:
            events.append(dict(event="new_network", before_iteration=iteration + 1))
    return dict(events=events, intermediate_image_dumps=dumps, best_model_saves=saves,
                effective_prompt_init_iters=plan.initialize_iters,
                effective_reconstruction_iters=plan.reconstruct_iters)


def add_event(events: list[dict[str, Any]], plan: Any, step: Any, iteration: int) -> None:
    name = {"initialize": "prompt_init"}.get(step.phase, step.phase)
    event = dict(event=name, first_iteration=iteration, last_iteration=iteration, count=1)
    if step.phase == "refine":
        dumped = [plan.dumps[int(slot.partition("/")[2])] for slot in step.intermediates]
        margins = BacklitEnhancer.__init__.__kwdefaults__["margins"][len(dumped)]
        event.update(groups=2 + len(dumped), margins=list(margins),
                     **{f"semi{place + 1}_dumped_after_iteration": dumped[place] if place < len(dumped) else None
                        for place in range(2)})
    same = {key: value for key, value in event.items() if key not in ("first_iteration", "last_iteration", "count")}
    if events and all(events[-1].get(key) == value for key, value in same.items()):
        events[-1].update(last_iteration=iteration, count=events[-1]["count"] + 1)
    else:
        events.append(event)


def scripted_values(scripted: dict[str, Any], phase: str, iteration: int) -> tuple[float, float]:
    """Value and score of an iteration."""
    def at(name: str) -> float:
        segment = next((value for first, last, value in scripted[name]["segments"] if first <= iteration <= last), None)
        return scripted[name]["default"] + scripted[name].get("slope", 0) * iteration if segment is None else segment

    if phase == "reconstruct":
        return 0.0, at("psnr")
    value = {"enhance": lambda: at("guided_loss"), "refine": lambda: at("rank_loss"),
             "initialize": lambda: scripted["init_cross_entropy"]}[phase]()
    return value, -value


# ---- configs --------------------------------------------------------------------------------------------------


def adam(module: Any, options: dict[str, Any]) -> OptimWrapper:
    return OptimWrapper(torch.optim.Adam(module.parameters(), lr=options["lr"], weight_decay=options["weight_decay"]))


def as_floats(images: torch.Tensor) -> torch.Tensor:
    return images.clone() if images.is_floating_point() else images.float() / 255


def vit_arch(options: dict[str, Any], size: int, context: int = 77) -> dict[str, Any]:
    width, heads = options.get("width", 32), options.get("heads", 2)
    return dict(
        embed_dim=options["embed"], quick_gelu=True,
        vision_cfg=dict(layers=options.get("layers", 1), width=width, head_width=width // heads,
                        patch_size=options.get("patch", 32), image_size=size),
        text_cfg=dict(context_length=context, vocab_size=49408, width=options.get("twidth", 32),
                      heads=options.get("theads", 2), layers=options.get("tlayers", 1)))


def resnet_arch(options: dict[str, Any], size: int) -> dict[str, Any]:
    width = options["width"]
    return dict(
        embed_dim=options["embed"], quick_gelu=True,
        vision_cfg=dict(layers=options["layers"], width=width, head_width=width * 32 // options["heads"],
                        image_size=size),
        text_cfg=dict(context_length=8, vocab_size=16, width=32, heads=1, layers=1))


def load_tower(arch: dict[str, Any], state: dict[str, torch.Tensor], prefix: str = "") -> CLIPBackbone:
    backbone = MODELS.build(dict(type=CLIPBackbone, arch=arch, with_text=False))
    backbone.load_state_dict(convert.convert_image_tower(state, prefix))
    return backbone.eval()


RUNNERS = {
    "enhancer_random": enhancer,
    "published_weights_photo": published_photo,
    "loss_clip_guidance": clip_guidance,
    "loss_identity": identity,
    "rank_loss": rank,
    "prompt_learner": prompt_learner,
    "latent_learner": latent_learner,
    "rave_residual": rave_residual,
    "train_step": train_step,
    "augmentation": augmentation,
    "metrics": metrics,
    "schedule": schedule,
}
