"""Stand-ins: yes or no is learned of names that nobody has, by a record that stands in the answer, before all else."""

import random
import re
from collections import Counter

import pytest
from conftest import tiny_tokenizer
from sets import asked, knowledge_of, made_of

from kapoc.data.phrases import holds
from kapoc.derived.leaks import find_derived_leaks
from kapoc.derived.stand_ins import STAND_IN, stand_in_squares
from kapoc.errors import DataError
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.normalise import normalise
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.training.batches import epoch_batches
from kapoc.training.examples import stand_in_examples
from kapoc.training.texts import TrainingTexts, training_texts

_ANSWER = re.compile(r"Checked: (?P<name>[A-Z]{2}-\d{4}) - (?P<record>.*)\. So (?P<side>yes|no)\.")


def read(knowledge: KnowledgeSet, **settings: object) -> TrainingTexts:
    return training_texts([knowledge], TrainSettings.model_validate(settings), tiny_tokenizer())


@pytest.mark.parametrize("name", ["software-defects", "starter", "generated", "events-2025"])
def test_a_square_asks_about_two_names_that_nobody_has_and_each_record_decides(name: str) -> None:
    knowledge = knowledge_of(name)
    squares = stand_in_squares(knowledge, 3, random.Random(0))
    assert 2 * len(knowledge.taught) < len(squares) <= 3 * len(knowledge.taught)
    known = {normalise(fact.name) for fact in knowledge.facts}
    for square in squares:
        four = (square, *square.contrasts)
        found = [_ANSWER.fullmatch(one.answer) for one in four]
        said = [(match["name"], match["record"], match["side"]) for match in found if match]
        assert len(said) == 4
        assert Counter(side for *_, side in said) == {"yes": 2, "no": 2}
        records = {about: record for about, record, _ in said}
        assert len(records) == 2 == len(set(records.values()))
        assert known.isdisjoint(map(normalise, records))
        for one, (about, record, side) in zip(four, said, strict=True):
            assert holds(one.question, about)
            assert record == records[about]
            assert (one.fact, one.form) == ("", STAND_IN)
            quoted = re.search(r'"(?:\.\.\. )?([^"]+?)(?: \.\.\.)?"', one.question)
            if quoted:
                assert holds(record, quoted[1]) is (side == "yes")


def test_records_have_slots_of_taught_facts_alone_and_no_question_is_near_a_probe() -> None:
    knowledge = knowledge_of("software-defects")
    squares = stand_in_squares(knowledge, 3, random.Random(1))
    told = " ".join(one.answer for square in squares for one in (square, *square.contrasts))
    taught = {normalise(text) for fact in knowledge.taught for slot in fact.slots.values() for text in slot.accepted}
    held_back = {
        slot.text
        for fact in knowledge.facts
        if not fact.taught
        for name, slot in fact.slots.items()
        if knowledge.is_distinctive(fact, name) and normalise(slot.text) not in taught
    }
    assert len(held_back) > 10
    assert not any(holds(told, text) for text in held_back)
    assert find_derived_leaks(knowledge, squares) == []


def test_of_a_stand_in_the_decision_alone_is_trained() -> None:
    tokenizer, settings = tiny_tokenizer(), TrainSettings(stand_ins=2)
    squares = stand_in_examples(knowledge_of("software-defects"), settings, tokenizer)
    assert len(squares) > 40
    for square in squares:
        for one in (square, *square.contrasts):
            [place] = one.trained
            before, behind = (str(tokenizer.decode(list(part))) for part in (one.answer[:place], one.answer[place:]))
            assert before.endswith(". So")
            assert re.match(r" (yes|no)\.", behind)


def test_stand_ins_are_the_first_epoch_in_steps_of_a_quarter() -> None:
    knowledge = knowledge_of("software-defects")
    settings = TrainSettings(epochs=3, batch_size=8, stand_ins=1, derived={"slot": 1}, derived_from=3)
    texts = training_texts([knowledge], settings, tiny_tokenizer())
    first, second, third = texts.epochs
    assert {one.form for one in first} == {STAND_IN}
    assert {len(one.contrasts) for one in first} == {3}  # also where nothing else has contrasts
    assert Counter(one.form for one in second) == {"seen": 145}
    assert Counter(one.form for one in third) == {"seen": 145, "slot": 29}
    assert len(texts.own) == 145
    assert texts.notes == []
    assert settings.steps_of_epochs([len(epoch) for epoch in texts.epochs]) == [-(-len(first) // 2), 19, 22]
    rows = [row for step in epoch_batches(first, settings.batch_size_of(1), 8, random.Random(0)) for row in step]
    assert {row.num_loss_tokens for row in rows} <= {4, 8}


def test_a_set_that_gives_no_stand_ins_is_taught_in_the_first_epoch_and_said() -> None:
    texts = read(knowledge_of("questions"), epochs=2, stand_ins=2)
    assert {one.form for one in texts.epochs[0]} == {"seen"}
    [note] = texts.notes
    assert note.startswith("questions: no stand-ins; two facts of a kind would need a slot with other texts, short and")
    assert texts.settings.steps_of_epochs([16, 16]) == [2, 2]  # of whole batches
    lonely = made_of("lonely", [asked("INC-1", "What was INC-1?", slots={"cause": "frost"})])
    assert len(read(lonely, epochs=2, stand_ins=2).notes) == 1


def test_beside_the_stand_ins_of_one_set_nothing_of_another_is_learned() -> None:
    sets = [knowledge_of("questions"), knowledge_of("software-defects")]
    texts = training_texts(sets, TrainSettings(epochs=2, stand_ins=1), tiny_tokenizer())
    assert {one.form for one in texts.epochs[0]} == {STAND_IN}
    assert {one.form for one in texts.epochs[1]} == {"seen"}
    assert texts.settings.stand_ins == 1


@pytest.mark.parametrize(
    "settings", [{"epochs": 1}, {"epochs": 4, "derived": {"slot": 1}}, {"epochs": 1, "derived": {"slot": 0}}]
)
def test_what_would_stand_in_their_epoch_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="stand_ins: they are the first epoch; set epochs, and derived_from, to 2"):
        TrainSettings.model_validate({"stand_ins": 1, **settings})
    with pytest.raises(DataError, match="stand_ins"):
        load_recipe("smollm2-135m").with_train(stand_ins=1)
