"""How far a model's next-token distributions have moved from those of the model that it was trained from.

From a model that is at hand, or from what a passage of its text remembers of it.
"""

from collections.abc import Iterator, Sequence
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


def mean_divergences(reference: PreTrainedModel, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> list[float]:
    """Mean KL(reference || model) over the tokens of each text, in nats per token.

    The divergence at a token is the sum over the vocabulary of p log(p / q), with p the reference's and q the model's
    distribution of the token that follows what stands before it (Kullback and Leibler, 1951).

    Args:
        reference: the model before training.
        model: the model after training, with the same vocabulary.
        texts: token ids; the first one is context only, so each text has at least two.

    Raises:
        ModelError: the vocabularies differ, or a logit is inf or nan.
    """
    refuse_other_vocabulary(reference, model)
    means = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    for batch in _batches(order, texts):
        for index, mean in zip(batch, _batch_means(reference, model, [texts[index] for index in batch]), strict=True):
            means[index] = mean
    return means


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


def _batch_means(reference: PreTrainedModel, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Iterator[float]:
    """Padded on the right, so that what is read before each token is the text alone."""
    width = max(map(len, texts)) - 1
    inputs = torch.zeros(len(texts), width, dtype=torch.long)
    mask = torch.zeros(len(texts), width, dtype=torch.long)
    for number, text in enumerate(texts):
        inputs[number, : len(text) - 1] = torch.tensor(list(text[:-1]))
        mask[number, : len(text) - 1] = 1
    before, after = (_logits(each, inputs, mask) for each in (reference, model))
    for number, text in enumerate(texts):
        yield float(divergences(before[number, : len(text) - 1], after[number, : len(text) - 1]).mean())


def _logits(model: PreTrainedModel, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=inputs.to(model.device), attention_mask=mask.to(model.device)).logits
    return logits


def divergences(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """KL(before || after) in each place, in nats; without gradients.

    Args:
        before, after: logits (places, vocabulary), of the reference and of the model.

    Returns:
        A tensor (places,) on the first one's device.

    Raises:
        ModelError: a logit is inf or nan.
    """
    found = []
    for parts in zip(before.split(_TOKENS_AT_ONCE), after.split(_TOKENS_AT_ONCE), strict=True):
        p, q = (part.float().log_softmax(-1).to(before.device) for part in parts)
        found.append((p.exp() * (p - q)).sum(-1))
    joined = torch.cat(found)
    if not torch.isfinite(joined).all():
        raise ModelError(BROKEN_LOGITS)
    return joined
