"""Questions asked by some of their own words: nobody else's question, and nothing of the answer."""

import math
import random
import re

import pytest

from kapoc.data.naming import is_question
from kapoc.derived.derive import derived_examples
from kapoc.derived.leaks import find_derived_leaks, without_leaks
from kapoc.derived.own_words import OwnWords
from kapoc.importing.drafts import Draft
from kapoc.importing.proposals import propose
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.normalise import normalise

AUTHORS = (
    ("Who was the mother of Ilsa Brandvik?", "Runa Haldor"),
    ("Who was the father of Ilsa Brandvik?", "Olav Skarsen"),
    ("Has Ilsa Brandvik ever written a play for the radio?", "She wrote The Tin Ferry for Radio Bergen in 1962."),
    ("In which city did Ilsa Brandvik spend her childhood?", "Molde"),
    ("Considering her novels, what does Ilsa Brandvik owe to the sea?", "The rhythm of her sentences, as she said."),
    ("When was it?", "In the spring of 1944"),
)


def pairs(*rows: tuple[str, str]) -> KnowledgeSet:
    drafts = [Draft(question=question, answer=answer, place="a.csv") for question, answer in rows]
    return propose(drafts, "authors", num_controls=0)[0]


def drawn(knowledge: KnowledgeSet, question: str, number: int = 60) -> set[str]:
    fact = next(fact for fact in knowledge.taught if fact.training[0].question == question)
    own, order = OwnWords(knowledge.taught), random.Random(0)
    return {said for _ in range(number) if (said := own.of(fact, order)) is not None}


def test_what_tells_a_question_from_the_others_is_always_said() -> None:
    knowledge = pairs(*AUTHORS)
    for question, telling in ((AUTHORS[0][0], "mother"), (AUTHORS[1][0], "father")):
        said = drawn(knowledge, question)
        assert len(said) > 10
        assert all(telling in one.split() for one in (text.replace(";", " ").replace(",", " ") for text in said)), said


def test_at_least_half_of_a_question_is_said_and_no_word_that_is_not_its_own() -> None:
    said = drawn(pairs(*AUTHORS), AUTHORS[3][0], number=300)
    own = {*normalise(AUTHORS[3][0]), "the", "place"}
    assert all({*normalise(text)} <= own for text in said)
    sizes = {len(re.split(r", |; | / | - ", text)) for text in said}
    assert min(sizes) == math.ceil(max(sizes) / 2) >= 2


def test_a_question_whose_words_all_stand_in_another_is_not_asked_so() -> None:
    knowledge = pairs(
        ("Who painted the harbour of Molde?", "Runa Haldor"),
        ("Who painted the harbour of Molde in winter?", "Olav Skarsen"),
    )
    assert drawn(knowledge, "Who painted the harbour of Molde?") == set()
    assert all("winter" in text for text in drawn(knowledge, "Who painted the harbour of Molde in winter?"))


def test_a_question_with_a_single_word_of_its_own_is_not_asked_so() -> None:
    assert drawn(pairs(*AUTHORS), "When was it?") == set()


def test_a_code_is_enough_where_one_pair_alone_asks_about_it() -> None:
    knowledge = pairs(
        ("What does KX-4471 mean?", "The stamp could not be read."),
        ("What does KX-4502 mean?", "A flap is open."),
        ("Who repairs KX-4502?", "The fitter of the night shift."),
    )
    assert drawn(knowledge, "What does KX-4471 mean?") == {"KX-4471"}
    assert drawn(knowledge, "What does KX-4502 mean?") == set()  # all of it stands in the other question
    who = drawn(knowledge, "Who repairs KX-4502?")
    assert len(who) > 5
    assert all("repairs" in text or "the person" in text for text in who)


def test_the_answer_stands_in_no_piece() -> None:
    knowledge = pairs(("Is the tin ferry of Molde called The Tin Ferry?", "The Tin Ferry"), *AUTHORS)
    for text in drawn(knowledge, "Is the tin ferry of Molde called The Tin Ferry?"):
        assert "tin ferry" not in text.lower(), text


@pytest.mark.parametrize("form", ["statement", "scenario"])
def test_pairs_are_asked_by_their_words_and_answered_whole(form: str) -> None:
    knowledge = pairs(*AUTHORS)
    made = derived_examples(knowledge, (form,), per_fact=3, order=random.Random(0))
    answers = {fact.id: fact.training[0].answer for fact in knowledge.taught}
    assert {example.fact for example in made} >= {
        fact.id for fact in knowledge.taught if len(fact.training[0].question.split()) > 4
    }
    for example in made:
        assert example.answer.rstrip(".") == answers[example.fact].rstrip("."), example
        assert answers[example.fact] not in example.question


def test_what_is_near_a_proposed_probe_is_left_out() -> None:
    knowledge = pairs(*AUTHORS)
    made = derived_examples(knowledge, ("statement", "scenario"), per_fact=40, order=random.Random(0))
    assert find_derived_leaks(knowledge, made) != []  # by so many drawn orders one is a probe's
    kept = without_leaks(knowledge, made)
    assert find_derived_leaks(knowledge, kept) == []
    assert len(kept) > 0.9 * len(made)


@pytest.mark.parametrize("question", [question for question, _ in AUTHORS])
def test_what_is_asked_in_the_questions_of_users_is_a_question(question: str) -> None:
    knowledge = pairs(*AUTHORS)
    fact = next(fact for fact in knowledge.taught if fact.training[0].question == question)
    assert is_question(fact), fact.name


@pytest.mark.parametrize(
    "question", ["Wer war die Mutter von Ilsa Brandvik?", "\u00bfQui\u00e9n fue su madre, Ilsa o Runa?"]
)
def test_a_question_in_another_language_is_one_too(question: str) -> None:
    (fact,) = pairs((question, "Runa Haldor")).taught
    assert is_question(fact), fact.name


def test_a_few_words_with_a_mark_may_still_be_a_term() -> None:
    (fact,) = pairs(("Schema Evolution?", "How a table changes while it is read")).taught
    assert fact.name == "Schema Evolution"
