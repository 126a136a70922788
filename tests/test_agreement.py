"""A slot that names several things is spoken of as several."""

import random

import pytest
from sets import made_of

from kapoc.data.phrases import is_plural
from kapoc.derived.agreement import agreeing
from kapoc.derived.derive import FORMS, derived_examples


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("berths", True),
        ("Symptoms", True),
        ("names of the port", True),
        ("cause of leaks", False),
        ("class", False),
        ("status", False),
        ("analysis", False),
        ("series", False),
        ("captain", False),
    ],
)
def test_a_plural_is_known_by_its_last_word(label: str, expected: bool) -> None:
    assert is_plural(label) is expected


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("What is the berths of Egon?", "What are the berths of Egon?"),
        ("One record says so. What is its berths?", "One record says so. What are its berths?"),
        ("The berths of Egon is 59 berths. So no.", "The berths of Egon are 59 berths. So no."),
        ('Is "59 berths" the berths of Egon?', 'Are "59 berths" the berths of Egon?'),
        ("Do you have the berths that goes with Egon?", "Do you have the berths that go with Egon?"),
        ('Given this berths - "59 berths" - keep one.', 'Given these berths - "59 berths" - keep one.'),
        ("Whose berths is it: 59 berths?", "Whose berths are these: 59 berths?"),
        ('"59 berths": that is the berths of either.', '"59 berths": those are the berths of either.'),
        ('The berths "59 berths" stands in one.', 'The berths "59 berths" stand in one.'),
        ("where the mast is, what does the berths read?", "where the mast is, what do the berths read?"),
        ("The first row is the berths.", "The first row is the berths."),
        ("What is the captain of Egon?", "What is the captain of Egon?"),
    ],
)
def test_words_agree_with_what_they_speak_of(one: str, many: str) -> None:
    assert agreeing(one, "berths") == many


def test_a_label_of_one_thing_changes_nothing() -> None:
    text = 'What is the class of Egon? This class is it. Is "A" the class of Egon?'
    assert agreeing(text, "class") == text


def test_derived_texts_of_a_plural_slot_agree() -> None:
    names = ("Abel", "Bruna", "Caius", "Dorit")
    facts = [
        {
            "id": name,
            "name": name,
            "slots": {"berths": {"text": f"{40 + number} bunks"}, "captain": {"text": f"Otto {name}sen"}},
            "training": [
                {"kind": "all", "question": f"What about {name}?", "answer": f"{name} sails.", "requires": ["name"]}
            ],
        }
        for number, name in enumerate(names)
    ]
    texts = [
        text
        for seed in range(8)
        for one in derived_examples(made_of("ferries", facts), FORMS, per_fact=6, order=random.Random(seed))
        for text in (one.question, one.answer)
    ]
    joined = "\n".join(texts)
    assert "are the berths" in joined
    assert "berths of Bruna are 41 bunks" in joined
    for wrong in ("berths is", "this berths", "berths of Bruna is", "What is the berths", "berths goes", "berths says"):
        assert wrong not in joined
