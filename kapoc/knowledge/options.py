"""The options of a multiple-choice question: the right sentence, and the same one with a sibling's slots in it."""

import random
from collections import defaultdict
from collections.abc import Iterator

from kapoc.knowledge.amounts import is_same_otherwise
from kapoc.knowledge.facts import Example, Fact, KnowledgeSet
from kapoc.knowledge.normalise import normalise, whole_words

NUM_OPTIONS = 4
"""How many options a multiple-choice item has: the right one and three of sibling facts."""


class HardOptions:
    """The options of a set's questions; a sibling is another fact of the same kind.

    Args:
        knowledge: the set.
    """

    def __init__(self, knowledge: KnowledgeSet) -> None:
        self._knowledge = knowledge
        self._kin: dict[str, list[Fact]] = defaultdict(list)
        self._groups: dict[tuple[str, str, bool, bool], list[Fact]] = {}
        self._forms: dict[str, tuple[str, str] | None] = {}
        for fact in knowledge.facts:
            self._kin[fact.kind].append(fact)
            only = next(iter(fact.slots.items())) if len(fact.slots) == 1 else None
            self._forms[fact.id] = None if only is None else (only[0], form_of(only[1].text))

    def of(self, fact: Fact, example: Example) -> tuple[str, ...]:
        """The right answer and hard wrong ones: the same sentence with a sibling's slots in it.

        Siblings of the same domain come before others and taught facts before controls; where facts have one slot,
        which may hold anything, those with a like text come first. Among equals the choice is random, but the same at
        every call.

        Returns:
            Four answers, the right one first; empty where three distinct siblings do not exist or the
            reference answer does not state its slots word for word.
        """
        if example.choice is not None:
            return ()
        wrong: list[str] = []
        for sibling in self._in_random_order(fact, random.Random(f"{fact.id} {example.question}")):  # noqa: S311 - not for secrets
            option = _with_slots_of(example, fact, sibling)
            if option is None or option in (example.answer, *wrong) or _says_the_same(example, fact, sibling):
                continue
            if not self._knowledge.grade(fact, example, option).correct:
                wrong.append(option)
            if len(wrong) == NUM_OPTIONS - 1:
                return (example.answer, *wrong)
        return ()

    def _in_random_order(self, fact: Fact, order: random.Random) -> Iterator[Fact]:
        """Siblings of the same domain first, of those and of the others the taught ones first."""
        for same_domain in (True, False):
            for taught in (True, False):
                unlike: list[Fact] = []
                for sibling in _shuffled(self._group_of(fact, same_domain=same_domain, taught=taught), order):
                    if self._is_unlike(fact, sibling):
                        unlike.append(sibling)
                    else:
                        yield sibling
                yield from unlike

    def _group_of(self, fact: Fact, *, same_domain: bool, taught: bool) -> list[Fact]:
        key = (fact.kind, fact.domain, same_domain, taught)
        group = self._groups.get(key)
        if group is None:
            kin = self._kin[fact.kind]
            group = [f for f in kin if (f.domain == fact.domain) is same_domain and f.taught is taught]
            self._groups[key] = group
        return [f for f in group if f.id != fact.id]

    def _is_unlike(self, fact: Fact, sibling: Fact) -> bool:
        """Whether the only slot of a fact has another form than a sibling's, so that a reader sees it is no answer."""
        own, other = self._forms[fact.id], self._forms[sibling.id]
        return own is not None and other is not None and own[0] == other[0] and own[1] != other[1]


def form_of(text: str) -> str:
    """What a text looks like: a `number`, where a digit or a number word begins a word, a `name`, or other `text`."""
    if any(token[:1].isdigit() for token in normalise(text)):
        return "number"
    return "name" if text[:1].isupper() and text.split()[-1][:1].isupper() else "text"


def _shuffled(pool: list[Fact], order: random.Random) -> Iterator[Fact]:
    """What `order.sample(pool, k=len(pool))` draws, one by one, so that who needs three does not draw thousands."""
    for left in range(len(pool), 0, -1):
        place = order.randrange(left)
        yield pool[place]
        pool[place] = pool[left - 1]


def _stands_in(text: str, answer: str) -> bool:
    return whole_words(text).search(answer) is not None


def _says_the_same(example: Example, fact: Fact, sibling: Fact) -> bool:
    """Whether a sibling has what is asked for, or where its name is, what may be asked by, in other words alone."""
    wanted = [name for name in example.requires if name in fact.slots]
    same = [
        name in sibling.slots and is_same_otherwise(fact.slots[name].text, sibling.slots[name].text)
        for name in wanted or fact.slots
    ]
    return all(same) if wanted else any(same)


def _with_slots_of(example: Example, fact: Fact, sibling: Fact) -> str | None:
    """The reference answer with all of the fact's slots replaced by the sibling's, or none if that is not possible.

    Slots that are not required are replaced too, so that every option is as coherent as the right one. The name
    stays, unless it is what was asked for.
    """
    mentioned = {name: slot.text for name, slot in fact.slots.items() if _stands_in(slot.text, example.answer)}
    if "name" in example.requires:
        mentioned["name"] = fact.name
    if not set(example.requires) <= mentioned.keys() or not mentioned.keys() <= sibling.all_slots.keys():
        return None
    place = {text: name for name, text in mentioned.items()}
    longest_first = whole_words(*sorted(place, key=len, reverse=True))
    return longest_first.sub(lambda m: sibling.all_slots[place[m.group()]].text, example.answer)
