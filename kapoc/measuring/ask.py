"""Questions of a user's own put to a model, in the words in which the measurement puts its own."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kapoc.answers import MAX_NEW_TOKENS, generate_tokens, without_end
from kapoc.chat import encode, prompt_text
from kapoc.errors import DataError
from kapoc.models import LoadedModel, context_of, stop_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote to one question.

    Attributes:
        text: without special tokens and outer spaces.
        ended: whether the model ended it; false where it was cut off.
    """

    text: str
    ended: bool


def ask(
    loaded: LoadedModel,
    questions: Sequence[str],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float | None = None,
    seed: int = 0,
) -> list[Answer]:
    """Put each question alone, in the model's chat template, and take the greedy answer.

    Args:
        loaded: the model.
        questions: as a user types them.
        max_new_tokens: answers are cut off here.
        temperature: sample at this temperature; greedy where none.
        seed: of the sampling.

    Raises:
        DataError: question and answer are longer than the model can read.
        ModelError: a logit is inf or nan.
    """
    tokenizer = loaded.tokenizer
    prompts = [encode(tokenizer, prompt_text(tokenizer, question)) for question in questions]
    longest = context_of(loaded.model) or sys.maxsize
    for question, prompt in zip(questions, prompts, strict=True):
        if len(prompt) + max_new_tokens > longest:
            raise DataError(
                f"the question '{question[:40]}...' has {len(prompt)} tokens; with an answer of {max_new_tokens} the "
                f"model reads at most {longest}; shorten it, or lower --max-tokens"
            )
    torch.manual_seed(seed)
    ends = stop_tokens(loaded.model, tokenizer)
    written = generate_tokens(
        loaded.model, tokenizer, prompts, max_new_tokens=max_new_tokens, temperature=temperature, batch_size=1
    )
    return [
        Answer(
            str(tokenizer.decode(without_end(row, ends), skip_special_tokens=True)).strip(),
            bool(row) and row[-1] in ends,
        )
        for row in written
    ]
