"""The authors' checkpoints under our names: pure mappings of state dicts, and the `convert` verb's own step.

Official names are OpenAI's CLIP names with the new modules between them; ours keep CLIP below `backbone.model.` as it
is, and the rest beside it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from clipapps.engine import checkpoint
from clipapps.engine.config import load_config
from clipapps.engine.convert import Converted, Request, is_shipped
from clipapps.errors import WeightsError
from clipapps.registry import MODELS

State = dict[str, Tensor]
CLIP = "backbone.model."
_INSERT = re.compile(r"visual\.transformer\.resblocks\.(\d+)\.((?:message|temporal)_.*)")
#: the head of the Something-Something variant is the last part of the integration there
_RENAMED = {"mit.classify_head.0.": "head.norm.", "mit.classify_head.2.": "head.fc."}
_NEW = {"mit.": "mit.", "prompts_": "head.prompts_"}
#: entries of OpenAI's archives that describe the model
_NOT_PARAMETERS = ("input_resolution", "context_length", "vocab_size")
_TOWERS = {(768, 32): "b32", (768, 16): "b16", (1024, 14): "l14"}


def our_name(name: str) -> str:
    """What we call an entry of an official model.

    >>> our_name("visual.transformer.resblocks.3.message_fc.weight"), our_name("mit.classify_head.2.bias")
    ('inserts.3.message_fc.weight', 'head.fc.bias')
    """
    if found := _INSERT.fullmatch(name):
        return f"inserts.{found[1]}.{found[2]}"
    for theirs, ours in {**_RENAMED, **_NEW}.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return CLIP + name


def official_name(name: str) -> str:
    """What the authors call an entry of ours.

    >>> official_name("inserts.3.message_fc.weight"), official_name("backbone.model.visual.proj")
    ('visual.transformer.resblocks.3.message_fc.weight', 'visual.proj')
    """
    if name.startswith("inserts."):
        return "visual.transformer.resblocks." + name.removeprefix("inserts.")
    for theirs, ours in {**_RENAMED, **_NEW}.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name.removeprefix(CLIP)


def convert_model(state: Mapping[str, Tensor]) -> State:
    """A whole official model -> `ILAClassifier`."""
    return {our_name(name): value for name, value in state.items() if name not in _NOT_PARAMETERS}


def convert_integration(state: Mapping[str, Tensor]) -> State:
    """An official MIT (names below `mit.`) -> `FrameIntegration`; the classifier's entries are left out."""
    return _of_part(state, "mit.", "mit.")


def convert_classifier(state: Mapping[str, Tensor]) -> State:
    """The classifier of an official MIT (names below `mit.`) -> `LinearHead`."""
    return _of_part(state, "mit.", "head.")


def convert_block(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """One official block (names below `visual.transformer.resblocks.<i>.`) -> `AlignmentInsert`, and CLIP's block."""
    is_new = {name: name.startswith(("message_", "temporal_")) for name in state}
    return ({name: value for name, value in state.items() if is_new[name]},
            {name: value for name, value in state.items() if not is_new[name]})


def convert_alignment(state: Mapping[str, Tensor]) -> State:
    """The official alignment module (names below `message_attn.`) -> `Alignment`: the names are the same."""
    return dict(state)


def convert_prompts(state: Mapping[str, Tensor]) -> State:
    """The official prompt generator (names below `prompts_generator.`) -> `VideoPrompts`: the names are the same."""
    return dict(state)


def _of_part(state: Mapping[str, Tensor], theirs: str, ours: str) -> State:
    converted = {our_name(theirs + name): value for name, value in state.items()}
    return {name.removeprefix(ours): value for name, value in converted.items() if name.startswith(ours)}


def convert_checkpoint(request: Request) -> Converted:
    """A released checkpoint, or one trained with the released code -> weights of one of our configs.

    The recipe is told by the shapes, or named with `--config`.

    Raises:
        WeightsError: a table of what is missing, unexpected, or of another shape, in the checkpoint's own names.
    """
    state = request.released_state(CLIP)
    name = request.config or f"ila/{recognize(state)}"
    cfg = load_config(name, request.overrides)
    converted = convert_model(state)
    check_complete(converted, build_empty(cfg), f"{request.source} as {name}")
    return Converted(converted, cfg, is_shipped=is_shipped(name, request.overrides))


def recognize(state: Mapping[str, Tensor]) -> str:
    """Name of the recipe whose layout a state dict has.

    Raises:
        WeightsError: it is no official video model, or no recipe has its width and patch size.
    """
    kernel, positions = state.get("visual.conv1.weight"), state.get("mit.positional_embedding")
    table = state.get("visual.positional_embedding")
    if kernel is None or positions is None or table is None:
        raise WeightsError("This is no checkpoint of ILA: it lacks visual.conv1.weight, visual.positional_embedding or "
                           "mit.positional_embedding.")
    tower = _TOWERS.get((kernel.shape[0], kernel.shape[-1]))
    if tower is None:
        raise WeightsError(f"No recipe has an image tower {kernel.shape[0]} wide with patches of {kernel.shape[-1]} "
                           "pixels; name a config of yours with --config.")
    size = kernel.shape[-1] * round((table.shape[0] - 1) ** 0.5)
    data = "ssv2" if "mit.classify_head.2.weight" in state else "k400"
    return f"ila_vit_{tower}_{positions.shape[1]}f_{data}" + (f"_{size}" if size != 224 else "")


def build_empty(cfg: Config) -> Any:
    """The config's model without memory for its weights."""
    init_default_scope("clipapps")
    model = copy.deepcopy(cfg.model)
    model.backbone.weights = None
    with torch.device("meta"):
        return MODELS.build(model)


def check_complete(state: Mapping[str, Tensor], model: Any, source: str = "The checkpoint") -> None:
    """Make sure that a converted state fills the model, and nothing is left over.

    Raises:
        WeightsError: a table, in official names, of missing and unexpected entries and of shapes that differ.
    """
    wanted = {official_name(name): value for name, value in model.state_dict().items()}
    found = {official_name(name): value for name, value in state.items()}
    if wanted.keys() != found.keys() or any(wanted[name].shape != value.shape for name, value in found.items()):
        raise WeightsError(checkpoint.mismatch_table(wanted, found, f"{source} does not fit"))
