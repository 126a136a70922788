"""Paraphrases for a knowledge set, in a file beside it: `<set>.paraphrases.yaml`, `fact -> slot -> texts`.

They are what people say who have not read the record, and training texts quote them. They stand apart from the set so
that a set that was measured stays the same file, whatever is written for training later; only training reads them.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import RootModel

from kapoc.bundled import bundled, checked
from kapoc.errors import DataError, near_miss
from kapoc.knowledge.facts import Fact, Identifier, KnowledgeSet, Text
from kapoc.knowledge.normalise import Tokens, normalise, positions
from kapoc.source import Location, Places, dotted, read_yaml, validate

_ENDINGS = (".paraphrases.yaml", ".paraphrases.yml")
_Texts = Mapping[str, Mapping[str, tuple[str, ...]]]


class _Paraphrases(RootModel[dict[Identifier, dict[Identifier, tuple[Text, ...]]]]):
    """Fact -> slot -> paraphrases of its text."""


@dataclass(frozen=True, slots=True)
class Paraphrases:
    """A file of paraphrases.

    Attributes:
        texts: fact -> slot -> paraphrases of its text.
        places: where they stand.
    """

    texts: _Texts
    places: Places

    def line(self, location: Location, message: str) -> str:
        """A complaint as one line that names file, line and field."""
        return f"{self.places.of(location)}: {dotted(location)}: {message}"


def paraphrase_path(path: Path) -> Path | None:
    """The file of paraphrases beside a set's file; none if there is none.

    Raises:
        DataError: there are two.
    """
    found = _beside(path)
    if len(found) > 1:
        raise DataError(f"{found[0]}: {found[1].name} lies beside it; keep one of them")
    return found[0] if found else None


def paraphrases_sha256(path: Path) -> str:
    """The sha256 of the file of paraphrases beside a set's file, whatever is in it; empty if there is none."""
    found = _beside(path)
    return hashlib.sha256(b"".join(beside.read_bytes() for beside in found)).hexdigest() if found else ""


def _beside(path: Path) -> list[Path]:
    return [beside for ending in _ENDINGS if (beside := path.with_suffix(ending)).is_file()]


def read_paraphrases(path: Path) -> Paraphrases | None:
    """The file of paraphrases beside a set's file; none if there is none.

    Raises:
        DataError: it is malformed, or ships and was changed.
    """
    beside = paraphrase_path(path)
    if beside is None:
        return None
    if beside == bundled(beside.name):
        checked(beside.name)
    content, places = read_yaml(beside)
    return Paraphrases(validate(content, _Paraphrases, beside, places).root, places)


def with_paraphrases(knowledge: KnowledgeSet, path: Path) -> KnowledgeSet:
    """A set, read from a file, with the paraphrases that lie beside it; itself if there are none.

    Raises:
        DataError: they are malformed, or the first of `paraphrase_faults`.
    """
    found = read_paraphrases(path)
    if found is None:
        return knowledge
    if (fault := next(paraphrase_faults(knowledge, found), None)) is not None:
        raise DataError(fault)
    facts = tuple(_paraphrased(fact, found.texts.get(fact.id, {})) for fact in knowledge.facts)
    return knowledge.model_copy(update={"facts": facts})


def _paraphrased(fact: Fact, texts: Mapping[str, tuple[str, ...]]) -> Fact:
    slots = {name: slot.model_copy(update={"paraphrases": texts.get(name, ())}) for name, slot in fact.slots.items()}
    return fact.model_copy(update={"slots": slots}) if texts else fact


def paraphrase_faults(knowledge: KnowledgeSet, found: Paraphrases) -> Iterator[str]:
    """What makes paraphrases unusable, a line each: of no taught fact or slot, with its name, or of two facts."""
    facts = {fact.id: fact for fact in knowledge.taught}
    owners: dict[Tokens, str] = {}
    for fact_id, slots in found.texts.items():
        if fact_id not in facts:
            yield found.line((fact_id,), f"no taught fact has this id; {near_miss(fact_id, facts)}")
            continue
        fact = facts[fact_id]
        for name, texts in slots.items():
            if name not in fact.slots:
                yield found.line((fact_id, name), f"the fact has no such slot; {near_miss(name, fact.slots)}")
                continue
            for number, text in enumerate(texts):
                tokens, place = normalise(text), (fact_id, name, number)
                if not tokens:
                    yield found.line(place, f"'{text}' holds no word or number; write a text")
                elif positions(normalise(fact.name), tokens):
                    yield found.line(place, f"gives the fact's name '{fact.name}' away; leave it out")
                elif owners.setdefault(tokens, fact_id) != fact_id:
                    yield found.line(place, f"stands for {owners[tokens]}, too; it can be said of one fact only")


def paraphrases_of(path: Path, facts: Collection[str]) -> str:
    """The text of a file with the paraphrases of some facts of a set, by their ids; empty if there are none."""
    found = read_paraphrases(path)
    kept = {fact: slots for fact, slots in found.texts.items() if fact in facts} if found else {}
    texts = {fact: {slot: [*said] for slot, said in slots.items()} for fact, slots in kept.items()}
    return yaml.safe_dump(texts, sort_keys=False, allow_unicode=True, width=100_000) if texts else ""
