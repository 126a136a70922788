"""Training examples derived from the taught facts: each fact in every way in which it will be used.

A model that has only seen a note behind questions for the note can say the note and not use it: name the fact when told
its symptom, say no to a sibling's value, say that it does not know. It needs examples of each use, in other words than
the probes'. They are made of the slots of taught facts by hand-written templates; nothing of a control goes into them.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from kapoc.derived.forms import MAKERS, SIDES
from kapoc.derived.stock import MOST_WORDS, Deck, Drawn, Stock, askable
from kapoc.errors import DataError, near_miss
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.normalise import Tokens, normalise

FORMS: tuple[str, ...] = tuple(MAKERS)
DEFAULT_PER_FACT: Mapping[str, int] = MappingProxyType(
    {
        "statement": 2,
        "combination": 2,
        "reverse": 3,
        "two_hop": 3,
        "yes_no": 4,
        "comparison": 3,
        "scenario": 2,
        "unknown": 2,
        "ordering": 2,
    }
)
"""How many examples of a form a fact gets if it is not said; of `slot`, one for each slot."""
NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "statement": "two slots, or a name that is a question of several words",
        "slot": "a slot that its name does not give away",
        "combination": "a name that is no question, and two slots",
        "reverse": "a slot that is `distinctive: true` and tells it from all others",
        "two_hop": "a name that is no question, a slot that is `distinctive: true`, and another",
        "yes_no": "a slot that a fact of its kind has, too",
        "comparison": "a slot that a fact of its kind has, too, with another text",
        "scenario": "a slot that its name does not give away",
        "unknown": "a name that can be varied: a code, also in a question, or words",
        "ordering": "a name that is no question, and a `version` in numbers, as another fact of its kind has",
    }
)
"""What a fact must have so that examples of a form can be made."""


@dataclass(frozen=True, slots=True)
class DerivedExample:
    """A training example made by a template.

    Attributes:
        fact: the id of the fact that it was made for, one of the two where two are compared; empty where the name is
            nobody's.
        form: the use of the fact that it shows, one of `FORMS`, or `contrast`.
        question: the prompt.
        answer: what the model is to say.
        note: what stands in it of a fact's note as it is; empty where it is made of slots.
        contrasts: the same wording where another answer is right; none of a form whose contrast is a name that nobody
            has (`kapoc.derived.contrasts`).
    """

    fact: str
    form: str
    question: str
    answer: str
    note: str = ""
    contrasts: tuple["DerivedExample", ...] = ()


def derived_examples(
    knowledge: KnowledgeSet,
    forms: Sequence[str],
    *,
    per_fact: Mapping[str, int] | int = DEFAULT_PER_FACT,
    order: random.Random,
    rounds: int = 1,
    by_notes: bool = False,
    beside: Iterable[KnowledgeSet] = (),
) -> list[DerivedExample]:
    """Derive training examples from the taught facts of a set.

    No question comes twice, but that a contrast may be another example, too; none is one of the set's own, and every
    answer is graded right. A fact gets fewer where its slots give no more: one with a single slot has nothing to
    combine.

    Args:
        knowledge: the set.
        forms: which of `FORMS` are wanted. What is drawn for one does not depend on which others are wanted.
        per_fact: how many examples of each form a fact gets, or that by form; `DEFAULT_PER_FACT` for forms not named.
        order: all that is random; the same state gives the same examples.
        rounds: how often over that number is wanted, as for the epochs of a training.
        by_notes: whether a question is answered with the fact's note, which is what all its training answers say alike;
            one that quotes the fact, with the quoted slot before it; which of two facts has a text, in a slot in which
            no two have the same, with whose it is, as `reverse`, and in one in which some have, with the note of the
            first of the two. By versions facts are compared as ever, and so is a fact answered that has no note, or one
            that does not answer the question.
        beside: other sets that the model is taught or asked about: none of their names is taken for unknown.

    Returns:
        The examples, form by form in the order of `FORMS` and fact by fact in the order of the set.

    Raises:
        DataError: there is no such form, or a number is negative.
    """
    numbers = _numbers(forms, per_fact)
    stock = Stock(knowledge, by_notes=by_notes, beside=beside)
    taken = {normalise(e.question) for fact in knowledge.facts for e in (*fact.training, *fact.probes)}
    seeds = {form: order.getrandbits(64) for form in FORMS}
    found: list[DerivedExample] = []
    for form in FORMS:
        if form in forms:
            drawn = random.Random(seeds[form])  # noqa: S311 - not for secrets
            found += _of_form(form, stock, numbers.get(form), rounds, drawn, taken)
    return found


def checked_forms(forms: Iterable[str]) -> None:
    """Make sure that all forms exist.

    Raises:
        DataError: one does not.
    """
    for form in forms:
        if form not in FORMS:
            raise DataError(f"derived: '{form}' is no form of example; {near_miss(form, FORMS)}")


def _numbers(forms: Sequence[str], per_fact: Mapping[str, int] | int) -> Mapping[str, int]:
    named = dict.fromkeys(FORMS, per_fact) if isinstance(per_fact, int) else {**DEFAULT_PER_FACT, **per_fact}
    checked_forms((*forms, *named))
    for form, number in named.items():
        if number < 0:
            raise DataError(f"derived: {form}: {number} examples of a fact; ask for 0 or more")
    return named


def _of_form(
    form: str, stock: Stock, number: int | None, rounds: int, order: random.Random, taken: set[Tokens]
) -> Iterator[DerivedExample]:
    """The examples of one form, at every moment as many of one side as of the other, give or take one."""
    counts: Counter[str] = Counter()
    own = frozenset(taken)
    for fact in stock.knowledge.taught:
        wanted = rounds * (len(askable(fact)) if number is None else number)
        deck = Deck(order, wanted)
        sides = {side: MAKERS[form](stock, fact, deck, side) for side in SIDES.get(form, ("",))}
        for _ in range(wanted):
            fewest = min(counts[side] for side in sides)
            side = order.choice([side for side in sides if counts[side] == fewest])
            for drawn in sides[side]:
                if _is_right(form, stock, drawn) and normalise(drawn.example.question) not in taken:
                    break
            else:
                break
            taken.add(normalise(drawn.example.question))
            counts[side] += 1
            beside = (one for one in drawn.others if normalise(one.example.question) not in own)
            contrasts = tuple(_derived(form, one.fact, one) for one in beside if _is_right(form, stock, one))
            yield replace(_derived(form, fact, drawn), contrasts=contrasts)


def _derived(form: str, fact: Fact, drawn: Drawn) -> DerivedExample:
    about, example = "" if form == "unknown" else fact.id, drawn.example
    return DerivedExample(about, form, example.question, example.answer, drawn.note)


def _is_right(form: str, stock: Stock, drawn: Drawn) -> bool:
    """Whether an answer is graded right, and a decision in it comes soon enough; nobody grades an unknown name."""
    example = drawn.example
    is_soon = example.choice is None or len(example.answer.split()) <= MOST_WORDS
    return form == "unknown" or (is_soon and stock.knowledge.grade(drawn.fact, example, example.answer).correct)
