"""The one loop over residual attention blocks that both transformer towers run, and what can be inserted into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clipapps.errors import UserError

Attention = Callable[[Tensor], Tensor]


class Insertion:
    """Code that runs around and inside the blocks of a tower; override what you need (deep prompts, adapters, ...).

    Tokens are (B, N, C): prefix tokens, then the grid row by row, then whatever `embed` appended. The number of
    tokens a block receives may change between `before` and `after`, but `after` must restore it. An insertion with
    parameters inherits from `nn.Module` as well and is owned by the model that passes it.

    >>> class Noise(Insertion):
    ...     def after(self, index, tokens):
    ...         return tokens + 0.1 * tokens.new_ones(tokens.shape[-1])
    """

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens with positions, before the tower's first norm; prompts may be appended at the end."""
        return tokens

    def before(self, index: int, tokens: Tensor) -> Tensor:
        """Tokens that enter block `index`."""
        return tokens

    def attend(self, index: int, tokens: Tensor, attention: Attention) -> Tensor:
        """The attention branch of block `index` on normalized tokens; `attention` is the block's own."""
        return attention(tokens)

    def after(self, index: int, tokens: Tensor) -> Tensor:
        """Tokens that leave block `index`."""
        return tokens


class BlockParts(NamedTuple):
    """A residual attention block of open_clip or timm, taken apart into the submodules it calls."""

    norm1: nn.Module
    attention: Callable[[Tensor, Tensor | None], Tensor]
    scale1: Callable[[Tensor], Tensor]
    norm2: nn.Module
    mlp: nn.Module
    scale2: Callable[[Tensor], Tensor]


def take_apart(block: Any) -> BlockParts:
    """The parts of one block, whichever of the three known layouts it has.

    Raises:
        TypeError: for a block of another layout.
    """
    if hasattr(block, "ln_attn"):  # open_clip, custom attention
        return BlockParts(block.ln_1, lambda x, mask: block.ln_attn(block.attn(x, attn_mask=mask)), block.ls_1,
                          block.ln_2, block.mlp, block.ls_2)
    if hasattr(block, "ln_1"):  # open_clip
        return BlockParts(block.ln_1, lambda x, mask: block.attention(q_x=x, attn_mask=mask), block.ls_1,
                          block.ln_2, block.mlp, block.ls_2)
    if hasattr(block, "norm1") and hasattr(block, "ls1"):  # timm
        return BlockParts(block.norm1, lambda x, mask: block.attn(x, attn_mask=mask),
                          lambda x: block.drop_path1(block.ls1(x)), block.norm2, block.mlp,
                          lambda x: block.drop_path2(block.ls2(x)))
    raise TypeError(f"Blocks of type {type(block).__name__} cannot be walked.")


def _run_block(block: Any, index: int, insertions: Sequence[Insertion], mask: Tensor | None,
               tokens: Tensor) -> Tensor:
    parts = take_apart(block)
    attention: Attention = lambda x: parts.attention(x, mask)  # noqa: E731
    for insertion in insertions:
        tokens = insertion.before(index, tokens)
        attention = partial(insertion.attend, index, attention=attention)
    tokens = tokens + parts.scale1(attention(parts.norm1(tokens)))
    tokens = tokens + parts.scale2(parts.mlp(parts.norm2(tokens)))
    for insertion in insertions:
        tokens = insertion.after(index, tokens)
    return tokens


def run_blocks(
    blocks: Iterable[nn.Module],
    tokens: Tensor,
    *,
    mask: Tensor | None = None,
    insertions: Sequence[Insertion] = (),
    taps: Iterable[int] = (),
    grad_checkpoint: bool = False,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Run tokens (B, N, C) through the blocks.

    Args:
        mask: additive attention mask (N, N) or None.
        insertions: run in order; see `Insertion`.
        taps: indices of blocks whose outputs are wanted as well.
        grad_checkpoint: recompute each block in the backward pass instead of keeping its activations.

    Returns:
        the final tokens, and the tapped outputs by block index.
    """
    wanted, tapped = set(taps), {}
    for index, block in enumerate(blocks):
        step = partial(_run_block, block, index, insertions, mask)
        if grad_checkpoint and tokens.requires_grad:
            tokens = checkpoint(step, tokens, use_reentrant=False)
        else:
            tokens = step(tokens)
        if index in wanted:
            tapped[index] = tokens
    return tokens, tapped


def value_path(block: Any, tokens: Tensor) -> Tensor:
    """One block with its attention replaced by the value and output projections alone (MaskCLIP, section 3.2).

    Every token attends to itself only, so that the last block keeps the place of each patch.
    """
    parts = take_apart(block)
    attn = block.attn
    normed = parts.norm1(tokens)
    if isinstance(attn, nn.MultiheadAttention):
        width = attn.embed_dim
        values = nn.functional.linear(normed, attn.in_proj_weight[2 * width:], attn.in_proj_bias[2 * width:])
        values = attn.out_proj(values)
    elif hasattr(attn, "qkv"):  # timm
        bias = attn.qkv.bias
        width = attn.qkv.out_features // 3
        values = nn.functional.linear(normed, attn.qkv.weight[2 * width:], None if bias is None else bias[2 * width:])
        values = attn.proj(values)
    else:
        raise UserError(f"The value path of {type(attn).__module__}.{type(attn).__name__} is not known; use "
                        "dense=\"projected\".")
    tokens = tokens + parts.scale1(values)
    return tokens + parts.scale2(parts.mlp(parts.norm2(tokens)))
