"""Video files: frames decoded in a process of their own, so that a damaged file costs an error and nothing else."""

from __future__ import annotations

from typing import Any

__all__ = ["VIDEO_SUFFIXES", "VideoReader", "read_frames"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from clipapps.data.video import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
