"""How far a model's next-token distributions have moved from those of the model that it was trained from.

From a model that is at hand, or from what a passage of its text remembers of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from kapoc.engine.reading import BROKEN_LOGITS
from kapoc.errors import ModelError

_BATCH_TOKENS = 512
_TOKENS_AT_ONCE = 16
"""Of a text, whose distributions are compared together: more would leave a processor's cache."""
NUM_LIKELIEST = 512
"""Tokens whose probability is remembered one by one; all others count as one. The divergence over these 513 is a lower
bound of the whole one (data processing inequality), and close to it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of the base model's own.

    Attributes:
        tokens: with what it was asked.
        start: the place of the first token that the model wrote.
        likeliest: (written tokens, kept), in int32, the base's likeliest tokens in each place.
        logprobs: (written tokens, kept + 1), their log-probabilities and that of all others together, in nats.
    """

    tokens: tuple[int, ...]
    start: int
    likeliest: torch.Tensor
    logprobs: torch.Tensor

    @property
    def num_written(self) -> int:
        """Tokens that the model wrote, at least one."""
        return len(self.tokens) - self.start


@dataclass(frozen=True, slots=True)
class Moved:
    """What two models say of a text.

    Attributes:
        divergence: mean KL(reference || model) over its tokens, in nats per token.
        logprob: the model's, of all its tokens but the first, in nats.
    """

    divergence: float
    logprob: float


def read_beside(
    reference: PreTrainedModel,
    model: PreTrainedModel,
    texts: Sequence[Sequence[int]],
    on_read: Callable[[int], object] = lambda _: None,
) -> list[Moved]:
    """How far a model has moved on each text, and how likely the text is to it.

    The divergence at a token is the sum over the vocabulary of p log(p / q), with p the reference's and q the model's
    distribution of the token that follows what stands before it (Kullback and Leibler, 1951).

    Args:
        reference: the model before training.
        model: the model after training, with the same vocabulary.
        texts: token ids; the first one is context only, so each text has at least two.
        on_read: is told how many texts each pass finished.

    Raises:
        ModelError: the vocabularies differ, or a logit is inf or nan.
    """
    refuse_other_vocabulary(reference, model)
    found: dict[int, Moved] = {}
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    for batch in _batches(order, texts):
        found |= zip(batch, _read_batch(reference, model, [texts[index] for index in batch]), strict=True)
        on_read(len(batch))
    return [found[index] for index in range(len(texts))]


def divergence_and_surprise(logits: torch.Tensor, passages: Sequence[Passage]) -> tuple[torch.Tensor, torch.Tensor]:
    """How far a model is from the base on some passages; differentiable.

    Args:
        logits: (written tokens of all passages, vocabulary), the model's, in float32.
        passages: that the base wrote, at least one.

    Returns:
        KL(base || model) and the negative log-likelihood of the text, both (written tokens,) in nats; nan where a logit
        is broken.
    """
    logprobs = logits.log_softmax(-1)
    written = torch.tensor([token for p in passages for token in p.tokens[p.start :]], device=logprobs.device)
    surprise = -logprobs.gather(-1, written[:, None])[:, 0]
    likeliest, before = (
        torch.cat([getattr(p, name) for p in passages]).to(logprobs.device) for name in ("likeliest", "logprobs")
    )
    chosen = logprobs.gather(-1, likeliest.long())
    after = torch.cat([chosen, rest_of(chosen)], dim=-1)
    return (before.exp() * (before - after)).sum(-1), surprise


def rest_of(logprobs: torch.Tensor) -> torch.Tensor:
    """The log-probability of what is not among these, of shape (..., 1)."""
    return torch.log1p(-logprobs.exp().sum(-1, keepdim=True).clamp(max=1 - 1e-6))


def refuse_other_vocabulary(reference: PreTrainedModel, model: PreTrainedModel) -> None:
    """Make sure that the distributions of two models are over the same tokens.

    Raises:
        ModelError: they are not.
    """
    if reference.config.get_text_config().vocab_size != model.config.get_text_config().vocab_size:
        raise ModelError("the two models have different vocabularies; KL to the base cannot be measured")


def _batches(order: Sequence[int], texts: Sequence[Sequence[int]]) -> Iterator[Sequence[int]]:
    start = 0
    while start < len(order):
        size = max(1, _BATCH_TOKENS // len(texts[order[start]]))
        yield order[start : start + size]
        start += size


def _read_batch(reference: PreTrainedModel, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Iterator[Moved]:
    """Padded on the right, so that what is read before each token is the text alone."""
    width = max(map(len, texts)) - 1
    inputs = torch.zeros(len(texts), width, dtype=torch.long)
    mask = torch.zeros(len(texts), width, dtype=torch.long)
    for number, text in enumerate(texts):
        inputs[number, : len(text) - 1] = torch.tensor(list(text[:-1]))
        mask[number, : len(text) - 1] = 1
    before, after = (_logits(each, inputs, mask) for each in (reference, model))
    for number, text in enumerate(texts):
        divergences, logprobs = zip(*_compared(before[number], after[number], text[1:]), strict=True)
        yield Moved(float(torch.cat(divergences).mean()), float(torch.cat(logprobs).double().sum()))


def _logits(model: PreTrainedModel, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=inputs.to(model.device), attention_mask=mask.to(model.device)).logits
    return logits


def _compared(
    before: torch.Tensor, after: torch.Tensor, following: Sequence[int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """KL(before || after) of the first places of one text, and the log-probability of what follows each by `after`.

    From logits (tokens, vocabulary), some tokens at a time.
    """
    for start in range(0, len(following), _TOKENS_AT_ONCE):
        part = slice(start, min(start + _TOKENS_AT_ONCE, len(following)))
        p, q = (logits[part].float().log_softmax(-1).to(before.device) for logits in (before, after))
        divergence = (p.exp() * (p - q)).sum(-1)
        if not torch.isfinite(divergence).all():
            raise ModelError(BROKEN_LOGITS)
        yield divergence, q.gather(-1, torch.tensor(following[part], device=q.device)[:, None])[:, 0]
