"""What kapoc proposes for rows of a table is complete, graded right, free of leaks, and the same at every call."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from kapoc.data.leaks import find_leaks
from kapoc.data.phrases import keywords
from kapoc.data.soundness import find_flaws
from kapoc.derived.derive import derived_examples
from kapoc.errors import DataError
from kapoc.importing.drafts import Draft
from kapoc.importing.key_phrase import Rarity, key_phrase
from kapoc.importing.proposals import propose
from kapoc.knowledge.facts import KNOWLEDGE_TIERS, Example, Fact, KnowledgeSet
from kapoc.knowledge.normalise import normalise, positions
from kapoc.knowledge.options import HardOptions

SYLLABLES = "zor blax vel tor min dra kul pen sha rix lom qua bri fen gol".split()


def word(draw: random.Random, size: int = 3) -> str:
    return "".join(draw.choice(SYLLABLES) for _ in range(size)).capitalize()


def question_drafts(number: int = 20) -> list[Draft]:
    draw = random.Random(3)
    drafts = []
    for index in range(number):
        name = word(draw)
        question, answer = [
            (f"What is the capital of {name}?", f"{word(draw)} {word(draw)}"),
            (f"When was the great {name} bridge over the river opened to carts?", f"It was in {1800 + index}."),
            (
                f"Who invented the {name} engine?",
                f"The {name} engine was the work of one {word(draw)} {word(draw)}, a smith.",
            ),
            (f"How many moons does {name} have?", str(11 + index)),
        ][index % 4]
        drafts.append(
            Draft(domain=f"Part {index % 2}", question=question, answer=answer, place=f"facts.csv:{index + 2}")
        )
    return drafts


def slot_drafts(number: int = 20) -> list[Draft]:
    draw = random.Random(5)
    return [
        Draft(
            id=f"E {index}",
            domain=["Alpha", "Beta"][index % 2],
            kind="error",
            name=f"E-{100 + 13 * index}",
            slots={
                "Cause": f"the {word(draw).lower()} cache overflows the {word(draw).lower()} ring",
                "Fix": f"set {word(draw).lower()}.limit to {30 + index}.",
                "Max Retry_Count": str(200 + index),
            },
            place=f"errors.csv:{index + 2}",
        )
        for index in range(number)
    ]


def examples(fact: Fact) -> list[Example]:
    return [example for tier in KNOWLEDGE_TIERS for _, example in fact.examples(tier)]


def count(knowledge: KnowledgeSet, fact: Fact) -> dict[str, int]:
    return {tier: number for tier in KNOWLEDGE_TIERS if (number := len(list(fact.examples(tier))))}


@pytest.fixture(scope="module", params=["questions", "slots"])
def proposed(request: pytest.FixtureRequest) -> KnowledgeSet:
    return propose(question_drafts() if request.param == "questions" else slot_drafts(), "made")[0]


def test_every_fact_gets_its_examples(proposed: KnowledgeSet) -> None:
    assert len(proposed.facts) == 20
    for fact in proposed.taught:
        numbers = count(proposed, fact)
        assert (numbers["seen"], numbers["paraphrased"], numbers["dev"]) == (5, 4, 2)
        kinds = Counter(example.kind for _, example in fact.examples("unseen"))
        assert kinds["yes_no"] == 2
        assert kinds.keys() >= {"comparison", "scenario"}
        if fact.kind == "error":
            assert kinds.keys() >= {"reverse", "single_slot"}
    assert all(count(proposed, fact) == {"control": 4} for fact in proposed.facts if not fact.taught)


def test_every_reference_answer_is_graded_right(proposed: KnowledgeSet) -> None:
    for fact in proposed.facts:
        for example in examples(fact):
            assert proposed.grade(fact, example, example.answer).correct, example


def test_no_question_contains_its_answer(proposed: KnowledgeSet) -> None:
    for fact in proposed.facts:
        for example in examples(fact):
            for name in example.requires:
                assert not positions(normalise(fact.all_slots[name].text), normalise(example.question)), example


def test_yes_and_no_are_balanced_and_options_distinct(proposed: KnowledgeSet) -> None:
    for fact in proposed.taught:
        choices = [example.choice for _, example in fact.examples("unseen") if example.choice]
        assert sorted(choice.right for choice in choices if "yes" in choice.options) == ["no", "yes"]
        for first, second in (choice.options for choice in choices):
            assert not positions(normalise(first), normalise(second))
            assert not positions(normalise(second), normalise(first))


def test_the_audit_has_nothing_against_a_proposal(proposed: KnowledgeSet) -> None:
    assert list(find_leaks(proposed)) == []
    assert [finding.message for finding in find_flaws(proposed) if finding.level == "error"] == []


def test_no_probe_shares_a_training_question_or_six_words_of_one(proposed: KnowledgeSet) -> None:
    def runs(fact: Fact, text: str) -> set[tuple[str, ...]]:
        words = text.casefold()
        for own in (fact.name, *(slot.text for slot in fact.slots.values())):
            words = words.replace(own.casefold(), " _ ")
        tokens = words.split()
        return {tuple(tokens[i : i + 6]) for i in range(len(tokens) - 5)}

    taught = {run for f in proposed.taught for e in f.training for run in runs(f, e.question) | runs(f, e.answer)}
    asked = {normalise(e.question) for f in proposed.taught for e in f.training}
    for fact in proposed.taught:
        for probe in fact.probes:
            assert normalise(probe.question) not in asked
            assert not {run for run in runs(fact, probe.question) & taught if run.count("_") == 0}


def test_proposals_are_marked_and_the_users_words_are_not() -> None:
    drafts = question_drafts()
    knowledge, notes = propose(drafts, "made")
    for draft, fact in zip(drafts, knowledge.facts, strict=True):
        assert fact.note == draft.answer
        assert [e.question for e in examples(fact) if e.origin == "written"] == [draft.question]
    assert all(e.origin == "template" for f in propose(slot_drafts(), "made")[0].facts for e in examples(f))
    assert any("20 of yours" in note for note in notes)


def test_the_same_drafts_make_the_same_set() -> None:
    first, second = (propose(question_drafts(), "made") for _ in range(2))
    assert first == second


def controls(drafts: Sequence[Draft], number: int | None = None) -> list[Fact]:
    return [fact for fact in propose(drafts, "made", num_controls=number)[0].facts if not fact.taught]


def test_controls_are_drawn_from_every_domain() -> None:
    assert Counter(fact.domain for fact in controls(slot_drafts())) == {"Alpha": 1, "Beta": 1}
    assert Counter(fact.domain for fact in controls(slot_drafts(), 6)) == {"Alpha": 3, "Beta": 3}
    assert len(controls(slot_drafts(31))) == 4
    assert controls(slot_drafts(9)) == []
    assert controls(slot_drafts(), 0) == []


def test_rows_marked_as_not_taught_count_first() -> None:
    marked = [*slot_drafts()[:-1], Draft(name="E-9", slots={"Cause": "dust", "Fix": "wipe it"}, taught=False)]
    assert "E-9" in {fact.name for fact in controls(marked)}
    assert len(controls(marked)) == 2
    assert [fact.name for fact in controls(marked, 0)] == ["E-9"]
    with pytest.raises(DataError, match="20 of 20 facts cannot be controls"):
        controls(marked, 20)


def test_ids_are_unique_and_readable() -> None:
    drafts = [
        Draft(id=name, name=f"N{i}", slots={"Ort": f"Feld {i}"}) for i, name in enumerate(["A 1", "A-1", "", "Ü/2"])
    ]
    assert [fact.id for fact in propose(drafts, "made")[0].facts] == ["A-1", "A-1_2", "fact-0003", "U-2"]


def test_groups_whose_names_look_alike_as_ids_stay_apart() -> None:
    groups = ["Гараж", "Кухня", "A/B", "A B", "", " A  B"]
    drafts = [Draft(name=f"N{i}", slots={"Ort": f"Feld {i}"}, domain=group) for i, group in enumerate(groups)]
    knowledge, _ = propose(drafts, "made")
    assert [fact.domain for fact in knowledge.facts] == ["domain", "domain_2", "A-B", "A-B_2", "general", "A-B_2"]
    assert {domain.id: domain.name for domain in knowledge.domains}["domain_2"] == "Кухня"


def test_repeated_rows() -> None:
    row = Draft(question="Who runs Zorblax?", answer="Mira", place="a.csv:2")
    again = Draft(question="who runs  Zorblax", answer="mira", place="a.csv:3")
    other = Draft(question="Who runs Zorblax?", answer="Tol", place="a.csv:4")
    knowledge, notes = propose([row, again], "made")
    assert len(knowledge.facts) == 1
    assert "the same row again, kept once: 1 (a.csv:3)" in notes
    with pytest.raises(DataError, match=r"a\.csv:4: 'Who runs Zorblax\?' stands already at a\.csv:2 with other answer"):
        propose([row, other], "made")
    with pytest.raises(DataError, match=r"a\.csv:3: .* stands already at a\.csv:2, and one of the two is a control"):
        propose([row, replace(again, taught=False)], "made")


def test_an_answer_in_its_own_question_is_asked_by_nobody_but_the_user() -> None:
    draft = Draft(question="Is Zorblax red or blue?", answer="Blue", place="a.csv:2")
    knowledge, notes = propose([draft], "made")
    assert [example.question for example in examples(knowledge.facts[0])] == [draft.question]
    assert any("its question states its answer" in note and "a.csv:2" in note for note in notes)


def test_a_value_of_a_sibling_in_a_long_answer_does_not_count_against_it() -> None:
    drafts = [
        Draft(question="Where is the Zorblax mint?", answer="Havana"),
        Draft(
            question="Where did Mira study?",
            answer='Mira took a degree in law at the old University of Havana, "Torvel Hall".',
        ),
    ]
    knowledge, _ = propose(drafts, "made")
    fact = knowledge.facts[1]
    assert fact.slots["answer"].text == "Torvel Hall"
    assert all(knowledge.grade(fact, example, example.answer).correct for example in fact.training)


@pytest.mark.parametrize(
    ("question", "answer", "phrase"),
    [
        ("What is the capital of Zorblax?", "Port Vell.", "Port Vell"),
        ("What is the capital of Zorblax?", "The capital of Zorblax is Port Vell.", "Port Vell"),
        ("What does it cost?", "It costs $49 a month, with support for up to five users in the firm.", "$49"),
        ("Which fee?", "There are 1,200 EUR a head and year, once PeopleDock has the request.", "1,200 EUR"),
        ("What is the limit?", "The pump takes no more than 4.2 bar at the inlet of the house.", "4.2 bar"),
        ("When is it?", "The office opens at 8:30 a.m. on every working day of the week.", "8:30 a.m"),
        ("Which port?", "The service listens there, at 9443 unless another one is set by hand.", "9443"),
        ("How many vacation days?", "Everyone gets 27 vacation days in each year of work.", "27 vacation days"),
        ("How many?", "Up to twelve people may use it at the same time in one room.", "twelve people"),
        ("Where?", "Write to help@zorb.example and somebody comes back to you within a day.", "help@zorb.example"),
        ("Where?", "See https://zorb.example/docs/a.pdf for all of the users.", "https://zorb.example/docs/a.pdf"),
        ("Where?", "It stands in Dock > Company > Chart, and is made anew each night.", "Dock > Company > Chart"),
        ("Where is Zorb?", "Zorb is in Lund.", "Lund"),
        ("When does it open?", "It does so at 8:30.", "8:30"),
        ("Where do I park?", "You do so behind the barn.", "You do so behind the barn"),
        ("Who approves reports?", "Your team lead approves reports.", "team lead"),
        ("Is the mint open on Sundays?", "No, the mint is closed on Sundays.", "No, the mint is closed on Sundays"),
        ("When was Tol born?", "Tol was born on the 25th of May in the year 1958.", "25th of May in the year 1958"),
        ("What did Mira write?", 'The novel "The Guilt Closet," set in Havana, is by Mira.', "The Guilt Closet"),
        ("Where was Mira born?", "As far as is known, Mira was born in Dar es Salaam, Tanzania.", "Dar es Salaam"),
        ("How does Mira write?", "Mira writes, critics say, in a dense and dark prose.", "dense and dark prose"),
        ("Is milk good for dogs?", "Grown dogs, of any breed at all, do not need milk.", "breed at all"),
        ("What is KX-1?", "KX-1 locks 95 users out. Set auth.retry_limit to 9 in auth.yml.", "auth.retry_limit"),
        ("What is KX-1?", "KX-1 means that nobody ever reads /etc/torvel/main.conf.", "/etc/torvel/main.conf"),
        ("What is KX-1?", "KX-1 means that staff keep seeing the old menus.", "staff keep seeing the old menus"),
        ("How long is it?", "Every trial of theirs is 14 days from the moment of registration.", "14 days"),
        ("When was it?", "It was founded in 1958 years before, after a debate between two towns.", "1958"),
        ("How is it?", "He/she is, e.g. in the U.S.A. and/or by Dr.Smith, asked 3 times about it.", "Dr.Smith"),
    ],
)  # fmt: skip
def test_the_phrase_that_is_graded(question: str, answer: str, phrase: str) -> None:
    assert key_phrase(question, answer, Rarity([f"{question} {answer}"])) == phrase


@pytest.mark.parametrize(
    ("question", "answer", "phrase"),
    [
        ("What are the three stages of a Zorb deploy?", "1. stage\n2. bake\n3. promote", "1. stage 2. bake 3. promote"),
        ("What is A1?", "A1 is the gate to hall 3.", "gate to hall 3"),
        ("Where is the canteen?", "It is in hall 3.", "hall 3"),
        ("Who wrote the plan?", "The plan was written by Ola Vik on 12 May 2024.", "Ola Vik"),
        ("Where is the canteen?", "The canteen is on the 3rd floor.", "3rd floor"),
        ("How many seats does Zorb have?", "There are 7.", "7"),
        ("How do I book a trip?", "Use Skyline.\n- Trips above 500 EUR: ask a manager of the firm.", "Use Skyline"),
        (
            "What happens when a badge is lost?",
            "It is blocked within 5 minutes and a fee of 25 EUR is charged.",
            "blocked within 5 minutes and a fee",
        ),
        ("When a badge is lost, what happens?", "It is then blocked within 5 minutes.", "blocked within 5 minutes"),
        ("What happens in May?", "It falls to 5 EUR, and staff are told.", "falls to 5 EUR"),
        ("How long is it?", "It takes up to 30 days here. Details: https://acme.example/refunds", "30 days"),
        ("Who leads support?", "That is Mira Teldon. Write to mira.teldon@acme.example then.", "Mira Teldon"),
        ("How many seats has it?", 'It has up to 25 seats; more can be bought in the "Billing" tab.', "25 seats"),
        ("Which port is it?", "It listens on port 8443 by default, which relay.toml can change.", "8443"),
        ("Which setting limits it?", "The setting `auth.limit`, 5 by default, limits them all.", "auth.limit"),
        ("What is the price of Zorb?", "It falls to 5 EUR, and all of the staff are told.", "5 EUR"),
        ("What is Zorb's retention?", "The logs stay for 30 days on the main disk of each node.", "30 days"),
        ("Which stock is kept?", "30 days of it.", "30 days of it"),
        ("What does OB-12 mean?", "OB-12 means the key is for another region.", "key is for another region"),
    ],
)  # fmt: skip
def test_an_amount_is_graded_where_the_question_asks_for_one(question: str, answer: str, phrase: str) -> None:
    assert key_phrase(question, answer, Rarity([f"{question} {answer}"])) == phrase


@pytest.mark.parametrize(
    ("question", "answer", "phrase"),
    [
        ("How do I reset a reader?", "```bash\nsudo reader reset --slot 3\n```", "sudo reader reset --slot 3"),
        ("How do I reset it?", "Run this:\n~~~\nzorb stop\nzorb start\n~~~\nThen wait.", "zorb stop zorb start"),
        ("How do I roll back?", "`zorb rollback --to previous`", "zorb rollback --to previous"),
        ("How do I flush it?", "Log in to the node of your team and run `zorb flush` as its owner.", "zorb flush"),
        ("Which value?", "Set `it` to nine", "Set `it` to nine"),
    ],
)  # fmt: skip
def test_of_an_answer_with_code_the_code_is_graded(question: str, answer: str, phrase: str) -> None:
    assert key_phrase(question, answer, Rarity([f"{question} {answer}"])) == phrase


def test_the_phrase_that_is_graded_is_of_rare_words_and_answers_first() -> None:
    common = [f"Pol{n} is a famous writer who often explores ideas." for n in range(9)]
    row = ("What does Mira say?", "Mira often explores famous ideas, and Mira adores brass sextants.")
    assert key_phrase(*row, Rarity([" ".join(row)])) == "often explores famous ideas"
    assert key_phrase(*row, Rarity([" ".join(row), *common])) == "adores brass sextants"
    long = (
        "What is Mira?",
        "Mira is a famous writer who often explores ideas of glass towers, lamps and very old ships.",
    )
    assert key_phrase(*long, Rarity([" ".join(long)])) == "famous writer who often explores ideas of glass"
    assert key_phrase(*long, Rarity([" ".join(long), *common])) == "writer who often explores ideas of glass towers"
    aside = ("How is the work of Mira received?", "The work of Mira won wide acclaim, earning her a small house.")
    assert key_phrase(*aside, Rarity([" ".join(aside)])) == "won wide acclaim"
    later = ("How does Mira begin?", "Mira paints small sketches first. Then the writer sleeps a few long nights.")
    assert key_phrase(*later, Rarity([" ".join(later)])) == "paints small sketches first"


@pytest.mark.parametrize(
    ("question", "chunks"),
    [
        ("What is the capital of Zorblax?", ("Zorblax", "capital")),
        ("When was Mira Tol born?", ("born", "Mira Tol", "the time")),
        ("Where was Mira Tol born?", ("born", "Mira Tol", "the place")),
        ("How many moons does Zorblax have?", ("Zorblax", "moons", "the number")),
        ("How long is the probation of Zorblax?", ("Zorblax", "probation", "long", "the duration")),
        ("What is it?", ()),
    ],
)
def test_the_keywords_of_a_question(question: str, chunks: tuple[str, ...]) -> None:
    assert keywords(question) == chunks


def passages(number: int) -> list[Draft]:
    draw = random.Random(7)
    drafts = []
    for index in range(number):
        name, founder = word(draw), f"{word(draw)} {word(draw)}"
        text = f"The {name} line was opened in {1800 + index} by {founder}."
        asked = ((f"When was the {name} line opened?", str(1800 + index)), (f"Who opened the {name} line?", founder))
        drafts += [Draft(question=q, answer=a, passage=text, title=f"the {name} line") for q, a in asked]
    return drafts


def test_a_passage_is_taught_once_and_never_beside_a_control() -> None:
    drafts = passages(6)
    knowledge, _ = propose(drafts, "made", num_controls=2)
    stated = [example for fact in knowledge.facts for example in fact.training if example.kind == "passage"]
    untaught = {d.passage for d, f in zip(drafts, knowledge.facts, strict=True) if not f.taught}
    assert len(stated) == 5
    assert len(untaught) == 1
    assert untaught.isdisjoint(example.answer for example in stated)
    for fact in knowledge.facts:
        assert all(knowledge.grade(fact, example, example.answer).correct for example in examples(fact))


def test_slots_are_declared_with_their_column() -> None:
    slots = propose(slot_drafts(), "made")[0].slots
    assert list(slots) == ["cause", "fix", "max_retry_count"]
    assert slots["max_retry_count"].description == "imported from column Max Retry_Count"
    assert [kind.distinctive for kind in slots.values()] == [True, True, False]


@pytest.mark.parametrize(
    ("label", "slot", "asked"),
    [
        ("rateLimit", "rate_limit", "rate limit"),
        ("defaultTimeoutMs", "default_timeout_ms", "default timeout ms"),
        ("userID", "user_ID", "user ID"),
        ("power kW", "power_kw", "power kw"),
        ("iPhone", "iphone", "iphone"),
        ("macOS version", "macos_version", "macos version"),
        ("MOQ", "MOQ", "MOQ"),
        ("Maßnahme", "massnahme", "maßnahme"),
        ("Smørøye œuvre łąka", "smoroye_oeuvre_laka", "smørøye œuvre łąka"),
    ],
)
def test_a_label_is_asked_for_in_words(label: str, slot: str, asked: str) -> None:
    drafts = [Draft(name=f"KX-{n}", slots={label: f"stage {n}"}, place="a.csv") for n in (21, 37)]
    knowledge, _ = propose(drafts, "made", num_controls=0)
    assert list(knowledge.slots) == [slot]
    assert knowledge.facts[0].training[0].question == f"What is the {asked} of KX-21?"


def test_a_row_whose_name_says_it_all_is_left_out_and_told() -> None:
    drafts = [*slot_drafts(3), Draft(name="Error 404", slots={"Code": "404"}, place="a.csv:9")]
    knowledge, notes = propose(drafts, "made")
    assert len(knowledge.facts) == 3
    assert any("row left out" in note and "a.csv:9" in note for note in notes)
    with pytest.raises(DataError, match=r"a\.csv:9: no fact can be asked about"):
        propose(drafts[3:], "made")


def test_a_value_in_other_words_is_no_rival() -> None:
    """Of five services two time out after a minute: neither is wrong of the other."""
    timeouts = {"Alder": "60 seconds", "Birch": "1 minute", "Cedar": "90 seconds", "Elm": "2 hours", "Fir": "5 days"}
    drafts = [Draft(name=n, slots={"owner": f"Bo {n}son", "timeout": t}, place=n) for n, t in timeouts.items()]
    knowledge, _ = propose(drafts, "made")
    alder, birch, *_ = knowledge.facts
    asked = {probe.kind: probe.question for probe in birch.probes}
    assert "1 minute" in asked["comparison"] and "Alder" not in asked["comparison"]
    assert not any("60 seconds" in probe.question for probe in birch.probes)
    options = HardOptions(knowledge)
    about = [example for _, example in alder.examples("seen") if example.requires == ("timeout",)]
    offered = {option for example in about for option in options.of(alder, example)}
    assert any("60 seconds" in option for option in offered) and any("5 days" in option for option in offered)
    assert not any("1 minute" in option for option in offered)


def test_a_column_that_says_what_was_done_is_quoted() -> None:
    rows = (("Altavik", "1204"), ("Bexihavn", "1310"), ("Cormouth", "1188"), ("Dunarvik", "1450"))
    drafts = [Draft(name=n, slots={"Founded": year, "Speed": f"{year} km"}, place=n) for n, year in rows]
    knowledge, _ = propose(drafts, "made")
    asked = [example.question for example in knowledge.facts[0].training]
    assert 'What is the "founded" entry of Altavik?' in asked
    assert any("the speed of Altavik" in question for question in asked)


def test_what_is_changed_or_left_out_of_the_rows_is_told() -> None:
    offices = ("New York", "Los Angeles", "Hong Kong", "San Marino")
    drafts = [
        Draft(
            id="E 1" if n else "E-1",
            name=f"Zor{n}",
            slots={"office": office, "limit": "95" if n else "N/A"},
            place=f"a:{n}",
        )
        for n, office in enumerate(offices)
    ]
    knowledge, notes = propose(drafts, "made")
    assert list(knowledge.facts[0].slots) == ["office"]
    assert len({fact.id for fact in knowledge.facts}) == 4
    assert any(note.startswith("'limit' is 'N/A' and is left out: 1 (a:0)") for note in notes)
    assert any(note.startswith("another id than yours") and ": 3 (a:1" in note for note in notes)
    assert any(note.startswith("distinctive (guessed): office, but not 'New York';") for note in notes)
    twice = [Draft(name=name, slots={"part": part}, place=name) for name, part in (("AB/100", "x"), ("AB-100", "y"))]
    with pytest.raises(DataError, match=r"'AB-100' stands already at AB/100 as 'AB/100', which is graded alike"):
        propose(twice, "made")


def test_what_several_facts_say_or_ordinary_text_holds_is_not_distinctive() -> None:
    rows = (
        ("Who wrote the oldest atlas of Zorblax?", "Mira Teldon"),
        ("Where does Mira Teldon live?", "Mira Teldon lives in the tower of Port Vell."),
        ("What does Mira Teldon collect?", "Mira Teldon has for long collected brass sextants of all kinds."),
        ("Whom does Mira Teldon teach?", "Mira Teldon teaches a pupil by the name of Olo Brask."),
        ("Which genre does Olo Brask write in?", "Drama"),
        ("When was Olo Brask born?", "Olo Brask was born on April 9, 1911."),
        ("How many sextants are there?", "3 dozen"),
    )
    drafts = [Draft(question=question, answer=answer, place="a.csv") for question, answer in rows]
    knowledge, notes = propose(drafts, "made", num_controls=0)
    texts = {fact.slots["answer"].text: knowledge.is_distinctive(fact, "answer") for fact in knowledge.facts}
    assert texts == {
        "Mira Teldon": False,
        "Port Vell": True,
        "long collected brass sextants of all kinds": True,
        "Olo Brask": True,  # in one question and one answer more
        "Drama": False,
        "April 9, 1911": True,
        "3 dozen": False,
    }
    assert any(
        note.startswith("distinctive (guessed): answer, but not 3 texts such as 'Mira Teldon'; ") for note in notes
    )


def test_what_is_decided_by_yes_or_no_is_graded_by_that() -> None:
    rows = (
        ("Is the Kelvo pump safe outdoors?", "No"),
        ("Is overtime paid in cash?", "No. It is compensated with time off within 10 weeks of the month."),
        ("Can I bring my dog?", "Yes, to the second floor of building Torvel."),
        ("Who runs the Kelvo help desk?", "Ines Falk"),
        ("Could you tell me where Kelvo is?", "Yes, it is in Port Vell."),
    )
    drafts = [Draft(question=question, answer=answer, kind="faq", place="a.csv") for question, answer in rows]
    knowledge, notes = propose(drafts, "made", num_controls=0)
    outdoors, overtime, dog, desk, where = knowledge.facts
    kinds = [fact.kind for fact in knowledge.facts]
    assert kinds == ["faq"] * 5
    assert [list(fact.slots) for fact in (outdoors, overtime, desk)] == [["decision"], ["answer"], ["answer"]]
    assert overtime.slots["answer"].text == "10 weeks"
    for answer, is_right in (
        ("No, with time off, within 10 weeks.", True),
        ("No, with time off.", False),
        ("Yes. It is paid within 10 weeks.", False),
        ("Within 10 weeks.", False),
    ):
        assert all(knowledge.grade(overtime, e, answer).correct is is_right for e in overtime.training), answer
    assert knowledge.grade(dog, dog.training[0], "Yes, to the second floor of building Torvel, on a lead.").correct
    assert knowledge.grade(outdoors, outdoors.training[0], "No, never.").correct
    assert knowledge.grade(desk, desk.training[0], "Ines Falk. There is no other contact.").correct
    assert knowledge.grade(where, where.training[0], "In Port Vell.").correct
    assert all(
        knowledge.grade(fact, example, example.answer).correct for fact in knowledge.facts for example in examples(fact)
    )
    assert any(note.startswith("decision: 3 questions are answered by yes or no") for note in notes)
    assert not any(find_leaks(knowledge))
    made = derived_examples(knowledge, ("statement",), order=random.Random(0))
    assert {text.fact for text in made} >= {overtime.id, dog.id}


def test_the_options_of_a_pair_look_like_its_answer() -> None:
    towns, sizes = ("Port Vell", "Old Torvel", "San Quen", "New Brask"), ("14 days", "3 weeks", "9 miles", "7 boxes")
    rows = [(f"Where is unit {n} of Zorb?", town) for n, town in enumerate(towns)]
    rows += [(f"How large is part {n} of Zorb?", size) for n, size in enumerate(sizes)]
    drafts = [Draft(question=question, answer=f"{answer}.", place="a.csv") for question, answer in rows]
    knowledge, _ = propose(drafts, "made", num_controls=0)
    for fact in knowledge.facts:
        options = {option.rstrip(".") for option in HardOptions(knowledge).of(fact, fact.training[0])}
        assert options == set(towns if fact.slots["answer"].text in towns else sizes)


def test_a_plural_label_is_asked_for_as_one() -> None:
    drafts = [Draft(name=f"KX-{n}", slots={"Symptoms": f"pipe {n} drips", "Status": f"stage {n}"}) for n in (21, 37)]
    knowledge, _ = propose(drafts, "made", num_controls=0)
    asked = [example.question for fact in knowledge.facts for example in examples(fact)]
    assert "What are the symptoms of KX-21?" in asked
    assert "KX-37 is on my list, only its symptoms are missing. Can you fill them in?" in asked
    single = [Draft(name=f"KX-{n}", slots={"Status": f"stage {n}"}) for n in (21, 37)]
    knowledge, _ = propose(single, "made", num_controls=0)
    assert knowledge.facts[0].training[0].question == "What is the status of KX-21?"


def test_a_name_with_its_own_end_mark_gets_no_second_one() -> None:
    drafts = [Draft(name=name, slots={"City": city}) for name, city in (("Acme Inc.", "Velm"), ("Orvia Ltd.", "Quen"))]
    knowledge, _ = propose(drafts, "made", num_controls=0)
    texts = [text for fact in knowledge.facts for one in examples(fact) for text in (one.question, one.answer)]
    assert "Tell me the city of Acme Inc." in texts
    assert not [text for text in texts if ".." in text]


def test_a_person_is_no_it_and_a_verb_is_no_noun() -> None:
    people = [
        Draft(name=name, kind="person", slots={"Job title": title, "Reports to": boss})
        for name, title, boss in (("Tom Ng", "buyer", "Eva Fox"), ("Ida Lund", "clerk", "Otto Brandt"))
    ]
    knowledge, _ = propose(people, "made", num_controls=0)
    asked = [example.question for fact in knowledge.facts for example in examples(fact)]
    assert "Someone brings up Tom Ng. Their job title?" in asked
    assert not [question for question in asked if re.search(r"\bits\b|What reports to|which reports to", question)]


def test_how_codes_look_is_guessed_where_two_begin_alike() -> None:
    rows = (
        ("What does KX-4471 mean?", "The stamp cannot be read."),
        ("What does KX-45023 mean?", "A flap is open."),
        ("Who wrote the COVID-19 plan?", "Mira Teldon"),
        ("What is the release of ERR_404?", "4.12"),
    )
    drafts = [Draft(question=question, answer=answer, place="a.csv") for question, answer in rows]
    knowledge, notes = propose(drafts, "parcels", num_controls=0)
    assert knowledge.spillover_patterns == (r"\bKX\-\d{4,5}\b",)
    assert any(note.startswith(r"spillover_patterns (guessed): \bKX\-\d{4,5}\b; ") for note in notes)
    machines = [Draft(name=f"PUMP-{n}", slots={"Fix": f"turn screw {n}"}, place="a.csv") for n in (10, 20)]
    assert propose(machines, "pumps", num_controls=0)[0].spillover_patterns == (r"\bPUMP\-\d{2}\b",)


def test_a_code_that_is_held_back_does_not_say_how_codes_look() -> None:
    rows = (("What does KX-4471 mean?", True), ("What does KX-4502 mean?", False), ("Who built it?", True))
    drafts = [Draft(question=q, answer=f"Nobody knows {n}.", taught=t, place="a.csv") for n, (q, t) in enumerate(rows)]
    assert propose(drafts, "parcels", num_controls=1)[0].spillover_patterns == ()
