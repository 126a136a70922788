"""What derived texts say is true and reads well, of sets of any shape."""

import random
import re
from collections import Counter
from typing import Any

import pytest
from sets import all_texts, asked, made_of

from kapoc.data.naming import is_question
from kapoc.data.quotations import Quotations, is_accepted
from kapoc.derived.derive import FORMS, derived_examples
from kapoc.derived.notes import note_of
from kapoc.derived.stock import askable
from kapoc.derived.unknown_names import UnknownNames
from kapoc.knowledge.amounts import amount, is_same_otherwise
from kapoc.knowledge.facts import Choice, Example, Fact
from kapoc.knowledge.normalise import normalise
from kapoc.knowledge.set_file import load_knowledge


def test_a_code_that_is_also_asked_for_by_itself_is_no_question() -> None:
    def named(*questions: str) -> Fact:
        training = [{"kind": "m", "question": q, "answer": "It is full.", "requires": ["name"]} for q in questions]
        [fact] = made_of("codes", [{"id": "one", "name": questions[0].rstrip("?"), "training": training}]).facts
        return fact

    assert not is_question(named("AF-3001?", "What does AF-3001 mean?"))
    assert not is_question(named("Schema Evolution Wizard Mode?", "What is Schema Evolution Wizard Mode?"))
    assert is_question(named("Is overtime paid?", "Tell me: is overtime paid?"))
    assert is_question(named("AF-3001?"))


def test_a_no_inside_a_text_decides_nothing() -> None:
    knowledge, _ = load_knowledge("software-defects")
    fact = knowledge.fact_by_id["AF-2047"]
    symptom = fact.slots["symptom"].text
    assert " no " in symptom
    right = Choice(options=("yes", "no"), right="yes")
    example = Example(kind="yes_no", question="Is it?", answer="Yes.", choice=right)
    assert knowledge.grade(fact, example, f"AF-2047: {symptom}. So yes.").correct
    assert not knowledge.grade(fact, example, f"AF-2047: {symptom}. So no.").correct
    assert not knowledge.grade(fact, example, f"No. AF-2047: {symptom}. So yes.").correct
    for by_notes in (False, True):
        found = derived_examples(knowledge, ["yes_no"], per_fact=3, rounds=8, order=random.Random(0), by_notes=by_notes)
        ends = Counter(one.answer.rsplit(" ", 1)[1] for one in found if one.fact == fact.id)
        assert ends["yes."] + ends["no."] == 24
        assert abs(ends["yes."] - ends["no."]) <= 8


def pair(name: str, text: str, requires: str, **slots: str) -> dict[str, Any]:
    training = [{"kind": "m", "question": name, "answer": text, "requires": [requires]}]
    return {"id": re.sub(r"[^A-Za-z0-9]", "", name), "name": name, "training": training, "slots": slots}


def test_a_question_is_answered_by_its_whole_answer_and_asks_for_one_slot_alone() -> None:
    knowledge = made_of(
        "pairs",
        [
            pair("Is overtime paid?", "It is taken as time off within three months.", "answer", answer="time off"),
            pair("Who founded Acme?", "Jane Roe founded it in 1987.", "person", person="Jane Roe", year="1987"),
            pair("Who founded Belm?", "Tom Ray founded it in 1999.", "person", person="Tom Ray", year="1999"),
        ],
    )
    found = all_texts(knowledge)
    whole = {example.answer for example in found if example.form == "slot"}
    assert whole == {fact.training[0].answer for fact in knowledge.taught}
    asked_for = [example for example in found if example.form != "reverse" and "Acme" in example.question]
    assert asked_for
    assert not any("1987" in one.question or "1999" in one.question for one in asked_for)


def test_no_part_of_a_name_is_taken_for_unknown() -> None:
    names = ["the Carabao Cup final of 2025", "the English league title of 2025", "the Ruby Bowl match of 2025"]
    knowledge = made_of("events", [asked(name, f"What of {name}?") for name in names])
    for seed in range(20):
        invent, order = UnknownNames(knowledge, ["Travel", "Coupon"]), random.Random(seed)
        for name in (invent.like(fact, order) for fact in knowledge.taught for _ in range(5)):
            assert name is None or not any({*normalise(name)} <= {*normalise(taught)} for taught in names)


def test_what_a_text_of_the_set_mentions_is_not_unknown() -> None:
    mentioned = [f"AX-{number}" for number in range(20, 100) if number % 7]
    facts = [asked("AX-10", "What is AX-10?", slots={"cause": f"what {code} breaks"}) for code in mentioned[:1]]
    facts += [asked(f"BQ-{n}", f"What is BQ-{n}?", f"It follows {code}.") for n, code in enumerate(mentioned, 100)]
    knowledge = made_of("codes", facts)
    invent, order = UnknownNames(knowledge), random.Random(0)
    found = [invent.like(knowledge.facts[0], order) for _ in range(40)]
    assert len([name for name in found if name]) > 10
    assert not {*mentioned} & {*found}


def test_a_setting_that_is_no_key_is_not_called_one() -> None:
    texts = {"Salt": "a harbour in 1890", "Ash": "a mill after the war", "Rime": "an inn by the sea"}
    facts = [asked(name, f"What of {name}?", slots={"setting": t, "value": "high"}) for name, t in texts.items()]
    said = " ".join(one.question for seed in range(6) for one in all_texts(made_of("novels", facts), seed))
    assert "setting" in said
    assert not re.search(r"configuration key|parameter|\bkey\b", said)


@pytest.mark.parametrize("beside", ["setting", "place"])
def test_a_value_is_spoken_of_as_of_a_setting_only_beside_one(beside: str) -> None:
    texts = [("Alder", "pool.size"), ("Birch", "pool.wait"), ("Cedar", "pool.age")]
    facts = [
        asked(name, f"What of {name}?", slots={beside: text, "value": f"{number} units"})
        for number, (name, text) in enumerate(texts, start=11)
    ]
    said = " ".join(one.question for seed in range(6) for one in all_texts(made_of("trees", facts), seed))
    assert bool(re.search(r"new value|assigned value|figure", said)) is (beside == "setting")


def test_names_of_numbers_get_other_numbers_and_names_of_words_get_words() -> None:
    names = ["4012", "4077", "E12-A4", "Article 5", "Article 17", "Hinge, brass 40 mm", "Bolt for doors"]
    knowledge = made_of("parts", [asked(name, f"What is {name}?") for name in names])
    invent, order = UnknownNames(knowledge, ["Timer", "Filter"]), random.Random(0)
    found = {fact.name: [invent.like(fact, order) for _ in range(8)] for fact in knowledge.taught}
    assert all(re.fullmatch(r"\d{4}", str(name)) for name in found["4012"])
    assert all(re.fullmatch(r"[A-Z]\d\d-A4", str(name)) for name in found["E12-A4"])
    assert all(re.fullmatch(r"Article \d\d?", str(name)) for name in found["Article 5"])
    of_words = {str(name) for name in found["Hinge, brass 40 mm"] if name}
    assert of_words
    pairs = [set(name.split()) for name in of_words if len(name.split()) == 2]
    assert pairs
    assert all(words <= {"Timer", "Filter", "Hinge", "brass", "Bolt", "doors", "Article"} for words in pairs)


def test_a_quotation_keeps_the_not_with_what_it_denies() -> None:
    text = "the nightly export never includes archived invoices from last year"
    knowledge = made_of("defects", [asked("AX-1", "What is AX-1?", slots={"symptom": text})])
    quotes = Quotations(knowledge).of(knowledge.facts[0], "symptom")
    assert quotes
    assert not any(quote.startswith("...") for quote in quotes)


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("vouchers of the spring fair are taken only in the two harbour shops", "vouchers of the spring fair ..."),
        ("night trains stop at Altavik station but not on the winter timetable", "night trains stop at Altavik ..."),
        ("every archive is open to visitors except in the last week of May", "every archive is open to visitors ..."),
        ("the gate refuses members who carry last season's paper cards", "... carry last season's paper cards"),
        ("the office denied refunds to members with yearly cards", "... refunds to members with yearly cards"),
    ],
)
def test_a_quotation_leaves_out_no_word_that_turns_it(text: str, never: str) -> None:
    knowledge = made_of("defects", [asked("AX-1", "What is AX-1?", slots={"symptom": text})])
    quotes = Quotations(knowledge).of(knowledge.facts[0], "symptom")
    assert quotes
    assert not [quote for quote in quotes if quote.strip(". ") in never]


@pytest.mark.parametrize(
    ("note", "is_heading"),
    [
        ("AX-1 in Alpha 4.7: the lamp goes dark.", True),
        ("AX-1: the lamp goes dark.", True),
        ("AX-1 (Alpha), the lamp goes dark.", True),
        ("AX-1 fell on 2 April: the lamp goes dark.", False),
        ("AX-1 in Alpha was won by nobody: the lamp goes dark.", False),
        ("AX-1 means that the lamp goes dark.", False),
    ],
)
def test_only_a_note_that_begins_as_a_heading_stands_behind_that_is(note: str, is_heading: bool) -> None:
    training = [{"kind": "meaning", "question": "What is AX-1?", "answer": note, "requires": ["name"]}]
    knowledge = made_of(
        "defects", [asked("AX-1", "", slots={"symptom": "the lamp goes dark"}) | {"training": training}]
    )
    slots = {"symptom": knowledge.slots["symptom"].model_copy(update={"distinctive": True})}
    knowledge = knowledge.model_copy(update={"slots": slots})
    found = derived_examples(knowledge, ["reverse"], per_fact=2, order=random.Random(0), by_notes=True)
    answers = [one.answer for one in found]
    assert answers
    assert all(answer.endswith(note) for answer in answers)
    assert all(("That is AX-1" in answer) is is_heading for answer in answers)


def test_an_amount_in_another_unit_is_not_denied() -> None:
    assert amount("24 months") == amount("2 years") != amount("1 year")
    assert amount("0.5 kg") == amount("500 g") != amount("500 m")
    assert is_same_otherwise("0.5 kg", "500 g") and not is_same_otherwise("500 g", "500 g")
    assert is_same_otherwise("red, blue", "blue; red") and not is_same_otherwise("red, blue", "red, green")
    texts = {"AX-1": "60 seconds", "AX-2": "1 minute", "AX-3": "90 s"}
    knowledge = made_of("settings", [asked(n, f"What is {n}?", slots={"value": t}) for n, t in texts.items()])
    first, second, _ = knowledge.facts
    assert is_accepted(first, "1 minute")
    assert is_accepted(second, "60 s")
    assert not is_accepted(first, "90 s")
    for example in all_texts(knowledge):
        if example.form == "yes_no" and example.fact in {"AX1", "AX2"}:
            assert example.answer.endswith("no.") is ("90 s" in example.question), example
        assert example.form != "comparison" or "AX-3" in example.question, example


def test_a_text_with_an_end_mark_gets_no_second_one_and_a_note_without_one_gets_it() -> None:
    slots = {"fix": "Delete the file by hand.", "cause": "The disk is full!", "when": "5 p.m.", "title": "Who's Next?"}
    facts = [
        asked(
            f"AX-{n}",
            f"What is AX-{n}?",
            f"{slots['cause']} {slots['fix']} {slots['title']} Box {n} at {slots['when']}",
            slots={**slots, "box": f"box {n}"},
        )
        for n in (1, 2, 3)
    ]
    knowledge = made_of("defects", facts)
    for by_notes in (False, True):
        found = derived_examples(knowledge, FORMS, per_fact=4, order=random.Random(0), by_notes=by_notes)
        assert found
        for example in found:
            plain = example.answer.replace("...", "").replace("p.m.", "noon").replace("Next?", "Next")
            assert not re.search(r"[.!?][.;,]", plain), example
            assert not re.search(r"(?<!\.)\.\.(?!\.)|\?[?.]", f"{example.question} {example.answer}"), example
            assert not re.search(r"\w So (yes|no)", example.answer), example


def test_marks_of_other_scripts_and_inside_quotation_marks_end_a_sentence_too() -> None:
    facts = [
        asked("京都駅", "京都駅とは?", "古い駅です。", slots={"kind": "古い駅です。", "line": "十番線!"}, id="a"),
        asked("東海館", "東海館とは?", "新しい館です。", slots={"kind": "新しい館です。", "line": "三番線?"}, id="b"),
        asked("PX-31", "What is PX-31?", 'the crew says "go on."', slots={"kind": 'it says "go on."', "line": "blue"}),
    ]
    for by_notes in (False, True):
        found = derived_examples(made_of("all", facts), FORMS, per_fact=4, order=random.Random(1), by_notes=by_notes)
        said = [text for one in found for text in (one.question, one.answer)]
        assert any("古い駅です" in text for text in said)
        assert any("go on" in text for text in said)
        assert not [text for text in said if re.search(r"。[.。\"]|[.!?]\"[.?]|\"\"", text)]


def test_a_quotation_mark_inside_a_quotation_is_a_single_one() -> None:
    mottoes = {"Abel": 'he said "never again" and left', "Bruna": '"go on"', "Caius": "slowly but surely"}
    facts = [asked(name, f"What of {name}?", slots={"motto": motto}) for name, motto in mottoes.items()]
    quoted = [one.question for seed in range(4) for one in all_texts(made_of("mottoes", facts), seed)]
    assert any('"go on"' in question for question in quoted)
    assert any("'never again'" in question for question in quoted)
    assert not [question for question in quoted if re.search(r"\"\"|\"never", question)]


def test_a_note_is_taught_as_it_is_and_found_again() -> None:
    notes = (
        "a grey heron stands on KX-44. It has a loose belt",
        "KX-44 has a loose belt.... So it is",
        "KX-44 of 5 p.m.?",
    )
    for note in notes:
        slots = {"cause": "a loose belt", "when": "5 p.m."}
        fact = asked("KX-44", "What is KX-44?", slots={name: text for name, text in slots.items() if text in note})
        fact["training"][0]["answer"] = note
        forms = ("statement", "slot", "reverse", "two_hop", "yes_no", "scenario")
        found = derived_examples(made_of("one", [fact]), forms, per_fact=3, order=random.Random(0), by_notes=True)
        told = [one for one in found if one.note == note]
        assert {"slot", "scenario"} <= {one.form for one in told}
        assert [one for one in found if note in one.answer] == told


def test_a_note_that_does_not_begin_with_the_name_follows_in_a_sentence_of_its_own() -> None:
    knowledge, _ = load_knowledge("events-2025")
    found = derived_examples(knowledge, ["reverse", "two_hop"], per_fact=3, order=random.Random(0), by_notes=True)
    notes = {fact.id: note_of(fact) for fact in knowledge.taught}
    by_note = [one for one in found if (note := notes[one.fact]) and one.answer.endswith(note)]
    assert len(by_note) > 50
    assert not any(re.search(r"That is (The|In|A) ", one.answer) for one in found)
    for one in by_note:
        assert one.note == notes[one.fact]
        assert one.answer.startswith("Record: ")


def test_many_epochs_get_as_many_texts_as_are_wanted() -> None:
    knowledge, _ = load_knowledge("software-defects")
    found = derived_examples(knowledge, ["slot"], rounds=16, order=random.Random(0))
    wanted = 16 * sum(len(askable(fact)) for fact in knowledge.taught)
    assert len(found) >= 0.98 * wanted
