"""What the base writes is remembered exactly enough, holds a model where it was, and is nothing that is measured."""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ignore_masks, tiny_gpt2, tiny_llama, tiny_tokenizer
from sklearn.feature_extraction.text import TfidfVectorizer

from kapoc.chat import EncodedExample
from kapoc.data.leaks import NEAR_DUPLICATE
from kapoc.engine.divergence import Passage, divergence_and_surprise
from kapoc.errors import DataError
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring.general import CHOICE_ABILITIES, load_choices, load_general, load_off_topic
from kapoc.recipe import ReplaySettings, TrainSettings
from kapoc.training.batches import pack, row_losses
from kapoc.training.examples import training_examples
from kapoc.training.loop import StepReport, StoppedTrainingError
from kapoc.training.replay import (
    HELD_OUT_PASSAGE_TOKENS,
    divergence_from_base,
    passage_prompts,
    replay_prompts,
    write_held_out,
    write_passages,
    written_logits,
)
from kapoc.training.train import train


def _whole_divergence(base: torch.nn.Module, model: torch.nn.Module, passage: Passage) -> float:
    """KL(base || model) over the whole vocabulary, by its definition."""
    ids = torch.tensor([passage.tokens])
    with torch.no_grad():
        p, q = (m(ids).logits[0, passage.start - 1 : -1].double().log_softmax(-1) for m in (base, model))
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_the_divergence_is_nothing_at_first_and_nearly_the_whole_one_later(make: type) -> None:
    base, model = make(0), make(1)
    passages = write_passages(base, tiny_tokenizer(), 4, ReplaySettings(num_tokens=12), seed=5)
    assert len(passages) == 4
    assert all(0 < len(passage.tokens) - passage.start <= 12 for passage in passages)
    assert divergence_from_base(base, passages) == pytest.approx(0.0, abs=1e-5)
    for passage in passages:
        kept, whole = divergence_from_base(model, [passage]), _whole_divergence(base, model, passage)
        assert 0 < kept <= whole + 1e-5
        assert kept == pytest.approx(whole, rel=0.35)  # 512 of 700 tokens are kept, of nearly even distributions


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_what_a_passage_was_drawn_from_is_what_a_reader_of_it_finds(
    make: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make(0)
    monkeypatch.setattr(
        "kapoc.training.replay.generate_tokens", lambda *_, **__: pytest.fail("written one after the other")
    )
    passages = write_passages(base, tiny_tokenizer(), 70, ReplaySettings(num_tokens=6), seed=5)
    assert len(passages) == 70  # so many that some wait for a place in the batch
    for passage in passages:
        alone = base(torch.tensor([passage.tokens])).logits[0, passage.start - 1 : -1].log_softmax(-1)
        values, tokens = alone.topk(512, dim=-1)
        assert torch.allclose(passage.logprobs[:, :-1], values, atol=1e-4)
        assert torch.allclose(passage.logprobs[:, -1].exp(), 1 - values.exp().sum(-1), atol=1e-4)
        assert float((passage.likeliest == tokens).float().mean()) > 0.9  # near ties may stand the other way round


def test_what_training_is_judged_by_stands_behind_prompts_that_are_never_replayed() -> None:
    base, tokenizer, settings = tiny_llama(0), tiny_tokenizer(), ReplaySettings(quoting=0.5, stories=0.5, num_tokens=2)
    held_out = write_held_out(base, tokenizer, 32)
    replayed = {tuple(prompt) for prompt in passage_prompts(tokenizer, 2000, settings, seed=0)}
    assert len(held_out) == 32
    assert not replayed & {passage.tokens[: passage.start] for passage in held_out}
    assert max(passage.num_written for passage in held_out) == HELD_OUT_PASSAGE_TOKENS


def test_passages_of_several_rows_weigh_by_their_tokens() -> None:
    base, model = tiny_llama(0), tiny_llama(1)
    passages = write_passages(base, tiny_tokenizer(), 11, ReplaySettings(num_tokens=12), seed=6)
    sizes = [len(passage.tokens) - passage.start for passage in passages]
    alone = [divergence_from_base(model, [passage]) for passage in passages]
    expected = math.fsum(size * one for size, one in zip(sizes, alone, strict=True)) / sum(sizes)
    assert divergence_from_base(model, passages) == pytest.approx(expected, rel=1e-4)


def test_a_model_that_ignores_the_mask_reads_passages_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    base, model, tokenizer = tiny_llama(0), tiny_llama(1), tiny_tokenizer()
    expected = write_passages(base, tokenizer, 5, ReplaySettings(num_tokens=12), seed=6)
    moved = divergence_from_base(model, expected)
    ignore_masks(monkeypatch, base)
    assert divergence_from_base(model, expected) == pytest.approx(moved, rel=1e-4)
    for passage in write_passages(base, tokenizer, 5, ReplaySettings(num_tokens=12), seed=6):
        alone = base(torch.tensor([passage.tokens])).logits[0, passage.start - 1 : -1].log_softmax(-1)
        assert torch.allclose(passage.logprobs[:, :-1], alone.gather(-1, passage.likeliest.long()), atol=1e-4)


def test_the_surprise_is_that_of_the_written_text() -> None:
    base, model = tiny_llama(0), tiny_llama(1)
    passages = write_passages(base, tiny_tokenizer(), 3, ReplaySettings(num_tokens=12), seed=6)
    losses = []
    for passage in passages:
        labels = [-100] * passage.start + list(passage.tokens[passage.start :])
        loss = model(torch.tensor([passage.tokens]), labels=torch.tensor([labels])).loss
        losses += [float(loss.detach())] * (len(passage.tokens) - passage.start)
    surprise = divergence_and_surprise(written_logits(model, passages), passages)[1]
    assert float(surprise.mean()) == pytest.approx(math.fsum(losses) / len(losses), rel=1e-4)


def test_the_same_seed_writes_the_same_and_leaves_the_random_state_alone() -> None:
    base, tokenizer = tiny_llama(0), tiny_tokenizer()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = write_passages(base, tokenizer, 4, ReplaySettings(num_tokens=8), seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert [p.tokens for p in first] == [
        p.tokens for p in write_passages(base, tokenizer, 4, ReplaySettings(num_tokens=8), seed=1)
    ]
    assert [p.tokens for p in first] != [
        p.tokens for p in write_passages(base, tokenizer, 4, ReplaySettings(num_tokens=8), seed=2)
    ]


def test_replay_holds_a_model_that_learns(knowledge_file: Path) -> None:
    tokenizer = tiny_tokenizer()
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tokenizer)
    passages = write_passages(tiny_llama(), tokenizer, 8, ReplaySettings(num_tokens=24), seed=0)
    settings = TrainSettings(epochs=60, batch_size=5, micro_batch_size=5, learning_rate=3e-3)
    held = settings.model_copy(update={"replay": ReplaySettings(weight=1.0, per_step=4)})
    losses, moved = [], []
    for chosen, texts in ((settings, []), (held, passages)):
        reports: list[StepReport] = []
        result = train(tiny_llama(), examples, chosen, passages=texts, on_step=reports.append)
        losses.append(result.epochs[-1].train_loss)
        moved.append(divergence_from_base(result.model, passages))
        assert all((report.divergence is None) is (not texts) for report in reports)
    assert moved[1] < 0.5 * moved[0]
    assert losses == pytest.approx([losses[0]] * 2, abs=0.2)
    assert max(losses) < 0.4 * math.log(700)


@pytest.mark.parametrize("micro_batch_size", [2, 1])
def test_a_step_weighs_the_mean_over_written_tokens_against_the_mean_over_answer_tokens(
    knowledge_file: Path, micro_batch_size: int
) -> None:
    """With the passages in one row, and with a row for each."""
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    passages = write_passages(tiny_llama(3), tiny_tokenizer(), 4, ReplaySettings(num_tokens=12), seed=0)
    replay = ReplaySettings(weight=3.0, per_step=4, target="text")
    settings = TrainSettings(
        epochs=1,
        batch_size=5,
        micro_batch_size=micro_batch_size,
        learning_rate=1e-9,
        replay=replay,
        precision="float32",
    )
    [report] = _reports(examples, settings, passages)
    model, row = tiny_llama(), pack(examples, passages)
    losses = row_losses(model, row)
    (losses.answers / row.num_loss_tokens + 3 * losses.surprise / row.num_written_tokens).backward()
    norm = torch.linalg.vector_norm(torch.stack([w.grad.norm() for w in model.parameters() if w.grad is not None]))
    assert report.gradient_norm == pytest.approx(float(norm), rel=1e-4)
    assert report.divergence == pytest.approx(losses.divergence.item() / row.num_written_tokens, rel=1e-4)


def _reports(
    examples: Sequence[EncodedExample], settings: TrainSettings, passages: Sequence[Passage]
) -> list[StepReport]:
    reports: list[StepReport] = []
    train(tiny_llama(), examples, settings, passages=passages, on_step=reports.append)
    return reports


def test_replay_of_the_text_alone_makes_it_likelier(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    passages = write_passages(tiny_llama(), tiny_tokenizer(), 8, ReplaySettings(num_tokens=12), seed=7)
    surprises = {}
    for target in ("distribution", "text"):
        replay = ReplaySettings(weight=3.0, per_step=8, num_passages=8, target=target)
        settings = TrainSettings(epochs=20, batch_size=5, micro_batch_size=5, learning_rate=3e-3, replay=replay)
        result = train(tiny_llama(), examples, settings, passages=passages)
        surprise = divergence_and_surprise(written_logits(result.model, passages), passages)[1]
        surprises[target] = float(surprise.mean())
    assert surprises["text"] < surprises["distribution"] - 0.5


def test_a_broken_passage_stops_training_with_the_last_good_weights(knowledge_file: Path) -> None:
    base, tokenizer = tiny_llama(), tiny_tokenizer()
    (passage,) = write_passages(base, tokenizer, 1, ReplaySettings(num_tokens=6), seed=0)
    broken = dataclasses.replace(passage, logprobs=passage.logprobs * float("nan"))
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tokenizer)
    settings = TrainSettings(epochs=1, replay=ReplaySettings(weight=1.0, per_step=1))
    with pytest.raises(StoppedTrainingError, match=r"the divergence is nan at step 1 of") as stopped:
        train(base, examples, settings, passages=[broken])
    kept, expected = stopped.value.model.parameters(), tiny_llama().parameters()
    assert all(torch.equal(one, other) for one, other in zip(kept, expected, strict=True))


def _vectors(texts: Sequence[str], unit: tuple[int, int]) -> Any:
    return TfidfVectorizer(ngram_range=unit, token_pattern=r"\w+", norm="l2").fit_transform(texts)


def test_passages_beyond_the_context_are_refused_before_any_is_written() -> None:
    with pytest.raises(
        DataError, match=r"train\.replay\.num_tokens: a passage would have up to \d+ tokens .* reads 1024"
    ):
        write_passages(tiny_llama(), tiny_tokenizer(), 2, ReplaySettings(weight=1.0, num_tokens=1024), 0)


def test_nothing_that_is_measured_is_near_a_replay_prompt() -> None:
    prompts = replay_prompts()
    questions, openings = (
        (*prompts.questions, *prompts.quoting, *prompts.held_out),
        [
            *prompts.openings,
            *prompts.held_out_openings,
        ],
    )
    assert len({*openings}) == len(openings)
    few = {"plain_questions", "held_out_openings"}
    assert min(len(texts) for name, texts in prompts._asdict().items() if name not in few) >= 60
    assert len({*questions}) == len(questions)
    in_plain_text = [item.question for ability in CHOICE_ABILITIES for item in load_choices(ability) if item.question]
    assert len(in_plain_text) == 485
    measured = [*(item.question for item in load_off_topic()), *in_plain_text]
    cosines = []
    for unit in ((1, 1), (2, 2)):
        vectors = _vectors([*questions, *measured], unit)
        cosines.append((vectors[: len(questions)] @ vectors[len(questions) :].T).toarray())
    likeness = sum(cosines) / 2
    assert likeness.max() < NEAR_DUPLICATE
    assert likeness[len(prompts.questions) :].max() < 0.4  # many of the off-topic prompts quote, too
    replayed = len(prompts.questions) + len(prompts.quoting)
    alike = [vectors @ vectors.T for vectors in (_vectors(questions, (1, 1)), _vectors(questions, (2, 2)))]
    among = (alike[0] + alike[1]).toarray() / 2
    assert among[replayed:, :replayed].max() < 0.4  # held out: never replayed in nearly the same words either
    texts = [item.text for item in load_general("text")]  # type: ignore[union-attr]
    assert not [(opening, text) for opening in openings for text in texts if text.startswith(opening)]


def test_nothing_that_is_measured_is_in_a_replayed_story() -> None:
    stories = replay_prompts().stories
    assert len({*stories}) == len(stories)
    contexts = [item.context for item in load_general("last_word")]  # type: ignore[union-attr]
    texts = [item.text for item in load_general("text")]  # type: ignore[union-attr]
    measured = {run for text in (*contexts, *texts) for run in _runs(text)}
    assert measured
    assert not [run for story in stories for run in _runs(story) if run in measured]


def _runs(text: str, num_words: int = 6) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[i : i + num_words]) for i in range(len(words) - num_words + 1)]
