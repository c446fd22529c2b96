"""Readers and transforms that several projects use: `images` (files to arrays), `transforms` (pipeline steps)."""

from __future__ import annotations

from typing import Any

__all__ = ["LoadImage", "LoadSegmentation"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # mmcv is imported only by those who build a pipeline
        from clipapps.data import transforms

        return getattr(transforms, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
