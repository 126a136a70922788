"""Greedy answers are those of each prompt alone, though finished rows leave; divergence has its known values."""

import math
import random
from collections import Counter

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama
from transformers import PreTrainedModel

from kapoc.engine.decoding import continue_prompts, greedy, sampled
from kapoc.engine.divergence import mean_divergences
from kapoc.errors import ModelError

PROMPTS = [[5, 9, 33, 120, 8], [77], [400, 401, 402], [9, 8, 7, 6, 5, 4, 3], [650, 3]]


def _expected(model: PreTrainedModel, prompt: list[int], stop: int, max_new_tokens: int) -> tuple[list[int], bool]:
    ids = list(prompt)
    for _ in range(max_new_tokens):
        token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token == stop:
            return ids[len(prompt) :], True
        ids.append(token)
    return ids[len(prompt) :], False


def _sharp(seed: int) -> PreTrainedModel:
    return tiny_llama(seed, spread=0.2)


@pytest.mark.parametrize("make", [_sharp, tiny_gpt2])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_every_row_is_continued_as_if_alone(make: type, batch_size: int) -> None:
    model: PreTrainedModel = make(3)
    first = _expected(model, PROMPTS[0], -1, 6)[0]
    stop = first[3]  # so that one row ends early and others go on
    found = continue_prompts(model, PROMPTS, max_new_tokens=12, stop_tokens=[stop], batch_size=batch_size)
    expected = [_expected(model, prompt, stop, 12) for prompt in PROMPTS]
    assert [(list(one.tokens), one.ended) for one in found] == expected
    assert {one.ended for one in found} == {True, False}


@pytest.mark.parametrize("batch_size", [3, 8])
def test_rows_that_come_and_go_remember_what_is_theirs(batch_size: int) -> None:
    """More prompts than rows, of many lengths, some begun already: the buffer is full several times over."""
    model = _sharp(0)
    prompts = [[random.Random(n).randrange(3, 690) for _ in range(1 + n % 7)] for n in range(24)]
    expected = [_expected(model, prompt, -1, 24)[0] for prompt in prompts]
    assert len({tuple(tokens[-6:]) for tokens in expected}) > 20  # each text is its own to its end
    known = [tokens[: 5 * n % 20] for n, tokens in enumerate(expected)]
    found = continue_prompts(model, prompts, max_new_tokens=24, stop_tokens=[-1], batch_size=batch_size, known=known)
    assert [list(one.tokens) for one in found] == expected


def test_broken_logits_are_refused() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(ModelError, match="inf or nan"):
        continue_prompts(model, PROMPTS, max_new_tokens=2, stop_tokens=[2], batch_size=2)


class _Fixed(torch.nn.Module):
    """A model that gives one distribution over four tokens, whatever it reads."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(probabilities).log()
        self.device = torch.device("cpu")
        self.config = self

    def get_text_config(self) -> "_Fixed":
        return self

    @property
    def vocab_size(self) -> int:
        return len(self.logits)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> "_Fixed":
        output = _Fixed.__new__(_Fixed)
        torch.nn.Module.__init__(output)
        output.logits = self.logits.expand(*input_ids.shape, -1)
        return output


def test_divergence_of_known_distributions() -> None:
    base, model = _Fixed([0.5, 0.25, 0.125, 0.125]), _Fixed([0.25, 0.25, 0.25, 0.25])
    expected = 0.5 * math.log(2) + 0.25 * math.log(0.5)  # sum of p log(p / q), by hand
    texts = [[0, 1, 2], [3, 2, 1, 0, 1, 2], [1, 1]]
    assert mean_divergences(base, model, texts) == pytest.approx([expected] * 3, abs=1e-6)  # type: ignore[arg-type]
    assert mean_divergences(base, base, texts) == pytest.approx([0.0] * 3, abs=1e-7)  # type: ignore[arg-type]


def test_divergence_is_that_of_the_text_alone_and_never_negative() -> None:
    base, model = tiny_llama(0), tiny_llama(1)
    texts = [[1, 50, 60, 70, 80, 90], [1, 30, 20]]
    together = mean_divergences(base, model, texts)
    assert together == pytest.approx([mean_divergences(base, model, [text])[0] for text in texts], abs=1e-5)
    assert all(value > 0 for value in together)


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(ModelError, match="different vocabularies"):
        mean_divergences(_Fixed([0.5, 0.5]), _Fixed([0.2, 0.3, 0.5]), [[0, 1]])  # type: ignore[arg-type]


def test_sampled_tokens_come_as_often_as_the_model_says() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    choose = sampled(torch.Generator().manual_seed(0), top_k=3)
    drawn = Counter(choose(probabilities.log().expand(20_000, -1)))
    kept = probabilities[:3] / probabilities[:3].sum()
    assert [drawn[token] / 20_000 for token in range(3)] == pytest.approx(kept.tolist(), abs=0.015)
    assert drawn[3] == 0
    with pytest.raises(ModelError, match="inf or nan"):
        choose(torch.full((2, 4), math.nan))


def test_what_is_sampled_behind_equal_prompts_differs_and_says_how_it_ended() -> None:
    model = tiny_llama()
    choose = sampled(torch.Generator().manual_seed(0), top_k=50)
    found = continue_prompts(
        model, [PROMPTS[0]] * 6, max_new_tokens=8, stop_tokens=range(350), batch_size=3, choose=choose
    )
    assert len({one.tokens for one in found}) > 1
    assert any(one.ended for one in found)
    assert all(one.end in range(350) for one in found if one.ended)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_the_likeliest_token_of_broken_logits_is_none(broken: float) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.5, 0.0, -math.inf]])
    assert greedy(logits) == [1, 0]
    logits[1] = broken
    with pytest.raises(ModelError, match="inf or nan"):
        greedy(logits)
    logits[1, 1:] = 0.0
    if broken > -math.inf or math.isnan(broken):
        with pytest.raises(ModelError, match="inf or nan"):
            greedy(logits)
