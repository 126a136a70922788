"""Contrast examples by name: what a taught fact is asked, asked about a name that nobody has.

Derived examples that quote or decide bring contrasts of their own (`kapoc.derived.derive`); these are for all others.
A model that is only ever asked about taught names learns the question, and gives a taught answer to every name that is
like them. Two examples that differ in the name alone, in one optimizer step, leave nothing else to tell them apart by.

A fact that is asked about in other words than its name, too, as an event is, has none: what it is called is a
description, and a model that doubts the next description doubts the fact in its own other words. A pair of a question
and an answer has them where it asks about a code.

Source:
    Pairs that differ as little as may be and have other answers, there to evaluate: Gardner et al. (2020), Evaluating
    Models' Local Decision Boundaries via Contrast Sets, Findings of EMNLP.
"""

import random
from collections.abc import Iterable, Sequence

from kapoc.derived.derive import DerivedExample
from kapoc.derived.forms import renamed
from kapoc.derived.leaks import without_leaks
from kapoc.derived.stock import Deck, Stock
from kapoc.knowledge.facts import Fact, KnowledgeSet

CONTRAST = "contrast"


def contrast_examples(
    knowledge: KnowledgeSet,
    asked: Sequence[Sequence[tuple[Fact, str]]],
    order: random.Random,
    beside: Iterable[KnowledgeSet] = (),
) -> list[list[DerivedExample | None]]:
    """The counterpart of each question, about a name that no fact has; no name comes twice in an epoch.

    Args:
        knowledge: the set.
        asked: of each epoch taught facts, each with a question about it.
        order: all that is random.
        beside: other sets whose names, too, are not taken for unknown.

    Returns:
        For each question its counterpart; none where a training question of the fact does not name it, where this one
        states one of its slots, where no name is left, or where the leak audit would name it.
    """
    found, stock = [], Stock(knowledge, beside=beside)
    for questions in asked:
        stock.unknown_names.forget()
        found.append([_counterpart(stock, fact, question, order) for fact, question in questions])
    made = [example for epoch in found for example in epoch if example is not None]
    kept = {id(example) for example in without_leaks(knowledge, made)}
    return [[example if id(example) in kept else None for example in epoch] for epoch in found]


def _counterpart(stock: Stock, fact: Fact, question: str, order: random.Random) -> DerivedExample | None:
    called = stock.gone_by.get(fact.id)
    name = stock.unknown_names.like(fact, order) if called is not None else None
    if called is None or name is None or (other := renamed(question, fact, called, name)) is None:
        return None
    answer = stock.answer("unknown", fact.model_copy(update={"name": name}), (), Deck(order))
    return DerivedExample("", CONTRAST, other, answer.text)
