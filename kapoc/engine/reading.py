"""One forward pass over a row of a prefix tree, in which every node sees its ancestors and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from kapoc.engine.attention import with_blocks
from kapoc.engine.prefix_tree import Row
from kapoc.errors import ModelError

BROKEN_LOGITS = "the model's logits are inf or nan; the weights are broken, train it again"
_REFUSALS = (AttributeError, IndexError, RuntimeError, TypeError, ValueError)
"""What is raised by a model that takes no 4-D mask, or remembers otherwise than by keys and values."""
_LOGITS_AT_ONCE = 64
"""Rows of logits that are looked at together: more would leave a processor's cache."""

Memory = list[tuple[torch.Tensor, torch.Tensor]]
"""What a model keeps of what it read: for each layer keys and values of shape (1, heads, tokens, width)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a row.

    Attributes:
        logits: (wanted nodes, vocabulary), in float32.
        memory: of prefix and row; empty unless it was asked for.
    """

    logits: torch.Tensor
    memory: Memory


class CannotShareError(Exception):
    """A model takes no 4-D mask, or remembers otherwise than by keys and values; what it read must be read apart."""


@contextmanager
def sharing() -> Iterator[None]:
    """Where a model reads several texts in one row, or goes on from what it remembers.

    Raises:
        CannotShareError: it cannot; a lack of memory, or broken logits, is told as what it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _REFUSALS as error:
        if "allocate memory" in str(error):  # what torch says where a processor's memory is at its end
            raise
        raise CannotShareError from error


def local_window(model: PreTrainedModel) -> int | None:
    """So many tokens may a text have for every layer to look at all of it; none where no layer is local.

    A mask for a row says nothing of windows, so that longer texts cannot be read by one. No text can where a layer
    counts its window by places in the row, as GPT-Neo's do: that is 0.
    """
    config = model.config.get_text_config()
    if getattr(config, "window_size", None) is not None:
        return 0
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":  # beyond it all texts of a row would be read as long ones
        windows.append(rope.get("original_max_position_embeddings"))
    return min((window for window in windows if window), default=None)  # some write 0 for none


def read_prefix(model: PreTrainedModel, tokens: Sequence[int]) -> Memory:
    """Read what all rows of a group begin with."""
    if not tokens:
        return []
    row = Row(list(tokens), list(range(len(tokens))), list(range(-1, len(tokens) - 1)))
    return read_row(model, row, [], [len(tokens) - 1], keep=True).memory


def read_row(model: PreTrainedModel, row: Row, prefix: Memory, wanted: Sequence[int], *, keep: bool = False) -> Reading:
    """Read a row behind its prefix.

    Args:
        model: a causal model that takes a 4-D attention mask.
        row: of a prefix tree.
        prefix: what `read_prefix` made of the group's prefix.
        wanted: the nodes whose logits are wanted, at least one.
        keep: whether to give back what the model keeps of prefix and row.
    """
    device = model.device
    is_chain = all(parent == node - 1 for node, parent in enumerate(row.parents))
    cache = DynamicCache() if prefix or keep else None
    if cache is not None:
        for layer, (keys, values) in enumerate(prefix):
            cache.update(keys, values, layer)
    length = prefix[0][0].shape[-2] if prefix else 0
    with torch.no_grad(), _only(model, torch.tensor(list(wanted), device=device)):
        output = model(
            input_ids=torch.tensor([row.tokens], device=device),
            position_ids=torch.tensor([row.depths], device=device),
            attention_mask=None if is_chain else tree_mask(row, length, model.dtype).to(device),
            past_key_values=cache,
            use_cache=cache is not None,
        )
    memory = [_kept(layer) for layer in cache.layers] if keep and cache is not None else []
    return Reading(output.logits[0].float(), memory)


def _kept(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


def tree_mask(row: Row, length: int, dtype: torch.dtype) -> torch.Tensor:
    """The additive mask (1, 1, nodes, prefix and nodes) behind a prefix of so many tokens."""
    visible = np.zeros((len(row), length + len(row)), dtype=bool)
    visible[:, :length] = True
    for node, parent in enumerate(row.parents):
        if parent >= 0:
            visible[node] = visible[parent]
        visible[node, length + node] = True
    hidden = torch.from_numpy(~visible)[None, None]
    return with_blocks(torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min), row, length)


@contextmanager
def _only(model: PreTrainedModel, wanted: torch.Tensor) -> Iterator[None]:
    """Let the output layer see only the wanted places of the one row, as (1, places, width)."""

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0][:, wanted],)

    handle = model.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row of logits: the likeliest token, and the logarithm of the sum of exponentials.

    Args:
        logits: (rows, vocabulary), in float32.

    Returns:
        Two tensors of shape (rows,).

    Raises:
        ModelError: a logit is nan or infinite, or no logit of a row is finite.
    """
    tokens, sums = [], []
    for part in logits.split(_LOGITS_AT_ONCE):
        highest, token = part.max(-1)
        tokens.append(token)
        sums.append(highest + (part - highest.unsqueeze(-1)).exp_().sum(-1).log())
    found, normalisers = torch.cat(tokens), torch.cat(sums)
    if not torch.isfinite(normalisers).all():
        raise ModelError(BROKEN_LOGITS)
    return found, normalisers
