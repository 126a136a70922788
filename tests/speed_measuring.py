"""Measuring speed: kapoc's engine and stock HFLM on the same tasks, in turn. Part of `tests/speed_study.py`."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from kapoc.engine.prefix_tree import plan_groups
from kapoc.measuring.bench import evaluate_tasks
from kapoc.measuring.lm_eval_model import SharedPrefixLM
from kapoc.measuring.task_list import load_tasks
from kapoc.models import LoadedModel

KINDS = ("loglikelihood", "loglikelihood_rolling", "generate_until")
WHOLE_TEXTS = "kapoc_general_text"
"""The task whose requests are whole texts."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One pass over the tasks.

    Attributes:
        seconds: by kind of request.
        answers: task -> every response, as lm-eval keeps it.
    """

    seconds: Mapping[str, float]
    answers: Mapping[str, list[Any]]

    @property
    def total(self) -> float:
        """Seconds of all requests."""
        return sum(self.seconds.values())


def _timed(lm: Any) -> dict[str, float]:
    seconds = dict.fromkeys(KINDS, 0.0)

    def clocked(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            found = method(*arguments, **options)
            seconds[kind] += time.perf_counter() - started
            return found

        return call

    for kind in KINDS:
        setattr(lm, kind, clocked(kind, getattr(lm, kind)))
    return seconds


def measure_once(lm: Any, knowledge: Sequence[str], share: float) -> Measured:
    """Every task of the group `kapoc`, or the first share of each."""
    tasks = load_tasks(knowledge).packaged
    seconds = _timed(lm)
    results = evaluate_tasks(lm, tasks, None if share == 1 else share, with_template=True)
    answers = {
        task: [sample["filtered_resps"] for sample in sorted(samples, key=lambda sample: sample["doc_id"])]
        for task, samples in results["samples"].items()
    }
    return Measured(seconds, answers)


def with_kapoc(loaded: LoadedModel, knowledge: Sequence[str], batch_size: int, share: float = 1.0) -> Measured:
    """One pass with kapoc's engine."""
    lm = SharedPrefixLM(loaded, batch_size=batch_size)
    return measure_once(lm, knowledge, share)


def with_stock(loaded: LoadedModel, knowledge: Sequence[str], batch_size: int, share: float = 1.0) -> Measured:
    """One pass with HFLM as lm-eval ships it."""
    lm = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch_size)
    return measure_once(lm, knowledge, share)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two passes over the same items differ.

    Attributes:
        num_answers, num_same: generated texts, and those that are equal.
        num_scores: log-probabilities.
        largest: difference of two log-probabilities of one continuation, in nats.
        largest_of_texts: the same of a whole text, which has hundreds of tokens.
        num_greedy_differs: continuations that only one of the two calls greedy.
    """

    num_answers: int
    num_same: int
    num_scores: int
    largest: float
    largest_of_texts: float
    num_greedy_differs: int


def agreement(one: Measured, other: Measured) -> Agreement:
    """Compare every response of two passes."""
    pairs = {
        task: [
            pair
            for mine, theirs in zip(one.answers[task], other.answers[task], strict=True)
            for pair in zip(_flat(mine), _flat(theirs), strict=True)
        ]
        for task in one.answers
    }
    texts = [(a, b) for found in pairs.values() for a, b in found if isinstance(a, str)]
    greedy = [(a, b) for found in pairs.values() for a, b in found if isinstance(a, bool)]
    differences = {
        task: [abs(a - b) for a, b in found if isinstance(a, float) and isinstance(b, float)]
        for task, found in pairs.items()
    }
    whole = differences.pop(WHOLE_TEXTS, [])
    parts = [difference for found in differences.values() for difference in found]
    return Agreement(
        num_answers=len(texts),
        num_same=sum(a == b for a, b in texts),
        num_scores=len(parts) + len(whole),
        largest=max(parts, default=0.0),
        largest_of_texts=max(whole, default=0.0),
        num_greedy_differs=sum(a != b for a, b in greedy),
    )


def _flat(response: Any) -> Iterable[str | float | bool]:
    if isinstance(response, list | tuple):
        for part in response:
            yield from _flat(part)
    else:
        yield response


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens a pass takes.

    Attributes:
        scored_stock: that HFLM reads to score: prompt and continuation of every request.
        scored_unique: nodes of the prefix tree of the same requests.
        asked_unique: nodes of the prefix tree of all prompts that are answered freely.
        written: that the model wrote in its answers.
    """

    scored_stock: int
    scored_unique: int
    asked_unique: int
    written: int


def count_tokens(loaded: LoadedModel, measured: Measured, knowledge: Sequence[str], share: float = 1.0) -> Tokens:
    """Count what a pass read and wrote."""
    lm = _Recorder(loaded)
    evaluate_tasks(lm, load_tasks(knowledge).packaged, None if share == 1 else share, with_template=True)
    sequences = [[*prompt, *rest][:-1] or [*prompt, *rest] for prompt, rest in lm.pairs]
    texts = [text for answers in measured.answers.values() for text in _flat(answers) if isinstance(text, str)]
    return Tokens(
        scored_stock=sum(map(len, sequences)),
        scored_unique=_num_nodes(sequences, [max(len(prompt) - 1, 0) for prompt, _ in lm.pairs]),
        asked_unique=_num_nodes(lm.prompts, [len(prompt) - 1 for prompt in lm.prompts]),
        written=sum(len(loaded.tokenizer.encode(text, add_special_tokens=False)) for text in texts),
    )


def _num_nodes(sequences: Sequence[list[int]], own: Sequence[int]) -> int:
    return sum(group.num_tokens for group in plan_groups(sequences, own, 1 << 30))


class _Recorder(HFLM):  # type: ignore[misc]
    """Answers nothing and keeps what it is asked."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)
        self.pairs: list[tuple[list[int], list[int]]] = []
        self.prompts: list[list[int]] = []

    def _loglikelihood_tokens(self, requests: Any, *_: Any, **__: Any) -> list[tuple[float, bool]]:
        self.pairs += [(prompt, rest) for _, prompt, rest in requests]
        return [(0.0, False)] * len(requests)

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        self.prompts += [self.tok_encode(request.args[0]) for request in requests]
        return [""] * len(requests)


def forward_rate(loaded: LoadedModel) -> float:
    """Tokens a second of plain forward passes, four rows of 256 tokens, every logit computed: the median of five."""
    tokens = torch.full((4, 256), 5, device=loaded.model.device)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        with torch.no_grad():
            loaded.model(input_ids=tokens, use_cache=False).logits[0, 0, 0].item()
        seconds.append(time.perf_counter() - started)
    return float(tokens.numel() / sorted(seconds)[2])
