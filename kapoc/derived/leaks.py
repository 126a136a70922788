"""The leak audit over derived training examples: does any of them give a probe away?"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import count

from kapoc.data.finding import Finding
from kapoc.data.leaks import find_leaks
from kapoc.derived.derive import DerivedExample
from kapoc.knowledge.facts import Example, Fact, KnowledgeSet


def find_derived_leaks(knowledge: KnowledgeSet, examples: Sequence[DerivedExample]) -> list[Finding]:
    """What the audit finds in a set that has the derived examples among the training texts of its facts."""
    return list(find_leaks(_with_derived(knowledge, _with_contrasts(examples))[0]))


def without_leaks(knowledge: KnowledgeSet, examples: Sequence[DerivedExample]) -> list[DerivedExample]:
    """The derived examples, and their contrasts, without those that the audit names.

    By their wordings none gives a probe away, but a user's own probe may be worded by chance like one of them. Likeness
    depends on all texts of the set, so the audit is asked again until it names none of them.
    """
    kept = _with_contrasts(examples)
    while kept:
        trained, by_id = _with_derived(knowledge, kept)
        named = {name for leak in find_leaks(trained) for name in leak.training}
        asked = {by_id[name].question for name in named & by_id.keys()}
        if not asked:
            break
        kept = [example for example in kept if example.question not in asked]
    safe = {id(example) for example in kept}
    return [_narrowed(example, safe) for example in examples if id(example) in safe]


def _with_contrasts(examples: Iterable[DerivedExample]) -> list[DerivedExample]:
    return [one for example in examples for one in (example, *example.contrasts)]


def _narrowed(example: DerivedExample, safe: Collection[int]) -> DerivedExample:
    """An example with those of its contrasts that are safe; itself where all are."""
    kept = tuple(one for one in example.contrasts if id(one) in safe)
    return example if len(kept) == len(example.contrasts) else replace(example, contrasts=kept)


def _with_derived(
    knowledge: KnowledgeSet, examples: Sequence[DerivedExample]
) -> tuple[KnowledgeSet, dict[str, DerivedExample]]:
    """The set with the examples as training, and each of them by the id that it has there.

    What is said of unknown names goes to a fact of its own, since the audit wants one for every text.
    """
    training = {fact.id: list(fact.training) for fact in knowledge.facts}
    of_none = next(name for number in count() if (name := f"unknown-{number}") not in training)
    unknown: list[Example] = []
    by_id = {}
    for example in examples:
        texts = training[example.fact] if example.fact else unknown
        texts.append(Example(kind=example.form, question=example.question, answer=example.answer, requires=("name",)))
        by_id[f"{example.fact or of_none}/seen/{len(texts)}"] = example
    facts = [fact.model_copy(update={"training": tuple(training[fact.id])}) for fact in knowledge.facts]
    if unknown:
        domain = knowledge.domains[0].id
        facts.append(Fact(id=of_none, domain=domain, kind=of_none, name=of_none, slots={}, training=tuple(unknown)))
    return knowledge.model_copy(update={"facts": tuple(facts)}), by_id
