"""The knowledge set: facts, the texts that teach them and the probes that test them.

`kapoc.knowledge.set_file` reads one from disk.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from kapoc.knowledge.grade import NO_PHRASES, Decision, Grade, PhraseIndex, Requirement, grade_decision, grade_slots
from kapoc.knowledge.normalise import Tokens, normalise
from kapoc.source import StrictRecord

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")]
_YES_NO = frozenset({"yes", "no"})
ProbeTier = Literal["paraphrased", "dev", "unseen", "control"]
KnowledgeTier = Literal["seen", "paraphrased", "dev", "unseen", "control"]
KNOWLEDGE_TIERS: tuple[KnowledgeTier, ...] = ("seen", "paraphrased", "dev", "unseen", "control")
RESERVED_NAMES = frozenset({*KNOWLEDGE_TIERS, "general", "gold", "spillover", "text", "divergence", "ended"})
"""What quantities of a report begin with, and so no name of a set: `gold/seen` is one already."""
Origin = Literal["written", "template"]


class _Record(StrictRecord):
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but without what was computed of this record: it may not be true of the copy."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    def values(self) -> dict[str, Any]:
        """The fields by name, as they are, without what was computed of them."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Slot(_Record):
    """One atomic, gradable part of a fact.

    Attributes:
        text: the part as the training texts state it.
        aliases: other wordings that a right answer may use.
        distinctive: whether it shows a spillover, where it does so otherwise than other slots of its name.
        paraphrases: what people say who have not read the record, from a file beside the set; derived training
            questions quote them, and no answer is graded by them.
    """

    text: Text
    aliases: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    distinctive: bool | None = None
    paraphrases: SkipJsonSchema[tuple[str, ...]] = Field(default=(), exclude=True)

    @field_validator("paraphrases", mode="before")
    @classmethod
    def _stand_beside_the_set(cls, _: Any) -> Any:
        raise ValueError("paraphrases stand in a file beside the set, <set>.paraphrases.yaml; move them there")

    @property
    def accepted(self) -> tuple[str, ...]:
        """The text and its aliases."""
        return (self.text, *self.aliases)


def _text_is_a_slot(slot: Any) -> Any:
    if isinstance(slot, bool | int | float | date):
        raise ValueError(f"must be text; put it in quotes: '{slot}'")
    return {"text": slot} if isinstance(slot, str) else slot


PlainSlot = Annotated[Slot, BeforeValidator(_text_is_a_slot, json_schema_input_type=Text | Slot)]
"""A slot, or its text alone."""


class SlotKind(_Record):
    """What a slot of this name means in the whole set.

    Attributes:
        description: what the slot holds.
        distinctive: whether its text, found in an answer to an unrelated prompt, shows that the training
            spilled over. True for invented wordings, false for values that stand in ordinary text. A slot of a
            fact may say otherwise of its own text.
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

    @property
    def is_yes_no(self) -> bool:
        """Whether the decision is yes or no."""
        return {option.lower() for option in self.options} == _YES_NO


class Example(_Record):
    """A question with its reference answer, and what a right answer must contain.

    Attributes:
        kind: which use of the fact is asked for (`meaning`, `fix`, `reverse`, `yes_no` ...).
        question: the prompt put to the model, without any template.
        answer: the reference answer; it must be graded right by its own requirement.
        requires: the slots that a right answer contains.
        choice: the forced decision. With `requires` beside it a right answer decides so and contains those slots.
        origin: `template` where kapoc proposed it and nobody has looked at it yet.
    """

    kind: Identifier
    question: Text
    answer: Text
    requires: Annotated[tuple[Identifier, ...], Field(strict=False)] = ()
    choice: Choice | None = None
    origin: Origin = "written"

    @model_validator(mode="after")
    def _can_be_graded(self) -> Self:
        if not self.requires and self.choice is None:
            raise ValueError("needs `requires` (slots) or `choice` (a forced decision)")
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
        note: the reference answer of every example that gives none of its own.
        training: the variations that training sees; each is also a probe of the tier `seen`.
        probes: the questions that training never sees.
    """

    id: Identifier
    domain: Identifier
    kind: Identifier
    name: Text
    taught: bool = True
    slots: dict[Identifier, PlainSlot]
    note: Text | None = None
    training: Annotated[tuple[Example, ...], Field(strict=False)] = ()
    probes: Annotated[tuple[Probe, ...], Field(strict=False)] = ()

    @model_validator(mode="before")
    @classmethod
    def _note_answers(cls, fact: Any) -> Any:
        if not isinstance(fact, dict) or not isinstance(fact.get("note"), str):
            return fact
        filled = dict(fact)
        for part in ("training", "probes"):
            if isinstance(examples := fact.get(part), list | tuple):
                filled[part] = [{"answer": fact["note"], **e} if isinstance(e, dict) else e for e in examples]
        return filled

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

    def examples(self, tier: KnowledgeTier) -> Iterator[tuple[str, Example]]:
        """The examples of one tier with their stable ids, `<fact>/<tier>/<number>`."""
        chosen = self.training if tier == "seen" else [p for p in self.probes if p.tier == tier]
        for number, example in enumerate(chosen, start=1):
            yield f"{self.id}/{tier}/{number}", example


class Domain(_Record):
    """A named group of facts, such as one product's defects and features."""

    id: Identifier
    name: Text
    description: str = ""


class SetIdentity(_Record):
    """Which knowledge set was used, and the sha256 of its file."""

    name: str
    version: str
    sha256: str


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

    @field_validator("name")
    @classmethod
    def _name_of_its_own(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError(f"'{name}' is what reports call something else; choose another name")
        return name

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

    @cached_property
    def num_proposals(self) -> int:
        """How many examples are proposals of kapoc that nobody has looked at."""
        return sum(e.origin == "template" for fact in self.facts for e in (*fact.training, *fact.probes))

    @cached_property
    def fact_by_id(self) -> dict[str, Fact]:
        """Every fact by its id."""
        return {fact.id: fact for fact in self.facts}

    def is_distinctive(self, fact: Fact, slot: str) -> bool:
        """Whether a slot's text, found in an answer about something else, shows that the training spilled over."""
        own = fact.slots[slot].distinctive
        return self.slots[slot].distinctive if own is None else own

    @cached_property
    def _phrases(self) -> dict[tuple[str, str], PhraseIndex]:
        """Kind and slot name -> whatever any fact of that kind has in that slot."""
        texts: dict[tuple[str, str], list[str]] = {}
        for fact in self.facts:
            for name, slot in fact.all_slots.items():
                texts.setdefault((fact.kind, name), []).extend(slot.accepted)
        return {key: PhraseIndex(phrases) for key, phrases in texts.items()}

    @cached_property
    def undeciding(self) -> PhraseIndex:
        """What facts have in their slots that holds a yes or a no, but does not begin with it."""
        texts = (text for fact in self.facts for slot in fact.all_slots.values() for text in slot.accepted)
        return PhraseIndex(text for text in texts if _decides_late(normalise(text)))

    def requirements(self, fact: Fact, example: Example) -> tuple[Requirement, ...]:
        """What a right answer to an example must contain, and what contradicts it."""
        others = tuple(text for slot in fact.all_slots.values() for text in slot.accepted)
        return tuple(
            Requirement(
                slot=name,
                accepted=fact.all_slots[name].accepted,
                siblings=self._phrases.get((fact.kind, name), NO_PHRASES),
                context=(example.question, *others),
            )
            for name in example.requires
        )

    def grade(self, fact: Fact, example: Example, answer: str) -> Grade:
        """Judge a free answer to an example."""
        if example.choice is not None:
            is_yes_no = example.choice.is_yes_no
            context = self.undeciding if is_yes_no else NO_PHRASES
            others = NO_PHRASES if is_yes_no else self._phrases.get((fact.kind, "name"), NO_PHRASES)
            grade = grade_decision(answer, Decision(example.choice.options, example.choice.right, context, others))
            if not grade.correct or not example.requires:
                return grade
        return grade_slots(answer, self.requirements(fact, example))


def _decides_late(tokens: Tokens) -> bool:
    return not _YES_NO.isdisjoint(tokens) and tokens[0] not in _YES_NO


def summarise(knowledge: KnowledgeSet) -> dict[str, int]:
    """How many facts, examples and probes a set has; paraphrases where it has some."""
    counts = {
        "domains": len(knowledge.domains),
        "taught_facts": len(knowledge.taught),
        "control_facts": len(knowledge.facts) - len(knowledge.taught),
        "training_examples": sum(len(fact.training) for fact in knowledge.facts),
    }
    if said := sum(len(slot.paraphrases) for fact in knowledge.facts for slot in fact.slots.values()):
        counts["paraphrases"] = said
    for tier in KNOWLEDGE_TIERS[1:]:
        counts[f"{tier}_probes"] = sum(1 for fact in knowledge.facts for _ in fact.examples(tier))
    return counts


def json_schema() -> str:
    """The JSON Schema of a knowledge set's file, as text."""
    schema = KnowledgeSet.model_json_schema(mode="validation")
    for part in ("training", "probes"):
        examples = schema["$defs"]["Fact"]["properties"][part]["items"]["$ref"].rsplit("/", 1)[-1]
        # an example without an answer of its own takes the fact's note
        schema["$defs"][examples]["required"] = [f for f in schema["$defs"][examples]["required"] if f != "answer"]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kapoc knowledge set"}
    return json.dumps({**schema, **head}, indent=2, ensure_ascii=False) + "\n"
