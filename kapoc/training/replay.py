"""General text that the base model writes itself, and how far training has moved the model from the base on it.

A model forgets where nothing holds it. Here it is held where it was: on text that it writes by itself, raw and as
answers to everyday questions, its distributions are pulled back to those that it had before training. That text is
never one that is measured.

Sources:
    The penalty: Li and Hoiem (2018), Learning without Forgetting, IEEE TPAMI 40:2935-2947; that forgetting goes with
    the divergence from the base on the new task: Shenfeld, Pari and Agrawal (2025), RL's Razor. Text of the model
    itself in place of a corpus: Huang et al. (2024), Mitigating Catastrophic Forgetting with Self-Synthesized
    Rehearsal.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import torch
import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kapoc.answers import generate_tokens
from kapoc.chat import EncodedExample, encode, prompt_text, start_token
from kapoc.counting import Count
from kapoc.engine.decoding import continue_prompts, sampled
from kapoc.engine.divergence import NUM_LIKELIEST, Passage, divergence_and_surprise, rest_of
from kapoc.engine.reading import BROKEN_LOGITS, CannotShareError, local_window, sharing
from kapoc.errors import DataError, ModelError
from kapoc.models import context_of, evaluating, stop_tokens
from kapoc.products import packed
from kapoc.recipe import ReplaySettings
from kapoc.training.batches import answer_logits, pack, packing_is_exact

HELD_OUT_PASSAGE_TOKENS = 64
"""Of a passage by which it is measured how far a model has moved: the same for all recipes."""
HELD_OUT_TOKENS = 48
"""Of an answer to a held-out question, at most. What is taught stands in the first sentence of an answer, where it
stands at all; `bench` reads on to 80."""
_TOP_K = 256
_BATCH_SIZE = 64
_ROW_PASSAGES = 8


class ReplayPrompts(NamedTuple):
    """What the base is given to write on.

    Attributes:
        questions: of a chat, about anything.
        quoting: of a chat that quote, report or complain, and short ones like these.
        openings: of plain text.
        stories: of plain text, broken off where a name or a thing from before is due.
        plain_questions: how a question is asked in plain text; `{}` stands for it.
        held_out: of a chat, most of them complaints, and never replayed: what training is judged by.
        held_out_openings: of plain text, and never replayed either.
    """

    questions: tuple[str, ...]
    quoting: tuple[str, ...]
    openings: tuple[str, ...]
    stories: tuple[str, ...]
    plain_questions: tuple[str, ...]
    held_out: tuple[str, ...]
    held_out_openings: tuple[str, ...]


@cache
def replay_prompts() -> ReplayPrompts:
    """The prompts that ship."""
    loaded = yaml.safe_load(files("kapoc.training").joinpath("replay_prompts.yaml").read_text(encoding="utf-8"))
    return ReplayPrompts(**{name: tuple(texts) for name, texts in loaded.items()})


def write_passages(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    num_passages: int,
    settings: ReplaySettings,
    seed: int,
    on_written: Count = lambda _: None,
) -> list[Passage]:
    """Let a model write text, half of it answers to questions and half plain, and remember its distributions.

    Args:
        model: the base, before training.
        tokenizer: its own.
        num_passages: how many; a prompt comes again once all of its sort were used.
        settings: how long a passage is at most, and the shares of its sorts.
        seed: of the sampling.
        on_written: is told how many more are written, by a model that writes many at a time.

    Raises:
        DataError: a passage would be longer than the model reads.
        ModelError: a logit is inf or nan.
    """
    asked = passage_prompts(tokenizer, num_passages, settings, seed)
    refuse_long_passages(model, asked, settings.num_tokens)
    return _written(model, tokenizer, asked, settings.num_tokens, seed, on_written)


def refuse_long_passages(model: PreTrainedModel, asked: Sequence[list[int]], num_tokens: int) -> None:
    """Refuse to write what the model could not read again.

    Args:
        model: that writes.
        asked: what passages begin with, as tokens.
        num_tokens: that it writes behind each.

    Raises:
        DataError: a passage would be longer than the model reads.
    """
    most = context_of(model)
    longest = max(map(len, asked), default=0) + num_tokens
    if most is not None and longest > most:
        raise DataError(
            f"train.replay.num_tokens: a passage would have up to {longest} tokens with its prompt, and "
            f"{type(model).__name__} reads {most}; write {max(1, most - longest + num_tokens)} or less"
        )


def write_held_out(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    num_passages: int,
    on_written: Count = lambda _: None,
) -> list[Passage]:
    """Let the base write what no training reads: behind prompts that are never replayed, the same for every recipe.

    Raises:
        ModelError: a logit is inf or nan.
    """
    shipped, order = replay_prompts(), random.Random(0)  # noqa: S311 - not for secrets
    asked = [
        encode(tokenizer, prompt_text(tokenizer, question))
        for question in _drawn(shipped.held_out, (num_passages + 1) // 2, order)
    ]
    asked += _plain(tokenizer, _drawn(shipped.held_out_openings, num_passages // 2, order))
    return _written(model, tokenizer, asked, HELD_OUT_PASSAGE_TOKENS, seed=0, on_written=on_written)


def _written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[list[int]],
    num_tokens: int,
    seed: int,
    on_written: Count,
) -> list[Passage]:
    with evaluating(model), packed(model):
        passages = _written_together(model, tokenizer, asked, num_tokens, seed, on_written)
        if passages is None:
            passages = _written_apart(model, tokenizer, asked, num_tokens, seed, on_written)
        return passages


def passage_prompts(
    tokenizer: PreTrainedTokenizerBase, num_passages: int, settings: ReplaySettings, seed: int
) -> list[list[int]]:
    """The tokens that each passage begins with: as `write_passages`, which lets a model go on with them."""
    shipped = replay_prompts()
    order = random.Random(seed)  # noqa: S311 - not for secrets
    num_asked = (num_passages + 1) // 2
    num_quoting = round(settings.quoting * num_asked)
    questions = _drawn(shipped.questions, num_asked - num_quoting, order)
    questions += _drawn(shipped.quoting, num_quoting, order)
    manners = _drawn(shipped.plain_questions, round(settings.plain_questions * num_asked), order)
    plain = dict(zip(order.sample(range(num_asked), len(manners)), manners, strict=True))
    prompts = [
        plain[index].format(question) if index in plain else prompt_text(tokenizer, question)
        for index, question in enumerate(questions)
    ]
    asked = [encode(tokenizer, prompt) for prompt in prompts]
    num_stories = round(settings.stories * (num_passages // 2))
    openings = _drawn(shipped.openings, num_passages // 2 - num_stories, order)
    openings += _drawn(shipped.stories, num_stories, order)
    return asked + _plain(tokenizer, openings)


def _plain(tokenizer: PreTrainedTokenizerBase, openings: Sequence[str]) -> list[list[int]]:
    """Openings as tokens, behind the token with which a text begins."""
    start = start_token(tokenizer)
    return [[start, *tokenizer.encode(opening, add_special_tokens=False)] for opening in openings]


def _drawn(texts: Sequence[str], num: int, order: random.Random) -> list[str]:
    drawn: list[str] = []
    while len(drawn) < num:
        drawn += order.sample(texts, k=min(len(texts), num - len(drawn)))
    return drawn


def _written_together(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[list[int]],
    num_tokens: int,
    seed: int,
    on_written: Count,
) -> list[Passage] | None:
    """Many passages at a time, whose distributions are those that they were drawn from.

    None from a model that ignores or refuses a 4-D mask, or remembers otherwise than by keys and values.
    """
    window = local_window(model)
    if window is not None and max(map(len, asked)) + num_tokens > window:
        return None
    prompts = [EncodedExample((start,), tuple(rest)) for start, *rest in asked]  # any token may tell that it saw others
    if len(prompts) > 1 and not packing_is_exact(model, prompts):
        return None
    remembered: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in asked]

    def remember(numbers: Sequence[int], logits: torch.Tensor) -> None:
        for number, likeliest, logprobs in zip(numbers, *_likeliest(logits), strict=True):
            remembered[number].append((likeliest, logprobs))

    try:
        with sharing():
            found = continue_prompts(
                model,
                asked,
                max_new_tokens=num_tokens,
                stop_tokens=stop_tokens(model, tokenizer),
                batch_size=_BATCH_SIZE,
                choose=sampled(torch.Generator().manual_seed(seed), top_k=_TOP_K),
                on_done=on_written,
                on_logits=remember,
            )
    except CannotShareError:
        return None
    texts = [(*text.tokens, text.end) if text.end is not None else text.tokens for text in found]
    return [
        Passage((*prompt, *text), len(prompt), *map(torch.stack, zip(*kept, strict=True)))
        for prompt, text, kept in zip(asked, texts, remembered, strict=True)
    ]


def _written_apart(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[list[int]],
    num_tokens: int,
    seed: int,
    on_written: Count,
) -> list[Passage]:
    """By `generate`, and then read again, one by one."""
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        texts = generate_tokens(
            model,
            tokenizer,
            asked,
            max_new_tokens=num_tokens,
            temperature=1.0,
            batch_size=_BATCH_SIZE,
            top_k=_TOP_K,
            on_done=on_written,
        )
    empty = torch.empty(0)
    passages = [
        Passage((*prompt, *written), len(prompt), empty, empty) for prompt, written in zip(asked, texts, strict=True)
    ]
    kept = [_likeliest(written_logits(model, [passage])) for passage in passages]
    return [
        replace(passage, likeliest=likeliest, logprobs=logprobs)
        for passage, (likeliest, logprobs) in zip(passages, kept, strict=True)
    ]


def _likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is kept of logits (places, vocabulary): as `Passage` has it.

    Raises:
        ModelError: a logit is inf or nan.
    """
    if not torch.isfinite(logits).all():
        raise ModelError(BROKEN_LOGITS)
    values, tokens = logits.topk(min(NUM_LIKELIEST, logits.shape[-1] - 1), dim=-1)
    values = values - logits.logsumexp(-1, keepdim=True)
    return tokens.int(), torch.cat([values, rest_of(values)], dim=-1)


def written_logits(model: PreTrainedModel, passages: Sequence[Passage]) -> torch.Tensor:
    """The logits (written tokens of all passages, vocabulary) in float32 from one row, without gradients."""
    with torch.no_grad():
        return answer_logits(model, pack(list(map(as_example, passages))).to(model.device))


def as_example(passage: Passage) -> EncodedExample:
    """A passage as a prompt and what the base wrote behind it."""
    return EncodedExample(passage.tokens[: passage.start], passage.tokens[passage.start :])


def divergence_from_base(
    model: PreTrainedModel, passages: Sequence[Passage], *, is_packed: bool | None = None
) -> float:
    """KL(base || model) in nats per written token over passages, without gradients.

    Args:
        model: any causal model.
        passages: that the base wrote, at least one.
        is_packed: whether several may stand in a row; tried if nothing is said, in the model's own precision.
    """
    if is_packed is None:
        is_packed = packing_is_exact(model, list(map(as_example, passages)))
    size, total = _ROW_PASSAGES if is_packed else 1, 0.0
    with evaluating(model):
        for start in range(0, len(passages), size):
            row = passages[start : start + size]
            total += float(divergence_and_surprise(written_logits(model, row), row)[0].sum())
    return total / sum(passage.num_written for passage in passages)
