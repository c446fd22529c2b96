"""The only module that imports open_clip: architectures, pretrained tags, tokenizers, downloads."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import open_clip
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg
from torch import nn

from clipapps.clip.tiny import TINY_ARCHS, builtin_weights
from clipapps.errors import UserError, WeightsError, did_you_mean

HUB_PREFIX = "hf-hub:"
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
Tokenizer = Any  # open_clip's tokenizers share no base class: callable, most with `encode`


@dataclass(frozen=True)
class Arch:
    """An architecture: its name and open_clip's description of it (embed_dim, vision_cfg, text_cfg, ...)."""

    name: str
    config: dict[str, Any]


def list_archs() -> list[str]:
    """Every architecture name that can be built: the built-in tiny ones, then open_clip's."""
    known = (name for name in open_clip.list_models() if not _unsupported(open_clip.get_model_config(name)))
    return [*TINY_ARCHS, *known]


def _unsupported(config: dict[str, Any]) -> str:
    """Why an open_clip config cannot be built here; empty when it can."""
    if "hf_model_name" in config["text_cfg"]:
        return "has a Hugging Face text encoder; choose an architecture with CLIP's own text tower"
    return "is a captioning model (CoCa); choose a contrastive one" if "multimodal_cfg" in config else ""


def list_tags(arch: str) -> list[str]:
    """Pretrained tags of an architecture name, "builtin" for the tiny ones."""
    return ["builtin"] if arch in TINY_ARCHS else open_clip.list_pretrained_tags_by_model(arch)


def resolve_arch(arch: str | dict[str, Any]) -> Arch:
    """Find an architecture by name, .json file, "hf-hub:org/repo", or open_clip config dict.

    Raises:
        UserError: unknown name (with a suggestion), missing or unreadable file, a dict without the needed keys.
    """
    if not isinstance(arch, str):
        return Arch("custom", _checked_config(dict(arch), "The architecture dict"))
    if arch in TINY_ARCHS:
        return Arch(arch, copy.deepcopy(TINY_ARCHS[arch]))
    if arch.endswith(".json"):
        return Arch(Path(arch).stem, _read_config(Path(arch)))
    if arch.startswith(HUB_PREFIX):
        return Arch(arch, _fetch(arch, lambda: open_clip.get_model_config(arch), "its config"))
    config = open_clip.get_model_config(arch)
    if config is None:
        raise UserError(f"There is no architecture {arch!r}.{did_you_mean(arch, list_archs())} "
                        "`clipapps list models` shows all.")
    return Arch(arch, config)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"The architecture file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"The architecture file {path} is not JSON: {error}.") from error
    return _checked_config(config.get("model_cfg", config), f"The architecture file {path}")


def _checked_config(config: dict[str, Any], where: str) -> dict[str, Any]:
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise UserError(f"{where} lacks {', '.join(missing)}; open_clip's model configs show what belongs there.")
    # mmengine hands over its own dict type, which open_clip's dataclass check does not take for a dict.
    return {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}


def build_model(arch: Arch) -> nn.Module:
    """The open_clip model with random weights, float32, on the CPU; nothing is downloaded."""
    config = copy.deepcopy(arch.config)
    if reason := _unsupported(config):
        raise UserError(f"{arch.name} is not supported: it {reason}.")
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    model_type = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    try:
        return model_type(**config)
    except (TypeError, RuntimeError) as error:
        raise UserError(f"open_clip cannot build {arch.name}: {error}") from error


def normalization(arch: Arch, weights: str | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std (0..1 scale) of a tag's preprocessing; without a tag, those that the architecture's tags share."""
    known = open_clip.list_pretrained_tags_by_model(arch.name)
    tag = weights if weights in known else (known[0] if known else None)
    config = (get_pretrained_cfg(arch.name, tag) if tag else None) or {}
    return tuple(config.get("mean") or OPENAI_DATASET_MEAN), tuple(config.get("std") or OPENAI_DATASET_STD)


def build_tokenizer(arch: Arch) -> Tokenizer:
    """The tokenizer that belongs to an architecture; some are fetched from a hub at first use."""
    text = arch.config["text_cfg"]
    if "hf_tokenizer_name" in text or "siglip" in arch.name.lower():
        return _fetch(arch.name, lambda: open_clip.get_tokenizer(arch.name), "its tokenizer")
    return open_clip.SimpleTokenizer(context_length=text.get("context_length", 77))


def download_weights(arch: Arch, weights: str) -> Path:
    """Local path of a tag's or a hub repository's weights, downloaded when not cached.

    Raises:
        WeightsError: unknown tag (with a suggestion), or no network.
    """
    if weights.startswith(HUB_PREFIX):
        repository = weights.removeprefix(HUB_PREFIX)
        return _cached(repository) or Path(_fetch(weights, lambda: download_pretrained_from_hf(repository),
                                                  "its weights"))
    config = get_pretrained_cfg(arch.name, weights)
    if not config:
        known = open_clip.list_pretrained_tags_by_model(arch.name)
        raise WeightsError(f"{weights!r} is neither a file nor a pretrained tag of {arch.name}."
                           f"{did_you_mean(weights, known)} Tags: {', '.join(known) or 'none'}.")
    repository, _, file = (config.get("hf_hub") or "").rpartition("/")
    source = f"{file or _HUB_FILES[0]} of {repository}" if repository else config.get("url")
    cached = _cached(repository, (file,) if file else _HUB_FILES) if repository else None
    return cached or Path(_fetch(f"{arch.name}/{weights} ({source})", lambda: download_pretrained(config),
                                 "its weights"))


def _cached(repository: str, files: Sequence[str] = _HUB_FILES) -> Path | None:
    """The repository's weights in the hub's cache, so that a machine without a network need not wait for retries."""
    for name in files:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None


def list_pairs() -> list[tuple[str, str]]:
    """(architecture, tag) of every pretrained model that can be built, the built-in ones first."""
    return [(arch, tag) for arch in list_archs() for tag in list_tags(arch)]


def find_local(arch: Arch, weights: str) -> Path | None:
    """The file of a tag's weights where it is on this machine already; nothing is fetched.

    >>> find_local(resolve_arch("tiny-rn"), "builtin").name
    'tiny-rn.safetensors'
    """
    if arch.name in TINY_ARCHS:
        return builtin_weights(arch.name) if weights == "builtin" and builtin_weights(arch.name).is_file() else None
    config = get_pretrained_cfg(arch.name, weights) or {}
    repository, _, file = (config.get("hf_hub") or "").rpartition("/")
    if repository and (cached := _cached(repository, (file,) if file else _HUB_FILES)):
        return cached
    by_url = Path("~/.cache/clip").expanduser() / Path(urlparse(config.get("url") or "").path).name
    return by_url if by_url.is_file() else None


def download_bytes(arch: Arch, weights: str) -> tuple[int, bool]:
    """Size of a tag's weights file in bytes, and whether a server said so; else it is 4 bytes a parameter.

    >>> download_bytes(resolve_arch("tiny-rn"), "builtin")[1]
    False
    """
    config = get_pretrained_cfg(arch.name, weights) or {}
    repository, _, file = (config.get("hf_hub") or "").rpartition("/")
    for name in ((file,) if file else _HUB_FILES) if repository else ():
        try:
            _require_network()
            size = get_hf_file_metadata(hf_hub_url(repository, name), timeout=5).size
        except Exception:  # no network, no such file, a server in trouble: then it is estimated
            continue
        if size:
            return int(size), True
    with torch.device("meta"):
        model = build_model(arch)
    return 4 * sum(value.numel() for value in model.state_dict().values()), False


def _require_network() -> None:
    """Fail at once where names cannot be resolved; the hub's client would retry for half a minute."""
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    if not any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        socket.getaddrinfo(host, 443)


def _fetch(name: str, download: Callable[[], Any], what: str) -> Any:
    try:
        _require_network()
        return download()
    except ImportError as error:
        raise UserError(f"{name} needs a package that is not installed: pip install {error.name}.") from error
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{name}: {what} cannot be fetched ({reason}). Without a network, download the file "
                           "elsewhere and give its path as `weights`.") from error
