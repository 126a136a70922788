"""Paraphrases for a knowledge set, in a file beside it: `<set>.paraphrases.yaml`.

They are what people say who have not read the record, and training texts quote them. They stand apart from the set so
that a set that was measured stays the same file, whatever is written for training later: `fact -> slot -> texts`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import RootModel

from kapoc.errors import DataError, near_miss
from kapoc.grade import Tokens, normalise, positions
from kapoc.knowledge import Fact, Identifier, KnowledgeSet, Text
from kapoc.source import Location, Places, dotted, read_text, read_yaml, validate

SUFFIX = ".paraphrases.yaml"


class _Paraphrases(RootModel[dict[Identifier, dict[Identifier, tuple[Text, ...]]]]):
    """Fact -> slot -> paraphrases of its text."""


def paraphrase_path(path: Path) -> Path | None:
    """The file of paraphrases beside a set's file; none if there is none."""
    found = path.with_suffix(SUFFIX)
    return found if found.exists() else None


def paraphrases_sha256(path: Path) -> str:
    """The sha256 of the file of paraphrases beside a set's file; empty if there is none."""
    beside = paraphrase_path(path)
    return hashlib.sha256(read_text(beside).encode()).hexdigest() if beside else ""


def with_paraphrases(knowledge: KnowledgeSet, path: Path) -> KnowledgeSet:
    """A set with the paraphrases of the file beside its own; itself if there is none.

    Raises:
        DataError: the file is malformed, names a fact or a slot that is not taught, or a paraphrase gives the fact's
            name away or stands for two facts.
    """
    beside = paraphrase_path(path)
    if beside is None:
        return knowledge
    content, places = read_yaml(beside)
    found = validate(content, _Paraphrases, beside, places).root
    if (fault := next(_faults(knowledge, found, places), None)) is not None:
        raise DataError(fault)
    facts = tuple(_paraphrased(fact, found.get(fact.id, {})) for fact in knowledge.facts)
    return knowledge.model_copy(update={"facts": facts})


def _paraphrased(fact: Fact, texts: Mapping[str, tuple[str, ...]]) -> Fact:
    slots = {
        name: slot.model_copy(update={"paraphrases": (*slot.paraphrases, *texts.get(name, ()))})
        for name, slot in fact.slots.items()
    }
    return fact.model_copy(update={"slots": slots}) if texts else fact


def _faults(
    knowledge: KnowledgeSet, found: Mapping[str, Mapping[str, tuple[str, ...]]], places: Places
) -> Iterator[str]:
    """Whatever makes paraphrases unusable, a line each."""
    facts = {fact.id: fact for fact in knowledge.taught}
    owners: dict[Tokens, str] = {}
    for fact_id, slots in found.items():
        if fact_id not in facts:
            yield _line(places, (fact_id,), f"no taught fact has this id; {near_miss(fact_id, facts)}")
            continue
        fact = facts[fact_id]
        for name, texts in slots.items():
            if name not in fact.slots:
                yield _line(places, (fact_id, name), f"the fact has no such slot; {near_miss(name, fact.slots)}")
                continue
            for number, text in enumerate(texts):
                tokens, place = normalise(text), (fact_id, name, number)
                if not tokens:
                    yield _line(places, place, f"'{text}' holds no word or number; write a text")
                elif positions(normalise(fact.name), tokens):
                    yield _line(places, place, f"gives the fact's name '{fact.name}' away; leave it out")
                elif owners.setdefault(tokens, fact_id) != fact_id:
                    yield _line(places, place, f"stands for {owners[tokens]}, too; it can be said of one fact only")


def _line(places: Places, location: Location, message: str) -> str:
    return f"{places.of(location)}: {dotted(location)}: {message}"
