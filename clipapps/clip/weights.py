"""Finding, reading, and fitting CLIP weights: built-in, open_clip tag, hub repository, or file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from clipapps.clip.open_clip_models import HUB_PREFIX, Arch, download_weights
from clipapps.clip.positions import resize_positions
from clipapps.clip.tiny import TINY_ARCHS, builtin_weights
from clipapps.errors import WeightsError
from clipapps.safe_load import load

BUILTIN = "builtin"
_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
#: entries of OpenAI's archives that describe the model instead of belonging to it
_NOT_PARAMETERS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask")
_WRAPPERS = ("module.", "model.", "backbone.model.", "clip.")


def find_weights(arch: Arch, weights: str) -> Path:
    """The local file behind a `weights` value; downloads tags and hub files that are not cached.

    Raises:
        WeightsError: with the reason and the way out.
    """
    if weights == BUILTIN:
        path = builtin_weights(arch.name)
        if not path.is_file():
            raise WeightsError(f"There are no built-in weights for {arch.name}; they exist for "
                               f"{', '.join(TINY_ARCHS)}. Use a pretrained tag, a file, or weights=None.")
        return path
    if not weights.startswith(HUB_PREFIX) and weights.endswith(_FILE_SUFFIXES):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"There is no weights file {path}.")
        return path
    return download_weights(arch, weights)


def read_state(path: Path, model: Any) -> dict[str, Tensor]:
    """Tensors of a weights file under the names of `model` (an open_clip model)."""
    state = load(path)
    state = state.get("state_dict", state)
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    names = model.state_dict().keys()
    for wrapper in _WRAPPERS:
        if not any(name in names for name in state) and any(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items() if name.startswith(wrapper)}
    state = _restore_token_rows(state, model)
    if "text.ln_final.weight" in names and "ln_final.weight" in state:
        state = {name if name.startswith(("visual.", "logit_")) else f"text.{name}": value
                 for name, value in state.items()}
    return {name: value for name, value in state.items() if name not in _NOT_PARAMETERS}


def _restore_token_rows(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Expand the rows that pre-training touched to the whole vocabulary; all other rows become their mean."""
    if "token_embedding.rows" not in state:
        return state
    rows, ids = state.pop("token_embedding.rows").float(), state.pop("token_embedding.ids").long()
    if not hasattr(model, "token_embedding"):
        return state
    table = rows.mean(dim=0, keepdim=True).repeat(model.token_embedding.num_embeddings, 1)
    table[ids] = rows
    return {**state, "token_embedding.weight": table}


def load_into(model: Any, state: dict[str, Tensor], *, source: str, position_key: str | None,
              num_prefix: int, interpolation: str) -> None:
    """Copy tensors into an open_clip model in place; the image tower's positional grid is resized to the model's.

    Tensors for parts that the model was built without are left out; tensors that it needs must all be there.

    Raises:
        WeightsError: a table of what is missing or has another shape; the model is left as it was.
    """
    targets = model.state_dict()
    state = {name: value for name, value in state.items() if name in targets}
    key = f"visual.{position_key}"
    if key in state and state[key].shape != targets[key].shape:
        state[key] = _fit_grid(state[key], targets[key], num_prefix, interpolation)
    for name, value in state.items():
        if value.shape != targets[name].shape and value.numel() == targets[name].numel() == 1:
            state[name] = value.reshape(targets[name].shape)
    missing = [name for name in targets if name not in state and name != "logit_bias"
               and not name.endswith("num_batches_tracked")]
    shapes = [name for name in state if state[name].shape != targets[name].shape]
    if missing or shapes:
        raise WeightsError(_mismatch(source, missing, {n: (state[n], targets[n]) for n in shapes}))
    model.load_state_dict(state, strict=False)


def _fit_grid(value: Tensor, target: Tensor, num_prefix: int, interpolation: str) -> Tensor:
    batched = value.ndim == 3  # timm keeps a leading axis
    table, wanted = (value[0], target[0]) if batched else (value, target)
    if table.shape[1] != wanted.shape[1]:
        return value
    side = round((wanted.shape[0] - num_prefix) ** 0.5)
    table = resize_positions(table, (side, side), num_prefix=num_prefix, interpolation=interpolation)
    return table.unsqueeze(0) if batched else table


def _mismatch(source: str, missing: list[str], shapes: dict[str, tuple[Tensor, Tensor]]) -> str:
    lines = [f"{source} does not fit this model; choose the architecture that it was trained with."]
    if missing:
        lines.append(f"missing ({len(missing)}): {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}")
    for name, (found, wanted) in list(shapes.items())[:4]:
        lines.append(f"shape: {name} is {tuple(found.shape)}, the model has {tuple(wanted.shape)}")
    return "\n".join(lines)
