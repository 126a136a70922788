"""A generated knowledge set is reproducible, collides nowhere, leaks nothing and is graded right."""

import hashlib
import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import chain

import pytest

from kapoc.data import vocabulary
from kapoc.data.generate import generate, load_wordings
from kapoc.errors import DataError
from kapoc.knowledge.facts import KnowledgeSet, KnowledgeTier, summarise
from kapoc.knowledge.normalise import normalise
from kapoc.knowledge.options import HardOptions

TIERS: tuple[KnowledgeTier, ...] = ("seen", "paraphrased", "dev", "unseen", "control")
UNSEEN_KINDS = {"reverse": 1, "single_slot": 1, "yes_no": 2, "comparison": 1, "two_hop": 1, "scenario": 1}


@pytest.fixture(scope="module")
def small() -> KnowledgeSet:
    return generate(60, 7)


@pytest.fixture(scope="module")
def large() -> KnowledgeSet:
    return generate(1000, 3)


def test_the_same_seed_gives_the_same_bytes(small: KnowledgeSet) -> None:
    assert generate(60, 7).model_dump_json() == small.model_dump_json()
    assert generate(60, 8).facts != small.facts
    examples = [example for fact in small.facts for example in (*fact.training, *fact.probes)]
    texts = "\n".join(f"{example.question}\n{example.answer}" for example in examples)
    # Pinned so that no machine or Python gives another set; who changes the content raises its version with it.
    assert small.version == "1.0.0"
    assert (
        hashlib.sha256(texts.encode()).hexdigest() == "94874ac3ae7d699345c1fd18c10af1250fcc346380cb96ed68607bc5a8553403"
    )


@pytest.mark.parametrize("num_facts", [4, 49, 100])
def test_counts(num_facts: int) -> None:
    generated = generate(num_facts, 1)
    assert generated.name == f"generated-{num_facts}-seed-1"
    assert summarise(generated) == {
        "domains": {4: 1, 49: 2, 100: 3}[num_facts],
        "taught_facts": num_facts,
        "control_facts": 12,
        "training_examples": 5 * num_facts,
        "paraphrased_probes": 4 * num_facts,
        "dev_probes": 2 * num_facts,
        "unseen_probes": 7 * num_facts,
        "control_probes": 4 * 12,
    }
    for fact in generated.taught:
        assert Counter(e.kind for e in fact.training) == {"meaning": 2, "fix": 2, "summary": 1}
        assert Counter(e.kind for _, e in fact.examples("paraphrased")) == {"meaning": 2, "fix": 2}
        assert Counter(e.kind for _, e in fact.examples("dev")) == {"meaning": 1, "fix": 1}
        assert Counter(e.kind for _, e in fact.examples("unseen")) == UNSEEN_KINDS


@pytest.mark.parametrize("num_facts", [3, 20_001])
def test_a_number_out_of_range_is_refused(num_facts: int) -> None:
    with pytest.raises(DataError, match=r"num_facts: .* out of range; ask for 4 to 20000 facts"):
        generate(num_facts, 1)


def test_a_thousand_facts_share_no_code_symptom_cause_setting_or_number(large: KnowledgeSet) -> None:
    assert len(large.facts) == 1125
    for slot in ("name", "symptom", "cause", "setting"):
        phrases = [normalise(text) for fact in large.facts for text in fact.all_slots[slot].accepted]
        assert len(set(phrases)) == len(phrases), slot
    assert len({fact.slots["value"].text.split()[0] for fact in large.facts}) == 1125


def test_no_value_symptom_or_cause_is_contained_in_that_of_another_fact(large: KnowledgeSet) -> None:
    for slot in ("value", "symptom", "cause"):
        owner = {normalise(text): fact.id for fact in large.facts for text in fact.slots[slot].accepted}
        for fact in large.facts:
            for text in fact.slots[slot].accepted:
                tokens = normalise(text)
                runs = {tokens[i:j] for i in range(len(tokens)) for j in range(i + 1, len(tokens) + 1)}
                assert {owner[run] for run in runs & owner.keys()} == {fact.id}, text


def test_products_have_their_own_names_and_prefixes(large: KnowledgeSet) -> None:
    prefixes: dict[str, set[str]] = {}
    for fact in large.facts:
        prefixes.setdefault(fact.domain, set()).add(fact.name.split("-")[0])
        assert re.search(large.spillover_patterns[0], f"see {fact.name}.")
    assert all(len(found) == 1 for found in prefixes.values())
    assert len(set(chain(*prefixes.values()))) == len(large.domains) == len({d.name for d in large.domains})
    sizes = Counter(fact.domain for fact in large.taught)
    assert set(sizes) == {domain.id for domain in large.domains}
    assert 25 <= min(sizes.values()) <= max(sizes.values()) <= 40


def test_every_reference_answer_is_right_and_no_question_is(small: KnowledgeSet) -> None:
    for fact in small.facts:
        for example_id, example in chain(*(fact.examples(tier) for tier in TIERS)):
            grade = small.grade(fact, example, example.answer)
            assert grade.correct, f"{example_id}: {grade.reason}"
            if example.requires:
                assert not small.grade(fact, example, example.question).correct, example_id
                assert not any(
                    text.lower() in example.question.lower()
                    for name in example.requires
                    for text in fact.all_slots[name].accepted
                ), example_id


def test_what_a_question_states_of_a_code_answers_no_other_question(small: KnowledgeSet) -> None:
    for fact in small.taught:
        for example_id, example in chain(*(fact.examples(tier) for tier in TIERS)):
            stated = {n for n, slot in fact.slots.items() if slot.text in example.question}
            if fact.name in example.question:
                assert stated <= {"yes_no": {"setting", "file"}, "comparison": {"file", "cause"}}.get(
                    example.kind, set()
                ), example_id
            assert set(example.requires) not in ({"setting"}, {"file"}, {"cause"})


def test_every_question_that_needs_options_has_them(small: KnowledgeSet) -> None:
    hard = HardOptions(small)
    for fact in small.facts[::5]:
        for example_id, example in chain(*(fact.examples(tier) for tier in TIERS)):
            assert len(hard.of(fact, example)) == (4 if example.requires else 0), example_id


def test_sides_are_balanced(large: KnowledgeSet) -> None:
    parts = [text for fact in large.facts for text in (fact.name, fact.slots["setting"].text, fact.slots["file"].text)]
    masked = re.compile("|".join(map(re.escape, sorted(set(parts), key=len, reverse=True))))
    sides: dict[str, Counter[str]] = {}
    own_first = 0
    for fact in large.taught:
        for _, example in fact.examples("unseen"):
            if example.kind == "yes_no" and example.choice:
                sides.setdefault(masked.sub("#", example.question), Counter())[example.choice.right] += 1
            if example.kind == "comparison" and example.choice:
                own_first += example.choice.options[0] == example.choice.right
    assert len(sides) == 10
    assert all(count["yes"] == count["no"] == 100 for count in sides.values())
    assert own_first == 500


def test_what_is_compared_or_denied_is_false_of_the_other_fact(small: KnowledgeSet) -> None:
    facts = {fact.name: fact for fact in small.taught}
    for fact in small.taught:
        for example_id, example in fact.examples("unseen"):
            if example.kind == "comparison" and example.choice:
                (other,) = {*example.choice.options} - {example.choice.right}
                assert facts[other].domain == fact.domain
                assert fact.name in example.question
                assert other in example.question
                cited = [fact.slots[n].text for n in ("file", "cause") if fact.slots[n].text in example.question]
                assert len(cited) == 1, example_id
                assert cited[0] not in {slot.text for slot in facts[other].slots.values()}, example_id
            if example.kind == "yes_no" and example.choice:
                states_own = any(fact.slots[n].text in example.question for n in ("setting", "file"))
                assert states_own == (example.choice.right == "yes"), example_id


def _words(wording: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9']+|#", re.sub(r"\{\w+\}", " # ", wording).lower()))


def _runs(wording: str, size: int) -> set[tuple[str, ...]]:
    plain = tuple(word for word in _words(wording) if word != "#")
    return {plain[i : i + size] for i in range(len(plain) - size + 1)}


def test_no_wording_or_near_copy_of_it_serves_two_tiers() -> None:
    tiers = {tier: list(chain(*kinds.values())) for tier, kinds in load_wordings().items()}
    everything = list(chain(*tiers.values()))
    assert len({_words(wording) for wording in everything}) == len(everything)
    for trained in tiers.pop("training"):
        for asked in chain(*tiers.values()):
            one, other = _words(trained), _words(asked)
            assert SequenceMatcher(None, one, other, autojunk=False).ratio() <= 0.75, (trained, asked)
            assert not _runs(trained, 5) & _runs(asked, 5), (trained, asked)


def test_each_stock_of_wordings_is_large_enough() -> None:
    tiers = load_wordings()
    least = {"training": 12, "paraphrased": 12, "dev": 6, "unseen": 8}
    for tier, kinds in tiers.items():
        sizes: Counter[str] = Counter()
        for kind, stock in kinds.items():
            sizes[re.sub(r"_(version|value|setting|file|cause)$", "", kind)] += len(stock)
        assert all(size >= (8 if kind == "summary" else least[tier]) for kind, size in sizes.items()), (tier, sizes)


def test_a_reworded_symptom_shares_no_telling_word_with_it() -> None:
    small_words = set("a an the their is are of on in at to for with when while after during and if as or".split())
    for stock in ("SYMPTOM_SUBJECTS", "SYMPTOM_VERBS", "SYMPTOM_OBJECTS", "SYMPTOM_CONDITIONS"):
        parts = getattr(vocabulary, stock)
        assert len({part.text for part in parts}) == len(parts) >= 40
        assert len({part.reworded for part in parts}) == len(parts)
        for part in parts:
            shared = {*_words(part.text)} & {*_words(part.reworded)} - small_words - {"#"}
            assert not shared, (part, shared)


def test_a_report_shares_no_run_of_words_with_any_symptom(large: KnowledgeSet) -> None:
    taught = set(chain(*(_runs(example.answer, 5) for fact in large.taught for example in fact.training)))
    for fact in large.taught:
        for example_id, example in fact.examples("unseen"):
            if example.kind == "two_hop":
                assert not _runs(example.question, 5) & taught, example_id
