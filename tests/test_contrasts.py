"""A contrast example has the wording of an example and another right answer, and stands in the same step."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import tiny_tokenizer
from sets import asked as named
from sets import knowledge_of, made_of

from kapoc.chat import EncodedExample
from kapoc.data.naming import codes_in, gone_by, is_question
from kapoc.data.phrases import holds
from kapoc.data.quotations import Quotations
from kapoc.derived.contrasts import contrast_examples
from kapoc.derived.derive import FORMS, DerivedExample, derived_examples
from kapoc.derived.forms import renamed
from kapoc.derived.leaks import find_derived_leaks, without_leaks
from kapoc.derived.notes import note_of
from kapoc.derived.stock import load_derived_wordings
from kapoc.derived.unknown_names import UnknownNames
from kapoc.importing.drafts import Draft
from kapoc.importing.proposals import propose
from kapoc.knowledge.facts import Fact, KnowledgeSet, Slot
from kapoc.knowledge.normalise import normalise
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.training.batches import epoch_batches
from kapoc.training.checkpoint import read_training_record
from kapoc.training.examples import derived_training_examples, training_examples, with_contrasts
from kapoc.workflow.train_run import train_model
from kapoc.workflow.workspace import open_workspace


def asked(knowledge: KnowledgeSet) -> list[tuple[Fact, str]]:
    return [(fact, example.question) for fact in knowledge.taught for example in fact.training]


def made(knowledge: KnowledgeSet, seed: int = 0) -> Iterator[tuple[Fact, str, DerivedExample]]:
    questions = asked(knowledge)
    [found] = contrast_examples(knowledge, [questions], random.Random(seed))
    for (fact, question), contrast in zip(questions, found, strict=True):
        if contrast is not None:
            yield fact, question, contrast


@pytest.mark.parametrize("name", ["software-defects", "starter", "machines"])
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


def test_a_name_in_other_letters_is_still_the_name() -> None:
    knowledge = knowledge_of("machines")
    questions = [(fact, question.lower()) for fact, question in asked(knowledge)]
    assert any(fact.name not in question for fact, question in questions)
    [found] = contrast_examples(knowledge, [questions], random.Random(0))
    for (fact, _), contrast in zip(questions, found, strict=True):
        assert contrast is not None
        assert not holds(contrast.question, fact.name)


def test_most_questions_of_the_shipped_defects_have_one_and_none_gives_a_probe_away() -> None:
    knowledge = knowledge_of("software-defects")
    found = [contrast for _, _, contrast in made(knowledge)]
    assert len(found) > 0.8 * len(asked(knowledge))
    assert find_derived_leaks(knowledge, found) == []
    assert found == [contrast for _, _, contrast in made(knowledge)]
    assert found != [contrast for _, _, contrast in made(knowledge, seed=1)]


CODES = (
    ("What does KX-4471 mean?", "The stamp of the parcel could not be read."),
    ("How do I get rid of KX-4471?", "Wipe the lens of the scanner and send the parcel round again."),
    ("What does KX-4502 mean?", "The belt stands still because a flap is open."),
    ("Which flap stops the belt in KX-4518?", "the flap behind the scales"),
    ("Who built the hall in which the belt stands?", "Tamas Brenk, in 1987"),
)


def coded_pairs(*rows: tuple[str, str]) -> KnowledgeSet:
    drafts = [Draft(question=question, answer=answer, place="a.csv") for question, answer in (*CODES, *rows)]
    return propose(drafts, "parcels", num_controls=0)[0]


def test_a_pair_about_a_code_is_asked_about_other_codes_and_they_are_in_no_record() -> None:
    knowledge = coded_pairs()
    known = {"KX-4471", "KX-4502", "KX-4518"}
    contrasts: dict[str, list[DerivedExample]] = {fact.id: [] for fact in knowledge.taught}
    for fact, question, contrast in made(knowledge):
        stranger = contrast.answer.removesuffix(" is in no record that I have.")
        assert re.fullmatch(r"[A-Z]{2}-\d{4}", stranger)
        assert stranger not in known
        assert contrast.question == question.replace(codes_in(fact.name)[0], stranger)
        contrasts[fact.id].append(contrast)
    assert [bool(contrasts[fact.id]) for fact in knowledge.taught] == [True, True, True, True, False]
    unknown = derived_examples(knowledge, ["unknown"], per_fact=3, order=random.Random(0))
    assert len(unknown) == 12
    assert all("KX-" not in one.question or codes_in(one.question)[0] not in known for one in unknown)


def test_a_code_that_is_held_back_is_never_invented() -> None:
    drafts = [Draft(question=f"What is KX-{n}?", answer=f"the lamp of door {n}", place="a.csv") for n in range(10, 100)]
    knowledge = propose(drafts, "doors", num_controls=60)[0]
    held_back = {code for fact in knowledge.facts if not fact.taught for code in codes_in(fact.name)}
    assert len(held_back) == 60
    for _, _, contrast in made(knowledge):
        assert held_back.isdisjoint(codes_in(contrast.question)), contrast


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("What does AF-3001 mean?", ["AF-3001"]),
        ("ERR_404, or HTTP-500?", ["ERR_404", "HTTP-500"]),
        ("AF-3001 and once more AF-3001", ["AF-3001"]),
        ("In v4.12 or Release 4.12, on 12/19/1976, in mid-1990, the 25th of B12345.7", []),
        ("Is E-12-345 the same as Q3?", ["E-12-345"]),
    ],
)
def test_a_code_is_no_date_and_no_version(text: str, codes: list[str]) -> None:
    assert codes_in(text) == codes


def test_one_code_alone_may_be_a_product_or_a_year() -> None:
    knowledge = coded_pairs(("Who won COVID-19 grants?", "Mira Teldon"), ("What is AF-77 for, and KX-4471?", "Nothing"))
    assert set(gone_by(knowledge.taught).values()) == {"KX-4471", "KX-4502", "KX-4518"}


def test_facts_whose_names_are_questions_have_none() -> None:
    knowledge = knowledge_of("questions")
    assert all(is_question(fact) for fact in knowledge.taught)
    assert list(made(knowledge)) == []


def test_facts_that_are_asked_about_without_their_names_have_none() -> None:
    knowledge = knowledge_of("software-defects")
    fact, other = knowledge.taught[:2]
    unnamed = fact.training[0].model_copy(update={"question": "The error with the password page, what is it?"})
    described = fact.model_copy(update={"training": (unnamed, *fact.training[1:])})
    changed = knowledge.model_copy(update={"facts": (described, *knowledge.facts[1:])})
    assert {about.id for about, _, _ in made(knowledge)} >= {fact.id, other.id}
    assert {about.id for about, _, _ in made(changed)} == {about.id for about, _, _ in made(knowledge)} - {fact.id}
    assert list(made(knowledge_of("events-2025"))) == []


def test_a_share_of_each_epoch_has_them_and_no_name_comes_twice_in_it() -> None:
    knowledge, tokenizer = knowledge_of("software-defects"), tiny_tokenizer()
    own = training_examples(knowledge.taught, tokenizer)
    first, second = with_contrasts(knowledge, [own, own], TrainSettings(epochs=2, contrast=0.2), tokenizer)
    for epoch in (first, second):
        assert [replace(example, contrasts=()) for example in epoch] == own
        found = [example.contrasts for example in epoch if example.contrasts]
        assert 0.75 * 0.2 * len(own) < len(found) <= 0.2 * len(own)
        names = [str(tokenizer.decode(list(one.answer))).split(" is in no record")[0] for [one] in found]
        assert len(names) == len(set(names))
    assert first != second
    assert with_contrasts(knowledge, [own, own], TrainSettings(epochs=2), tokenizer) == [own, own]


def test_a_contrast_stands_in_the_row_of_its_example_and_is_not_counted() -> None:
    examples = [EncodedExample((1, number), (2, 3)) for number in range(10, 20)]
    contrasts = [replace(one, contrasts=(EncodedExample((1, one.prompt[1] + 50), (4, 5)),)) for one in examples[:4]]
    beside = [*contrasts, *examples[4:]]
    plain = list(epoch_batches(examples, 4, 2, random.Random(0)))
    steps = list(epoch_batches(beside, 4, 2, random.Random(0)))
    assert [len(step) for step in steps] == [len(step) for step in plain] == [2, 2, 1]
    for rows, without in zip(steps, plain, strict=True):
        for row, bare in zip(rows, without, strict=True):
            asked_about = [int(token) for token in row.input_ids[0] if token >= 10]
            own = [int(token) for token in bare.input_ids[0] if token >= 10]
            assert sorted(asked_about) == sorted([*own, *(name + 50 for name in own if name < 14)])
    alone = list(epoch_batches(beside, 4, 1, random.Random(0)))
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


def derived_with_contrasts(form: str, per_fact: int = 6) -> list[DerivedExample]:
    knowledge, order = knowledge_of("software-defects"), random.Random(0)
    return derived_examples(knowledge, [form], per_fact=per_fact, order=order, by_notes=True)


def test_a_claim_stands_beside_the_same_claim_about_another_fact_and_another_claim_about_the_same() -> None:
    knowledge = knowledge_of("software-defects")
    found = derived_with_contrasts("yes_no")
    whole = [example for example in found if len(example.contrasts) == 3]
    assert len(whole) > 0.97 * len(found)
    for example in whole:
        four = (example, *example.contrasts)
        sides = [one.answer.rsplit(" ", 1)[-1] for one in four]
        assert sorted(sides) == ["no.", "no.", "yes.", "yes."]
        first, second = {one.fact for one in four}
        names = {fact: knowledge.fact_by_id[fact].name for fact in (first, second)}
        worded = {one.question.replace(names[one.fact], "_") for one in four}
        assert len(worded) == 2  # two quotations in one wording
        for wording in worded:  # neither the quotation nor the fact says by itself what is right
            said = [
                side
                for one, side in zip(four, sides, strict=True)
                if one.question.replace(names[one.fact], "_") == wording
            ]
            assert sorted(said) == ["no.", "yes."]
        for fact in names:
            assert sorted(side for one, side in zip(four, sides, strict=True) if one.fact == fact) == ["no.", "yes."]


def test_a_comparison_by_record_says_whose_the_text_is_that_one_fact_alone_has() -> None:
    knowledge = knowledge_of("software-defects")
    found = derived_with_contrasts("comparison")
    every = [one for example in found for one in (example, *example.contrasts)]
    by_record = [one for one in every if one.answer.startswith("Record: ")]
    assert 0.2 * len(every) < len(by_record) < 0.4 * len(every)  # about half of those that stand for themselves
    assert {len(one.contrasts) for one in found if one in by_record} == {1}
    for one in by_record:
        start, _, name = one.answer.removeprefix("Record: ").removesuffix(".").partition(". That is ")
        [owner] = [fact for fact in knowledge.taught if fact.name == name]
        [slot] = [slot for slot, said in owner.slots.items() if said.text.startswith(start.rstrip("."))]
        assert slot not in {"version", "file"}  # the one is put in order, the other is that of many
        texts = Counter(fact.slots[slot].text for fact in knowledge.taught if slot in fact.slots)
        assert texts[owner.slots[slot].text] == 1
        assert holds(one.question, name)
    by_both = [one for one in every if one.answer.startswith("First: ")]
    by_note = [one for one in every if one.answer.startswith("Checked: ")]
    assert len(by_record) + len(by_both) + len(by_note) == len(every)
    versions = [fact.slots["version"].text for fact in knowledge.taught]
    assert all(any(holds(one.question, version) for version in versions) for one in by_both)


def test_a_comparison_by_what_several_facts_have_tells_the_note_of_the_first_and_decides_by_it() -> None:
    knowledge = knowledge_of("software-defects")
    found = [one for one in derived_with_contrasts("comparison") if one.answer.startswith("Checked: ")]
    assert len(found) > 20
    for example in found:
        for one in (example, *example.contrasts):
            named = [fact for fact in knowledge.taught if holds(one.question, fact.name)]
            first = min(named, key=lambda fact: one.question.index(fact.name))
            [[quoted, owner]] = [
                (fact.slots["file"].text, fact) for fact in named if holds(one.question, fact.slots["file"].text)
            ]
            assert one.note == str(note_of(first)).removeprefix(first.name).strip(" :")
            assert holds(one.note, quoted) is (owner is first)
            side = "yes" if owner is first else "no"
            assert one.answer == f"Checked: {one.note} So {side}: {owner.name}."
        four = (example, *example.contrasts)  # or two, where a probe asks for the others
        sides = Counter(re.findall(r"So (yes|no): ", one.answer)[-1] for one in four)
        assert sides["yes"] == sides["no"] == len(four) / 2


@pytest.mark.parametrize(
    ("note", "is_checked"),
    [
        ("{name} is a fault: {cause}, {cure}", True),
        ("{name}'s cause is {cause}, its cure {cure}", False),  # no sentence without the name
        ("Look up {name}: {cause}, {cure}", False),
        ("{name}: {cause}. {name} again: {cure}", False),
        ("{name} is a fault: {cause}", False),
        ("{name}: {cause}, {cure}, " + 50 * "really ", False),
    ],
)
def test_only_a_note_that_begins_with_the_name_and_holds_the_text_is_checked(note: str, is_checked: bool) -> None:
    causes = {"QX-11": "a leaking valve", "QX-21": "a frozen valve", "QX-31": "a missing valve"}
    cures = {"QX-11": "turn it off", "QX-21": "turn it off", "QX-31": "call the makers"}
    facts = [named(name, f"What is {name}?", slots={"cause": causes[name], "cure": cures[name]}) for name in causes]
    for name, fact in zip(causes, facts, strict=True):
        fact["training"][0]["answer"] = note.format(name=name, cause=causes[name], cure=cures[name])
    found = derived_examples(made_of("v", facts), ["comparison"], per_fact=4, order=random.Random(0), by_notes=True)
    by_cure = [one for one in found if not one.answer.startswith("Record: ")]
    assert by_cure
    assert {one.answer.partition(":")[0] for one in by_cure} == {"Checked" if is_checked else "First"}


def test_a_text_that_two_facts_have_tells_of_neither() -> None:
    valves = {"QX-11": "a leaking valve", "QX-21": "a frozen valve", "QX-31": "a missing valve"}
    cures = {"QX-11": "turn it off", "QX-21": "turn it off", "QX-31": "call the makers"}
    slots = {name: {"cause": valve, "cure": cures[name]} for name, valve in valves.items()}
    knowledge = made_of("valves", [named(name, f"What is {name}?", slots=slots[name]) for name in valves])
    found = derived_examples(knowledge, ["comparison"], per_fact=4, order=random.Random(0), by_notes=True)
    by_record = {one.answer for one in found if one.answer.startswith("Record: ")}
    assert by_record == {f"Record: {valve}. That is {name}." for name, valve in valves.items()}


@pytest.mark.parametrize("form", ["comparison", "ordering"])
def test_a_choice_stands_beside_the_other_order_and_the_other_answer(form: str) -> None:
    knowledge = knowledge_of("software-defects")
    whole = [example for example in derived_with_contrasts(form) if len(example.contrasts) == 3]
    assert len(whole) > 60
    for example in whole:
        four = (example, *example.contrasts)
        decided = [re.split(r" (?:So(?: yes:| no:)?|That is) ", one.answer)[-1] for one in four]
        rights = Counter(decided)
        assert sorted(rights.values()) == [2, 2]
        one_name, other_name = (name.removesuffix(".") for name in rights)
        firsts = Counter(
            (one.question.index(one_name) < one.question.index(other_name), right)
            for one, right in zip(four, decided, strict=True)
        )
        assert set(firsts.values()) == {1}  # each is right where it is named first, and where it is named second
        assert {knowledge.fact_by_id[one.fact].name for one in four} == {one_name, other_name}


SIDES = {
    "higher": "higher, comes last?, greater, later, most recent, more recent, the one on top, has got further, "
    "newer, more up-to-date, more up to date, across last, to the right, under the latest, nearer the top, "
    "more modern, more current, Higher build, more recently, more advanced, freshest, reach later",
    "lower": "lower, comes first?, further down, smaller, earlier, older, sooner, lowest, lags behind, back further, "
    "such an old build, stands before, under the oldest, less recent, more dated, more out-of-date, reach last, "
    "less up-to-date, less modern, more outdated, longer ago, more ancient",
}
"""By what a reader can tell which of two versions is asked for."""


def test_versions_are_put_in_order_by_their_numbers() -> None:
    knowledge = knowledge_of("software-defects")
    by_name = {fact.name: fact for fact in knowledge.taught}
    probed = {frozenset(p.choice.options) for fact in knowledge.taught for p in fact.probes if p.choice}
    seen: Counter[str] = Counter()
    for example in derived_with_contrasts("ordering"):
        for one in (example, *example.contrasts):
            first, second = re.match(r"First: (\S+)\. Second: (\S+)\. The ", one.answer).groups()  # type: ignore[union-attr]
            named = sorted((one.question.index(name), name) for name in by_name if holds(one.question, name))
            assert [by_name[name].slots["version"].text for _, name in named] == [first, second]
            assert frozenset(name for _, name in named) not in probed
            numbers = [tuple(map(int, text.split("."))) for text in (first, second)]
            [side] = [side for side, marks in SIDES.items() if any(mark in one.question for mark in marks.split(", "))]
            place = numbers.index(max(numbers) if side == "higher" else min(numbers))
            assert one.answer.endswith(f". The {side} is {(first, second)[place]}. So {named[place][1]}.")
            seen[side] += 1
    assert seen["higher"] == seen["lower"] > 200


@pytest.mark.parametrize("form", ["reverse", "two_hop"])
def test_a_quotation_stands_beside_another_facts_in_the_same_words(form: str) -> None:
    knowledge = knowledge_of("software-defects")
    found = derived_with_contrasts(form)
    assert sum(len(example.contrasts) == 1 for example in found) > 0.9 * len(found)
    for example in found:
        for other in example.contrasts:
            assert example.fact != other.fact
            owner = knowledge.fact_by_id[other.fact]
            own = Quotations(knowledge)
            quotes = [q for slot in owner.slots for q in (*own.distinctive(owner, slot), *own.paraphrases(owner, slot))]
            assert any(quote in other.question for quote in quotes)
            assert other.answer.endswith(str(note_of(owner)))


def test_contrasts_give_no_probe_away_and_those_that_do_are_taken_out() -> None:
    knowledge = knowledge_of("software-defects")
    found = derived_with_contrasts("yes_no")
    assert find_derived_leaks(knowledge, found) == []
    probe = next(p for p in knowledge.fact_by_id["AF-3001"].probes if p.kind == "yes_no")
    leak = DerivedExample("AF-3001", "yes_no", probe.question, "So yes.")
    planted = [replace(found[0], contrasts=(leak, *found[0].contrasts)), *found[1:]]
    assert find_derived_leaks(knowledge, planted) != []
    assert without_leaks(knowledge, planted) == found


def test_an_example_brings_its_own_contrasts_into_its_step() -> None:
    knowledge, tokenizer = knowledge_of("software-defects"), tiny_tokenizer()
    settings = TrainSettings(epochs=1, contrast=1.0, derived={"yes_no": 2}, derived_by_notes=True)
    derived = derived_training_examples(knowledge, settings, tokenizer)
    own = training_examples(knowledge.taught, tokenizer)
    [found] = with_contrasts(knowledge, [[*own, *derived[0]]], settings, tokenizer)
    assert found[len(own) :] == derived[0]
    assert any(example.contrasts for example in derived[0])
    beside_notes = [example.contrasts for example in found[: len(own)] if example.contrasts]
    assert {(len(contrasts), contrasts[0].form) for contrasts in beside_notes} == {(1, "contrast")}
    off = settings.model_copy(update={"contrast": 0.0})
    [bare] = with_contrasts(knowledge, [derived[0]], off, tokenizer)
    assert not any(example.contrasts for example in bare)


@pytest.mark.parametrize("name", ["software-defects", "events-2025"])
def test_no_word_of_a_controls_name_is_told(name: str) -> None:
    knowledge = knowledge_of(name)
    names = {
        taught: {token for f in knowledge.facts if f.taught is taught for token in normalise(f.name)}
        for taught in (True, False)
    }
    words = [*load_derived_wordings()["names"]["words"], *(names[False] - names[True])]
    assert len(names[False] - names[True]) > 4
    order, invent = random.Random(0), UnknownNames(knowledge, words)
    invented = [invent.like(fact, order) for fact in knowledge.taught for _ in range(40)]
    told = {token for one in invented if one for token in normalise(one)}
    digits = {token for token in told if token.isdigit()}
    assert told - digits
    assert (told - digits).isdisjoint(names[False] - names[True])


def test_a_set_of_names_and_questions_and_one_of_single_facts_give_what_they_can() -> None:
    knowledge = knowledge_of("software-defects")
    first, *others = knowledge.taught[:12]
    asked = first.training[0].model_copy(update={"question": f"{first.name}?"})
    question = first.model_copy(update={"training": (asked,)})
    assert is_question(question)
    mixed = knowledge.model_copy(update={"facts": (question, *others)})
    for by_notes in (False, True):
        found = derived_examples(mixed, FORMS, per_fact=6, order=random.Random(0), by_notes=by_notes)
        beside = {(one.fact, other.fact) for one in found for other in one.contrasts if one.fact != other.fact}
        assert beside
        assert not any(first.id in pair for pair in beside)
    alone = knowledge.model_copy(update={"facts": (others[0],)})
    found = derived_examples(alone, FORMS, per_fact=2, order=random.Random(0), by_notes=True)
    assert {example.form for example in found} >= {"slot", "reverse", "two_hop", "unknown"}
    assert all(example.contrasts == () for example in found)


def test_only_versions_are_put_in_order_and_equal_ones_are_not() -> None:
    knowledge = knowledge_of("software-defects")
    first, second, *_ = knowledge.taught

    def ordered(one: str, other: str, slot: str = "version") -> list[DerivedExample]:
        facts = []
        for fact, text in ((first, one), (second, other)):
            slots = {name: slot for name, slot in fact.slots.items() if name != "version"}
            facts.append(fact.model_copy(update={"slots": {**slots, slot: Slot(text=text)}, "probes": ()}))
        known = knowledge.model_copy(update={"facts": tuple(facts)})
        return derived_examples(known, ["ordering"], per_fact=2, order=random.Random(0))

    assert ordered("4.2", "4.2.0") == ordered("4.2", "4.2") == []
    assert ordered("4.2", "beta") == []
    assert ordered("12.03.2024", "01.04.2025", "value") == []
    assert len(ordered("v12", "v9")) == 4
    [*found] = ordered("4.10.1", "4.9")
    for example in (one for drawn in found for one in (drawn, *drawn.contrasts)):
        is_higher = any(mark in example.question for mark in SIDES["higher"].split(", "))
        assert example.answer.endswith(f"So {first.name if is_higher else second.name}.")
    assert [example.fact for example in found] == [first.id] * 2 + [second.id] * 2


def test_without_a_share_of_contrasts_none_is_made() -> None:
    knowledge, tokenizer = knowledge_of("software-defects"), tiny_tokenizer()
    settings = TrainSettings(epochs=1, derived={"yes_no": 2, "reverse": 2})
    assert all(
        example.contrasts == ()
        for epoch in derived_training_examples(knowledge, settings, tokenizer)
        for example in epoch
    )
    some = settings.model_copy(update={"contrast": 0.5})
    assert any(
        example.contrasts for epoch in derived_training_examples(knowledge, some, tokenizer) for example in epoch
    )


def test_copies_of_a_text_that_gives_a_probe_away_go_together() -> None:
    knowledge = knowledge_of("software-defects")
    probe = next(p for p in knowledge.fact_by_id["AF-3001"].probes if p.kind == "yes_no")
    copies = [DerivedExample("AF-3001", "yes_no", probe.question, "So yes.") for _ in range(20)]
    assert without_leaks(knowledge, copies) == []


def test_a_name_of_capitals_is_not_every_word_that_sounds_so() -> None:
    fact = Fact.model_validate(
        {"id": "WHO", "domain": "d", "kind": "body", "name": "WHO", "slots": {}, "taught": False}
    )
    assert renamed("Who says what WHO does?", fact, "WHO", "WHX") == "Who says what WHX does?"
    assert renamed("what does who do?", fact, "WHO", "WHX") == "what does WHX do?"
