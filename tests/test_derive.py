"""Derived examples are true, graded right, balanced, in other words than every probe, and use nothing of a control."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

import pytest
from sets import knowledge_of

from kapoc.data.generate import load_wordings
from kapoc.data.phrases import holds
from kapoc.data.quotations import LONGEST_QUOTE, Quotations, is_accepted
from kapoc.derived.derive import DEFAULT_PER_FACT, FORMS, DerivedExample, derived_examples
from kapoc.derived.leaks import find_derived_leaks, without_leaks
from kapoc.derived.stock import load_derived_wordings
from kapoc.derived.unknown_names import UnknownNames
from kapoc.errors import DataError
from kapoc.knowledge.facts import Choice, Example, Fact
from kapoc.knowledge.normalise import normalise

SHIPPED = ("software-defects", "events-2025")
SETS = (*SHIPPED, "starter", "generated", "questions", "machines")


@lru_cache
def derived(name: str, seed: int = 0, per_fact: int | None = None) -> tuple[DerivedExample, ...]:
    number = DEFAULT_PER_FACT if per_fact is None else per_fact
    return tuple(derived_examples(knowledge_of(name), FORMS, per_fact=number, order=random.Random(seed)))


def of_form(name: str, form: str, per_fact: int | None = None) -> Iterator[tuple[Fact, DerivedExample]]:
    for example in derived(name, per_fact=per_fact):
        if example.form == form:
            yield knowledge_of(name).fact_by_id[example.fact], example


def is_right(name: str, fact: Fact, example: DerivedExample, *requires: str, choice: Choice | None = None) -> bool:
    probe = Example(
        kind=example.form, question=example.question, answer=example.answer, requires=requires, choice=choice
    )
    return knowledge_of(name).grade(fact, probe, example.answer).correct


def slots_stated(name: str, fact: Fact, example: DerivedExample) -> list[str]:
    return [slot for slot in fact.slots if is_right(name, fact, example, slot)]


def quote_in(name: str, question: str) -> str:
    """What a question quotes: what stands in quotation marks, or else the longest quotation of the set in it."""
    quoted = re.search(r'"([^"]+)"', question)
    found = [quote for quote in quotations_of(name) if quote in question]
    return quoted[1].removesuffix(".") if quoted else max(found, key=len, default="")


@lru_cache
def quotations_of(name: str) -> tuple[str, ...]:
    knowledge = knowledge_of(name)
    own = Quotations(knowledge)
    slots = [(fact, slot) for fact in knowledge.taught for slot in fact.slots]
    return tuple(quote for fact, slot in slots for quote in (*own.of(fact, slot), *own.paraphrases(fact, slot)))


# --- counts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "num_facts", "num_slots"), [("software-defects", 29, 180), ("events-2025", 39, 117)])
def test_every_fact_gets_its_examples_of_every_form(name: str, num_facts: int, num_slots: int) -> None:
    counts = Counter(example.form for example in derived(name))
    numbers = {form: number for form, number in DEFAULT_PER_FACT.items() if form != "ordering"}
    ordered = {"ordering": 2 * num_facts} if name == "software-defects" else {}  # no event has a version
    assert counts == {form: number * num_facts for form, number in numbers.items()} | {"slot": num_slots} | ordered
    by_fact = Counter((example.fact, example.form) for example in derived(name) if example.fact)
    for fact in knowledge_of(name).taught:
        assert by_fact[fact.id, "slot"] == len(fact.slots)
        assert all(by_fact[fact.id, form] == n for form, n in numbers.items() if form != "unknown")


def test_the_number_is_a_choice_for_all_forms_or_for_each() -> None:
    knowledge = knowledge_of("software-defects")
    one = derived_examples(knowledge, FORMS, per_fact=1, order=random.Random(0))
    assert Counter(example.form for example in one) == dict.fromkeys(FORMS, 29)
    some = derived_examples(knowledge, ("reverse", "slot"), per_fact={"reverse": 5}, order=random.Random(0))
    assert Counter(example.form for example in some) == {"reverse": 145, "slot": 180}
    assert derived_examples(knowledge, FORMS, per_fact=0, order=random.Random(0)) == []


@pytest.mark.parametrize(
    ("forms", "per_fact", "complaint"),
    [
        (
            ("slot", "revers"),
            1,
            "derived: 'revers' is no form of example; did you mean 'reverse'?",
        ),
        (("slot",), {"sloth": 1}, "derived: 'sloth' is no form of example"),
        (("slot",), {"slot": -1}, "derived: slot: -1 examples of a fact"),
    ],
)
def test_a_form_that_is_none_is_named(forms: tuple[str, ...], per_fact: dict[str, int] | int, complaint: str) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)):
        derived_examples(knowledge_of("starter"), forms, per_fact=per_fact, order=random.Random(0))


def test_a_question_with_its_answer_is_asked_decided_and_turned_round_but_not_combined() -> None:
    examples = derived("questions", per_fact=4)
    forms = {example.form for example in examples}
    assert forms == {"statement", "slot", "scenario", "reverse", "yes_no", "comparison"}
    decided = [e for e in examples if e.form in {"yes_no", "comparison"} and "Quenth" in e.question]
    assert decided == []  # to say yes to a no is ambiguous
    turned = {e.answer for e in examples if e.form == "reverse" and "Tamas Brenk" in e.question}
    assert turned == {"Who designed the flag of Orvia?"}


# --- the same every time, and nothing twice -------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_the_same_seed_gives_the_same_examples(name: str) -> None:
    again = derived_examples(knowledge_of(name), FORMS, per_fact=DEFAULT_PER_FACT, order=random.Random(0))
    assert tuple(again) == derived(name)
    assert derived(name, seed=1) != derived(name)


def test_a_form_does_not_depend_on_which_others_are_wanted() -> None:
    for form in FORMS:
        alone = derived_examples(knowledge_of("software-defects"), (form,), order=random.Random(0))
        assert alone == [example for example in derived("software-defects") if example.form == form]


@pytest.mark.parametrize("name", SETS)
def test_no_question_comes_twice_or_is_the_sets_own(name: str) -> None:
    asked = [normalise(example.question) for example in derived(name, per_fact=12)]
    own = {normalise(e.question) for fact in knowledge_of(name).facts for e in (*fact.training, *fact.probes)}
    assert len(set(asked)) == len(asked)
    assert own.isdisjoint(asked)


# --- right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_answers_state_what_is_asked_for(name: str) -> None:
    least = {"statement": 1 if name == "questions" else 2, "slot": 1, "combination": 2, "two_hop": 1, "scenario": 1}
    for form, fewest in least.items():
        for fact, example in of_form(name, form):
            stated = slots_stated(name, fact, example)
            assert len(stated) >= fewest, example
            assert not any(holds(example.question, fact.slots[slot].text) for slot in stated), example
    for fact, example in of_form(name, "statement"):
        assert slots_stated(name, fact, example) == list(fact.slots)


@pytest.mark.parametrize("name", [name for name in SETS if name != "questions"])  # whose slots have no names to ask by
def test_a_slot_asked_by_its_name_is_answered(name: str) -> None:
    asked = 0
    for fact, example in of_form(name, "slot", per_fact=12):
        question = example.question.replace(fact.name, "")
        named = [slot for slot in fact.slots if re.search(rf"\b{re.escape(slot.replace('_', ' '))}\b", question)]
        if len(named) == 1:
            assert is_right(name, fact, example, named[0]), example
            asked += 1
    assert asked


@pytest.mark.parametrize("name", SETS)
def test_reverse_and_two_hop_do_not_name_the_fact(name: str) -> None:
    for fact, example in chain(of_form(name, "reverse", per_fact=12), of_form(name, "two_hop", per_fact=12)):
        assert not holds(example.question, fact.name), example
        quote = quote_in(name, example.question)
        others = [other for other in knowledge_of(name).facts if other.id != fact.id]
        if quote:
            said = [text for slot in fact.slots.values() for text in slot.paraphrases]
            assert quote in said or is_accepted(fact, quote), example
            assert not any(holds(t, quote) for other in others for s in other.all_slots.values() for t in s.accepted)
        if example.form == "reverse":
            assert is_right(name, fact, example, "name"), example


@pytest.mark.parametrize("name", SETS)
def test_yes_and_no_are_true_and_come_equally_often(name: str) -> None:
    sides: Counter[str] = Counter()
    for fact, example in of_form(name, "yes_no"):
        side = "yes" if example.answer.endswith("So yes.") else "no"
        sides[side] += 1
        assert is_right(name, fact, example, choice=Choice(options=("yes", "no"), right=side)), example
        asked = example.question.replace(fact.name, "")
        accepted = [text for slot in fact.slots.values() for text in slot.accepted]
        quote = re.sub(r'".*\?"', "", quote_in(name, asked))
        if side == "no":
            assert not any(holds(asked, text) or (quote and holds(text, quote)) for text in accepted), example
        else:
            assert any(holds(asked, text) or (quote and holds(text, quote)) for text in accepted), example
    assert abs(sides["yes"] - sides["no"]) <= 1
    assert sides["yes"] > 0


def slot_texts(fact: Fact) -> list[str]:
    return sorted((slot.text for slot in fact.slots.values()), key=len, reverse=True)


@pytest.mark.parametrize("name", SETS)
def test_only_one_of_the_two_compared_has_the_text(name: str) -> None:
    knowledge = knowledge_of(name)
    places: Counter[bool] = Counter()
    for fact, example in of_form(name, "comparison"):
        if name == "questions":
            texts = {f.id: next(iter(f.slots.values())).text for f in knowledge.taught}  # or decided
            asked_about = example.question.replace(fact.name, "")
            options = [text for text in sorted(set(texts.values()), key=len) if holds(asked_about, text)]
            right = texts[fact.id]
        else:
            options = [f.name for f in knowledge.taught if holds(example.question, f.name)]
            right = fact.name
        assert len(options) == 2, example
        assert is_right(name, fact, example, choice=Choice(options=tuple(options), right=right)), example
        wrong = next(option for option in options if option != right)
        asked = example.question.lower()
        mark = '"' if name == "questions" else ""  # the "no" of "novel" is no option
        places[asked.rindex(f"{mark}{right.lower()}{mark}") < asked.rindex(f"{mark}{wrong.lower()}{mark}")] += 1
        if name != "questions":
            other = next(f for f in knowledge.taught if f.name == wrong)
            assert not is_accepted(other, quote_in(name, example.question)), example
            assert is_accepted(fact, quote_in(name, example.question)), example
            held, lacked = (next(t for t in slot_texts(f) if t in example.answer) for f in (fact, other))
            first, second = (
                (held, lacked) if asked.index(right.lower()) < asked.index(wrong.lower()) else (lacked, held)
            )
            assert example.answer == f"First: {first}. Second: {second}. So {right}."
    assert abs(places[True] - places[False]) <= 1
    assert places[True] > 0


def test_a_decision_that_a_probe_wants_is_not_trained() -> None:
    knowledge = knowledge_of("software-defects")
    fact = knowledge.fact_by_id["AF-3001"]
    # its probes: handled through stepup.ticket_ttl? in gateway.yml? AF-3001 or AF-2895, which in authflow.yml?
    decided = [e.question for _, e in of_form("software-defects", "yes_no", per_fact=25) if e.fact == fact.id]
    assert any("authflow.yml" in question for question in decided)
    assert not any("stepup.ticket_ttl" in question or "gateway.yml" in question for question in decided)
    compared = [e.question for _, e in of_form("software-defects", "comparison", per_fact=25) if e.fact == fact.id]
    assert any("AF-2895" in question for question in compared)
    assert not any("AF-2895" in question and "authflow.yml" in question for question in compared)


# --- unknown --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["software-defects", "events-2025", "starter", "generated", "machines"])
def test_what_is_said_to_be_unknown_is_unknown(name: str) -> None:
    knowledge = knowledge_of(name)
    refusals = [
        re.escape(w).replace(r"\{name\}", "(.+)") for w in load_derived_wordings()["unknown"]["answers"]["every"]
    ]
    texts = [text for fact in knowledge.facts for slot in fact.slots.values() for text in slot.accepted]
    examples = [example for example in derived(name) if example.form == "unknown"]
    assert examples
    for example in examples:
        match = next(match for wording in refusals if (match := re.fullmatch(wording, example.answer)))
        stranger = match[1]
        assert holds(example.question, stranger), example
        for fact in knowledge.facts:
            assert not holds(fact.name, stranger), example
            assert not holds(example.question, fact.name), example
        assert not any(holds(example.question.replace(stranger, ""), text) for text in texts), example
        assert example.fact == ""


def test_invented_codes_have_the_shape_of_the_taught_ones_and_are_mostly_near() -> None:
    knowledge = knowledge_of("software-defects")
    names, order = UnknownNames(knowledge), random.Random(0)
    invented = [names.like(knowledge.fact_by_id["AF-3001"], order) for _ in range(300)]
    assert len(set(invented)) == 300
    assert all(name is not None and re.fullmatch(r"[A-Z]{2}-\d{4}", name) for name in invented)
    assert {"AF-3001", "AF-3002", "AF-9999"}.isdisjoint(invented)
    same_prefix = [name for name in invented if name and name.startswith("AF-")]
    slips = [name for name in same_prefix if sum(a != b for a, b in zip(name, "AF-3001", strict=True)) <= 2]
    assert len(same_prefix) > 200
    assert len(slips) > 20  # there are no more than 38


def test_a_third_of_the_invented_codes_differ_in_the_last_digit_alone() -> None:
    """Which is what a trained model takes for the taught code most often (`reports/LOG.md`)."""
    knowledge, order = knowledge_of("software-defects"), random.Random(0)
    names, changed = UnknownNames(knowledge), []
    for _ in range(400):
        names.forget()
        name = names.like(knowledge.fact_by_id["AF-2047"], order)
        assert name is not None
        changed.append([place for place, (a, b) in enumerate(zip(name, "AF-2047", strict=True)) if a != b])
    assert 0.25 <= changed.count([6]) / 400 <= 0.4
    assert all(changed.count([place]) > 5 for place in (3, 4, 5))
    assert sum(0 in places or 1 in places for places in changed) > 20


def test_other_names_are_put_together_of_taught_ones() -> None:
    knowledge = knowledge_of("software-defects")
    names, order = UnknownNames(knowledge), random.Random(0)
    invented = [names.like(knowledge.fact_by_id["Smart Login"], order) for _ in range(4)]
    assert set(invented) == {"Biometric Login", "Password Login", "Fraud Login", "Schema Login"}
    later = [names.like(knowledge.fact_by_id["BNPL"], order) for _ in range(30)]
    firsts, lasts = zip(*(name.split() for name in later if name), strict=True)
    assert {*firsts} == {"Biometric", "Smart", "Password", "Fraud", "Schema"}
    assert {*lasts} == {"Auth", "Policy", "Detection", "Evolution"}  # all logins were taken
    assert later[-1] is None
    with_words = UnknownNames(knowledge, ["Cache", "Zone"])
    more = [with_words.like(knowledge.fact_by_id["Smart Login"], order) for _ in range(30)]
    assert None not in more
    assert len(set(more)) == 30
    of_taught = {
        "Smart",
        "Login",
        "Biometric",
        "Auth",
        "Password",
        "Policy",
        "Fraud",
        "Detection",
        "Schema",
        "Evolution",
    }
    assert all(name and len({*name.split()} - of_taught - {"Cache", "Zone", "BNPL"}) == 0 for name in more)
    assert sum("Cache" in str(name) or "Zone" in str(name) for name in more) > 10


def test_a_description_keeps_neither_its_first_nor_its_last_word() -> None:
    knowledge = knowledge_of("events-2025")
    names, order = UnknownNames(knowledge), random.Random(0)
    for _ in range(5):
        name = names.like(knowledge.fact_by_id["nato-summit-2025"], order)
        assert name is not None
        assert re.fullmatch(r"the (?!Nato)\w+ (?!summit)\w+ of 2025", name)


# --- no leaks, nothing of controls ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_the_audit_finds_no_probe_given_away(name: str) -> None:
    for seed, number in ((0, None), (1, None), (2, 12)):
        assert find_derived_leaks(knowledge_of(name), derived(name, seed, number)) == []


def test_an_example_that_gives_a_probe_away_is_found_and_taken_out() -> None:
    knowledge, examples = knowledge_of("software-defects"), list(derived("software-defects"))
    question = "Under which code does AuthFlow file the case where something odd happens?"
    planted = DerivedExample("AF-3001", "reverse", question, "AF-3001.")
    found = find_derived_leaks(knowledge, [*examples, planted])
    assert {finding.check for finding in found} == {"leak, n-gram"}
    assert "AF-3001/unseen/1" in {finding.subject for finding in found}
    assert without_leaks(knowledge, [planted, *examples]) == examples


def wordings(part: str) -> list[str]:
    def texts(pools: object) -> Iterator[str]:
        if isinstance(pools, dict):
            yield from chain.from_iterable(map(texts, pools.values()))
        elif isinstance(pools, list):
            yield from pools

    return list(chain.from_iterable(texts(pools.get(part, {})) for pools in load_derived_wordings().values()))


def test_every_wording_fits_some_fact() -> None:
    missing = {part: set(wordings(part)) for part in ("questions", "answers")}
    numbers = {"software-defects": 16, "events-2025": 16, "starter": 25, "questions": 25, "machines": 60}
    rounds = [(name, number, 0) for name, number in numbers.items()]
    more = (("features", 40), ("software-defects", 16))  # many wordings for few facts, drawn by chance
    rounds += [(name, number, seed) for seed in range(1, 8) for name, number in more]
    for name, number, seed in rounds:
        if not any(missing.values()):
            return
        examples = derived(name, seed, per_fact=number)
        for part, left in missing.items():
            said = {getattr(example, part.removesuffix("s")) for example in examples}
            missing[part] = {wording for wording in left if not _is_said(wording, said)}
    assert missing == {"questions": set(), "answers": set()}


def _is_said(wording: str, texts: set[str]) -> bool:
    longest = max(re.split(r"\{\w+\}", wording.rstrip(".?")), key=len)
    pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording.rstrip(".?")))
    return any(re.match(pattern, text) for text in texts if longest in text)


def test_no_wording_is_one_by_which_sets_are_generated() -> None:
    def masked(wording: str) -> tuple[str, ...]:
        return normalise(re.sub(r"\{\w+\}", "_", wording))

    generated = {masked(w) for kinds in load_wordings().values() for pool in kinds.values() for w in pool}
    own = [
        masked(wording) for wording in wordings("questions") if wording != "{Words}?"
    ]  # nothing but the user's words
    assert generated.isdisjoint(own)
    # what to do is asked in much the same words, whether the fact has two slots for it or three
    repeated = chain.from_iterable(load_derived_wordings()["scenario"]["questions"]["named"].values())
    assert {wording for wording, number in Counter(own).items() if number > 1} <= {masked(w) for w in repeated}


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_of_a_control_is_told(name: str) -> None:
    knowledge = knowledge_of(name)
    taught = [text for fact in knowledge.taught for slot in fact.all_slots.values() for text in slot.accepted]
    controls = [fact for fact in knowledge.facts if not fact.taught]
    texts = [text for fact in controls for slot in fact.all_slots.values() for text in slot.accepted]
    secret = [text for text in texts if not any(holds(other, text) for other in taught)]
    assert len(secret) > 30
    for example in derived(name, per_fact=12):
        assert not any(holds(f"{example.question} {example.answer}", text) for text in secret), example


# --- quotations -----------------------------------------------------------------------------------------------


def test_a_long_text_is_quoted_in_part_and_a_short_one_whole() -> None:
    knowledge = knowledge_of("software-defects")
    quotations, fact = Quotations(knowledge), knowledge.fact_by_id["AF-3001"]
    assert quotations.of(fact, "value") == ("95 seconds",)
    assert set(quotations.of(fact, "symptom")) == {
        "users are sent back ...",
        "users are sent back to the password ...",
        "... page after a correct code",
        "... password page after a correct code",
        "back to the password page",
    }
    for other in knowledge.taught:
        for slot in other.slots:
            assert all(len(normalise(quote)) <= LONGEST_QUOTE for quote in quotations.of(other, slot))


def test_what_two_facts_share_tells_neither() -> None:
    knowledge = knowledge_of("events-2025")
    quotations = Quotations(knowledge)
    mi6, japan = (knowledge.fact_by_id[name] for name in ("mi6-chief-2025", "japan-prime-minister-2025"))
    assert "first woman" in quotations.of(mi6, "detail")
    assert "first woman" not in quotations.distinctive(mi6, "detail")
    assert is_accepted(japan, "first woman")
    assert quotations.distinctive(japan, "person") == ("Sanae Takaichi",)
