"""The shared CLIP backbone: image tower, text tower, prompts, dense maps in the joint space, weights.

Everything public is imported from here; the modules behind it are an implementation detail.
"""

from __future__ import annotations

from clipapps.clip.attention_pool import DenseAttentionPool
from clipapps.clip.backbone import CLIPBackbone
from clipapps.clip.blocks import Insertion
from clipapps.clip.features import Features
from clipapps.clip.freezing import parameter_groups, set_trainable
from clipapps.clip.positions import resize_positions
from clipapps.clip.prompts import insert_contexts
from clipapps.clip.text_cache import VersionedCache
from clipapps.clip.tiny import builtin_weights

__all__ = [
    "CLIPBackbone",
    "DenseAttentionPool",
    "Features",
    "Insertion",
    "VersionedCache",
    "builtin_weights",
    "insert_contexts",
    "parameter_groups",
    "resize_positions",
    "set_trainable",
]
