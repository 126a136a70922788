"""What a model writes by `generate`, greedily or by sampling, outside lm-eval."""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from kapoc.chat import encode
from kapoc.counting import Count
from kapoc.models import FiniteLogits, stop_tokens, usable_generation

MAX_NEW_TOKENS = 80
"""Where the measurement cuts an answer off (`max_gen_toks` in `tasks/_free.yaml`)."""


def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float | None,
    batch_size: int,
) -> list[str]:
    """Continue prompts until the model ends its answer.

    Args:
        prompts: texts, template included.
        model, tokenizer, max_new_tokens, temperature, batch_size: as in `generate_tokens`.

    Raises:
        ModelError: a logit is inf or nan.
    """
    written = generate_tokens(
        model,
        tokenizer,
        [encode(tokenizer, text) for text in prompts],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        batch_size=batch_size,
    )
    ends = stop_tokens(model, tokenizer)
    return [str(tokenizer.decode(without_end(tokens, ends), skip_special_tokens=True)) for tokens in written]


def without_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """What was written, without the token that ended it, which not every tokenizer knows to be special."""
    return tokens[:-1] if tokens and tokens[-1] in ends else tokens


def generate_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float | None,
    batch_size: int,
    top_k: int = 0,
    on_done: Count = lambda _: None,
) -> list[list[int]]:
    """Continue prompts until the model ends them.

    Args:
        model, tokenizer: as loaded.
        prompts: token ids.
        max_new_tokens: answers are cut off here.
        temperature: of sampling; greedy where none.
        batch_size: prompts a forward pass, padded on the left.
        top_k: sample from so many of the likeliest tokens; from all of them where 0.
        on_done: is told how many prompts were continued.

    Returns:
        What was written behind each prompt, its end token included.

    Raises:
        ModelError: a logit is inf or nan.
    """
    is_sampled = temperature is not None
    sampling = {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": 1.0} if is_sampled else {}
    ends = stop_tokens(model, tokenizer)
    answers: list[list[int]] = []
    for start in range(0, len(prompts), batch_size):
        ids = [list(prompt) for prompt in prompts[start : start + batch_size]]
        width = max(map(len, ids))
        padded = [[tokenizer.pad_token_id] * (width - len(row)) + row for row in ids]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in ids]
        with torch.no_grad(), usable_generation(model):
            made = model.generate(  # type: ignore[operator] # transformers' own annotation
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=max_new_tokens,
                eos_token_id=ends,
                pad_token_id=tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([FiniteLogits()]),
                **(sampling or {"do_sample": False, "top_k": None, "top_p": None}),
            )
        for row in made[:, width:].tolist():
            end = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
            answers.append(row[:end])
        on_done(len(ids))
    return answers
