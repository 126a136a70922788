"""Greedy answers in batches from which finished rows leave, so that no forward pass is spent on them."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from kapoc.errors import ModelError

_LEAVING_SHARE = 8
"""Finished rows leave once they are one in so many: each leaving copies what is kept of the others."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model wrote behind a prompt.

    Attributes:
        tokens: without the end token.
        ended: whether the model ended it; false where it was cut off.
    """

    tokens: tuple[int, ...]
    ended: bool


def continue_greedily(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_tokens: Sequence[int],
    batch_size: int,
    on_batch: Callable[[int], object] = lambda _: None,
) -> list[Continuation]:
    """Continue each prompt with the likeliest token until the model ends it.

    Args:
        model: a causal model.
        prompts: token ids, at least one each.
        max_new_tokens: where a continuation is cut off.
        stop_tokens: ids that end one.
        batch_size: prompts a forward pass; prompts of like length go together.
        on_batch: is told how many prompts each finished batch had.

    Returns:
        One continuation a prompt, in the order of the prompts.

    Raises:
        ModelError: a logit is inf or nan.
    """
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    found: dict[int, Continuation] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = [prompts[index] for index in chosen]
        found |= zip(chosen, _continue_batch(model, batch, max_new_tokens, frozenset(stop_tokens)), strict=True)
        on_batch(len(chosen))
    return [found[index] for index in range(len(prompts))]


def _continue_batch(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop_tokens: frozenset[int]
) -> Iterator[Continuation]:
    written: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    rows = list(range(len(prompts)))  # which prompt each row of the batch continues
    state = _State.of(model, prompts)
    for _ in range(max_new_tokens):
        for row, token in zip(rows, state.next_tokens(), strict=True):
            if not ended[row]:
                ended[row] = token in stop_tokens
                if not ended[row]:
                    written[row].append(token)
        going = [position for position, row in enumerate(rows) if not ended[row]]
        if not going:
            break
        if (len(rows) - len(going)) * _LEAVING_SHARE >= len(rows) and state.keep(going):
            rows = [rows[position] for position in going]
        if all(len(written[row]) == max_new_tokens for row in rows if not ended[row]):
            break
        state.advance([written[row][-1] if written[row] else min(stop_tokens) for row in rows])
    for tokens, is_ended in zip(written, ended, strict=True):
        yield Continuation(tuple(tokens), is_ended)


class _State:
    """The rows of one batch: what the model remembers of them, and its logits for their next tokens."""

    def __init__(self, model: PreTrainedModel, mask: torch.Tensor) -> None:
        self._model, self._mask = model, mask
        self._positions = "position_ids" in inspect.signature(model.forward).parameters
        self._cache: object = None
        self._logits = torch.empty(0)

    @classmethod
    def of(cls, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> "_State":
        width = max(map(len, prompts))
        padded = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for number, prompt in enumerate(prompts):
            padded[number, width - len(prompt) :] = torch.tensor(list(prompt))
            mask[number, width - len(prompt) :] = 1
        state = cls(model, mask.to(model.device))
        state._forward(padded.to(model.device), (mask.cumsum(-1) - 1).clamp(min=0).to(model.device))
        return state

    def next_tokens(self) -> list[int]:
        """The likeliest next token of each row."""
        if not torch.isfinite(self._logits).all():
            raise ModelError("the model's logits are inf or nan; the weights are broken, train it again")
        return [int(token) for token in self._logits.argmax(-1)]

    def keep(self, positions: Sequence[int]) -> bool:
        """Let go of all rows but these; false where the model's memory cannot be cut."""
        select = getattr(self._cache, "batch_select_indices", None)
        layers = getattr(self._cache, "layers", ())
        if select is None or not all(hasattr(layer, "batch_select_indices") for layer in layers):
            return False
        index = torch.tensor(list(positions), device=self._mask.device)
        select(index)
        self._mask = self._mask[index]
        return True

    def advance(self, tokens: Sequence[int]) -> None:
        """Give each row its next token."""
        column = torch.tensor(list(tokens), device=self._mask.device).unsqueeze(-1)
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=-1)
        self._forward(column, self._mask.sum(-1, keepdim=True) - 1)

    def _forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> None:
        arguments = {"position_ids": positions} if self._positions else {}
        with torch.no_grad():
            output = self._model(
                input_ids=tokens,
                attention_mask=self._mask,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
                **arguments,
            )
        self._cache, self._logits = output.past_key_values, output.logits[:, -1].float()
