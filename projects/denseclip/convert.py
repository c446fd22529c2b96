"""The authors' checkpoints under our names: pure mappings of state dicts, and the `convert` verb's own step.

Official names are OpenAI's; ours are open_clip's below `backbone.model.`, and the pyramid of a ViT stands on its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from clipapps.engine import checkpoint
from clipapps.engine.config import load_config
from clipapps.engine.convert import Converted, Request, is_shipped
from clipapps.errors import WeightsError
from clipapps.registry import MODELS

State = dict[str, Tensor]
PYRAMID = ("fpn1.", "fpn2.", "fpn3.", "fpn4.")
TEXT_POSITIONS, TEMPERATURE = "backbone.model.positional_embedding", "backbone.model.logit_scale"
CLIP_TEMPERATURE = math.log(100)  # of every CLIP that OpenAI released
CLIP_WEIGHTS = "model.backbone.weights="
WRAPPERS = ("module.", "model.")
#: heads by what only they have, and the configs of their recipes
_HEADS = {
    "decode_head.conv_seg.weight": "fpn_{tower}_80k_ade20k_{size}",
    "bbox_head.retina_cls.weight": "retinanet_{tower}_1x_coco",
    "roi_head.bbox_head.fc_cls.weight": "mask_rcnn_{tower}_1x_coco",
}


def convert_checkpoint(request: Request) -> Converted:
    """A released checkpoint, or one trained with the released code -> weights of one of our configs.

    The layout is told by the keys. Class names that the checkpoint carries replace those of the recipe where they
    differ: their order is what its scores mean. An override `model.backbone.weights=...` fills in CLIP's own text
    positions.

    Raises:
        WeightsError: a table of what is missing, unexpected, or of another shape, in the checkpoint's own names.
    """
    state = request.released_state("backbone.model.")
    name = request.config or f"denseclip/{recognize(state)}"
    changes = [change for change in request.overrides if not change.startswith(CLIP_WEIGHTS)]
    shipped, notes = is_shipped(name, changes), []
    cfg = load_config(name, request.overrides)
    with_clip = len(changes) < len(request.overrides) and cfg.model.backbone.weights is not None
    model = build_empty(cfg, with_clip)
    names = class_names_in(request.content)
    if names and names != tuple(name.strip() for name in model.class_names):
        cfg.model.class_names, shipped = list(names), False
        model = build_empty(cfg, with_clip)
        notes.append("class names: those that the checkpoint carries")
    converted = fill_unused(convert_model(state), model)
    check_complete(converted, model, f"{request.source} as {name}")
    if "text_encoder.positional_embedding" in state and not with_clip:
        free = len(state["text_encoder.positional_embedding"]) - state["contexts"].shape[1] - 2
        notes.append(f"names of more than {free} tokens need CLIP's own positions: convert again with "
                     f"{CLIP_WEIGHTS}openai (or a file)")
    return Converted(converted, cfg, {"class_names": list(model.class_names)}, notes, shipped)


def recognize(state: Mapping[str, Tensor]) -> str:
    """Name of the recipe whose layout a state dict has, or comes nearest to.

    >>> recognize({"backbone.class_embedding": torch.zeros(768), "contexts": torch.zeros(1, 8, 512)})
    'denseclip_fpn_vit_b16_80k_ade20k_640'
    """
    for wrapper in WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
    tower = "rn101" if "backbone.layer3.22.conv1.weight" in state else "rn50"
    if "backbone.class_embedding" in state:
        tower = "vit_b16"
    recipe = next((recipe for key, recipe in _HEADS.items() if key in state), next(iter(_HEADS.values())))
    recipe = recipe.format(tower=tower, size=640 if tower == "vit_b16" else 512)
    return f"denseclip_{recipe}" if "contexts" in state else recipe


def class_names_in(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names that an OpenMMLab checkpoint carries in its `meta`; none where there are none."""
    meta = content.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    of_data = meta.get("dataset_meta")
    names = meta.get("CLASSES") or (of_data.get("classes") if isinstance(of_data, Mapping) else None)
    is_list = isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(n, str) for n in names)
    return tuple(name.strip() for name in names) if is_list else ()


def build_empty(cfg: Config, with_clip: bool = False) -> Any:
    """The config's model without memory for its weights; `with_clip`: with CLIP's own weights in its backbone."""
    init_default_scope("clipapps")
    model = copy.deepcopy(cfg.model)
    if with_clip:
        built = MODELS.build(model)
        built.backbone.init_weights()
        return built
    model.backbone.weights = None
    model.backbone.pop("drop_path_rate", None)  # has no weights, and asks for values
    with torch.device("meta"):
        return MODELS.build(model)


def convert_model(state: Mapping[str, Tensor], *, fold_class_embedding: bool = True) -> State:
    """A whole official segmentor or detector (`state_dict` of a checkpoint) -> ours.

    Args:
        state: official names and tensors.
        fold_class_embedding: see `convert_image_tower`.
    """
    image_tower = convert_image_tower(_below(state, "backbone."), fold_class_embedding=fold_class_embedding)
    converted = {f"backbone.{name}": value for name, value in image_tower.items()}
    converted |= {f"pyramid.{name}": value for name, value in convert_pyramid(_below(state, "backbone.")).items()}
    converted |= {f"backbone.{name}": value
                  for name, value in convert_text_encoder(_below(state, "text_encoder.")).items()}
    rest = {name: value for name, value in state.items() if not name.startswith(("backbone.", "text_encoder."))}
    return converted | rest


def convert_image_tower(state: Mapping[str, Tensor], *, fold_class_embedding: bool = True) -> State:
    """Official ResNet or ViT (names below `backbone.`) -> `CLIPBackbone`; the pyramid's entries are left out.

    Args:
        state: official names and tensors.
        fold_class_embedding: the official ViT adds the class embedding to its token twice, and was trained so; folding
            the second one into the position of that token once lets a correct ViT compute the same.
    """
    state = {name: value for name, value in state.items() if not name.startswith(PYRAMID)}
    if fold_class_embedding and "class_embedding" in state:
        positions = state["positional_embedding"].clone()
        positions[0] = positions[0] + state["class_embedding"]
        state["positional_embedding"] = positions
    return {f"model.visual.{name}": value for name, value in state.items()}


def convert_pyramid(state: Mapping[str, Tensor]) -> State:
    """Official ViT (names below `backbone.`) -> `ViTPyramid`."""
    return {name: value for name, value in state.items() if name.startswith(PYRAMID)}


def convert_text_encoder(state: Mapping[str, Tensor]) -> State:
    """Official text encoder (names below `text_encoder.`) -> `CLIPBackbone`.

    Its positional table has as many rows as contexts and name have tokens together (13), CLIP's first ones; see
    `fill_unused`.
    """
    return {f"model.{name}": value for name, value in state.items()}


def convert_context_decoder(state: Mapping[str, Tensor]) -> State:
    """Official context decoder (names below `context_decoder.`) -> `ContextDecoder`: the names are the same."""
    return dict(state)


def fill_unused(state: Mapping[str, Tensor], model: nn.Module) -> State:
    """Add what DenseCLIP never uses and its checkpoints lack: later text positions, temperature.

    They are the model's own, which are CLIP's when it has CLIP's weights; a model without memory gets the last known
    position again, and CLIP's temperature. Names of more tokens than were trained need CLIP's.
    """
    own = model.state_dict()
    filled = dict(state)
    rows, table = state.get(TEXT_POSITIONS), own.get(TEXT_POSITIONS)
    if rows is not None and table is not None and rows.shape[1:] == table.shape[1:] and len(rows) < len(table):
        missing = table[len(rows):]
        missing = rows[-1:].expand(len(missing), -1) if missing.is_meta else missing.to(rows)
        filled[TEXT_POSITIONS] = torch.cat([rows, missing])
    if TEMPERATURE in own:
        temperature = own[TEMPERATURE]
        filled.setdefault(TEMPERATURE, torch.tensor(CLIP_TEMPERATURE) if temperature.is_meta else temperature)
    return filled


def check_complete(state: Mapping[str, Tensor], model: nn.Module, source: str = "The checkpoint") -> None:
    """Make sure that a converted state fills the model, and nothing is left over.

    Raises:
        WeightsError: a table, in official names, of missing and unexpected entries and of shapes that differ.
    """
    wanted = {official_name(name): value for name, value in model.state_dict().items()}
    found = {official_name(name): value for name, value in state.items()}
    if wanted.keys() != found.keys() or any(wanted[name].shape != value.shape for name, value in found.items()):
        raise WeightsError(checkpoint.mismatch_table(wanted, found, f"{source} does not fit"))


def official_name(name: str) -> str:
    """What the authors call an entry of ours.

    >>> official_name("backbone.model.visual.conv1.weight"), official_name("backbone.model.ln_final.bias")
    ('backbone.conv1.weight', 'text_encoder.ln_final.bias')
    """
    for ours, theirs in (("backbone.model.visual.", "backbone."), ("backbone.model.", "text_encoder."),
                         ("pyramid.", "backbone.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _below(state: Mapping[str, Tensor], prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
