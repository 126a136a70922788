"""The shipped knowledge set is what its card says, and a set is checked when it is loaded."""

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import small_set
from sets import asked, made_of

from kapoc.knowledge.facts import KNOWLEDGE_TIERS, KnowledgeSet, KnowledgeTier
from kapoc.knowledge.normalise import normalise
from kapoc.knowledge.options import HardOptions
from kapoc.knowledge.set_file import load_knowledge

REPORTED: tuple[KnowledgeTier, ...] = ("seen", "paraphrased", "unseen", "control")


@pytest.fixture(scope="module")
def defects() -> KnowledgeSet:
    return load_knowledge("software-defects")[0]


def test_domains_defects_and_features(defects: KnowledgeSet) -> None:
    assert [domain.name for domain in defects.domains] == ["AuthFlow", "PayFlow", "DataFlow"]
    for domain, expected in zip(defects.domains, ((9, 3), (7, 2), (7, 1)), strict=True):
        kinds = Counter(fact.kind for fact in defects.taught if fact.domain == domain.id)
        assert (kinds["defect"], kinds["feature"]) == expected
    names = {fact.name for fact in defects.taught}
    assert names >= {"AF-3001", "AF-2895", "AF-4102", "PF-1205", "PF-2340", "PF-3456", "DF-7890", "DF-5432", "DF-9876"}
    assert names >= {
        "Biometric Auth", "Smart Login", "Password Policy", "BNPL", "Fraud Detection", "Schema Evolution",
    }  # fmt: skip


def test_every_fact_has_its_examples(defects: KnowledgeSet) -> None:
    for fact in defects.taught:
        counts = Counter(tier for tier in KNOWLEDGE_TIERS for _ in fact.examples(tier))
        assert counts["seen"] == 5
        assert counts["dev"] == 2
        assert counts["paraphrased"] >= 4
        assert {example.kind for _, example in fact.examples("unseen")} == {
            "reverse", "single_slot", "yes_no", "comparison", "two_hop", "scenario",
        }  # fmt: skip
    controls = [fact for fact in defects.facts if not fact.taught]
    assert len(controls) >= 12
    assert all(len(fact.probes) >= 3 for fact in controls)


def test_yes_no_and_comparison_are_balanced(defects: KnowledgeSet) -> None:
    sides = Counter(
        example.choice.right
        for f in defects.taught
        for _, example in f.examples("unseen")
        if example.kind == "yes_no" and example.choice
    )
    assert sides["yes"] == sides["no"] == 29
    first = [
        example.choice.options.index(example.choice.right)
        for f in defects.taught
        for _, example in f.examples("unseen")
        if example.kind == "comparison" and example.choice
    ]
    assert 0.3 < sum(first) / len(first) < 0.7


def _template(knowledge: KnowledgeSet, question: str) -> str:
    """A question with everything that belongs to a fact taken out."""
    parts = [text for fact in knowledge.facts for slot in fact.all_slots.values() for text in slot.accepted]
    parts += [domain.name for domain in knowledge.domains]
    for part in sorted(parts, key=len, reverse=True):
        question = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "#", question)
    return " ".join(normalise(question.replace("#", " slot ")))


def test_each_yes_no_wording_asks_both_sides(defects: KnowledgeSet) -> None:
    sides: dict[str, set[str]] = {}
    for fact in defects.taught:
        for _, example in fact.examples("unseen"):
            if example.kind == "yes_no" and example.choice:
                sides.setdefault(_template(defects, example.question), set()).add(example.choice.right)
    assert sides
    assert all(right == {"yes", "no"} for right in sides.values()), sides


def test_tiers_share_no_wording(defects: KnowledgeSet) -> None:
    wordings = {
        tier: {_template(defects, e.question) for fact in defects.taught for _, e in fact.examples(tier)}
        for tier in KNOWLEDGE_TIERS
        if tier != "control"
    }
    for one in wordings:
        for other in wordings:
            assert one == other or not wordings[one] & wordings[other], (one, other)


def test_no_question_gives_its_answer_away(defects: KnowledgeSet) -> None:
    for fact in defects.facts:
        for tier in KNOWLEDGE_TIERS:
            for example_id, example in fact.examples(tier):
                if example.requires:
                    assert not defects.grade(fact, example, example.question).correct, example_id


def test_options_are_one_right_and_three_wrong_siblings(defects: KnowledgeSet) -> None:
    asked, hard = 0, HardOptions(defects)
    for fact in defects.facts:
        for tier in REPORTED:
            for example_id, example in fact.examples(tier):
                options = hard.of(fact, example)
                if not options:
                    continue
                asked += 1
                assert len(set(options)) == 4, example_id
                assert [defects.grade(fact, example, option).correct for option in options] == [
                    True,
                    False,
                    False,
                    False,
                ]
    assert asked >= 400


def test_options_do_not_repeat_the_same_siblings_for_every_fact(defects: KnowledgeSet) -> None:
    hard = HardOptions(defects)
    wrong = Counter(
        option.split("set ")[1].split()[0]
        for fact in defects.taught
        for _, example in fact.examples("seen")
        if example.kind == "fix"
        for option in hard.of(fact, example)[1:]
    )
    assert len(wrong) >= 25


def _options(content: dict[str, Any]) -> tuple[str, ...]:
    """Of the paraphrase of the first fact."""
    made = KnowledgeSet.model_validate(content)
    return HardOptions(made).of(made.facts[0], made.facts[0].probes[0])


def test_a_siblings_text_that_is_right_too_is_no_wrong_option() -> None:
    content = small_set()
    content["facts"] = content["facts"][:4]
    content["facts"][0]["probes"][0]["requires"] = ["value"]
    assert len(_options(content)) == 4
    content["facts"][1]["slots"]["value"] = {"text": "13s"}  # as the first fact's is written, too
    assert _options(content) == ()


def test_options_are_of_siblings_of_the_same_domain_where_there_are_enough() -> None:
    content = small_set()
    content["domains"].append({"id": "doors", "name": "Doors"})
    for fact in content["facts"][1:3]:
        fact["domain"] = "doors"
    found = _options(content)
    assert {"umber gate" in option for option in found} == {True, False}
    assert sum("jade hollow" in option or "umber gate" in option or "rose quay" in option for option in found) == 3


def test_a_slot_within_another_is_replaced_as_a_part_of_it() -> None:
    content = small_set()
    for fact in content["facts"]:
        fact["slots"]["value"] = fact["slots"]["colour"].split()[0]
    content["facts"][0]["probes"][0]["answer"] = "ZX-11 is amber lane; amber for short."
    (_, *wrong) = _options(content)
    pairs = {tuple(option.removeprefix("ZX-11 is ").removesuffix(" for short.").split("; ")) for option in wrong}
    assert len(pairs) == 3
    assert pairs <= {(fact["slots"]["colour"], fact["slots"]["value"]) for fact in content["facts"][1:]}


def test_options_of_one_fact_do_not_cost_a_look_at_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [asked(f"KX-{n}", f"What is KX-{n}?", f"part {n}.", slots={"part": f"part {n}"}) for n in range(600)]
    for row in rows:
        row["training"][0]["requires"] = ["part"]
    knowledge = made_of("parts", rows)
    draws: Counter[str] = Counter()
    drawn = random.Random.randrange

    def counted(self: random.Random, *args: int) -> int:
        draws["all"] += 1
        return drawn(self, *args)

    monkeypatch.setattr(random.Random, "randrange", counted)
    fact = knowledge.facts[5]
    (one, *_, last) = HardOptions(knowledge).of(fact, fact.training[0])
    assert (one, last[:3], draws.total() < 10) == ("KX-5: part 5.", "KX-", True)
    kin = [other for other in knowledge.facts if other is not fact]
    order = random.Random(f"{fact.id} {fact.training[0].question}")
    texts = [f"KX-5: {other.slots['part'].text}." for other in order.sample(kin, k=len(kin))[:3]]
    assert list(HardOptions(knowledge).of(fact, fact.training[0])) == [one, *texts]


def test_reading_is_the_same_every_time(knowledge_file: Path) -> None:
    assert load_knowledge(knowledge_file) == load_knowledge(knowledge_file)


def test_a_changed_copy_computes_anew(knowledge_file: Path) -> None:
    knowledge = load_knowledge(knowledge_file)[0]
    fact = knowledge.taught[0]
    assert fact.all_slots["name"].text == fact.name
    assert len(knowledge.fact_by_id) == len(knowledge.facts)
    assert fact.model_copy(update={"name": "ZX-77"}).all_slots["name"].text == "ZX-77"
    fewer = knowledge.model_copy(update={"facts": knowledge.facts[1:]})
    assert fact.id not in fewer.fact_by_id
    assert KnowledgeSet(**knowledge.values()) == knowledge
