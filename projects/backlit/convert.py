"""Published checkpoints of CLIP-LIT and RAVE -> the names of this project: pure key maps, and `clipapps convert`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from clipapps.engine import checkpoint
from clipapps.engine.config import load_config
from clipapps.engine.convert import Converted, Request, is_shipped
from clipapps.errors import WeightsError
from clipapps.projects.backlit.network import EnhancementNetwork

State = dict[str, Tensor]

WRAPPER = "module."  # of DataParallel
RECIPE = "backlit/clip_lit_baid_official"
_GUIDANCE_NAMES = ("embedding_prompt", "prompt_embedding", "guidance_embeddings")


def convert_checkpoint(request: Request) -> Converted:
    """An enhancement checkpoint of either repository; all nine have the same layout.

    Raises:
        WeightsError: entries are missing or left over, as a table; or it is a guidance checkpoint.
    """
    state = convert_network(checkpoint.state_dict_of(request.content, str(request.source)))
    if any(name in state for name in _GUIDANCE_NAMES):
        raise WeightsError(f"{request.source} holds a guidance (prompt pair or latent pair), not an enhancement "
                           "network; photos are enhanced by the network alone.")
    own = EnhancementNetwork().state_dict()
    if own.keys() != state.keys() or any(own[name].shape != value.shape for name, value in state.items()):
        raise WeightsError(checkpoint.mismatch_table(own, state, f"{request.source} is no enhancement network"))
    config = request.config or RECIPE
    return Converted(state, load_config(config, request.overrides), notes=["the network alone: `clipapps predict "
                     "backlit` takes it, and training starts from it with model.network_weights"],
                     is_shipped=is_shipped(config, request.overrides))


def convert_network(state: Mapping[str, Tensor]) -> State:
    """Official enhancement network -> `EnhancementNetwork`: the names are the same below the wrapper's prefix."""
    return {name.removeprefix(WRAPPER): value for name, value in state.items()}


def convert_guidance(state: Mapping[str, Tensor]) -> State:
    """Official prompt pair or latent pair -> `PromptPair` or `LatentPair`; the copies of the text tower are left out.

    Raises:
        WeightsError: there is no pair in it.
    """
    for name in _GUIDANCE_NAMES:
        for full in (WRAPPER + name, name):
            if full in state:
                return {"embedding": state[full]}
    raise WeightsError(f"There is no guidance in it; expected one of {', '.join(_GUIDANCE_NAMES)}.")


def convert_image_tower(state: Mapping[str, Tensor], prefix: str = "") -> State:
    """An OpenAI image tower (names below `<prefix>visual.`) -> `CLIPBackbone`."""
    below = f"{prefix}visual."
    return {f"model.visual.{name.removeprefix(below)}": value for name, value in state.items()
            if name.startswith(below)}


def convert_text_tower(state: Mapping[str, Tensor]) -> State:
    """The text tower inside an official prompt checkpoint -> `CLIPBackbone`."""
    below = f"{WRAPPER}text_encoder."
    return {f"model.{name.removeprefix(below)}": value for name, value in state.items() if name.startswith(below)}
