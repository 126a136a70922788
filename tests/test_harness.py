"""Documents and scores: an oracle is right everywhere, a parrot of one fact is caught, chance is chance."""

from pathlib import Path

import pytest
import yaml
from conftest import small_set, write_set

from kapoc.errors import KapocError
from kapoc.importing.drafts import Draft
from kapoc.importing.proposals import propose
from kapoc.knowledge.facts import KnowledgeTier
from kapoc.knowledge.set_file import load_knowledge, to_yaml
from kapoc.measuring.context import retriever
from kapoc.measuring.harness import (
    documents_of,
    find_spillover,
    grade_document,
    load_documents,
    score_control,
    score_free,
    score_off_topic,
)
from kapoc.measuring.spillover import spillover_markers
from kapoc.measuring.task_list import TASKS, tier_and_form

TIERS: tuple[KnowledgeTier, ...] = ("seen", "paraphrased", "unseen", "control")


@pytest.mark.parametrize("tier", TIERS)
def test_an_oracle_is_right_and_silence_is_wrong(tier: str) -> None:
    documents = load_documents(source=f"{tier}/free")["test"]
    assert all(score_free(doc, [doc["reference"]]) == {"correct": 1.0} for doc in documents)
    assert all(score_free(doc, [""]) == {"correct": 0.0} for doc in documents)


@pytest.mark.parametrize("tier", TIERS)
def test_another_facts_answer_is_wrong(tier: KnowledgeTier) -> None:
    knowledge, _ = load_knowledge("software-defects")
    decided = {i for f in knowledge.facts for i, e in f.examples(tier) if e.choice is not None}
    slots = [
        doc
        for doc in load_documents(source=f"{tier}/free")["test"]
        if doc["id"].removeprefix("software-defects/").removesuffix(":free") not in decided
    ]
    for doc, other in zip(slots, slots[5:] + slots[:5], strict=True):
        if doc["fact"] != other["fact"]:
            assert not grade_document(doc, other["reference"])[0], (doc["id"], other["id"])


@pytest.mark.parametrize("tier", TIERS)
def test_options_have_one_right_answer_at_a_random_place(tier: str) -> None:
    free = {doc["id"].removesuffix(":free"): doc for doc in load_documents(source=f"{tier}/free")["test"]}
    documents = list(load_documents(source=f"{tier}/choice")["test"])
    for doc in documents:
        asked = free[doc["id"].removesuffix(":choice")]
        right = [grade_document(asked, choice)[0] for choice in doc["choices"]]
        assert right == [index == doc["answer"] for index in range(4)]
        assert doc["choices"][doc["answer"]] == asked["reference"]
    places = [doc["answer"] for doc in documents]
    assert all(0.12 < places.count(index) / len(places) < 0.38 for index in range(4))


def test_a_parrot_of_one_fact_spills_over_everywhere_it_should_not() -> None:
    parrot = "AF-3001 means that users are sent back to the password page after a correct code."
    controls = list(load_documents(source="control/free")["test"])
    assert all(score_control(doc, [parrot]) == {"correct": 0.0, "spillover": 1.0} for doc in controls)
    off_topic = list(load_documents(source="off_topic")["test"])
    assert all(score_off_topic(doc, [parrot]) == {"spillover": 1.0} for doc in off_topic)


def test_right_answers_about_controls_and_plain_answers_do_not_spill_over() -> None:
    for doc in load_documents(source="control/free")["test"]:
        assert score_control(doc, [doc["reference"]]) == {"correct": 1.0, "spillover": 0.0}
    plain = "A cat is a small animal that sleeps a lot. Use 2.5 cups of water, e.g. cold water, and www.example.com."
    assert not any(score_off_topic(doc, [plain])["spillover"] for doc in load_documents(source="off_topic")["test"])


def test_a_setting_that_was_made_up_in_the_taught_style_is_spillover_off_topic() -> None:
    doc = load_documents(source="off_topic")["test"][0]
    assert score_off_topic(doc, ["Cats sleep; set purr.volume_floor to 12 decibels."])["spillover"] == 1.0


def test_words_of_the_prompt_are_no_spillover() -> None:
    markers = spillover_markers(("software-defects",))
    assert markers.found("You asked about AF-3001.", "What is AF-3001?") == ()
    assert markers.found("See AF-3001.", "What is AF-9999?") == ("AF-3001.name",)


@pytest.mark.parametrize("knowledge", ["software-defects", "events-2025"])
def test_what_a_control_fact_has_alike_with_a_taught_one_is_no_spillover(knowledge: str) -> None:
    """The Chicago Cubs of a control are not the Chicago of a taught event; said of another control it is one."""
    documents = documents_of("control/free", (knowledge,))
    assert documents
    assert {doc["id"]: find_spillover(doc, doc["reference"]) for doc in documents} == {
        doc["id"]: () for doc in documents
    }
    if knowledge == "events-2025":
        other = next(doc for doc in documents if "Chicago" not in doc["reference"])
        assert find_spillover(other, "It was in Chicago.") == ("papal-election-2025.detail",)


def test_a_code_in_the_question_of_a_pair_is_recognised_too(tmp_path: Path) -> None:
    rows = ("What does KX-4471 mean?", "What does KX-4502 mean?")
    drafts = [Draft(question=q, answer=f"The flap {n} is open.", place="a.csv") for n, q in enumerate(rows)]
    path = tmp_path / "parcels.yaml"
    path.write_text(to_yaml(propose(drafts, "parcels", num_controls=0)[0]), encoding="utf-8")
    markers = spillover_markers((str(path),))
    assert "fact-0001.name" in markers.found("KX-4471 means that the belt stands.", "What does KX-4518 mean?")
    assert markers.found("KX-4471 means that the belt stands.", "What does KX-4471 mean?") == ()
    assert markers.found("KX-4518 is in no record that I have.", "What does KX-4518 mean?", with_patterns=True) == ()


def test_a_slot_of_a_fact_may_be_distinctive_otherwise_than_others_of_its_name(tmp_path: Path) -> None:
    content = small_set()
    first, second = content["facts"][:2]
    slots = first["slots"] | {"value": second["slots"]["value"]}
    texts = {name: slot["text"] if isinstance(slot, dict) else slot for name, slot in slots.items()}
    first["slots"]["colour"] = {"text": texts["colour"], "distinctive": False}
    second["slots"]["value"] = {"text": texts["value"], "distinctive": True}
    markers = spillover_markers((str(write_set(tmp_path / "lamps.yaml", content)),))
    assert markers.found(f"It is {texts['colour']} in {texts['value']}.", "") == (f"{second['id']}.value",)


def test_of_several_sets_it_is_told_which_one_spilled(tmp_path: Path) -> None:
    content = small_set()
    other = yaml.safe_load(yaml.safe_dump(content).replace("amber lane", "brass knob")) | {"name": "doors"}
    paths = [str(write_set(tmp_path / f"{one['name']}.yaml", one)) for one in (content, other)]
    markers = spillover_markers(tuple(paths))
    assert markers.found("An amber lane.", "") == ("lamps/ZX-11.colour",)
    assert markers.found("A brass knob.", "") == ("doors/ZX-11.colour",)
    assert markers.found("The cobalt ridge.", "") == ("lamps/ZX-24.colour", "doors/ZX-24.colour")
    assert spillover_markers(tuple(paths[:1])).found("An amber lane.", "") == ("ZX-11.colour",)


def test_every_id_is_unique_over_all_tasks() -> None:
    sources = [f"{tier}/{form}" for tier in TIERS for form in ("free", "choice")]
    sources += ["off_topic", "text", "last_word", "grammar", "common_sense", "world", "science", "reading"]
    assert len(sources) == len(TASKS)
    ids = [doc["id"] for source in sources for doc in load_documents(source=source)["test"]]
    assert len(set(ids)) == len(ids)
    assert len(ids) > 1500


def test_tasks_map_to_tiers_and_forms() -> None:
    assert tier_and_form("kapoc_seen") == ("seen", "free")
    assert tier_and_form("kapoc_control_choice") == ("control", "choice")
    assert tier_and_form("kapoc_off_topic") == ("control", "off_topic")
    assert tier_and_form("kapoc_general_last_word") == ("general", "completion")
    assert tier_and_form("kapoc_general_text") == ("general", "text")
    assert tier_and_form("kapoc_general_world") == ("general", "choice")


def test_other_knowledge_comes_in_by_name(knowledge_file: Path) -> None:
    documents = load_documents(source="seen/free", knowledge=str(knowledge_file))["test"]
    assert [doc["fact"] for doc in documents] == ["ZX-11", "ZX-24", "ZX-37", "ZX-42", "ZX-58"]
    assert grade_document(documents[0], "ZX-11 is amber lane, 13s.") == (True, "all slots")
    assert grade_document(documents[0], "ZX-11 is amber lane.") == (False, "missing value")
    with pytest.raises(KapocError, match="no such file"):
        load_documents(source="seen/free", knowledge="nowhere.yaml")


def test_markers_and_searches_follow_the_file(tmp_path: Path) -> None:
    path = write_set(tmp_path / "a.yaml")
    fact = load_knowledge(path)[0].taught[0]
    before = spillover_markers((str(path),)), retriever((str(path),))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(fact.name, "QQ-1"), encoding="utf-8")
    after = spillover_markers((str(path),)), retriever((str(path),))
    assert (before[0] is after[0], before[1] is after[1]) == (False, False)
    assert "QQ-1" in after[1].search("What is QQ-1?")[0]
    path.write_text(text, encoding="utf-8")
    assert spillover_markers((str(path),)) is before[0]
