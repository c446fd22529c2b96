"""clipapps: one shared CLIP backbone, one engine, and CLIP's downstream tasks as plugins.

The public names are imported on first use, so that `import clipapps` stays fast and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "CLIPBackbone": "clipapps.clip",
    "Features": "clipapps.clip",
    "load": "clipapps.inference",
    "list_projects": "clipapps.project",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'clipapps' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
