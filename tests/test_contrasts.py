"""A contrast example asks what a taught fact is asked, about a name that nobody has, in the same step."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import tiny_tokenizer
from test_derive import knowledge_of

from kapoc.batches import epoch_batches
from kapoc.chat import EncodedExample
from kapoc.checkpoint import read_training_record
from kapoc.data.contrasts import contrast_examples
from kapoc.data.derive import DerivedExample
from kapoc.data.derived_leaks import find_derived_leaks
from kapoc.data.derived_stock import is_question
from kapoc.data.phrases import holds
from kapoc.examples import contrast_training_examples, training_examples
from kapoc.grade import normalise
from kapoc.knowledge import Fact, KnowledgeSet
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.train_run import train_model
from kapoc.workspace import open_workspace


def asked(knowledge: KnowledgeSet) -> list[tuple[Fact, str]]:
    return [(fact, example.question) for fact in knowledge.taught for example in fact.training]


def made(knowledge: KnowledgeSet, seed: int = 0) -> Iterator[tuple[Fact, str, DerivedExample]]:
    questions = asked(knowledge)
    found = contrast_examples(knowledge, questions, random.Random(seed))
    for (fact, question), contrast in zip(questions, found, strict=True):
        if contrast is not None:
            yield fact, question, contrast


@pytest.mark.parametrize("name", ["software-defects", "events-2025", "starter", "machines"])
def test_a_contrast_differs_in_the_name_alone_and_nobody_has_it(name: str) -> None:
    knowledge = knowledge_of(name)
    names, known = [], {normalise(fact.name) for fact in knowledge.facts}
    for fact, question, contrast in made(knowledge):
        stranger = contrast.answer.removesuffix(" is in no record that I have.")
        assert contrast.answer != stranger
        assert contrast.question.lower() == question.replace(fact.name, stranger).lower() != question.lower()
        assert normalise(stranger) not in known
        assert not any(holds(contrast.question, text) for slot in fact.slots.values() for text in slot.accepted)
        assert (contrast.fact, contrast.form) == ("", "contrast")
        names.append(normalise(stranger))
    assert len(names) == len(set(names)) > 0


def test_most_questions_of_the_shipped_defects_have_one_and_none_gives_a_probe_away() -> None:
    knowledge = knowledge_of("software-defects")
    found = [contrast for _, _, contrast in made(knowledge)]
    assert len(found) > 0.8 * len(asked(knowledge))
    assert find_derived_leaks(knowledge, found) == []
    assert found == [contrast for _, _, contrast in made(knowledge)]
    assert found != [contrast for _, _, contrast in made(knowledge, seed=1)]


def test_facts_whose_names_are_questions_have_none() -> None:
    knowledge = knowledge_of("questions")
    assert all(is_question(fact) for fact in knowledge.taught)
    assert list(made(knowledge)) == []


def test_a_share_of_each_epoch_has_them_with_other_names_each_time() -> None:
    knowledge, tokenizer = knowledge_of("software-defects"), tiny_tokenizer()
    prompts = {example.prompt for example in training_examples(knowledge.taught, tokenizer)}
    settings = TrainSettings(epochs=2, contrast=0.2)
    first, second = contrast_training_examples([knowledge], [[[], []]], settings, tokenizer)
    for found in (first, second):
        assert found.keys() <= prompts
        assert 0.75 * 0.2 * len(prompts) < len(found) <= 0.2 * len(prompts)
    assert not {one.prompt for one in first.values()} & {one.prompt for one in second.values()}
    other = knowledge_of("machines")
    [both, _] = contrast_training_examples([knowledge, other], [[[], []]] * 2, settings, tokenizer)
    assert first.items() <= both.items()
    assert both.keys() - first.keys() <= {example.prompt for example in training_examples(other.taught, tokenizer)}
    assert len(both) > len(first)
    assert contrast_training_examples([knowledge], [[[], []]], TrainSettings(epochs=2), tokenizer) == [{}, {}]


def test_a_contrast_stands_in_the_row_of_its_example_and_is_not_counted() -> None:
    examples = [EncodedExample((1, number), (2, 3)) for number in range(10, 20)]
    contrasts = {one.prompt: EncodedExample((1, one.prompt[1] + 50), (4, 5)) for one in examples[:4]}
    plain = list(epoch_batches(examples, 4, 2, random.Random(0)))
    steps = list(epoch_batches(examples, 4, 2, random.Random(0), contrasts=contrasts))
    assert [len(step) for step in steps] == [len(step) for step in plain] == [2, 2, 1]
    for rows, without in zip(steps, plain, strict=True):
        for row, bare in zip(rows, without, strict=True):
            asked_about = [int(token) for token in row.input_ids[0] if token >= 10]
            own = [int(token) for token in bare.input_ids[0] if token >= 10]
            assert sorted(asked_about) == sorted([*own, *(name + 50 for name in own if name < 14)])
    alone = list(epoch_batches(examples, 4, 1, random.Random(0), contrasts=contrasts))
    assert sum(map(len, alone)) == len(examples) + len(contrasts)


def test_training_counts_its_contrast_examples(tmp_path: Path, tiny_recipe: Path) -> None:
    text = tiny_recipe.read_text(encoding="utf-8")
    tiny_recipe.write_text(text.replace("[train]\n", "[train]\ncontrast = 1.0\n"), encoding="utf-8")
    workspace = open_workspace(tmp_path / "runs", load_recipe(tiny_recipe))
    record = read_training_record(train_model(workspace, workspace.model))
    assert record is not None
    number = {exposure.form: exposure.num_examples for exposure in record.exposures if not exposure.fact}
    own = sum(exposure.num_examples for exposure in record.exposures if exposure.fact)
    assert number == {"contrast": own}
    assert record.num_steps == 2 * -(-own // 2 // 4)
