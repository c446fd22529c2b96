"""Prompts: learnable contexts among token embeddings, and text templates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clipapps.errors import UserError

POSITIONS = ("front", "middle", "end")


def insert_contexts(embeds: Tensor, contexts: Tensor, pool_index: Tensor,
                    position: str = "front") -> tuple[Tensor, Tensor]:
    """Insert context vectors into token embeddings (CoOp, section 3.1; DenseCLIP, section 3.2).

    Args:
        embeds: (K, L, W) token embeddings, a start token first; or (B, K, L, W).
        contexts: (n, W) shared by all texts, (K, n, W) one set a text, or (B, 1, n, W) / (B, K, n, W) one an image.
        pool_index: (K,) position of each text's end token.
        position: where the contexts stand: "front": between start token and name; "end": between name and end token;
            "middle": half of them in front of the name, the rest behind it.

    Returns:
        embeddings (..., K, L + n, W) and the new end positions (..., K).

    >>> e, p = insert_contexts(torch.zeros(2, 5, 8), torch.ones(3, 8), torch.tensor([2, 4]))
    >>> e.shape, p.tolist()
    (torch.Size([2, 8, 8]), [5, 7])
    """
    if position not in POSITIONS:
        raise UserError(f"Context position {position!r} is unknown; choose one of {', '.join(POSITIONS)}.")
    if contexts.shape[-1] != embeds.shape[-1]:
        raise UserError(f"Contexts are {contexts.shape[-1]} wide, the token embeddings {embeds.shape[-1]}.")
    num, (length, width) = contexts.shape[-2], embeds.shape[-2:]
    lead = torch.broadcast_shapes(embeds.shape[:-2], contexts.shape[:-2])
    embeds, contexts = embeds.expand(*lead, length, width), contexts.expand(*lead, num, width)
    pool_index = pool_index.expand(lead)
    in_front = {"front": num, "middle": num // 2, "end": 0}[position]
    # Row r of the result reads row `source` of [embeds; contexts]: start, contexts, name, contexts, end and padding.
    row, end = torch.arange(length + num, device=embeds.device), pool_index.unsqueeze(-1)
    source = torch.where(row < end + num, length + row - end, row - num)
    source = torch.where(row < end + in_front, row - in_front, source)
    source = torch.where(row < 1 + in_front, length + row - 1, source)
    source = torch.where(row < 1, row, source)
    both = torch.cat([embeds, contexts], dim=-2)
    return both.gather(-2, source.unsqueeze(-1).expand(*source.shape, width)), pool_index + num


def fill_templates(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every template filled with every name, template by template.

    >>> fill_templates(["cat", "dog"], ["{}", "a photo of a {}."])
    ['cat', 'dog', 'a photo of a cat.', 'a photo of a dog.']
    """
    for template in templates:
        if "{}" not in template:
            raise UserError(f"Template {template!r} has no {{}} for the name; write for example 'a photo of a {{}}.'.")
    return [template.replace("{}", name) for template in templates for name in names]
