"""The knowledge set: facts, the texts that teach them and the probes that test them.

`load_knowledge` reads one YAML file. `all_domains` gives the shipped defects and features, grouped.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from kapoc.bundled import bundled_sets, checked
from kapoc.errors import DataError, near_miss
from kapoc.grade import Decision, Grade, Requirement, contradictions, grade_decision, grade_slots, normalise
from kapoc.source import load_yaml, read_text

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")]
ProbeTier = Literal["paraphrased", "dev", "unseen", "control"]
NUM_OPTIONS = 4
"""How many options a multiple-choice item has: the right one and three of sibling facts."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Slot(_Record):
    """One atomic, gradable part of a fact.

    Attributes:
        text: the part as the training texts state it.
        aliases: other wordings that a right answer may use.
    """

    text: Text
    aliases: Annotated[tuple[Text, ...], Field(strict=False)] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """The text and its aliases."""
        return (self.text, *self.aliases)


class SlotKind(_Record):
    """What a slot of this name means in the whole set.

    Attributes:
        description: what the slot holds.
        distinctive: whether its text, found in an answer to an unrelated prompt, shows that the training
            spilled over. True for invented wordings, false for values that stand in ordinary text.
    """

    description: Text
    distinctive: bool = False


class Choice(_Record):
    """A probe that forces a decision: the option that the answer mentions first is its decision."""

    options: Annotated[tuple[Text, ...], Field(strict=False, min_length=2)]
    right: Text

    @model_validator(mode="after")
    def _right_is_an_option(self) -> Self:
        if self.right not in self.options:
            raise ValueError(f"right: '{self.right}' is not one of the options {list(self.options)}")
        return self


class Example(_Record):
    """A question with its reference answer, and what a right answer must contain.

    Attributes:
        kind: which use of the fact is asked for (`meaning`, `fix`, `reverse`, `yes_no` ...).
        question: the prompt put to the model, without any template.
        answer: the reference answer; it must be graded right by its own requirement.
        requires: the slots that a right answer contains. Either this or `choice`.
        choice: the forced decision. Either this or `requires`.
    """

    kind: Identifier
    question: Text
    answer: Text
    requires: Annotated[tuple[Identifier, ...], Field(strict=False)] = ()
    choice: Choice | None = None

    @model_validator(mode="after")
    def _one_way_to_grade(self) -> Self:
        if bool(self.requires) == (self.choice is not None):
            raise ValueError("needs either `requires` (slots) or `choice` (a forced decision), and not both")
        return self


class Probe(Example):
    """An example that is never trained on, with the tier that it belongs to."""

    tier: ProbeTier


class Fact(_Record):
    """One item of knowledge: what it is, how it is taught and how it is tested.

    Attributes:
        id: unique in the set; the cluster of all its items in the statistics.
        domain: the id of the domain that it belongs to.
        kind: facts of one kind share their slots and serve each other as hard options.
        name: what a question calls the fact; gradable as the slot `name`.
        taught: false for a control fact, which has probes and no training examples.
        slots: the gradable parts, by name.
        training: the variations that training sees; each is also a probe of the tier `seen`.
        probes: the questions that training never sees.
    """

    id: Identifier
    domain: Identifier
    kind: Identifier
    name: Text
    taught: bool = True
    slots: dict[Identifier, Slot]
    training: Annotated[tuple[Example, ...], Field(strict=False)] = ()
    probes: Annotated[tuple[Probe, ...], Field(strict=False)] = ()

    @field_validator("slots", mode="before")
    @classmethod
    def _plain_text_is_a_slot(cls, slots: Any) -> Any:
        if not isinstance(slots, dict):
            return slots
        return {name: {"text": slot} if isinstance(slot, str) else slot for name, slot in slots.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "name" in self.slots:
            raise ValueError("slots.name: `name` is a slot by itself; rename this one")
        if self.taught and not self.training:
            raise ValueError("training: a taught fact needs at least one example (or `taught: false`)")
        if not self.taught and self.training:
            raise ValueError("training: a control fact is never taught; remove its examples")
        for probe in self.probes:
            if (probe.tier == "control") == self.taught:
                raise ValueError(f"probes: tier '{probe.tier}' does not go with taught: {str(self.taught).lower()}")
        return self

    @cached_property
    def all_slots(self) -> dict[str, Slot]:
        """The slots, the fact's name among them."""
        return {"name": Slot(text=self.name), **self.slots}

    def examples(self, tier: str) -> Iterator[tuple[str, Example]]:
        """The examples of one tier with their stable ids, `<fact>/<tier>/<number>`."""
        chosen = self.training if tier == "seen" else [p for p in self.probes if p.tier == tier]
        for number, example in enumerate(chosen, start=1):
            yield f"{self.id}/{tier}/{number}", example


class Domain(_Record):
    """A named group of facts, such as one product's defects and features."""

    id: Identifier
    name: Text
    description: str = ""


class DomainFacts(_Record):
    """A domain with its taught facts by kind."""

    domain: Domain
    facts: tuple[Fact, ...]

    @property
    def defects(self) -> tuple[Fact, ...]:
        """The facts of kind `defect`."""
        return tuple(fact for fact in self.facts if fact.kind == "defect")

    @property
    def features(self) -> tuple[Fact, ...]:
        """The facts of kind `feature`."""
        return tuple(fact for fact in self.facts if fact.kind == "feature")


class KnowledgeSet(_Record):
    """A named, versioned collection of facts.

    Attributes:
        schema_version: version of this format; 1.
        name, version, description, license: what the set is.
        canary: a string by which the set can be found in, and kept out of, training corpora.
        slots: every slot name that facts may use, and what it means.
        spillover_patterns: regular expressions of how taught answers look (codes, settings); a match in the
            answer to an off-topic prompt counts as spillover.
        domains: the groups of facts.
        facts: taught facts and controls.
    """

    schema_version: Literal[1]
    name: Identifier
    version: Text
    description: str = ""
    license: str = ""
    canary: str = ""
    slots: dict[Identifier, SlotKind]
    spillover_patterns: Annotated[tuple[str, ...], Field(strict=False)] = ()
    domains: Annotated[tuple[Domain, ...], Field(strict=False, min_length=1)]
    facts: Annotated[tuple[Fact, ...], Field(strict=False, min_length=1)]

    @field_validator("spillover_patterns")
    @classmethod
    def _patterns_compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is not a regular expression ({error})") from None
        return patterns

    @property
    def taught(self) -> tuple[Fact, ...]:
        """The facts that training teaches."""
        return tuple(fact for fact in self.facts if fact.taught)

    def domain(self, domain_id: str) -> DomainFacts:
        """One domain with its taught facts.

        Raises:
            KeyError: no such domain.
        """
        found = next((d for d in self.domains if d.id == domain_id), None)
        if found is None:
            raise KeyError(domain_id)
        return DomainFacts(domain=found, facts=tuple(f for f in self.taught if f.domain == domain_id))

    def siblings(self, fact: Fact) -> tuple[Fact, ...]:
        """The other facts of the same kind, in the order of the file."""
        return tuple(f for f in self.facts if f.kind == fact.kind and f.id != fact.id)

    def requirements(self, fact: Fact, example: Example) -> tuple[Requirement, ...]:
        """What a right answer to an example must contain, and what contradicts it."""
        others = [text for slot in fact.all_slots.values() for text in slot.accepted]
        return tuple(
            Requirement(
                slot=name,
                accepted=fact.all_slots[name].accepted,
                contradicting=contradictions(
                    fact.all_slots[name].accepted,
                    (example.question, *others),
                    (text for s in self.siblings(fact) if name in s.all_slots for text in s.all_slots[name].accepted),
                ),
            )
            for name in example.requires
        )

    def grade(self, fact: Fact, example: Example, answer: str) -> Grade:
        """Judge a free answer to an example."""
        if example.choice is not None:
            return grade_decision(answer, Decision(example.choice.options, example.choice.right))
        return grade_slots(answer, self.requirements(fact, example))

    def options(self, fact: Fact, example: Example) -> tuple[str, ...]:
        """The right answer and hard wrong ones: the same sentence with a sibling's slots in it.

        Siblings of the same domain come before others and taught facts before controls; among equals the
        choice is random, but the same at every call.

        Returns:
            Four answers, the right one first; empty where three distinct siblings do not exist or the
            reference answer does not state its slots word for word.
        """
        if example.choice is not None:
            return ()
        wrong: list[str] = []
        order = random.Random(f"{fact.id} {example.question}")  # noqa: S311 - not for secrets
        siblings = order.sample(self.siblings(fact), k=len(self.siblings(fact)))
        siblings.sort(key=lambda f: (f.domain != fact.domain, not f.taught))
        for sibling in siblings:
            option = _with_slots_of(example, fact, sibling)
            if option is None or option in (example.answer, *wrong):
                continue
            if not self.grade(fact, example, option).correct:
                wrong.append(option)
        return (example.answer, *wrong[: NUM_OPTIONS - 1]) if len(wrong) >= NUM_OPTIONS - 1 else ()


def _with_slots_of(example: Example, fact: Fact, sibling: Fact) -> str | None:
    """The reference answer with all of the fact's slots replaced by the sibling's, or none if that is not possible.

    Slots that are not required are replaced too, so that every option is as coherent as the right one. The name
    stays, unless it is what was asked for.
    """
    mentioned = {name: slot.text for name, slot in fact.slots.items() if slot.text in example.answer}
    if "name" in example.requires:
        mentioned["name"] = fact.name
    if not set(example.requires) <= mentioned.keys() or not mentioned.keys() <= sibling.all_slots.keys():
        return None
    place = {text: name for name, text in mentioned.items()}
    longest_first = sorted(map(re.escape, place), key=len, reverse=True)
    return re.sub("|".join(longest_first), lambda m: sibling.all_slots[place[m.group()]].text, example.answer)


def load_knowledge(name_or_path: str | Path) -> tuple[KnowledgeSet, str]:
    """Load and validate a knowledge set.

    Args:
        name_or_path: the name of a shipped set (`software-defects`) or a YAML file.

    Returns:
        The set and the sha256 of its file.

    Raises:
        DataError: the file is absent or malformed, or a reference in it does not hold.
    """
    path = knowledge_path(name_or_path)
    sha256 = hashlib.sha256(read_text(path).encode()).hexdigest()
    return _load_and_check(path, sha256), sha256


@lru_cache(maxsize=8)
def _load_and_check(path: Path, sha256: str) -> KnowledgeSet:
    """The set in a file of this content; every lm-eval task asks for it, so it is read once."""
    del sha256  # part of the cache's key alone
    knowledge = load_yaml(path, KnowledgeSet)
    _check_references(knowledge, path)
    _check_tiers(knowledge, path)
    return knowledge


def knowledge_path(name_or_path: str | Path) -> Path:
    """The file behind a shipped set's name or a path."""
    shipped = bundled_sets()
    if str(name_or_path) in shipped:
        return checked(shipped[str(name_or_path)])
    path = Path(name_or_path)
    if not path.exists() and path.suffix not in {".yaml", ".yml"}:
        raise DataError(f"{path}: no such file or shipped knowledge set; {near_miss(str(path), shipped)}")
    return path


def all_domains(name_or_path: str | Path = "software-defects") -> tuple[DomainFacts, ...]:
    """All domains of a knowledge set, each with its defects and features."""
    knowledge, _ = load_knowledge(name_or_path)
    return tuple(knowledge.domain(domain.id) for domain in knowledge.domains)


def _check_references(knowledge: KnowledgeSet, path: Path) -> None:
    """Refuse a set whose ids repeat, whose references dangle or whose own answers are graded wrong."""
    names = [domain.id for domain in knowledge.domains]
    domains = set(names)
    if len(domains) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: domains: the id '{repeated}' stands twice; ids must be unique")
    seen: dict[str, int] = {}
    for index, fact in enumerate(knowledge.facts):
        place = f"{path}: facts[{index}] ({fact.id})"
        if fact.id in seen:
            raise DataError(f"{place}: id: stands already at facts[{seen[fact.id]}]; ids must be unique")
        seen[fact.id] = index
        if fact.domain not in domains:
            raise DataError(f"{place}: domain: '{fact.domain}' is not declared; {near_miss(fact.domain, domains)}")
        for name in fact.slots:
            if name not in knowledge.slots:
                raise DataError(
                    f"{place}: slots.{name}: not declared under `slots`; {near_miss(name, knowledge.slots)}"
                )
        for tier in ("seen", "paraphrased", "dev", "unseen", "control"):
            for example_id, example in fact.examples(tier):
                _check_example(knowledge, fact, example, f"{path}: {example_id}")


def _check_tiers(knowledge: KnowledgeSet, path: Path) -> None:
    """Refuse a set that leaves a tier or a form with nothing to ask."""
    for tier in ("seen", "paraphrased", "unseen", "control"):
        examples = [(fact, example) for fact in knowledge.facts for _, example in fact.examples(tier)]
        if not examples:
            what = "a fact with `taught: false` and probes" if tier == "control" else f"probes of the tier '{tier}'"
            raise DataError(f"{path}: facts: nothing to ask in the tier '{tier}'; add {what}")
        if not any(knowledge.options(fact, example) for fact, example in examples):
            raise DataError(
                f"{path}: facts: no question of the tier '{tier}' has {NUM_OPTIONS} options; it needs `requires`, an "
                f"answer that states those slots word for word, and {NUM_OPTIONS - 1} other facts of its kind"
            )


def _check_example(knowledge: KnowledgeSet, fact: Fact, example: Example, place: str) -> None:
    for name in example.requires:
        if name not in fact.all_slots:
            raise DataError(f"{place}: requires: the fact has no slot '{name}'; {near_miss(name, fact.all_slots)}")
    if not normalise(example.question):
        raise DataError(f"{place}: question: holds no word; write a question")
    grade = knowledge.grade(fact, example, example.answer)
    if not grade.correct:
        raise DataError(
            f"{place}: answer: the reference answer is graded wrong ({grade.reason}); "
            "state every required slot in it, or add an alias"
        )


def summarise(knowledge: KnowledgeSet) -> dict[str, int]:
    """How many facts, examples and probes a set has."""
    counts = {
        "domains": len(knowledge.domains),
        "taught_facts": len(knowledge.taught),
        "control_facts": len(knowledge.facts) - len(knowledge.taught),
        "training_examples": sum(len(fact.training) for fact in knowledge.facts),
    }
    for tier in ("paraphrased", "dev", "unseen", "control"):
        counts[f"{tier}_probes"] = sum(1 for fact in knowledge.facts for _ in fact.examples(tier))
    return counts
