"""Attention of transformers' models over rows of a prefix tree: nodes are read in blocks, with their ancestors only.

A whole row with its mask would cost the square of its length, and nearly all of that is hidden by the mask. In a row
the nodes of a subtree stand side by side, so that what a run of nodes may see is the ancestors of its first node and
the run itself. Everything else, and every device but a CPU, is transformers' own `sdpa`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from kapoc.engine.prefix_tree import Row

_NAME = "kapoc"
_BLOCK_NODES = 96
"""A block has at most so many nodes: more would read what is hidden, fewer would be many small calls."""
_BLOCKS = "kapoc_blocks"
_BEYOND_SDPA = ("softcap", "position_bias", "cache")
"""What transformers does beside calling `sdpa`, where a model asks for it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of nodes of a row, and what it may see.

    Attributes:
        start, end: of the nodes.
        seen: (columns,), the places of what stands before the row, of the ancestors and of the nodes themselves.
        mask: (1, 1, nodes, columns), additive.
    """

    start: int
    end: int
    seen: torch.Tensor
    mask: torch.Tensor


def use_tree_attention(model: PreTrainedModel) -> None:
    """Let a model on a CPU that attends by `sdpa` read rows in blocks; any other stays as it is."""
    if model.device.type != "cpu" or getattr(model.config, "_attn_implementation", None) != "sdpa":
        return
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def with_blocks(mask: torch.Tensor, row: Row, length: int) -> torch.Tensor:
    """The same mask (1, 1, nodes, `length` + nodes) of a row, which now carries the row's blocks."""
    blocks = []
    for start, end in _cuts(row):
        ancestors, node = [], row.parents[start]
        while node >= 0:
            ancestors.append(length + node)
            node = row.parents[node]
        seen = torch.tensor([*range(length), *reversed(ancestors), *range(length + start, length + end)])
        blocks.append(Block(start, end, seen, mask[:, :, start:end].index_select(-1, seen)))
    setattr(mask, _BLOCKS, tuple(blocks))
    return mask


def blocks_of(mask: torch.Tensor | None) -> tuple[Block, ...]:
    """The blocks that a mask carries; none where a model has made another mask of it."""
    blocks: tuple[Block, ...] = getattr(mask, _BLOCKS, ())
    return blocks


def _cuts(row: Row) -> list[tuple[int, int]]:
    """Runs of at most `_BLOCK_NODES` nodes, each cut, in its second half, where the next node has fewest ancestors."""
    cuts, start = [], 0
    while start < len(row):
        end = min(start + _BLOCK_NODES, len(row))
        if end < len(row):
            end = min(range(end, start + _BLOCK_NODES // 2, -1), key=lambda node: row.depths[node])
        cuts.append((start, end))
        start = end
    return cuts


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls: heads of shape (rows, heads, tokens, width) to (rows, tokens, heads, width)."""
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):  # of blocks so small the way back takes twice as long in bfloat16
            return _attend(module, query.float(), key.float(), value.float(), attention_mask, **options)
    blocks = blocks_of(attention_mask)
    if len(blocks) > 1:
        seen, widths = torch.cat([b.seen for b in blocks]), [len(b.seen) for b in blocks]
        split = zip(
            blocks,
            query.split([b.end - b.start for b in blocks], dim=2),
            key.index_select(2, seen).split(widths, dim=2),
            value.index_select(2, seen).split(widths, dim=2),
            strict=True,
        )
        parts = [_attended(module, q, k, v, b.mask, **options) for b, q, k, v in split]
        return torch.cat(parts, dim=1), None
    return _attended(module, query, key, value, attention_mask, **options), None


def _attended(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> torch.Tensor:
    """As transformers attends, but that keys and values are not copied for every head that shares them."""
    asks_more = any(options.get(name) is not None for name in _BEYOND_SDPA)
    if attention_mask is None or query.shape[2] == 1 or asks_more:
        attended: torch.Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0]
        return attended
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=options.get("dropout", 0.0),
        scale=options.get("scaling"),
        enable_gqa=query.shape[1] != key.shape[1],
    ).transpose(1, 2)
