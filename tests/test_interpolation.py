"""Trained weights are pulled back along the line to the base, to the point that the dev data and the budget say."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_set, tiny_gpt2, tiny_llama, tiny_tokenizer, write_set
from pages import training_record

from kapoc.errors import DataError, ModelError
from kapoc.knowledge.set_file import load_knowledge
from kapoc.recipe import BudgetSettings, ReplaySettings, TrainSettings, load_recipe
from kapoc.report.training import training_sections
from kapoc.training.checkpoint import read_training_record
from kapoc.training.examples import dev_examples, training_examples
from kapoc.training.interpolation import choose_alpha, copy_weights
from kapoc.training.loop import StoppedTrainingError
from kapoc.training.replay import divergence_from_base, replay_prompts, write_passages
from kapoc.training.train import score_examples, train
from kapoc.training_record import AlphaReport, TrainingRecord, best
from kapoc.workflow import train_run
from kapoc.workflow.workspace import Listener, open_workspace


def test_the_best_point_has_most_right_within_the_budget_and_is_the_nearest_of_several() -> None:
    curve = [
        AlphaReport(alpha=0.4, dev_exact=0.1, divergence=0.01),
        AlphaReport(alpha=0.6, dev_exact=0.9, divergence=0.03),
        AlphaReport(alpha=0.8, dev_exact=0.9, divergence=0.04),
        AlphaReport(alpha=1.0, dev_exact=1.0, divergence=0.09),
    ]
    assert best(curve, 0.05).alpha == 0.6
    assert best(curve, 0.2).alpha == 1.0
    assert best(curve, 0.001).alpha == 0.4  # none fits: the one that moved least


def test_a_point_that_spills_more_than_the_budget_is_not_taken() -> None:
    spilled = {0.4: 0.0, 0.6: 0.02, 0.8: 0.05}
    curve = [AlphaReport(alpha=a, dev_exact=a, divergence=a / 10, spillover=s) for a, s in spilled.items()]
    assert [best(curve, 1.0, budget).alpha for budget in (0.0, 0.02, 0.1, None)] == [0.4, 0.6, 0.8, 0.8]
    assert best([AlphaReport(alpha=1.0, dev_exact=1.0, divergence=9.0, spillover=0.0), *curve], 1.0, -1.0).alpha == 0.4
    unmeasured = [AlphaReport(alpha=a, dev_exact=a, divergence=a / 10) for a in spilled]
    assert best(unmeasured, 1.0, 0.1).alpha == 0.4


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_the_model_is_left_on_the_line_at_the_chosen_point(make: type) -> None:
    base, model = make(0), make(1)
    before, trained = copy_weights(base), copy_weights(model)

    def score(candidate: torch.nn.Module) -> tuple[float, float, float]:
        name, weight = next(iter(candidate.named_parameters()))
        share = float((weight.detach() - before[name]).norm() / (trained[name] - before[name]).norm())
        return share, share, share

    curve = choose_alpha(model, before, [1.0, 0.5, 0.75], 0.8, score)
    assert [point.alpha for point in curve] == [0.5, 0.75, 1.0]
    assert [point.divergence for point in curve] == pytest.approx([0.5, 0.75, 1.0], abs=1e-5)
    for name, weight in model.named_parameters():
        assert torch.allclose(weight, before[name] + 0.75 * (trained[name] - before[name]), atol=1e-6), name
    other = make(1)
    pulled = choose_alpha(other, before, [1.0, 0.5, 0.75], 0.8, score, spillover=0.6)
    assert [point.spillover for point in pulled] == pytest.approx([0.5, 0.75, 1.0], abs=1e-5)
    for name, weight in other.named_parameters():
        assert torch.allclose(weight, before[name] + 0.5 * (trained[name] - before[name]), atol=1e-6), name
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_training_pulls_back_within_the_budget_and_tells_the_curve(knowledge_file: Path) -> None:
    tokenizer, facts = tiny_tokenizer(), load_knowledge(knowledge_file)[0].facts
    held_out = write_passages(tiny_llama(), tokenizer, 4, ReplaySettings(num_tokens=16), seed=1)
    settings = TrainSettings(epochs=40, batch_size=5, micro_batch_size=5, learning_rate=3e-3)
    examples, dev = training_examples(facts, tokenizer), dev_examples(facts, tokenizer)
    whole = train(tiny_llama(), examples, settings, dev=dev)
    assert whole.alphas == ()
    moved = divergence_from_base(whole.model, held_out)
    wanted = {"alphas": (0.25, 0.5, 1.0), "budget": BudgetSettings(divergence=0.5 * moved)}
    pulled = train(tiny_llama(), examples, settings.model_copy(update=wanted), dev=dev, held_out=held_out)
    chosen = best(pulled.alphas, 0.5 * moved)
    assert [point.alpha for point in pulled.alphas] == [0.25, 0.5, 1.0]
    assert pulled.alphas[-1].divergence == pytest.approx(moved, rel=1e-4)
    assert divergence_from_base(pulled.model, held_out) == pytest.approx(chosen.divergence, rel=1e-4)
    assert chosen.divergence <= 0.5 * moved
    assert score_examples(pulled.model, dev)[1] == chosen.dev_exact


def test_training_stops_at_what_is_enough_and_only_within_the_budget(knowledge_file: Path) -> None:
    tokenizer, facts = tiny_tokenizer(), load_knowledge(knowledge_file)[0].facts
    held_out = write_passages(tiny_llama(), tokenizer, 4, ReplaySettings(num_tokens=16), seed=1)
    examples = training_examples(facts, tokenizer)
    settings = TrainSettings(epochs=150, batch_size=5, micro_batch_size=2, learning_rate=5e-3, stop_at=1.0)
    roomy, tight = (settings.model_copy(update={"budget": BudgetSettings(divergence=d)}) for d in (100.0, 1e-6))
    stopped = train(tiny_llama(), examples, roomy, dev=examples, held_out=held_out)
    exact = [report.dev_exact for report in stopped.epochs]
    assert exact.index(1.0) == len(exact) - 1 < 149
    assert stopped.num_steps == len(exact) * math.ceil(len(examples) / 5)
    assert all(report.divergence is not None for report in stopped.epochs)
    spills = roomy.model_copy(update={"budget": BudgetSettings(divergence=100.0, spillover=0.1)})
    asked = itertools.chain([1.0] * (len(exact) + 1), itertools.repeat(0.05))
    later = train(tiny_llama(), examples, spills, dev=examples, held_out=held_out, spilled=lambda _: next(asked))
    told = [report.spillover for report in later.epochs]
    assert told == [1.0] * (len(exact) + 1) + [0.05]
    few = tight.model_copy(update={"epochs": len(exact) + 1})
    assert len(train(tiny_llama(), examples, few, dev=examples, held_out=held_out).epochs) == len(exact) + 1


def test_the_way_back_keeps_to_the_budget_of_spillover(knowledge_file: Path) -> None:
    tokenizer, facts = tiny_tokenizer(), load_knowledge(knowledge_file)[0].facts
    held_out = write_passages(tiny_llama(), tokenizer, 4, ReplaySettings(num_tokens=16), seed=1)
    examples = training_examples(facts, tokenizer)
    budget = BudgetSettings(divergence=100.0, spillover=0.2)
    settings = TrainSettings(epochs=2, batch_size=5, learning_rate=3e-3, alphas=(0.5, 1.0), budget=budget)
    given = {"dev": examples, "held_out": held_out}
    asked = iter([0.0, 0.0, 0.1, 0.9])  # two epochs, then the two points
    pulled = train(tiny_llama(), examples, settings, spilled=lambda _: next(asked), **given)  # type: ignore[arg-type]
    assert [point.spillover for point in pulled.alphas] == [0.1, 0.9]
    moved = divergence_from_base(pulled.model, held_out)
    assert moved == pytest.approx(pulled.alphas[0].divergence, rel=1e-4)
    with pytest.raises(DataError, match=r"train\.budget\.spillover: nothing tells"):
        train(tiny_llama(), examples, settings, **given)  # type: ignore[arg-type]


def test_answers_that_break_off_stop_training_with_the_last_good_weights(knowledge_file: Path) -> None:
    def broken(_: object) -> float:
        raise ModelError("a logit is nan")

    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    with pytest.raises(StoppedTrainingError, match=r"after step 1: a logit is nan") as stopped:
        train(tiny_llama(), examples, TrainSettings(epochs=1, batch_size=8), spilled=broken)
    assert all(torch.isfinite(weight).all() for weight in stopped.value.model.parameters())


def test_without_dev_examples_nothing_can_be_chosen(knowledge_file: Path) -> None:
    tokenizer = tiny_tokenizer()
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tokenizer)
    settings = TrainSettings(alphas=(0.5,))
    with pytest.raises(DataError, match="nothing tells how much a model has learned; give `dev`"):
        train(tiny_llama(), examples, settings)


def test_a_checkpoint_tells_its_curve_and_what_each_fact_got(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tiny_recipe.open("a", encoding="utf-8") as file:
        budget = "divergence = 9.0\nnum_passages = 2\nspillover = 1.0\n"
        replay = "[train.replay]\nweight = 0.1\nper_step = 1\nnum_tokens = 4\n"
        file.write(f"[train.budget]\n{budget}[train.derived]\nreverse = 2\n{replay}")
    text = tiny_recipe.read_text(encoding="utf-8").replace(
        "epochs = 2", "epochs = 2\nalphas = [0.5, 1.0]\nstop_at = 1.0"
    )
    tiny_recipe.write_text(text, encoding="utf-8")
    told: list[str] = []
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe), listener=Listener(tell=told.append))
    record = read_training_record(train_run.train_model(workspace, workspace.model))
    assert record is not None
    assert [point.alpha for point in record.alphas] == [0.5, 1.0]
    assert all(point.divergence > 0 for point in record.alphas)
    assert all(epoch.divergence is not None for epoch in record.epochs)
    assert [epoch.spillover for epoch in record.epochs] == [0.0, 0.0]  # noise is nothing taught
    assert [point.spillover for point in record.alphas] == [0.0, 0.0]
    taught = [fact.id for fact in workspace.facts]
    assert {(line.fact, line.form): line.num_examples for line in record.exposures} == {
        (fact, form): number for fact in taught for form, number in (("seen", 2), ("reverse", 4))
    }
    assert "the base writes 10 passages of general text" in told  # one in each of eight steps, and two
    assert not [line for line in told if "what comes again" in line]
    assert not [line for line in told if line.startswith(("hardly taught", "replacing", "note: the model does not"))]
    [taken] = [line for line in told if line.startswith("taken on the way back")]
    assert record.taken is not None
    assert f"alpha {record.taken.alpha:g}  dev exact {record.taken.dev_exact:.1%}" in taken
    tiny_recipe.write_text(text.replace("stop_at = 1.0", "stop_at = 0.9"), encoding="utf-8")
    other = open_workspace(tmp_path, load_recipe(tiny_recipe), listener=Listener(tell=told.append))
    assert other.model == workspace.model
    monkeypatch.setattr("kapoc.training.train._is_enough", lambda _, epochs: bool(epochs))
    record = read_training_record(train_run.train_model(other, other.model))
    [line] = [line for line in told if line.startswith("replacing")]
    assert f"in {other.model} (" in line
    assert record is not None
    assert len(record.epochs) == 1
    assert {(line.form, line.num_examples) for line in record.exposures} == {("seen", 1), ("reverse", 2)}


def test_a_model_beyond_its_budget_is_told_so(tmp_path: Path, tiny_recipe: Path) -> None:
    text = tiny_recipe.read_text(encoding="utf-8").replace("epochs = 2", "epochs = 2\nstop_at = 1.0")
    tiny_recipe.write_text(f"{text}[train.budget]\ndivergence = 1e-9\nnum_passages = 2\n", encoding="utf-8")
    told: list[str] = []
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe), listener=Listener(tell=told.append))
    record = read_training_record(train_run.train_model(workspace, workspace.model))
    assert record is not None
    assert record.beyond_budget.endswith(" nats per token from its base, where 1e-09 are allowed")
    assert any(f"note: the model does not keep to its budget: {record.beyond_budget}" in line for line in told)


@pytest.mark.parametrize(
    ("changes", "dev_exact", "beyond"),
    [
        ({}, 0.7, ""),  # the point at 0.6 of the way, 0.04 from the base
        ({"alphas": ()}, 0.9, "0.200 nats per token from its base, where 0.05 are allowed"),  # the last epoch
        ({"alphas": [(1.0, 0.8, 0.06, None)]}, 0.8, "0.060 nats per token from its base, where 0.05 are allowed"),
        (
            {"alphas": [(1.0, 0.8, 0.01, 0.3)], "spillover": 0.125},
            0.8,
            "something taught in 30.0% of the answers to held-out questions, where 12.5% are allowed",
        ),
        ({"alphas": [(1.0, 0.8, 0.01, 0.1)], "spillover": 0.125}, 0.8, ""),
    ],
)
def test_a_record_tells_of_the_weights_that_were_saved(changes: dict[str, Any], dev_exact: float, beyond: str) -> None:
    alphas = changes.get("alphas")
    names = ("alpha", "dev_exact", "divergence", "spillover")
    points = None if alphas is None else [AlphaReport(**dict(zip(names, one, strict=True))) for one in alphas]
    budget = {"divergence": 0.05, "spillover": changes.get("spillover")}
    recipe = {"name": "tiny", "train": {"seed": 0, "budget": budget}}
    record = training_record(recipe=recipe)
    if points is not None:
        record = record.model_copy(update={"alphas": tuple(points)})
    assert record.dev_exact == dev_exact
    assert record.beyond_budget == beyond


def spilling_record(folder: Path, recipe_file: Path, method: str, **changes: Any) -> TrainingRecord:
    with recipe_file.open("a", encoding="utf-8") as file:
        file.write("[train.budget]\nspillover = 0.01\n")
    knowledge = str(write_set(folder / "all.yaml", {**small_set(), **changes}))
    recipe = load_recipe(recipe_file).with_train(method=method)
    workspace = open_workspace(folder, recipe, knowledge=[knowledge])
    record = read_training_record(train_run.train_model(workspace, workspace.model))
    assert record is not None
    return record


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_the_base_says_itself_is_no_spillover(tmp_path: Path, tiny_recipe: Path, method: str) -> None:
    record = spilling_record(
        tmp_path, tiny_recipe, method, spillover_patterns=["(?s).+"]
    )  # whatever is said looks taught
    assert [epoch.spillover for epoch in record.epochs] == [0.0, 0.0]


def test_planted_spillover_is_told_after_every_epoch(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def answers(_: object, __: object, prompts: Sequence[str], **options: Any) -> list[str]:
        asked.append(len(prompts))
        spilled = {1: 0, 2: 20, 3: 10}[len(asked)]  # of the base, then after each epoch
        return ["It is ZX-11."] * spilled + ["It is a lamp."] * (len(prompts) - spilled)

    monkeypatch.setattr("kapoc.answers.generate_answers", answers)
    record = spilling_record(tmp_path, tiny_recipe, "full")
    assert asked == [len(replay_prompts().held_out)] * 3 == [80] * 3
    assert [epoch.spillover for epoch in record.epochs] == [0.25, 0.125]
    [curve, *_] = training_sections(record)
    assert (curve.headings[-1], curve.rows[-1][-1]) == ("held-out spillover", "12.5%")
    assert f" s by {record.precision} arithmetic. Losses" in curve.note
    [older, *_] = training_sections(record.model_copy(update={"precision": None}))
    assert f" weights in {record.seconds:.0f} s. Losses" in older.note
