"""The audit finds what was planted, names the place, and finds nothing in the shipped sets."""

import copy
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Damage, drop, put, small_set, write_set

from kapoc.bundled import bundled
from kapoc.data.audit import Audit, audit
from kapoc.data.generate import generate
from kapoc.data.leaks import find_leaks
from kapoc.data.soundness import find_flaws
from kapoc.errors import DataError
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.set_file import load_knowledge, load_sources

Plant = Callable[[dict[str, Any], dict[str, Any], random.Random], None]


@pytest.mark.parametrize("name", ["software-defects", "events-2025"])
def test_the_shipped_sets_are_sound_and_free_of_leaks(name: str) -> None:
    found = audit(name)
    assert (found.errors, found.warnings) == ((), ())


def test_a_generated_set_is_sound_and_free_of_leaks() -> None:
    made = generate(60, 7)
    assert [*find_flaws(made), *find_leaks(made)] == []


# --- planted overlaps -----------------------------------------------------------------------------------------


def _exact(fact: dict[str, Any], probe: dict[str, Any], rng: random.Random) -> None:
    probe["question"] = rng.choice(fact["training"])["question"]


def _normalised(fact: dict[str, Any], probe: dict[str, Any], rng: random.Random) -> None:
    question = rng.choice(fact["training"])["question"]
    probe["question"] = rng.choice([question.upper(), question.rstrip("?.") + " ...", question.replace(" ", "  ")])


def _run_of_words(fact: dict[str, Any], probe: dict[str, Any], rng: random.Random) -> None:
    phrase = rng.choice(
        [
            "when nobody else is in the office at night",
            "and our oldest customers keep asking about it",
            "so that the next shift can read it",
        ]
    )
    rng.choice(fact["training"])["question"] = f"Tell me of {fact['name']} {phrase}."
    probe["question"] = f"{fact['name']}? Speak up, {phrase}, if you can."


def _near_duplicate(fact: dict[str, Any], probe: dict[str, Any], rng: random.Random) -> None:
    training = rng.choice(fact["training"])
    training["question"] = rng.choice(
        [
            f"What ought the night shift to know of {fact['name']} by now?",
            f"Could you lay out what {fact['name']} is all about here?",
        ]
    )
    words = training["question"].rstrip("?").split()
    place = rng.randrange(2, len(words) - 1)
    edits = [
        [*words[:place], rng.choice(["really", "please", "exactly"]), *words[place:]],
        [*words[: place - 1], words[place], words[place - 1], *words[place + 1 :]],
    ]
    probe["question"] = " ".join(rng.choice(edits)) + "?"


def _shared_wording(fact: dict[str, Any], probe: dict[str, Any], rng: random.Random) -> None:
    wording = rng.choice(["Do tell what {} might be.", "{}, now and then?", "Any news on {}?"])
    rng.choice(fact["training"])["question"] = wording.format("ZZ-TRAINED")
    probe["question"] = wording.format(fact["name"])


OVERLAPS: dict[str, Plant] = {
    "exact": _exact,
    "normalised": _normalised,
    "n-gram": _run_of_words,
    "near-duplicate": _near_duplicate,
    "shared wording": _shared_wording,
}


def test_of_a_hundred_planted_overlaps_98_are_found() -> None:
    rng = random.Random(0)
    content = yaml.safe_load(bundled("software_defects.yaml").read_text(encoding="utf-8"))
    taught = [fact for fact in content["facts"] if fact.get("taught", True)]
    found = 0
    for kind, plant in OVERLAPS.items():
        for fact in rng.choices(taught, k=20):
            facts = copy.deepcopy([f for f in content["facts"] if f["domain"] == fact["domain"]])
            damaged = next(f for f in facts if f["id"] == fact["id"])
            probes = [p for p in damaged["probes"] if p["tier"] in {"paraphrased", "unseen"} and "requires" in p]
            probe = rng.choice(probes)
            plant(damaged, probe, rng)
            if kind == "shared wording":  # a wording that training uses for another fact
                other = next(f for f in facts if f is not damaged and f.get("taught", True))
                trained = next(e for e in damaged["training"] if "ZZ-TRAINED" in e["question"])
                other["training"][0]["question"] = trained["question"].replace("ZZ-TRAINED", other["name"])
                trained["question"] = f"What about {damaged['name']} then?"
            leaks = list(find_leaks(KnowledgeSet.model_validate({**content, "facts": facts})))
            found += any(
                leak.location[3] == damaged["probes"].index(probe) for leak in leaks if damaged["id"] in leak.subject
            )
    assert found >= 98


def asked_of(number: int, probe: str) -> KnowledgeSet:
    """So many facts that are asked alike, and of each one paraphrase."""
    facts = []
    for place in range(number):
        name, colour = f"KX-{10_000 + place}", f"shade {10_000 + place}"
        training = [
            {"kind": "meaning", "question": question.format(name), "requires": ["colour"]}
            for question in ("What does {} mean?", "How do I fix {}?", "Summarise {}.")
        ]
        probes = [{**training[0], "tier": "paraphrased", "question": probe.format(name)}]
        facts.append(
            {
                "id": name, "domain": "d", "kind": "code", "name": name, "slots": {"colour": colour},
                "note": f"{name}: {colour}.", "training": training, "probes": probes,
            }
        )  # fmt: skip
    head = {"schema_version": 1, "name": "codes", "version": "1", "slots": {"colour": {"description": "its colour"}}}
    return KnowledgeSet.model_validate({**head, "domains": [{"id": "d", "name": "D"}], "facts": facts})


@pytest.mark.parametrize("number", [2, 30, 1000])
@pytest.mark.parametrize(
    ("probe", "is_leak"),
    [
        ("What did {} mean?", True),
        ("How do you fix {}?", True),
        ("How can I fix {}, please?", True),
        ("Put {} into plain words.", False),
        ("Tell me why {} is on my screen.", False),
    ],
)
def test_what_is_a_copy_does_not_depend_on_how_many_facts_there_are(number: int, probe: str, *, is_leak: bool) -> None:
    found = {leak.subject for leak in find_leaks(asked_of(number, probe))}
    assert len(found) == (number if is_leak else 0)


@pytest.mark.parametrize(
    ("shared", "is_leak"), [("when nobody else is at work", True), ("nobody else is at work", False)]
)
def test_six_words_in_a_row_are_an_overlap_and_five_are_not(shared: str, *, is_leak: bool) -> None:
    content = small_set()
    content["facts"][0]["training"][0]["question"] = f"Say of ZX-11 {shared} today."
    content["facts"][0]["probes"][0]["question"] = f"About ZX-11, {shared}, perhaps?"
    assert (("leak, n-gram", "ZX-11/paraphrased/1") in _checks(content)) is is_leak


def test_a_run_of_words_may_hold_a_part_of_what_a_fact_is_called() -> None:
    """The probe says the six words up to "cobalt", of which the training answer has the last in "cobalt ridge"."""
    content = small_set()
    content["facts"][0]["training"][0]["answer"] += " Once it was seen near cobalt ridge."
    content["facts"][0]["probes"][0]["question"] = "About ZX-11: once it was seen near cobalt, or not?"
    assert ("leak, n-gram", "ZX-11/paraphrased/1") in _checks(content)


def test_wordings_that_differ_in_the_name_of_a_domain_alone_are_shared() -> None:
    content = small_set()
    content["domains"].append({"id": "doors", "name": "Doors"})
    content["facts"][1]["domain"] = "doors"
    content["facts"][0]["training"][0]["question"] = "Who among Lamps has ZX-11?"
    content["facts"][1]["probes"][0]["question"] = "Who among Doors has ZX-24?"
    assert ("leak, shared wording", "ZX-24/paraphrased/1") in _checks(content)


def test_other_leaks_are_found() -> None:
    content = small_set()
    probes = content["facts"][0]["probes"]
    probes[0]["question"] = "Is it the amber lane that ZX-11 stands for?"
    probes[2]["question"] = "Which code is amber lane, and is ZX-11 fine?"
    content["facts"][1]["probes"][3]["question"] = "Would cobalt ridge suit ZX-24?"
    found = [(leak.check, leak.subject) for leak in find_leaks(KnowledgeSet.model_validate(content))]
    assert ("leak, answer in its question", "ZX-11/paraphrased/1") in found
    assert ("leak, answer in its question", "ZX-11/unseen/1") in found
    assert ("leak, answered by another probe", "ZX-24/paraphrased/1") in found
    assert not [subject for _, subject in found if subject.startswith("ZX-37")]


def test_the_right_option_alone_in_a_question_is_a_leak() -> None:
    content = small_set()
    content["facts"][0]["probes"][3] = {
        "tier": "unseen",
        "kind": "comparison",
        "question": "Is ZX-24 the blue one?",
        "answer": "ZX-24.",
        "choice": {"options": ["ZX-11", "ZX-24"], "right": "ZX-24"},
    }
    found = [leak.check for leak in find_leaks(KnowledgeSet.model_validate(content))]
    assert found == ["leak, answer in its question"]


# --- planted errors -------------------------------------------------------------------------------------------


def _all_yes(content: dict[str, Any]) -> None:
    for fact in content["facts"][:5]:
        fact["probes"][3] |= {"answer": "Yes.", "choice": {"options": ["yes", "no"], "right": "yes"}}


def _twin(content: dict[str, Any]) -> None:
    content["facts"][1]["slots"] = copy.deepcopy(content["facts"][0]["slots"])
    for example in (*content["facts"][1]["training"], *content["facts"][1]["probes"]):
        example["answer"] = example["answer"].replace("cobalt ridge", "amber lane").replace("20 seconds", "13 seconds")
        example["question"] = example["question"].replace("cobalt ridge", "amber lane")
    content["facts"][1]["training"][0]["question"] = "What does the second of them say?"  # not by its name


PROBE = ("facts", 0, "probes", 0)
# what is planted -> the damage, the field whose line is named, and what is said of it
ERRORS: dict[str, tuple[Damage, str, str]] = {
    "no answer": (drop(*PROBE, "answer"), "tier: paraphrased", r"answer: is missing"),
    "empty question": (put(" ", *PROBE, "question"), "question: ' '", r"question: must not be empty"),
    "unknown field": (put("x", *PROBE, "anser"), "anser: x", r"not a known field; did you mean 'answer'\?"),
    "number for text": (put(4.7, "facts", 0, "slots", "value"), "value: 4.7", r"slots\.value: must be text; put it in"),
    "wrong tier": (put("seen", *PROBE, "tier"), "tier: seen", r"tier: Input should be 'paraphrased'"),
    "repeated id": (put("ZX-11", "facts", 1, "id"), "id: ZX-11@2", r"stands already at facts\[0\]; ids must"),
    "unknown domain": (put("lamp", "facts", 2, "domain"), "domain: lamp$", r"'lamp' is not declared; did you mean"),
    "undeclared slot": (put("red", "facts", 0, "slots", "tint"), "tint: red", r"slots\.tint .*: not declared"),
    "unknown required slot": (put(["colr"], *PROBE, "requires"), "- colr", r"no slot 'colr'; did you mean"),
    "answer without its slot": (put("Red.", *PROBE, "answer"), "answer: Red", r"graded wrong \(missing colour"),
    "no way to grade": (put([], *PROBE, "requires"), "tier: paraphrased", r"needs `requires` \(slots\) or `choice`"),
    "right option not offered": (
        put("maybe", "facts", 0, "probes", 3, "choice", "right"), "choice:", r"'maybe' is not one of the options",
    ),
    "control with training": (
        put([{"kind": "m", "question": "q", "answer": "a", "requires": ["name"]}], "facts", 5, "training"),
        "id: ZX-99", r"never taught; remove its examples",
    ),
    "taught without training": (drop("facts", 0, "training"), "id: ZX-11", r"a taught fact needs at least one"),
    "broken pattern": (put(["ZX-["], "spillover_patterns"), "spillover_patterns:", r"not a regular expression"),
    "repeated domain": (
        put([{"id": "lamps", "name": "A"}, {"id": "lamps", "name": "B"}], "domains"), "- id: lamps@2", r"stands twice",
    ),
    "contradicting facts": (
        put("ZX-42", "facts", 5, "name"), "name: ZX-42@2", r"contradicting facts: .*keep one, or rename",
    ),
    "twin facts": (_twin, "slots:@3", r"duplicate fact: has the very slots of facts\[0\]"),
    "alias of a sibling": (
        put(["20 seconds"], "facts", 0, "slots", "value", "aliases"), "- 20 seconds", r"is what ZX-24 has.*take",
    ),
    "unbalanced yes/no": (_all_yes, "facts:", r"5 of 5 questions are answered 'yes'; ask as many"),
}  # fmt: skip


def _line(text: str, marker: str) -> int:
    wanted, _, number = marker.partition("@")
    lines = [n for n, line in enumerate(text.splitlines(), start=1) if re.search(wanted, line)]
    return lines[int(number or 1) - 1]


@pytest.mark.parametrize("name", ERRORS)
def test_a_planted_error_is_reported_with_its_line(tmp_path: Path, name: str) -> None:
    damage, marker, says = ERRORS[name]
    content = small_set()
    damage(content)
    path = write_set(tmp_path / "bad.yaml", content)
    found: Audit = audit(path)
    line = _line(path.read_text(encoding="utf-8"), marker)
    assert found.errors
    matching = [error for error in found.errors if error.startswith(f"{path}:{line}: ") and re.search(says, error)]
    assert matching, (line, found.errors)


def test_every_planted_error_is_told_at_once(tmp_path: Path) -> None:
    content = small_set()
    content["facts"][0]["domain"] = "lamp"
    content["facts"][1]["probes"][0]["answer"] = "Red."
    content["facts"][2]["slots"]["tint"] = "red"
    assert len(audit(write_set(tmp_path / "bad.yaml", content)).errors) == 3


def test_a_distinctive_text_that_ordinary_text_holds_is_a_warning(tmp_path: Path) -> None:
    content = small_set()
    assert not any("ordinary text" in warning for warning in audit(write_set(tmp_path / "rare.yaml", content)).warnings)
    colour = content["facts"][1]["slots"]["colour"]
    text = colour["text"] if isinstance(colour, dict) else colour
    content["facts"][1]["slots"]["colour"] = {"text": text, "aliases": ["twice"]}
    (warning,) = [w for w in audit(write_set(tmp_path / "common.yaml", content)).warnings if "ordinary text" in w]
    assert "facts[1].slots.colour" in warning
    assert "'twice' counts as spillover" in warning
    content["facts"][1]["slots"]["colour"]["distinctive"] = False
    found = audit(write_set(tmp_path / "told.yaml", content))
    assert not any("ordinary text" in warning for warning in found.warnings)


def test_what_is_missing_is_a_warning(tmp_path: Path) -> None:
    content = small_set()
    content["facts"] = content["facts"][:2]
    content["facts"][0]["probes"] = [p for p in content["facts"][0]["probes"] if p["tier"] != "dev"]
    content["facts"][1]["training"][0]["origin"] = "template"
    content["slots"]["spare"] = {"description": "nothing"}
    content["slots"]["colour"]["distinctive"] = False
    del content["spillover_patterns"]
    found = audit(write_set(tmp_path / "thin.yaml", content))
    assert found.errors == ()
    for says in (
        "no dev probe",
        "no control fact",
        "no fact has this slot",
        "no slot is `distinctive`",
        "fewer than 4 facts",
        "1 examples are propos",
    ):
        assert any(says in warning for warning in found.warnings), (says, found.warnings)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("ZX-[0-9]{2}", ""),
        ("XZ-[0-9]{2}", "is found in nothing that is taught"),
        (".*", "is found in everyday text, too"),
        ("[a-z]+", "is found in everyday text, too"),
    ],
)
def test_a_pattern_by_which_nothing_or_everything_is_spillover_is_a_warning(
    tmp_path: Path, pattern: str, says: str
) -> None:
    found = audit(write_set(tmp_path / "set.yaml", {**small_set(), "spillover_patterns": [pattern]}))
    told = [warning for warning in found.warnings if f"'{pattern}'" in warning]
    assert len(told) == bool(says)
    assert all(says in warning for warning in told)


def facts_of_lengths(odd: str, others: Sequence[str]) -> dict[str, Any]:
    """Four domains of four facts: one with a slot like `odd`, asked about six times, three with others, asked once."""
    facts = []
    for domain in range(4):
        for number, colour in enumerate((odd, *others)):
            name = f"LX-{domain}{number}"
            text = f"{colour} {'abcd'[domain]}"
            asked = {"kind": "meaning", "answer": f"{name} is {text}.", "requires": ["colour"]}
            probes = [
                {**asked, "tier": "paraphrased", "question": f"Tell me of {name}, for the {place} time."}
                for place in ("first", "second", "third", "fourth", "fifth")
            ]
            facts.append(
                {
                    "id": name,
                    "name": name,
                    "kind": "lamp",
                    "domain": f"d{domain}",
                    "slots": {"colour": text},
                    "training": [{**asked, "question": f"What is {name}?"}],
                    "probes": probes if number == 0 else [],
                }
            )
    domains = [{"id": f"d{number}", "name": f"Hall {number}"} for number in range(4)]
    head = {"schema_version": 1, "name": "halls", "version": "1.0.0", "domains": domains}
    return {**head, "slots": {"colour": {"description": "its colour"}}, "facts": facts}


@pytest.mark.parametrize(
    ("odd", "others", "said"),
    [
        ("deep and shining amber", ("pale blue", "dark blue", "warm blue"), "the longest in 24 of 36 questions"),
        ("blue", ("some amber", "dark amber", "pale amber"), "the shortest in 24 of 36 questions"),
        ("pale amber", ("dark amber", "some amber", "warm amber"), ""),
    ],
)
def test_a_right_option_that_its_length_tells_is_a_warning(odd: str, others: Sequence[str], said: str) -> None:
    made = KnowledgeSet.model_validate(facts_of_lengths(odd, others))
    found = [flaw.message for flaw in find_flaws(made) if flaw.check == "telling options"]
    assert len(found) == bool(said)
    assert all(said in message for message in found)


def test_an_option_that_has_a_number_alone_is_a_warning() -> None:
    content = yaml.safe_load(bundled("software_defects.yaml").read_text(encoding="utf-8"))
    for fact in content["facts"][:12]:
        long = "the very long and winding value of " + fact["id"]
        fact["slots"]["value"] = long
    found = {flaw.check for flaw in find_flaws(KnowledgeSet.model_validate(content))}
    assert "telling form" not in found
    only = copy.deepcopy(content)
    for number, fact in enumerate(only["facts"]):
        fact["slots"]["value"] = "12 ms" if number == 3 else f"some {'abcdefghijklmnopqrstuvwxyz'[number % 26]} share"
    assert "telling form" in {flaw.check for flaw in find_flaws(KnowledgeSet.model_validate(only))}


def _checks(content: dict[str, Any]) -> list[tuple[str, str]]:
    knowledge = KnowledgeSet.model_validate(content)
    return [(found.check, found.subject) for found in (*find_flaws(knowledge), *find_leaks(knowledge))]


def test_a_negated_answer_in_a_question_is_still_there() -> None:
    content = small_set()
    content["facts"][0]["probes"][0]["question"] = "Who cannot see the amber lane, and what is ZX-11 then?"
    assert ("leak, answer in its question", "ZX-11/paraphrased/1") in _checks(content)


def test_an_answer_in_another_facts_probe_is_found() -> None:
    content = small_set()
    content["facts"][1]["probes"][0]["question"] = "ZX-11 belongs to the amber lane. What of ZX-24?"
    assert ("leak, answered by another probe", "ZX-11/paraphrased/1") in _checks(content)


def test_a_control_that_another_facts_texts_teach_is_found() -> None:
    for field, text in (
        ("question", "Unlike ZX-99, which is rose quay, what is ZX-11?"),
        ("answer", "ZX-11 is amber lane; set it to 13 seconds. ZX-99 is rose quay."),
    ):
        content = small_set()
        content["facts"][0]["training"][0][field] = text
        [leak] = [
            leak for leak in find_leaks(KnowledgeSet.model_validate(content)) if leak.check == "leak, control taught"
        ]
        assert (leak.subject, leak.training) == ("ZX-11/seen/1", ("ZX-11/seen/1",))
        assert leak.message.startswith("teaches colour of the control ZX-99;")
    content["facts"][0]["training"][0]["answer"] = "ZX-11 is amber lane; set it to 13 seconds. ZX-99 is another one."
    assert "leak, control taught" not in [check for check, _ in _checks(content)]
    content["facts"][5]["slots"]["value"] = content["facts"][0]["slots"]["value"]  # which a taught fact has, too
    assert "leak, control taught" not in [check for check, _ in _checks(content)]


def test_questions_asked_twice_and_questions_with_two_answers_are_found() -> None:
    content = small_set()
    probes = content["facts"][0]["probes"]
    probes.append({**probes[0]})
    content["facts"][1]["training"][0]["question"] = content["facts"][0]["training"][0]["question"]
    found = _checks(content)
    assert ("asked twice", "ZX-11/paraphrased/2") in found
    assert ("one question, two answers", "ZX-24/seen/1") in found


def test_a_question_that_two_tiers_ask_is_a_shared_wording_and_not_asked_twice() -> None:
    content = small_set()
    probes = content["facts"][0]["probes"]
    probes[1]["question"] = probes[0]["question"]
    found = {check for check, _ in _checks(content)}
    assert "leak, shared wording" in found
    assert "asked twice" not in found


def test_few_yes_no_questions_of_one_side_are_a_warning() -> None:
    content = small_set()
    kept = 0
    for fact in content["facts"]:
        sides = [probe for probe in fact["probes"] if probe.get("choice", {}).get("right") == "yes" and kept < 2]
        kept += len(sides)
        fact["probes"] = [*(probe for probe in fact["probes"] if "choice" not in probe), *sides]
    flaws = [flaw for flaw in find_flaws(KnowledgeSet.model_validate(content)) if flaw.check == "unbalanced yes/no"]
    assert (kept, [flaw.level for flaw in flaws]) == (2, ["warning"])


def test_three_yes_no_questions_cannot_be_more_even_than_two_to_one() -> None:
    content = small_set()
    for fact in content["facts"][3:5]:
        fact["probes"].pop(3)
    assert "unbalanced yes/no" not in [check for check, _ in _checks(content)]


def test_a_wording_of_a_script_without_spaces_is_found_in_training(tmp_path: Path) -> None:
    """Twelve characters in a row are as six words; eleven are not."""
    content = small_set()
    content["facts"][0]["training"][0]["question"] = (
        "\u5728\u4f01\u4e1a\u5185\u90e8\u7f51\u7edc\u91cc\u5e94\u5f53\u600e\u4e48\u5904\u7406?"
    )
    probe = content["facts"][0]["probes"][0]
    probe["question"] = "\u8bf7\u95ee\u4f01\u4e1a\u5185\u90e8\u7f51\u7edc\u91cc\u5e94\u5f53\u600e\u4e48\u505a?"
    assert "leak, n-gram" not in [check for check, _ in _checks(content)]
    probe["question"] = "\u8bf7\u95ee\u4f01\u4e1a\u5185\u90e8\u7f51\u7edc\u91cc\u5e94\u5f53\u600e\u4e48\u5904\u7f6e?"
    assert "leak, n-gram" in [check for check, _ in _checks(content)]


def test_options_and_slots_that_nobody_can_tell_are_refused(tmp_path: Path) -> None:
    content = small_set()
    content["facts"][0]["probes"][3]["choice"]["options"] = ["yes", "Yes!"]
    content["facts"][1]["slots"]["value"] = "???"
    errors = audit(write_set(tmp_path / "bad.yaml", content)).errors
    assert any("two options are the same word" in error for error in errors)
    assert any("holds no word or number" in error for error in errors)


def test_facts_of_one_category_that_are_asked_about_by_name_are_no_error(tmp_path: Path) -> None:
    content = small_set()
    _twin(content)
    content["facts"][1]["training"][0]["question"] = "What does ZX-24 say?"
    found = find_flaws(load_knowledge(write_set(tmp_path / "categories.yaml", content))[0])
    twins = [finding for finding in found if finding.check == "duplicate fact"]
    assert [(finding.level, finding.location[:2]) for finding in twins] == [("warning", ("facts", 1))]


def test_what_the_grader_cannot_tell_apart_and_what_comes_too_late_is_told(tmp_path: Path) -> None:
    text = yaml.safe_dump(small_set(), allow_unicode=True)
    content = yaml.safe_load(text.replace("13 seconds", "500 \u2191").replace("20 seconds", "500 \u2193"))
    late = content["facts"][0]["training"][0]
    late["answer"] = "blah " * 70 + late["answer"]
    found = list(find_flaws(load_knowledge(write_set(tmp_path / "late.yaml", content))[0]))
    assert [f.location[:2] for f in found if f.check == "alike to the grader"] == [("facts", 1)]
    assert [f.location for f in found if f.check == "late answer"] == [("facts", 0, "training", 0, "answer")]


def test_a_control_of_one_set_that_another_teaches_is_refused(tmp_path: Path) -> None:
    content = small_set()
    control = next(fact for fact in content["facts"] if not fact.get("taught", True))
    other = copy.deepcopy(content)
    other["name"] = "other"
    other["facts"][0]["training"][0]["question"] = control["probes"][0]["question"]
    paths = [str(write_set(tmp_path / name, one)) for name, one in (("a.yaml", content), ("b.yaml", other))]
    with pytest.raises(DataError, match=r"a\.yaml:\d+: facts\[\d\]\.probes\[0\] .*asks about a control what .*b\.yaml"):
        load_sources(paths)
