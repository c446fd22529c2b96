"""The authors' checkpoints under our names: pure mappings of state dicts, one for each component."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clipapps.errors import WeightsError

State = dict[str, Tensor]
PYRAMID = ("fpn1.", "fpn2.", "fpn3.", "fpn4.")
TEXT_POSITIONS, TEMPERATURE = "backbone.model.positional_embedding", "backbone.model.logit_scale"


def convert_segmentor(state: Mapping[str, Tensor], *, fold_class_embedding: bool = True) -> State:
    """A whole official segmentor (`state_dict` of a checkpoint) -> `DenseCLIPSegmentor` or `CLIPSegmentor`.

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
    """Add what DenseCLIP never uses and its checkpoints lack, taken from the model: later text positions, temperature.

    The added positions are CLIP's when the model has CLIP's weights; only then may names be longer than 3 tokens.
    """
    own = model.state_dict()
    filled = dict(state)
    if TEXT_POSITIONS in own and TEXT_POSITIONS in state:
        rows = state[TEXT_POSITIONS]
        filled[TEXT_POSITIONS] = torch.cat([rows, own[TEXT_POSITIONS][len(rows):].to(rows)])
    if TEMPERATURE in own:
        filled.setdefault(TEMPERATURE, own[TEMPERATURE])
    return filled


def check_complete(state: Mapping[str, Tensor], model: nn.Module, source: str = "The checkpoint") -> None:
    """Make sure that a converted state fills the model, and nothing is left over.

    Raises:
        WeightsError: a table of missing and unexpected entries and of shapes that differ.
    """
    wanted = model.state_dict()
    findings = [f"missing: {name}" for name in wanted if name not in state]
    findings += [f"unexpected: {name}" for name in state if name not in wanted]
    findings += [f"shape: {name} is {tuple(value.shape)}, the model has {tuple(wanted[name].shape)}"
                 for name, value in state.items() if name in wanted and value.shape != wanted[name].shape]
    if findings:
        shown = findings[:20] + ([f"and {len(findings) - 20} more"] if len(findings) > 20 else [])
        headline = f"{source} does not fit this model; choose the config it was trained with."
        raise WeightsError("\n".join([headline, *shown]))


def _below(state: Mapping[str, Tensor], prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
