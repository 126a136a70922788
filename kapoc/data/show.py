"""What a fact turns into, as a person would want to check it: training texts, probes, options."""

from collections.abc import Iterator

from kapoc.knowledge import KNOWLEDGE_TIERS, Example, Fact, KnowledgeSet


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
    else:
        needs = "; ".join(" or ".join(f"'{t}'" for t in fact.all_slots[name].accepted) for name in example.requires)
        yield f"       right when it says {needs}"
    for wrong in knowledge.options(fact, example)[1:]:
        yield f"       wrong option: {wrong}"
