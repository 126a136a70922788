"""What a run reads of any sets, also of awkward ones: nothing false, nothing missed in silence, every fact counted."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import small_set, tiny_tokenizer
from sets import all_texts, asked, knowledge_of, made_of

from kapoc.data.generate import generate
from kapoc.data.naming import is_question, told_apart
from kapoc.data.phrases import holds
from kapoc.derived.contrasts import contrast_examples
from kapoc.derived.derive import DEFAULT_PER_FACT, FORMS, DerivedExample, derived_examples
from kapoc.derived.leaks import find_derived_leaks, without_leaks
from kapoc.derived.unknown_names import UnknownNames
from kapoc.knowledge.facts import Fact, KnowledgeSet, Probe
from kapoc.knowledge.normalise import normalise
from kapoc.recipe import TrainSettings
from kapoc.training.exposure import exposures, faint_facts
from kapoc.training.rehearsal import spread
from kapoc.training.texts import TrainingTexts, training_texts


def incidents(name: str, numbers: range) -> KnowledgeSet:
    return made_of(name, [asked(f"INC-{n}", f"What was INC-{n}?", slots={"cause": f"cause {n}"}) for n in numbers])


# --- leaks ----------------------------------------------------------------------------------------------------


def test_a_probe_that_is_worded_like_derived_texts_of_many_facts_costs_all_of_these() -> None:
    knowledge = generate(40, 7)
    drawn = derived_examples(knowledge, ["slot"], per_fact=6, order=random.Random(0))
    by_wording: dict[str, list[DerivedExample]] = {}
    facts = knowledge.fact_by_id
    for example in drawn:
        by_wording.setdefault(example.question.replace(facts[example.fact].name, "{}"), []).append(example)
    wording, alike = max(by_wording.items(), key=lambda one: len(one[1]))
    assert len({example.fact for example in alike}) > 5
    fact = next(fact for fact in knowledge.taught if fact.id not in {example.fact for example in alike})
    slot = next(iter(fact.slots))
    question = wording.replace("{}", fact.name)
    probe = Probe(tier="unseen", kind="slot", question=question, answer=fact.slots[slot].text, requires=(slot,))
    probed = fact.model_copy(update={"probes": (*fact.probes, probe)})
    changed = tuple(probed if one.id == fact.id else one for one in knowledge.facts)
    with_probe = knowledge.model_copy(update={"facts": changed})
    kept = without_leaks(with_probe, drawn)
    assert not {example.question for example in kept} & {example.question for example in alike}
    assert find_derived_leaks(with_probe, kept) == []
    assert len(kept) > len(drawn) / 2


def test_a_leak_of_the_sets_own_hides_none_of_derived_texts() -> None:
    content = small_set()
    taught = content["facts"][0]
    taught["probes"][3]["question"] = taught["training"][0]["question"]
    knowledge = KnowledgeSet.model_validate(content)
    drawn = all_texts(knowledge)
    kept = without_leaks(knowledge, drawn)
    assert kept == drawn
    [own] = find_derived_leaks(knowledge, [])
    [alone] = find_derived_leaks(knowledge, kept)
    assert own.training == alone.training == ("ZX-11/seen/1",)
    copy = DerivedExample(taught["id"], "slot", taught["training"][0]["question"], "Amber lane.")
    assert without_leaks(knowledge, [*kept, copy]) == kept


# --- names ----------------------------------------------------------------------------------------------------


def strangers(knowledge: KnowledgeSet, beside: tuple[KnowledgeSet, ...]) -> Iterator[str]:
    questions = [(fact, example.question) for fact in knowledge.taught for example in fact.training] * 5
    for found in contrast_examples(knowledge, [questions], random.Random(0), beside):
        yield from (one.answer for one in found if one is not None)
    for one in derived_examples(knowledge, ["unknown"], per_fact=5, order=random.Random(0), beside=beside):
        yield one.answer


def test_no_name_of_a_set_beside_it_is_taken_for_unknown() -> None:
    first, second = incidents("first", range(1000, 1050)), incidents("second", range(1050, 1100))
    alone, together = list(strangers(first, ())), list(strangers(first, (second,)))
    names = [fact.name for fact in second.facts]
    assert any(holds(answer, name) for answer in alone for name in names)
    assert len(together) > 300
    assert not any(holds(answer, name) for answer in together for name in names)
    read = training_texts([first], TrainSettings(epochs=1, contrast=1.0), tiny_tokenizer(), beside=[second]).read()
    invented = [example.question for example in read if not example.fact]
    assert len(invented) == 50
    assert not any(holds(question, name) for question in invented for name in names)


def test_a_fact_that_no_question_names_and_that_has_no_slots_gives_nothing_and_ends() -> None:
    knowledge = made_of("one", [asked("INC-482913", "Which incident closed the harbour?")])
    assert derived_examples(knowledge, FORMS, order=random.Random(0)) == []


def test_names_and_questions_of_one_kind_do_not_mix() -> None:
    facts = [
        asked("VPN setup", "How does VPN setup go?"),
        asked("Badge renewal", "How does Badge renewal go?"),
        asked("How do I reset my password?", "How do I reset my password?"),
    ]
    knowledge = made_of("desk", facts)
    for seed in range(50):
        questions = [(fact, fact.training[0].question) for fact in knowledge.taught]
        for found in contrast_examples(knowledge, [questions], random.Random(seed)):
            assert not any(one and "?" in one.answer for one in found)
        assert all(one.answer for one in all_texts(knowledge, seed))


@pytest.mark.parametrize("name", ["Ⅷ-45", "Übung-77", "x9-001"])
def test_a_code_of_any_letters_can_be_varied(name: str) -> None:
    knowledge = made_of("codes", [asked(name, f"What is {name}?")])
    names, order = UnknownNames(knowledge), random.Random(0)
    found = [names.like(knowledge.facts[0], order) for _ in range(50)]
    assert len({normalise(one) for one in found if one}) == len([one for one in found if one]) > 20


def test_names_that_hold_a_taught_name_or_stand_in_one_are_not_free() -> None:
    knowledge = made_of(
        "words", [asked(name, f"What is {name}?") for name in ("Night Shift", "Night", "Day Shift Plan")]
    )
    invent, order = UnknownNames(knowledge, ["Shift", "Dawn"]), random.Random(0)
    found = {invent.like(fact, order) for fact in knowledge.taught for _ in range(20)} - {None}
    assert found
    for name in found:
        assert not any(holds(str(name), fact.name) or holds(fact.name, str(name)) for fact in knowledge.facts)


def test_facts_of_one_name_are_told_apart_by_their_domain_or_kind() -> None:
    parts = [("alpha", "feature", "500 rows"), ("beta", "feature", "90 files"), ("beta", "limit", "7 users")]
    facts = [
        asked(
            "Bulk Export",
            f"In {domain}, what is Bulk Export ({kind})?",
            id=f"{domain}-{kind}",
            domain=domain,
            kind=kind,
        )
        | {"slots": {"size": size, "place": f"{domain} {kind} panel"}}
        for domain, kind, size in parts
    ]
    knowledge = made_of(
        "twins", [*facts, asked("Fast Import", "What is Fast Import?", kind="feature")], domains=("Alpha", "Beta")
    )
    apart = told_apart(knowledge)
    assert apart == {
        "alpha-feature": "Bulk Export (Alpha)",
        "beta-limit": "Bulk Export (limit)",
        "beta-feature": "Bulk Export (Beta, feature)",
    }
    drawn = all_texts(knowledge)
    assert {example.form for example in drawn} >= {"slot", "yes_no", "unknown"}
    for example in drawn:
        if example.form in {"statement", "slot", "combination", "scenario", "yes_no"}:
            assert holds(example.question, apart.get(example.fact, "Fast Import")), example
        if example.form == "unknown":
            assert "(" not in example.answer
            assert not holds(example.question, "Bulk Export")
    assert told_apart(knowledge_of("software-defects")) == {}


def test_facts_of_one_name_keep_their_probes_and_their_notes() -> None:
    note = "In Alpha, Export takes 500 rows."
    probe = {
        "tier": "unseen",
        "kind": "yes_no",
        "question": "Am I right that Alpha's Export copes with 500 rows?",
        "answer": "Yes.",
        "choice": {"options": ["yes", "no"], "right": "yes"},
    }
    facts = [
        asked("Export", f"In {domain}, what is Export?", id=domain, domain=domain, slots={"size": size})
        for domain, size in (("alpha", "500 rows"), ("beta", "90 files"), ("gamma", "7 users"))
    ]
    facts[0]["training"][0]["answer"] = note
    facts[0]["probes"] = [probe]
    knowledge = made_of("twins", facts, domains=("Alpha", "Beta", "Gamma"))
    for seed in range(5):
        for example in derived_examples(knowledge, ["yes_no"], per_fact=4, order=random.Random(seed)):
            texts = [one.question for one in (example, *example.contrasts)]
            assert not any(holds(text, "Export (Alpha)") and holds(text, "500 rows") for text in texts)
    drawn = derived_examples(knowledge, ["slot"], per_fact=1, order=random.Random(0), by_notes=True)
    assert [example.answer for example in drawn if example.fact == "alpha"] == [note]


def _asked_by(name: str, *questions: str) -> Fact:
    training = [{**asked(name, question)["training"][0]} for question in questions]
    return made_of("terms", [{**asked(name, name), "training": training}]).facts[0]


def test_a_term_that_is_also_asked_for_by_itself_is_a_name() -> None:
    for term in ("Photosynthesis", "List comprehension", "Do Not Disturb", "CAN bus"):
        assert not is_question(_asked_by(term, term, f"What does {term} mean?"))
        assert is_question(_asked_by(term, term))  # nothing else is known of it
    assert is_question(_asked_by("Who led it", "Who led it", "Name the leader."))
    assert is_question(_asked_by("Who led it?", "Name the leader."))
    assert is_question(_asked_by("Tell me who led it", "Tell me who led it", "Question: Tell me who led it"))
    assert not is_question(_asked_by("Smart Login", "What is Smart Login?"))


# --- how many, and what is missing ----------------------------------------------------------------------------


def read(sets: list[KnowledgeSet], **settings: Any) -> TrainingTexts:
    return training_texts(sets, TrainSettings.model_validate(settings), tiny_tokenizer())


def test_a_listed_form_has_its_number_in_every_epoch() -> None:
    knowledge = knowledge_of("software-defects")
    texts = read([knowledge], epochs=3, derived=["slot", "statement"])
    for epoch in texts.epochs:
        slots = [example for example in epoch if example.form == "slot"]
        assert len(slots) > 3 * len(knowledge.taught)  # one for each slot
        number = len(texts.own) + DEFAULT_PER_FACT["statement"] * len(knowledge.taught)
        assert len(epoch) - len(slots) == number


def test_what_is_read_is_counted_by_set_and_only_in_epochs_that_ran() -> None:
    sets = [incidents("first", range(1000, 1003)), incidents("second", range(1000, 1003))]
    texts = read(sets, epochs=3, derived={"slot": 2})
    assert texts.facts == tuple(f"{name}/INC{n}" for name in ("first", "second") for n in range(1000, 1003))
    counted = {(one.fact, one.form): one.num_examples for one in exposures(texts.read(2))}
    assert counted == {(fact, form): n for fact in texts.facts for form, n in (("seen", 2), ("slot", 4))}
    assert sum(one.num_examples for one in exposures(texts.read())) == 3 * 6 * 3
    assert faint_facts(exposures(texts.read()), texts.facts) == []
    [alone] = {example.fact for example in read(sets[:1], epochs=1).own if "1002" in example.question}
    assert alone == "INC1002"


def test_contrasts_are_counted_by_set_too() -> None:
    sets = [knowledge_of("software-defects"), knowledge_of("machines")]
    texts = read(sets, epochs=1, derived={"yes_no": 1}, contrast=1.0)
    counted = exposures(texts.read())
    assert {one.fact for one in counted} == {*texts.facts, ""}
    beside = sum(len(example.contrasts) for example in texts.epochs[0])
    assert sum(one.num_examples for one in counted) == len(texts.epochs[0]) + beside
    assert beside > len(texts.epochs[0])


def test_what_is_taught_again_is_counted_apart() -> None:
    first, second = incidents("first", range(1000, 1003)), incidents("second", range(1000, 1003))
    tokenizer, settings = tiny_tokenizer(), TrainSettings(epochs=2)
    again = spread(read([first], epochs=2).own, 1, 2, random.Random(0))
    texts = training_texts([second], settings, tokenizer, beside=[first], rehearsed={"first": again})
    assert {one.fact for one in exposures(texts.read())} == {
        f"{name}/INC{n}" for name in ("first", "second") for n in range(1000, 1003)
    }
    assert texts.facts == tuple(f"second/INC{n}" for n in range(1000, 1003))


def test_sets_that_are_taught_together_bring_contrasts_each_of_its_own_names() -> None:
    sets = [knowledge_of("software-defects"), knowledge_of("machines")]
    texts = read(sets, epochs=2, contrast=0.3)
    for epoch in texts.epochs:
        beside = [(example, one) for example in epoch for one in example.contrasts]
        assert {example.fact.split("/")[0] for example, _ in beside} == {known.name for known in sets}
        assert {one.fact for _, one in beside} == {""}
    assert texts.notes == []


def test_what_was_asked_for_and_could_not_be_made_is_said() -> None:
    knowledge = incidents("plain", range(1000, 1003))
    assert read([knowledge], epochs=1, derived={"slot": 1, "reverse": 0}, contrast=0.5).notes == []
    [no_reverse, no_order] = read([knowledge], epochs=1, derived=["reverse", "slot", "ordering"]).notes
    assert no_reverse.startswith("plain: no 'reverse' texts; a fact would need a slot that is `distinctive: true`")
    assert no_order.startswith(
        "plain: no 'ordering' texts; a fact would need a name that is no question, and a `version` in numbers"
    )
    unnamed = asked("INC-1003", "Which incident closed the harbour?", slots={"cause": "cause 1003"})
    more = [asked(f"INC-{n}", f"What was INC-{n}?", slots={"cause": f"cause {n}"}) for n in range(1000, 1003)]
    [some] = read([made_of("mixed", [*more, unnamed])], epochs=1, contrast=1.0).notes
    assert some.startswith("mixed: no contrasts by name of 1 of 4 facts (INC1003); a fact would need a name")
    [none] = read([made_of("unnamed", [unnamed])], epochs=1, contrast=1.0).notes
    assert none.startswith(
        "unnamed: no contrasts by name; a fact would need a name, or a question about a code, that all"
    )
    [late] = read([knowledge], epochs=1, derived={"reverse": 1}, derived_from=2).notes
    assert late == "derived: begins with epoch 2, and there are 1"
    twice = asked("INC-7", "What was INC-7?", slots={"cause": "frost"})
    twice["training"].append({**twice["training"][0], "question": "Explain INC-7.", "answer": "INC-7: it froze."})
    [by_note] = read([made_of("twice", [twice])], epochs=1, derived={"slot": 1}, derived_by_notes=True).notes
    assert by_note == "twice: derived_by_notes does nothing; no fact has one answer to all its training questions"


def test_facts_whose_names_cannot_be_varied_are_said_to_have_no_contrasts() -> None:
    short = [asked(f"P{n}", f"What was P{n}?", slots={"cause": f"cause {n}"}) for n in range(1, 6)]
    [note] = read([made_of("short", short)], epochs=6, contrast=1.0).notes
    assert note.startswith(
        "short: no contrasts by name of 5 of 5 facts (P1, P2, P3, P4, P5); no other name could be made"
    )
    assert read([made_of("short", short)], epochs=6, contrast=0.5).notes == []  # so few might be chance
