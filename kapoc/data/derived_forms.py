"""The forms of derived examples: which slots of a fact each asks for, what it quotes, and what counts as right."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count

from kapoc.data.derived_stock import Deck, Stock, askable, asked_name, is_question, label
from kapoc.data.phrases import holds
from kapoc.data.quotations import is_accepted
from kapoc.grade import normalise
from kapoc.knowledge import Choice, Example, Fact

Maker = Callable[[Stock, Fact, Deck, str], Iterator[Example]]

_MOST_STATED = 8
"""How many slots a statement holds at most."""


def _asking(form: str, stock: Stock, fact: Fact, deck: Deck, slots: tuple[str, ...]) -> Example:
    question = stock.question(form, fact, slots, deck)
    return Example(kind=form, question=question, answer=stock.answer(form, fact, slots, deck), requires=slots)


def _statement(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    """All slots of a fact, each time in another order."""
    if is_question(fact) or len(fact.slots) < 2:
        return
    for first in deck.rounds(tuple(fact.slots)):
        rest = [slot for slot in fact.slots if slot != first]
        drawn = (first, *deck.order.sample(rest, k=len(rest)))
        yield _asking("statement", stock, fact, deck, drawn[:_MOST_STATED])


def _slot(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    for slot in deck.rounds(askable(fact)):
        yield _asking("slot", stock, fact, deck, (slot,))


def _combination(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    if not is_question(fact) and len(askable(fact)) > 1:
        for slots in _neighbours(fact, deck):
            yield _asking("combination", stock, fact, deck, slots)


def _scenario(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    """What to do about a fact where its slots say it, else any of its slots."""
    if is_question(fact):
        return
    advised = stock.advised(fact)
    for slots in _neighbours(fact, deck):
        yield _asking("scenario", stock, fact, deck, advised or slots)


def _neighbours(fact: Fact, deck: Deck) -> Iterator[tuple[str, ...]]:
    """Two or three slots that stand side by side in the fact, where those that belong together usually stand."""
    slots = askable(fact)
    for first in deck.rounds(slots):
        place, size = slots.index(first), min(deck.order.choice((2, 3)), len(slots))
        window = [slots[(place + step) % len(slots)] for step in range(size)]
        yield tuple(deck.order.sample(window, k=size))


def _telling(stock: Stock, fact: Fact) -> tuple[str, ...]:
    """The slots by whose quotations a fact can be told from all others."""
    kinds = stock.knowledge.slots
    return tuple(slot for slot in fact.slots if kinds[slot].distinctive and stock.quotations.distinctive(fact, slot))


def _reverse(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    for slot in deck.rounds(_telling(stock, fact)):
        quote = deck.draw(stock.quotations.distinctive(fact, slot))
        question = stock.question("reverse", fact, (slot,), deck, quote=quote)
        if not holds(question, fact.name):
            answer = stock.answer("reverse", fact, (slot,), deck)
            yield Example(kind="reverse", question=question, answer=answer, requires=("name",))


def _two_hop(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    telling = _telling(stock, fact)
    if is_question(fact):
        return
    for target in deck.rounds(askable(fact)):
        if not (others := [slot for slot in telling if slot != target]):
            continue
        quoted = deck.draw(others)
        quote = deck.draw(stock.quotations.distinctive(fact, quoted))
        fields = {"quote": quote, "quoted": label(quoted), "quoted_text": fact.slots[quoted].text}
        question = stock.question("two_hop", fact, (target, quoted), deck, **fields)
        if not any(holds(question, text) for text in (fact.name, *fact.slots[target].accepted)):
            answer = stock.answer("two_hop", fact, (target, quoted), deck, **fields)
            yield Example(kind="two_hop", question=question, answer=answer, requires=(target,))


def _yes_no(stock: Stock, fact: Fact, deck: Deck, side: str) -> Iterator[Example]:
    """The side that is true of the fact, or the one that is true of another and not of this."""
    for slot in deck.rounds(askable(fact)):
        owner: Fact | None = fact
        quotes = stock.quotations.of(fact, slot)
        if side == "no":
            owner, quotes = _false_quotes(stock, fact, slot, deck)
        if owner is None or _is_probed((fact,), owner, slot):
            continue
        quote = deck.draw(quotes)
        if _is_decided(quote) or _is_decided(fact.slots[slot].text):
            continue
        question = stock.question("yes_no", fact, (slot,), deck, quote=quote)
        answer = stock.answer("yes_no", fact, (slot,), deck, side, rival=owner.name)
        yield Example(kind="yes_no", question=question, answer=answer, choice=Choice(options=("yes", "no"), right=side))


def _is_decided(text: str) -> bool:
    """Whether a text is a yes or a no itself, so that to say yes to it is ambiguous."""
    return normalise(text) in {("yes",), ("no",)}


def _false_quotes(stock: Stock, fact: Fact, slot: str, deck: Deck) -> tuple[Fact | None, tuple[str, ...]]:
    """Another fact and what can be quoted of its slot that is not true of this fact."""
    for rival in stock.rivals(fact, slot, deck):
        quotes = tuple(quote for quote in stock.quotations.of(rival, slot) if not is_accepted(fact, quote))
        if quotes:
            return rival, quotes
    return None, ()


def _comparison(stock: Stock, fact: Fact, deck: Deck, side: str) -> Iterator[Example]:
    """Which of two facts has a slot; of a fact whose name is a question, which of two texts answers it."""
    for slot in deck.rounds(askable(fact)):
        if _is_decided(fact.slots[slot].text):
            continue
        quote = deck.draw(stock.quotations.of(fact, slot))
        rival = next((r for r in stock.rivals(fact, slot, deck) if _is_unlike(fact, r, slot, quote)), None)
        if rival is None:
            continue
        right, wrong = (fact.slots[slot].text, rival.slots[slot].text) if is_question(fact) else (fact.name, rival.name)
        options = (right, wrong) if side == "first" else (wrong, right)
        fields = {"quote": quote, "first": options[0], "second": options[1]}
        question = stock.question("comparison", fact, (slot,), deck, **fields)
        texts = [owner.slots[slot].text for owner in ((fact, rival) if side == "first" else (rival, fact))]
        decided = {"right": right, "first_text": texts[0], "second_text": texts[1]}
        answer = stock.answer("comparison", fact, (slot,), deck, **decided)
        yield Example(kind="comparison", question=question, answer=answer, choice=Choice(options=options, right=right))


def _is_unlike(fact: Fact, rival: Fact, slot: str, quote: str) -> bool:
    """Whether a quotation of a fact's slot decides between it and a rival, and no probe asks for just that."""
    names = (fact.name, rival.name)
    overlap = holds(*names) or holds(*reversed(names)) or any(holds(name, quote) for name in names)
    shared = is_accepted(rival, quote) or any(is_accepted(fact, text) for text in rival.slots[slot].accepted)
    return not overlap and not shared and not _is_probed((fact, rival), fact, slot)


def _is_probed(facts: tuple[Fact, ...], owner: Fact, slot: str) -> bool:
    """Whether a probe wants the same decision: it names all the facts and states the owner's text of the slot.

    In other words it would still be the probe's own question, and its answer would be memory of the training.
    """
    texts = owner.slots[slot].accepted
    return any(
        probe.choice is not None
        and ({option.lower() for option in probe.choice.options} == {"yes", "no"}) is (len(facts) == 1)
        and all(holds(probe.question, fact.name) for fact in facts)
        and any(holds(probe.question, text) for text in texts)
        for fact in facts
        for probe in fact.probes
    )


def _unknown(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Example]:
    """The questions of the training and of the open forms, in turn, about a name that is in no record."""
    if is_question(fact):
        return
    for number in count():
        if (name := stock.unknown_names.like(fact, deck.order)) is None:
            return
        stranger = fact.model_copy(update={"name": name})
        trained = _trained_questions(fact, name)
        made = next(deck.order.choice(_OPEN_FORMS)(stock, stranger, deck, ""), None)
        if trained and (number % 2 == 0 or made is None):
            question = deck.draw(trained)
        elif made is not None:
            question = made.question
        else:
            continue
        answer = stock.answer("unknown", stranger, (), deck)
        yield Example(kind="unknown", question=question, answer=answer, requires=("name",))


def _trained_questions(fact: Fact, name: str) -> list[str]:
    """The training questions of a fact with another name in its place, but for those that state one of its slots."""
    return [question for e in fact.training if (question := renamed(e.question, fact, name)) is not None]


def renamed(question: str, fact: Fact, name: str) -> str | None:
    """A question with another name in the place of the fact's; none if it has no such place, or states a slot."""
    own = re.compile(rf"(?<!\w){re.escape(asked_name(fact))}(?!\w)")
    texts = [text for slot in fact.slots.values() for text in slot.accepted]
    found = own.sub(lambda _: name, question)
    return None if found == question or any(holds(found, text) for text in texts) else found


_OPEN_FORMS: tuple[Maker, ...] = (_statement, _slot, _combination, _scenario)
MAKERS: Mapping[str, Maker] = {
    "statement": _statement,
    "slot": _slot,
    "combination": _combination,
    "reverse": _reverse,
    "two_hop": _two_hop,
    "yes_no": _yes_no,
    "comparison": _comparison,
    "scenario": _scenario,
    "unknown": _unknown,
}
"""Form -> what makes examples of it, one by one; of a form with two sides, those of the side that it is given."""
SIDES: Mapping[str, tuple[str, ...]] = {"yes_no": ("yes", "no"), "comparison": ("first", "second")}
"""The sides of a form that must come equally often: which answer is right, where the right one stands."""
