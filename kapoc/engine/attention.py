"""Attention of transformers' models over rows of a prefix tree: nodes are read in blocks, with their ancestors only.

A whole row with its mask would cost the square of its length, and nearly all of that is hidden by the mask. In a row
the nodes of a subtree stand side by side, so that what a run of nodes may see is the ancestors of its first node and
the run itself. Everything else, and every device but a CPU, is transformers' own `sdpa`.
"""

from collections.abc import Mapping, Sequence
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
_MOST_SEEN = 256
"""Of a row of which a block sees more, products are not made together: they would be kept for the way back."""
_SEEN_STEP = 16
"""What blocks see is filled up to a multiple of this, so that sizes come again and no memory is cut up."""
_BLOCKS = "kapoc_blocks"
_BEYOND_SDPA = ("softcap", "position_bias", "cache")
"""What transformers does beside calling `sdpa`, where a model asks for it."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Runs of nodes of a row, and what each may see; all filled up to one size.

    Attributes:
        cuts: where each run starts and ends.
        widths: how many places each run sees.
        nodes: (blocks, nodes), their places in the row.
        seen: (blocks, columns), the places of what stands before the row, of the ancestors and of the nodes themselves.
        mask: (blocks, 1, nodes, columns), additive.
        block, place: (nodes of the row,), in which run each stands, and where in it.
    """

    cuts: tuple[tuple[int, int], ...]
    widths: tuple[int, ...]
    nodes: torch.Tensor
    seen: torch.Tensor
    mask: torch.Tensor
    block: torch.Tensor
    place: torch.Tensor


def use_tree_attention(model: PreTrainedModel) -> None:
    """Let a model on a CPU that attends by `sdpa` read rows in blocks; any other stays as it is."""
    if model.device.type != "cpu" or getattr(model.config, "_attn_implementation", None) != "sdpa":
        return
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def with_blocks(mask: torch.Tensor, row: Row, length: int) -> torch.Tensor:
    """The same mask (1, 1, nodes, `length` + nodes) of a row, which now carries its blocks where they are several."""
    cuts = _cuts(row)
    if len(cuts) > 1:
        setattr(mask, _BLOCKS, _blocks(mask, row, length, cuts))
    return mask


def _blocks(mask: torch.Tensor, row: Row, length: int, cuts: Sequence[tuple[int, int]]) -> Blocks:
    places = []
    for start, end in cuts:
        ancestors, node = [], row.parents[start]
        while node >= 0:
            ancestors.append(length + node)
            node = row.parents[node]
        places.append([*range(length), *reversed(ancestors), *range(length + start, length + end)])
    num_nodes, num_seen = _BLOCK_NODES, -(-max(map(len, places)) // _SEEN_STEP) * _SEEN_STEP
    nodes = torch.zeros(len(cuts), num_nodes, dtype=torch.long)
    seen = torch.zeros(len(cuts), num_seen, dtype=torch.long)
    filled = mask.new_full((len(cuts), 1, num_nodes, num_seen), torch.finfo(mask.dtype).min)
    for number, ((start, end), columns) in enumerate(zip(cuts, places, strict=True)):
        nodes[number, : end - start] = torch.arange(start, end)
        seen[number, : len(columns)] = torch.tensor(columns)
        filled[number, 0, : end - start, : len(columns)] = mask[0, 0, start:end].index_select(-1, torch.tensor(columns))
    sizes = torch.tensor([end - start for start, end in cuts])
    block = torch.arange(len(cuts)).repeat_interleave(sizes)
    place = torch.cat([torch.arange(int(size)) for size in sizes])
    return Blocks(tuple(cuts), tuple(map(len, places)), nodes, seen, filled, block, place)


def blocks_of(mask: torch.Tensor | None) -> Blocks | None:
    """The blocks that a mask carries; none where a model has made another mask of it."""
    blocks: Blocks | None = getattr(mask, _BLOCKS, None)
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
    blocks = blocks_of(attention_mask)
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        if blocks is not None and blocks.seen.shape[1] <= _MOST_SEEN and not _asks_more(options):
            return _attended_together(query, key, value, blocks, **options), None
        with torch.autocast("cpu", enabled=False):  # the way back through `sdpa` takes twice as long in bfloat16
            mask, bias = _as_float(attention_mask), _as_float(options.pop("position_bias", None))
            options |= {} if bias is None else {"position_bias": bias}
            return _attend(module, query.float(), key.float(), value.float(), mask, **options)
    if blocks is not None:
        seen = torch.cat([places[:width] for places, width in zip(blocks.seen, blocks.widths, strict=True)])
        split = zip(
            blocks.mask,
            query.split([end - start for start, end in blocks.cuts], dim=2),
            key.index_select(2, seen).split(blocks.widths, dim=2),
            value.index_select(2, seen).split(blocks.widths, dim=2),
            strict=True,
        )
        parts = [_attended(module, q, k, v, m[None, :, : q.shape[2], : k.shape[2]], **options) for m, q, k, v in split]
        return torch.cat(parts, dim=1), None
    return _attended(module, query, key, value, attention_mask, **options), None


def _as_float(mask: torch.Tensor | None) -> torch.Tensor | None:
    """A mask or a bias that is added, in float32 and with its blocks; one that says yes or no stays as it is."""
    if mask is None or not mask.is_floating_point() or mask.dtype == torch.float32:
        return mask
    exact, blocks = mask.float(), blocks_of(mask)
    if blocks is not None:
        setattr(exact, _BLOCKS, blocks)
    return exact


def _asks_more(options: Mapping[str, Any]) -> bool:
    return any(options.get(name) is not None for name in _BEYOND_SDPA)


def _attended_together(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    blocks: Blocks,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> torch.Tensor:
    """All blocks by two products in the precision of autocast, for whose small ones `sdpa` is slow; softmax in float32.

    The queries of all heads that share keys and values stand side by side.
    """
    query, key, value = (each.to(torch.get_autocast_dtype("cpu")) for each in (query, key, value))
    num_heads, num_tokens, width = query.shape[1:]
    num_shared, num_sharing = key.shape[1], num_heads // key.shape[1]
    (num_blocks, num_nodes), num_seen = blocks.nodes.shape, blocks.seen.shape[1]
    heads = torch.arange(num_heads).view(num_shared, 1, num_sharing, 1)
    asked = blocks.nodes[:, None] * num_heads + heads  # (shared, blocks, sharing, nodes), in (tokens, heads)
    rows = query.transpose(1, 2).reshape(num_tokens * num_heads, width).index_select(0, asked.flatten())
    rows = rows.view(num_shared * num_blocks, -1, width) * (width**-0.5 if scaling is None else scaling)
    keys, values = (
        each.index_select(2, blocks.seen.flatten()).view(num_shared * num_blocks, num_seen, -1) for each in (key, value)
    )
    scores = torch.bmm(rows, keys.transpose(1, 2)).view(num_shared, num_blocks, num_sharing, num_nodes, num_seen)
    weights = (scores + blocks.mask).softmax(-1, dtype=torch.float32)
    weights = torch.nn.functional.dropout(weights, dropout).to(value.dtype)
    found = torch.bmm(weights.view(num_shared * num_blocks, -1, num_seen), values).view(-1, value.shape[-1])
    first = (heads // num_sharing * num_blocks * num_sharing + heads % num_sharing) * num_nodes
    places = (blocks.block * num_sharing * num_nodes + blocks.place)[:, None] + first.flatten()  # (tokens, heads)
    return found.index_select(0, places.flatten()).view(1, num_tokens, num_heads, -1)


def _attended(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> torch.Tensor:
    """As transformers attends, but that keys and values are not copied for every head that shares them."""
    if attention_mask is None or query.shape[2] == 1 or _asks_more(options):
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
