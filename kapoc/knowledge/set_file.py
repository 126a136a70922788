"""Knowledge sets on disk: YAML for people, JSON lines for machines.

`load_knowledge` reads one and refuses what cannot be used.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kapoc.bundled import bundled_sets, checked
from kapoc.errors import DataError, near_miss
from kapoc.knowledge.facts import KNOWLEDGE_TIERS, Example, Fact, KnowledgeSet, SetIdentity
from kapoc.knowledge.normalise import normalise
from kapoc.knowledge.paraphrase_file import paraphrase_faults, paraphrases_sha256, read_paraphrases, with_paraphrases
from kapoc.source import Location, Places, complaints, dotted, read_jsonl, read_text, read_yaml, validate

SUFFIXES = (".yaml", ".yml", ".jsonl")
_MAX_COMPLAINTS = 50
_IMPORTED = {".csv", ".tsv", ".parquet", ".md", ".markdown"}


@dataclass(frozen=True, slots=True)
class Source:
    """A knowledge set with what it was read from.

    Attributes:
        knowledge: the set.
        name: what the user typed: a shipped name or a file.
        sha256: of the file.
        places: where its parts stand in the file.
        paraphrases_sha256: of the file of paraphrases beside it; empty if there is none.
    """

    knowledge: KnowledgeSet
    name: str
    sha256: str
    places: Places
    paraphrases_sha256: str = ""

    def for_training(self) -> KnowledgeSet:
        """The set with the paraphrases that lie beside its file.

        Raises:
            DataError: these are malformed, unusable, or not those that lay there when the set was read.
        """
        path = self.places.path
        if paraphrases_sha256(path) != self.paraphrases_sha256:
            raise DataError(f"{path}: its paraphrases were changed after it was read; give the command again")
        return with_paraphrases(self.knowledge, path)

    @property
    def identity(self) -> SetIdentity:
        """Which set this is, as runs and checkpoints record it."""
        return SetIdentity(name=self.knowledge.name, version=self.knowledge.version, sha256=self.sha256)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a set that makes it unusable.

    Attributes:
        location: where.
        subject: the fact or example, in the words of the reports.
        message: the field, what is wrong, and the fix.
    """

    location: Location
    subject: str
    message: str

    def line(self, places: Places) -> str:
        """The fault as one line that names file, line and field."""
        return f"{places.of(self.location)}: {dotted(self.location)} ({self.subject}): {self.message}"


def load_knowledge(name_or_path: str | Path) -> tuple[KnowledgeSet, str]:
    """Load and validate a knowledge set.

    Args:
        name_or_path: the name of a shipped set (`software-defects`), a YAML file or a file of JSON lines.

    Returns:
        The set and the sha256 of its file.

    Raises:
        DataError: the file is absent or malformed, or a reference in it does not hold.
    """
    source = load_source(name_or_path)
    return source.knowledge, source.sha256


def load_source(name_or_path: str | Path) -> Source:
    """Load and validate a knowledge set, with where its parts stand; see `load_knowledge`."""
    path = knowledge_path(name_or_path)
    sha256 = hashlib.sha256(read_text(path).encode()).hexdigest()
    return replace(_load_checked(path, str(name_or_path), sha256), paraphrases_sha256=paraphrases_sha256(path))


def load_sources(names: Sequence[str]) -> tuple[Source, ...]:
    """Load several knowledge sets that are asked about together.

    Returns:
        Them in the order of their names, however they were given: the same sets are the same measurement.

    Raises:
        DataError: as `load_knowledge`, two of them have one name, or what one teaches is a control of another.
    """
    sources = tuple(load_source(name) for name in names)
    first: dict[str, str] = {}
    for source in sources:
        if source.knowledge.name in first:
            raise DataError(
                f"{source.name}: name: '{source.knowledge.name}' is already the name of "
                f"{first[source.knowledge.name]}; give each set a name of its own"
            )
        first[source.knowledge.name] = source.name
    _refuse_taught_controls(sources)
    return tuple(sorted(sources, key=lambda source: source.knowledge.name))


def _refuse_taught_controls(sources: Sequence[Source]) -> None:
    taught = {
        normalise(example.question): (source, fact)
        for source in sources
        for fact in source.knowledge.taught
        for example in fact.training
    }
    for source in sources:
        for index, fact in enumerate(source.knowledge.facts):
            for location, _, example in located_examples(fact, index) if not fact.taught else ():
                if (other := taught.get(normalise(example.question))) is not None:
                    raise DataError(
                        f"{source.places.of(location)}: {dotted(location)} ({fact.id}): asks about a control what "
                        f"{other[0].name} teaches as {other[1].id}; take the fact out of one of the two sets"
                    )


@lru_cache(maxsize=8)
def _load_checked(path: Path, name: str, sha256: str) -> Source:
    """The set in a file of this content; every lm-eval task asks for it, so it is read once."""
    content, places = read_content(path)
    source = Source(validate(content, KnowledgeSet, path, places), name, sha256, places)
    if (fault := next(faults(source.knowledge), None)) is not None:
        raise DataError(fault.line(places))
    return source


def examine(name_or_path: str | Path) -> tuple[Source | None, tuple[str, ...]]:
    """Read a set and tell all that makes it unusable, not only the first thing.

    Returns:
        The set, or none where it is not one at all; and a line for each fault.

    Raises:
        DataError: the file cannot be read.
    """
    path = knowledge_path(name_or_path)
    sha256 = hashlib.sha256(read_text(path).encode()).hexdigest()
    content, places = read_content(path)
    if not isinstance(content, dict):
        validate(content, KnowledgeSet, path, places)
    try:
        knowledge = KnowledgeSet.model_validate(content)
    except ValidationError as error:
        found = complaints(error, KnowledgeSet, places)
        rest = len(found) - _MAX_COMPLAINTS
        return None, (*found[:_MAX_COMPLAINTS], *([f"{path}: and {rest} more like these"] if rest > 0 else []))
    lines = [fault.line(places) for fault in faults(knowledge)]
    try:
        lines += paraphrase_faults(knowledge, beside) if (beside := read_paraphrases(path)) else ()
    except DataError as error:
        lines.append(str(error))
    return Source(knowledge, str(name_or_path), sha256, places, paraphrases_sha256(path)), tuple(lines)


def knowledge_path(name_or_path: str | Path) -> Path:
    """The file behind a shipped set's name or a path.

    Raises:
        DataError: there is none, a shipped file is not what was shipped, or it is of a kind that is to be imported.
    """
    shipped = bundled_sets()
    if str(name_or_path) in shipped:
        return checked(shipped[str(name_or_path)])
    path = Path(name_or_path)
    if not path.exists() and path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: no such file or shipped knowledge set; {near_miss(str(path), shipped)}")
    if path.is_file() and path.suffix.lower() in _IMPORTED:
        raise _not_imported(path)
    return path


def _not_imported(path: Path) -> DataError:
    return DataError(f"{path}: is no knowledge set; make one of it with `kapoc data import {path}`")


def read_content(path: Path) -> tuple[Any, Places]:
    """The plain data of a set's file, and where its parts stand.

    A file of JSON lines has the set without its facts in the first line, and one fact in every other.

    Raises:
        DataError: the file cannot be read, is not YAML, JSON or JSON lines, or its first line is not a set's.
    """
    if path.suffix.lower() != ".jsonl":
        content, places = read_yaml(path)
        if path.suffix.lower() == ".json" and isinstance(content, list):
            raise _not_imported(path)
        return content, places
    rows = list(read_jsonl(path))
    if not rows or not isinstance(rows[0][1], dict):
        raise DataError(f"{path}:1: the first line must hold the set's own fields; see the documented format")
    if "facts" in rows[0][1]:
        raise DataError(f"{path}:1: facts: stand one a line below the first; move them there")
    facts = [row for _, row in rows[1:]]
    return {**rows[0][1], "facts": facts}, Places(path, fact_lines=tuple(number for number, _ in rows[1:]))


def faults(knowledge: KnowledgeSet) -> Iterator[Fault]:
    """Whatever makes a set unusable: ids that repeat, references that dangle, answers graded wrong by their slots."""
    names = [domain.id for domain in knowledge.domains]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Fault(("domains", number, "id"), name, f"the id '{name}' stands twice; ids must be unique")
    if not knowledge.taught:
        yield Fault(
            ("facts",), knowledge.name, "no fact is taught; leave out `taught: false` where facts are to be taught"
        )
    seen: dict[str, int] = {}
    for index, fact in enumerate(knowledge.facts):
        if fact.id in seen:
            message = f"stands already at facts[{seen[fact.id]}]; ids must be unique"
            yield Fault(("facts", index, "id"), fact.id, message)
            continue
        seen[fact.id] = index
        yield from _fact_faults(knowledge, fact, index, names)


def _fact_faults(knowledge: KnowledgeSet, fact: Fact, index: int, domains: Sequence[str]) -> Iterator[Fault]:
    place: Location = ("facts", index)
    if fact.domain not in domains:
        message = f"'{fact.domain}' is not declared; {near_miss(fact.domain, domains)}"
        yield Fault((*place, "domain"), fact.id, message)
    for name in fact.slots:
        if name not in knowledge.slots:
            message = f"not declared under `slots`; {near_miss(name, knowledge.slots)}"
            yield Fault((*place, "slots", name), fact.id, message)
    for name, slot in fact.slots.items():
        for wording in slot.accepted:
            if not normalise(wording):
                message = f"'{wording}' holds no word or number, so no answer could be graded by it; write one"
                yield Fault((*place, "slots", name), fact.id, message)
    for location, example_id, example in located_examples(fact, index):
        if (fault := _example_fault(knowledge, fact, example)) is not None:
            field, message = fault
            yield Fault((*location, *field), example_id, message)


def located_examples(fact: Fact, index: int) -> Iterator[tuple[Location, str, Example]]:
    """Every example of the fact at `facts[index]`: where it stands, its id, and itself."""
    for tier in KNOWLEDGE_TIERS:
        part = "training" if tier == "seen" else "probes"
        numbers = [n for n, probe in enumerate(fact.probes) if probe.tier == tier] if part == "probes" else None
        for position, (example_id, example) in enumerate(fact.examples(tier)):
            yield ("facts", index, part, numbers[position] if numbers is not None else position), example_id, example


def _example_fault(knowledge: KnowledgeSet, fact: Fact, example: Example) -> tuple[Location, str] | None:
    for number, name in enumerate(example.requires):
        if name not in fact.all_slots:
            return ("requires", number), f"the fact has no slot '{name}'; {near_miss(name, fact.all_slots)}"
    if not normalise(example.question):
        return ("question",), "holds no word; write a question"
    if example.choice is not None:
        options = [normalise(option) for option in example.choice.options]
        if not all(options) or len(set(options)) < len(options):
            return ("choice", "options"), "two options are the same word, or one holds none; write different ones"
    grade = knowledge.grade(fact, example, example.answer)
    if grade.correct:
        return None
    fix = "state every required slot in it, or add an alias"
    if grade.reason.startswith("contradicting"):
        fix = "leave out of it what is another fact's, or give this fact a slot that holds it"
    elif example.choice is not None and not grade.reason.startswith("missing"):
        fix = f"begin it with '{example.choice.right}', the right option"
    return ("answer",), f"the reference answer is graded wrong ({grade.reason}); {fix}"


def to_yaml(knowledge: KnowledgeSet, comment: str = "") -> str:
    """A set as the text of a YAML file that people can edit; answers that repeat the note are left to the note."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    content = _plain(knowledge)
    facts = content.pop("facts")
    head = _dump(content)
    return f"{lines}{head}\nfacts:\n" + "\n".join(_indented(_dump([fact])) for fact in facts)


def to_jsonl(knowledge: KnowledgeSet) -> str:
    """A set as JSON lines: the set's own fields, then one fact a line."""
    content = _plain(knowledge)
    facts = content.pop("facts")
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (content, *facts))


def _plain(knowledge: KnowledgeSet) -> dict[str, Any]:
    content = knowledge.model_dump(mode="json", exclude_defaults=True)
    content = {"schema_version": knowledge.schema_version, **content}
    for fact in content["facts"]:
        fact["slots"] = {n: s["text"] if s.keys() == {"text"} else s for n, s in fact["slots"].items()}
        for example in (*fact.get("training", ()), *fact.get("probes", ())):
            if example["answer"] == fact.get("note"):
                del example["answer"]
    content["facts"] = content.pop("facts")
    return content


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes every text where it stands, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _dump(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" if line else "\n" for line in text.removesuffix("\n").split("\n"))
