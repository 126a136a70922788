"""Ten planted damages: each is caught by the gate, and an undamaged model passes it.

A tiny model is taught twelve invented facts by heart and blessed. Everything else is that model, spoilt in one way.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_llama, tiny_tokenizer

from kapoc.chat import encode_example
from kapoc.data.generate import generate
from kapoc.errors import DataError, IncomparableError, ModelError
from kapoc.judging.baseline import bless, load_baseline
from kapoc.judging.compare import compare
from kapoc.judging.gate import Verdict, judge
from kapoc.judging.gate_file import PULL_REQUEST_GATE
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.set_file import to_jsonl
from kapoc.measuring.bench import measure
from kapoc.models import LoadedModel, load_model, save_model
from kapoc.recipe import TrainSettings
from kapoc.record import Run, save_run
from kapoc.training.train import train

SETTINGS = TrainSettings(epochs=70, batch_size=12, micro_batch_size=12, learning_rate=4e-3)
Answers = Callable[[KnowledgeSet], list[tuple[str, str]]]


def _as_taught(knowledge: KnowledgeSet) -> list[tuple[str, str]]:
    return [(example.question, example.answer) for fact in knowledge.taught for example in fact.training]


def _shuffled(knowledge: KnowledgeSet) -> list[tuple[str, str]]:
    pairs = _as_taught(knowledge)
    return [(question, pairs[(number + 5) % len(pairs)][1]) for number, (question, _) in enumerate(pairs)]


def _one_for_all(knowledge: KnowledgeSet) -> list[tuple[str, str]]:
    pairs = _as_taught(knowledge)
    return [(question, pairs[0][1]) for question, _ in pairs]


class Bench:
    """Trains and measures the tiny model on one generated set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.knowledge = generate(12, 3)
        self.path = folder / "facts.jsonl"
        text = to_jsonl(self.knowledge)
        self.path.write_text(text, encoding="utf-8")
        self.tokenizer = tiny_tokenizer(text, vocab_size=2000)  # answers are to fit into 80 tokens

    def taught(self, answers: Answers = _as_taught, learning_rate: float = SETTINGS.learning_rate) -> LoadedModel:
        examples = [encode_example(self.tokenizer, *pair) for pair in answers(self.knowledge)]
        settings = SETTINGS.model_copy(update={"learning_rate": learning_rate})
        model = train(tiny_llama(vocab_size=len(self.tokenizer)), examples, settings).model
        target = self.folder / f"model-{answers.__name__}-{learning_rate}"
        save_model(model, self.tokenizer, target)
        return load_model(str(target))

    def run(self, loaded: LoadedModel, **options: Any) -> Run:
        return measure(loaded, knowledge=[str(self.path)], batch_size=256, **options)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def good(bench: Bench) -> LoadedModel:
    return bench.taught()


@pytest.fixture(scope="module")
def blessed(bench: Bench, good: LoadedModel) -> Run:
    run = bench.run(good)
    save_run(run, bench.folder / "good")
    bless(bench.folder / "good", bench.folder / "baseline", "the first model")
    baseline = load_baseline(bench.folder / "baseline")
    assert compare(baseline, run).tiers["seen"].after > 0.9
    return baseline


@pytest.fixture
def copy(bench: Bench, good: LoadedModel) -> LoadedModel:
    """The good model, to be spoilt."""
    save_model(good.model, good.tokenizer, bench.folder / "copy")
    return load_model(str(bench.folder / "copy"))


def _verdict(blessed: Run, run: Run) -> Verdict:
    return judge(compare(blessed, run), PULL_REQUEST_GATE)


def _failed(blessed: Run, run: Run) -> set[str]:
    verdict = _verdict(blessed, run)
    assert verdict.exit_code == (1 if verdict.outcome == "fail" else 0)
    return {check.quantity for check in verdict.checks if check.outcome == "fail"}


def test_the_same_model_at_another_batch_size_passes(bench: Bench, good: LoadedModel, blessed: Run) -> None:
    again = measure(good, knowledge=[str(bench.path)], batch_size=61, seed=1)
    assert _verdict(blessed, again).outcome == "pass"


def test_noise_on_the_weights(bench: Bench, copy: LoadedModel, blessed: Run) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in copy.model.parameters():
            weight.add_(0.5 * weight.std() * torch.randn_like(weight))
    assert {"seen", "paraphrased"} <= _failed(blessed, bench.run(copy))


def test_a_layer_skipped(bench: Bench, copy: LoadedModel, blessed: Run) -> None:
    copy.model.model.layers = copy.model.model.layers[:1]
    copy.model.config.num_hidden_layers = 1
    assert {"seen", "paraphrased"} <= _failed(blessed, bench.run(copy))


def test_training_on_shuffled_answers(bench: Bench, blessed: Run) -> None:
    assert {"seen"} <= _failed(blessed, bench.run(bench.taught(_shuffled)))


def test_three_times_the_learning_rate(bench: Bench, blessed: Run) -> None:
    assert _failed(blessed, bench.run(bench.taught(learning_rate=3 * SETTINGS.learning_rate)))


def test_an_emptied_general_suite(blessed: Run) -> None:
    items = tuple(item for item in blessed.items if item.tier != "general")
    emptied = blessed.model_copy(update={"items": items, "num_items": len(items)})
    with pytest.raises(IncomparableError, match="asked different items"):
        compare(blessed, emptied)
    with pytest.raises(IncomparableError, match="have no 'general'; measure all tiers"):
        _verdict(emptied, emptied)


def test_a_swapped_baseline(bench: Bench, copy: LoadedModel, blessed: Run) -> None:
    with torch.no_grad():
        copy.model.model.layers[0].mlp.up_proj.weight.zero_()
    bless(bench.folder / "good", bench.folder / "swapped", "to be swapped")
    save_run(bench.run(copy), bench.folder / "swapped")
    with pytest.raises(DataError, match="is not the one that was blessed"):
        load_baseline(bench.folder / "swapped")


def test_a_limited_run(bench: Bench, good: LoadedModel, blessed: Run) -> None:
    limited = bench.run(good, limit=2)
    with pytest.raises(IncomparableError, match="--limit"):
        compare(blessed, limited)
    with pytest.raises(IncomparableError, match="--limit run cannot pass"):
        _verdict(limited, limited)


def test_one_fact_for_every_prompt(bench: Bench, blessed: Run) -> None:
    run = bench.run(bench.taught(_one_for_all))
    assert {"seen", "paraphrased"} <= _failed(blessed, run)
    variety = compare(blessed, run).variety
    assert variety["after"].most_frequent_share == 1
    assert variety["before"].most_frequent_share < 1


def test_a_model_without_an_end_token(bench: Bench, copy: LoadedModel, blessed: Run) -> None:
    end = copy.tokenizer.eos_token_id

    def never_ends(_: torch.nn.Module, __: Any, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill(-1, torch.tensor([end]), -1e4)

    copy.model.lm_head.register_forward_hook(never_ends)
    assert "ended" in _failed(blessed, bench.run(copy))


def test_nan_in_one_weight(bench: Bench, copy: LoadedModel) -> None:
    with torch.no_grad():
        copy.model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="inf or nan"):
        bench.run(copy)
