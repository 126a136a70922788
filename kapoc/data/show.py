"""What a fact turns into, as a person would want to check it: training texts, probes, options."""

from collections.abc import Iterator
from typing import Any

from kapoc.knowledge.facts import KNOWLEDGE_TIERS, Example, Fact, KnowledgeSet
from kapoc.knowledge.options import HardOptions

_LONGEST_NAME = 60


def summarise_fact(fact: Fact) -> dict[str, Any]:
    """A fact by its fields in short: what it is called, what is graded, and how many examples it has."""
    return {
        "id": fact.id,
        "domain": fact.domain,
        "kind": fact.kind,
        "name": fact.name,
        "taught": fact.taught,
        "slots": {name: slot.text for name, slot in fact.slots.items()},
        "training": len(fact.training),
        "probes": len(fact.probes),
    }


def fact_line(fact: Fact) -> str:
    """A fact in a line: what it is called, how many examples it has, and the texts that are graded."""
    name = fact.name if len(fact.name) <= _LONGEST_NAME else f"{fact.name[: _LONGEST_NAME - 3]}..."
    taught = f"{len(fact.training)} training examples" if fact.taught else "a control"
    graded = "; ".join(f"{slot}: {text.text}" for slot, text in fact.slots.items())
    called = "" if fact.name == fact.id else f"  {name}"
    return f"{fact.id}{called}  ({fact.domain}, {fact.kind}): {taught}, {len(fact.probes)} probes | {graded}"


def fact_called(knowledge: KnowledgeSet, wanted: str) -> Fact | None:
    """The fact with this id, or the only one with this name, in any case."""
    if (found := knowledge.fact_by_id.get(wanted)) is not None:
        return found
    named = [fact for fact in knowledge.facts if fact.name.casefold() == wanted.casefold()]
    return named[0] if len(named) == 1 else None


def describe_fact(knowledge: KnowledgeSet, fact: Fact) -> Iterator[str]:
    """One fact in lines of text: its slots, and every example with what a right answer needs and its options."""
    kind = "taught" if fact.taught else "control: never taught"
    yield f"{fact.id} ({fact.domain}, {fact.kind}, {kind}): {fact.name}"
    for name, slot in fact.slots.items():
        also = f"   also: {' | '.join(slot.aliases)}" if slot.aliases else ""
        yield f"  {name}: {slot.text}{also}"
        yield from (f"    people say: {text}" for text in slot.paraphrases)
    for tier in KNOWLEDGE_TIERS:
        examples = list(fact.examples(tier))
        if examples:
            yield ""
            yield f"  {tier} ({'trained on' if tier == 'seen' else 'never trained on'}): {len(examples)}"
        for number, (_, example) in enumerate(examples, start=1):
            yield from _describe(knowledge, fact, example, number)


def _describe(knowledge: KnowledgeSet, fact: Fact, example: Example, number: int) -> Iterator[str]:
    proposed = "  [proposed by kapoc]" if example.origin == "template" else ""
    yield f"  {number:3}. [{example.kind}] {example.question}{proposed}"
    yield f"       answer: {example.answer}"
    if example.choice is not None:
        yield f"       right when it says '{example.choice.right}' first, of {' | '.join(example.choice.options)}"
    if example.requires:
        needs = "; ".join(" or ".join(f"'{t}'" for t in fact.all_slots[name].accepted) for name in example.requires)
        yield f"       right when it says {needs}"
    for wrong in HardOptions(knowledge).of(fact, example)[1:]:
        yield f"       wrong option: {wrong}"
