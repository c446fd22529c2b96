"""The walk over open_clip's text tower: from token ids or from token embeddings, with an explicit pooling index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clipapps.clip.blocks import Insertion, run_blocks
from clipapps.errors import UserError


class TextTower:
    """open_clip's text transformer, whether it stands inside `CLIP` or as `CustomTextCLIP.text`.

    It owns no parameters; letters: K texts, L tokens, W text width, D joint embedding size.
    """

    def __init__(self, model: Any, grad_checkpoint: bool = False) -> None:
        holder = getattr(model, "text", model)
        if getattr(holder, "cls_emb", None) is not None or getattr(holder, "use_pad_mask", False) \
                or not hasattr(holder, "token_embedding"):
            raise UserError(f"Text towers of type {type(holder).__name__} with class embeddings, padding masks, or "
                            "Hugging Face encoders are not supported; choose another architecture.")
        self.holder, self.grad_checkpoint = holder, grad_checkpoint
        self.pool_type: str = getattr(model, "text_pool_type", None) or holder.pool_type
        self.context_length: int = model.context_length
        #: CLIP's end-of-text token is the last of its vocabulary; other tokenizers name theirs
        self.eot_id: int = holder.vocab_size - 1
        if self.pool_type == "eos":
            self.eot_id = getattr(model, "text_eos_id", None) or holder.eos_id

    @property
    def width(self) -> int:
        """Width W of the token embeddings."""
        return self.holder.token_embedding.weight.shape[1]

    @property
    def is_causal(self) -> bool:
        """Whether tokens see only what stands before them, so that padding cannot matter."""
        return self.holder.attn_mask is not None and self.pool_type in ("argmax", "eos")

    def pool_index(self, ids: Tensor) -> Tensor:
        """Position (K,) whose output is the text's embedding, for token ids (K, L).

        The first end-of-text token; in rows without one, the highest id, which is what open_clip pools.
        """
        if self.pool_type in ("first", "last"):
            return ids.new_full(ids.shape[:1], 0 if self.pool_type == "first" else ids.shape[1] - 1)
        is_end = ids == self.eot_id
        return torch.where(is_end.any(dim=-1), is_end.int().argmax(dim=-1), ids.argmax(dim=-1))

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (K, L) -> token embeddings (K, L, W), no positions yet."""
        table = self.holder.token_embedding
        try:
            embeds = table(ids)
        except IndexError as error:  # torch's own words are "index out of range in self"
            raise UserError(f"Token ids go from 0 to {table.num_embeddings - 1} in this text tower; these go from "
                            f"{int(ids.min())} to {int(ids.max())}. They belong to another tokenizer.") from error
        return embeds.to(self.holder.transformer.get_cast_dtype())

    def __call__(self, embeds: Tensor, pool_index: Tensor, insertions: Sequence[Insertion] = ()) -> Tensor:
        """Token embeddings (K, L, W) and pooling positions (K,) -> text embeddings (K, D)."""
        holder, length = self.holder, embeds.shape[1]
        available = holder.positional_embedding.shape[0]
        if length > available:
            raise UserError(f"A text has {length} tokens (contexts included); this text tower reads {available}. "
                            "Shorten the text or use fewer contexts.")
        x = embeds + holder.positional_embedding[:length].to(embeds.dtype)
        for insertion in insertions:
            x = insertion.embed(x)
        mask = holder.attn_mask if holder.attn_mask is None else holder.attn_mask[: x.shape[1], : x.shape[1]]
        x, _ = run_blocks(holder.transformer.resblocks, x, mask=mask, insertions=insertions,
                          grad_checkpoint=self.grad_checkpoint)
        x = holder.ln_final(x)
        pooled = x[torch.arange(x.shape[0], device=x.device), pool_index]
        if isinstance(holder.text_projection, nn.Module):
            return holder.text_projection(pooled)
        return pooled if holder.text_projection is None else pooled @ holder.text_projection
