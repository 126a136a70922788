"""Knowledge in the prompt: the right fact stands there, and grading does not take the prompt for the answer."""

from pathlib import Path

import pytest
from conftest import small_set, write_set

from kapoc.errors import DataError
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring.context import Retriever, checked_context, fact_text, retriever, with_context
from kapoc.measuring.harness import documents_of, find_spillover, grade_document

DEFECTS, _ = load_knowledge("software-defects")


def test_the_oracle_gets_the_fact_that_is_asked_about() -> None:
    for document in documents_of("paraphrased/free", context="oracle"):
        fact = DEFECTS.fact_by_id[document["fact"]]
        asked = f"{document['question']}\n\nUse this information to answer:\n{fact_text(fact)}"
        assert document["prompt"] == asked
        assert all(slot.text in document["prompt"] for slot in fact.slots.values())


def test_an_untaught_fact_stands_in_no_context() -> None:
    assert all(d["prompt"] == d["question"] for d in documents_of("control/free", context="oracle"))
    for document in documents_of("control/free", context="retrieved"):
        assert DEFECTS.fact_by_id[document["fact"]].probes[0].answer not in document["prompt"]


def test_the_search_finds_what_is_asked_by_name() -> None:
    found = Retriever(DEFECTS.taught).search("What does PF-1205 mean?")
    assert found[0] == fact_text(DEFECTS.fact_by_id["PF-1205"])
    assert len(found) <= 3
    assert Retriever(DEFECTS.taught).search("zzz qqq") == ()
    right = [
        fact_text(DEFECTS.fact_by_id[d["fact"]]) in d["prompt"]
        for d in documents_of("paraphrased/free", context="retrieved")
    ]
    assert sum(right) / len(right) > 0.95


def test_the_search_does_not_look_at_what_is_not_taught(tmp_path: Path) -> None:
    content = small_set()
    for fact in content["facts"]:
        fact["note"] = f"{fact['name']} is {fact['slots']['colour']}."
    search = retriever((str(write_set(tmp_path / "lamps.yaml", content)),)).search
    assert search("ZX-11?") == ("ZX-11 is amber lane.",)
    assert search("ZX-99?") == ()


def test_copying_the_prompt_is_spillover_and_ids_stay_the_same() -> None:
    document = documents_of("control/free", context="retrieved")[0]
    copied = document["prompt"].splitlines()[3]
    assert find_spillover(document, copied)
    assert not grade_document(document, copied)[0]
    plain = [d["id"] for d in documents_of("control/free")]
    assert plain == [d["id"] for d in documents_of("control/free", context="retrieved")]
    assert not find_spillover(documents_of("off_topic", context="retrieved")[0], "A cat is a small animal.")


def test_no_context_changes_nothing() -> None:
    assert with_context("Why?", []) == "Why?"
    assert all(d["prompt"] == d["question"] for d in documents_of("seen/free"))
    with pytest.raises(DataError, match="did you mean 'oracle'"):
        checked_context("orakle")


def test_the_search_finds_words_of_scripts_without_spaces() -> None:
    notes = ("\u4f1a\u8bdd\u7684\u8d85\u65f6\u662f95\u79d2", "\u7f13\u5b58\u7684\u5927\u5c0f\u662f27\u5b57\u8282")
    facts = [DEFECTS.taught[0].model_copy(update={"note": note}) for note in notes]
    assert Retriever(facts).search("\u7f13\u5b58\u6709\u591a\u5927?", num_results=1) == notes[1:]
