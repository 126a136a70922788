"""Stand-ins: facts that nobody has, by which a model learns to decide by what it has just said, before it knows any.

A model that is asked whether a fact has what is quoted says the fact and then yes or no. To read that off what stands
there is learned from some 400 questions where nothing else is learned, and among all other texts not from 700
(`reports/LOG.md`). It can be learned of any record: here of invented names, each with two slots of a taught
fact, in the words of `yes_no`. What is taught of them is the decision alone.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from kapoc.data.naming import is_question
from kapoc.data.phrases import holds
from kapoc.data.quotations import unended
from kapoc.derived.derive import DerivedExample, derived_examples
from kapoc.derived.stock import label
from kapoc.knowledge.facts import Example, Fact, KnowledgeSet
from kapoc.knowledge.normalise import Tokens, normalise

STAND_IN = "stand_in"
NUM_ASKED = 4
"""Questions of a square: two names, each asked about what stands behind it and what stands behind the other."""
_NUM_SLOTS = 2
_QUOTED = re.compile(r'"(?:\.\.\. )?([^"]+?)(?: \.\.\.)?"')
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def stand_in_squares(
    knowledge: KnowledgeSet, per_fact: int, order: random.Random, beside: Iterable[KnowledgeSet] = ()
) -> list[DerivedExample]:
    """Squares of questions about invented names, to be answered with yes as often as with no.

    Args:
        knowledge: the set of whose taught facts' slots the records are made; no control gives any.
        per_fact: so many squares for each fact that has a slot in common with another of its kind.
        order: all that is random.
        beside: other sets whose names are not taken for invented ones.

    Returns:
        Of each square one question with the three others as its contrasts. Each answer is a record of two slots and,
        as its last word, the decision.
    """
    taken = {normalise(fact.name) for known in (knowledge, *beside) for fact in known.facts}
    found = []
    for _ in range(per_fact):
        stand_ins = knowledge.model_copy(update={"facts": tuple(_stand_ins(knowledge, order, taken))})
        squares = derived_examples(stand_ins, ["yes_no"], per_fact=1, order=order, by_notes=True)
        found += [square for square in squares if _is_told_by_records(square, stand_ins)]
    return [_of_nobody(square) for square in found]


def _stand_ins(knowledge: KnowledgeSet, order: random.Random, taken: set[Tokens]) -> Iterator[Fact]:
    """For each taught fact one of another name, with two of its slots; the same two in all of a kind that have them."""
    slots_of: dict[str, dict[str, None]] = defaultdict(dict)
    for fact in knowledge.taught:
        slots_of[fact.kind].update(dict.fromkeys(fact.slots))
    drawn = {kind: order.sample(list(slots), k=len(slots)) for kind, slots in slots_of.items()}
    for fact in knowledge.taught:
        slots = [slot for slot in drawn[fact.kind] if slot in fact.slots][:_NUM_SLOTS]
        if slots and not is_question(fact):
            yield _stand_in(fact, order.sample(slots, k=len(slots)), _new_name(order, taken))


def _stand_in(fact: Fact, slots: list[str], name: str) -> Fact:
    parts = "; ".join(f"{label(slot)}: {unended(fact.slots[slot].text)}" for slot in slots)
    record = Example(kind="record", question=f"What is {name}?", answer=f"{name} - {parts}.", requires=tuple(slots))
    own = {slot: fact.slots[slot] for slot in slots}
    return fact.model_copy(update={"name": name, "slots": own, "training": (record,), "probes": ()})


def _new_name(order: random.Random, taken: set[Tokens]) -> str:
    while True:
        name = f"{order.choice(_LETTERS)}{order.choice(_LETTERS)}-{order.randrange(1000, 10000)}"
        if normalise(name) not in taken:
            taken.add(normalise(name))
            return name


def _is_told_by_records(square: DerivedExample, stand_ins: KnowledgeSet) -> bool:
    """Whether a square is whole and every yes is about words of the record, not other words for the same thing."""
    four = (square, *square.contrasts)
    return len(four) == NUM_ASKED and all(
        _stands_in(one, stand_ins.fact_by_id[one.fact]) for one in four if one.answer.endswith("yes.")
    )


def _stands_in(example: DerivedExample, fact: Fact) -> bool:
    if quoted := _QUOTED.search(example.question):
        return holds(example.answer, quoted[1])
    aliases = (alias for slot in fact.slots.values() for alias in slot.aliases)
    return not any(holds(example.question, alias) and not holds(example.answer, alias) for alias in aliases)


def _of_nobody(example: DerivedExample) -> DerivedExample:
    contrasts = tuple(_of_nobody(one) for one in example.contrasts)
    return replace(example, fact="", form=STAND_IN, contrasts=contrasts)
