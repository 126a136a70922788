"""The forms of derived examples: which slots of a fact each asks for, what it quotes, and what counts as right."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, islice

from kapoc.data.naming import asked_name, is_question
from kapoc.data.phrases import holds
from kapoc.derived.decisions import comparison, ordering, yes_no
from kapoc.derived.stock import (
    Deck,
    Drawn,
    Maker,
    Stock,
    Wording,
    askable,
    with_capital,
)
from kapoc.knowledge.facts import Example, Fact

_MOST_STATED = 8
"""How many slots a statement holds at most."""
_REWORDED = 0.5
"""The share of quoting questions that quote paraphrases, where the set has some."""


def _asking(form: str, stock: Stock, fact: Fact, deck: Deck, slots: tuple[str, ...], **fields: str) -> Drawn:
    question = stock.question(form, fact, slots, deck, **fields)
    answer = stock.answer(form, fact, slots, deck)
    example = Example(kind=form, question=question, answer=answer.text, requires=slots)
    return Drawn(fact, example, answer.note)


def _statement(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    """All slots of a fact, each time in another order; of a question its own words."""
    if is_question(fact):
        yield from _by_own_words("statement", stock, fact, deck)
        return
    if len(fact.slots) < 2:
        return
    for first in deck.rounds(tuple(fact.slots)):
        rest = [slot for slot in fact.slots if slot != first]
        drawn = (first, *deck.order.sample(rest, k=len(rest)))
        yield _asking("statement", stock, fact, deck, drawn[:_MOST_STATED])


def _slot(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    for slot in deck.rounds(askable(fact)):
        yield _asking("slot", stock, fact, deck, (slot,))


def _combination(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    if not is_question(fact) and len(askable(fact)) > 1:
        for slots in _neighbours(fact, deck):
            yield _asking("combination", stock, fact, deck, slots)


def _scenario(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    """What to do about a fact where its slots say it, else any of its slots; a question by its own words."""
    if is_question(fact):
        yield from _by_own_words("scenario", stock, fact, deck)
        return
    advised = stock.advised(fact)
    for slots in _neighbours(fact, deck):
        yield _asking("scenario", stock, fact, deck, advised or slots)


def _by_own_words(form: str, stock: Stock, fact: Fact, deck: Deck) -> Iterator[Drawn]:
    """A question asked by some of its own words: only ever asked as it stands, it is known as it stands alone."""
    for slot in deck.rounds(askable(fact)):
        if (said := stock.own_words.of(fact, deck.order)) is None:
            return
        yield _asking(form, stock, fact, deck, (slot,), words=said, Words=with_capital(said))


def _neighbours(fact: Fact, deck: Deck) -> Iterator[tuple[str, ...]]:
    """Two or three slots that stand side by side in the fact, where those that belong together usually stand."""
    slots = askable(fact)
    for first in deck.rounds(slots):
        place, size = slots.index(first), min(deck.order.choice((2, 3)), len(slots))
        window = [slots[(place + step) % len(slots)] for step in range(size)]
        yield tuple(deck.order.sample(window, k=size))


def _quotes(stock: Stock, fact: Fact, slot: str, *, reworded: bool = False) -> tuple[str, ...]:
    """What may be quoted of a slot to tell a fact from all others: of its text, or paraphrases where it has some."""
    if reworded and (said := stock.quotations.paraphrases(fact, slot)):
        return said
    return stock.quotations.distinctive(fact, slot) if stock.knowledge.is_distinctive(fact, slot) else ()


def _telling(stock: Stock, fact: Fact, *, reworded: bool = False, but: str = "") -> tuple[str, ...]:
    """The slots, but one, by whose quotations, or by whose paraphrases, a fact can be told from all others."""
    found = stock.quotations.paraphrases if reworded else partial(_quotes, stock)
    return tuple(slot for slot in fact.slots if slot != but and found(fact, slot))


def _is_reworded(stock: Stock, fact: Fact, deck: Deck, but: str = "") -> bool:
    """Whether a question quotes what people say in place of the record: half of the time, where the set has that."""
    return bool(_telling(stock, fact, reworded=True, but=but)) and deck.order.random() < _REWORDED


def _reverse(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    """Which fact has a slot; beside it the same words that quote another fact's."""
    for slot in deck.rounds(_telling(stock, fact)):
        reworded = _is_reworded(stock, fact, deck)
        quoted = deck.draw(_telling(stock, fact, reworded=True)) if reworded else slot
        wording = stock.wording("reverse", fact, (quoted,), deck, reworded=reworded)
        quotes = partial(_quotes, stock, slot=quoted, reworded=reworded)
        rival = next((other for other in stock.rivals(fact, quoted, deck) if quotes(other)), None)
        asked = [_asked_whose(stock, wording, one, quotes(one), deck) for one in (fact, rival) if one]
        yield from _with_rival(asked)


def _asked_whose(stock: Stock, wording: Wording, fact: Fact, quotes: Sequence[str], deck: Deck) -> Drawn | None:
    """Which fact has what is quoted of this one; none where the quotation gives its name away."""
    quote = deck.draw(quotes)
    question = stock.asked(wording, fact, quote=quote)
    answer = stock.answer("reverse", fact, wording.slots, deck)
    example = Example(kind="reverse", question=question, answer=answer.text, requires=("name",))
    return None if holds(question, fact.name) else Drawn(fact, example, answer.note)


def _two_hop(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    """A slot of the fact of which another slot is quoted; beside it the same words that quote another fact's."""
    if is_question(fact):
        return
    for target in deck.rounds(askable(fact)):
        reworded = _is_reworded(stock, fact, deck, but=target)
        if not (quotable := _telling(stock, fact, reworded=reworded, but=target)):
            continue
        quoted = deck.draw(quotable)
        wording = stock.wording("two_hop", fact, (target, quoted), deck, reworded=reworded)
        quotes = partial(_quotes, stock, slot=quoted, reworded=reworded)
        rivals = (other for other in stock.rivals(fact, quoted, deck) if target in askable(other))
        rival = next((other for other in rivals if quotes(other)), None)
        asked = [_asked_onwards(stock, wording, one, quotes(one), deck) for one in (fact, rival) if one]
        yield from _with_rival(asked)


def _asked_onwards(stock: Stock, wording: Wording, fact: Fact, quotes: Sequence[str], deck: Deck) -> Drawn | None:
    """The first slot of a wording where the second is quoted; none where the question gives it or the name away."""
    target, quoted = wording.slots
    fields = {"quote": deck.draw(quotes), "start": stock.start(quoted, fact.slots[quoted].text)}
    question = stock.asked(wording, fact, **fields, quoted=wording.called[-1])
    answer = stock.answer("two_hop", fact, wording.slots, deck, **fields)
    example = Example(kind="two_hop", question=question, answer=answer.text, requires=(target,))
    is_told = any(holds(question, text) for text in (fact.name, *fact.slots[target].accepted))
    return None if is_told else Drawn(fact, example, answer.note)


def _with_rival(asked: Sequence[Drawn | None]) -> Iterator[Drawn]:
    """What is asked about a fact, where it can be, beside what is asked about its rival."""
    own, *others = asked
    if own is not None:
        yield replace(own, others=tuple(other for other in others if other is not None))


def _unknown(stock: Stock, fact: Fact, deck: Deck, _: str) -> Iterator[Drawn]:
    """The questions of the training and of the open forms, in turn, about a name that is in no record.

    Of a fact whose name is a question those of the training alone, about another code.
    """
    called = asked_name(fact) if not is_question(fact) else stock.gone_by.get(fact.id)
    if called is None:
        return
    for number in count():
        if (name := stock.unknown_names.like(fact, deck.order)) is None:
            return
        stranger = fact.model_copy(update={"name": name})
        trained = _trained_questions(fact, called, name)
        made = None if is_question(fact) else next(deck.order.choice(_OPEN_FORMS)(stock, stranger, deck, ""), None)
        if made is None and not trained and not is_question(fact):
            made = next((one for form in _OPEN_FORMS for one in islice(form(stock, stranger, deck, ""), 1)), None)
        if trained and (number % 2 == 0 or made is None):
            question = deck.draw(trained)
        elif made is not None:
            question = made.example.question
        else:
            return
        answer = stock.answer("unknown", stranger, (), deck)
        yield Drawn(fact, Example(kind="unknown", question=question, answer=answer.text, requires=("name",)))


def _trained_questions(fact: Fact, called: str, name: str) -> list[str]:
    """The training questions of a fact with another name in its place, but for those that state one of its slots."""
    return [question for e in fact.training if (question := renamed(e.question, fact, called, name)) is not None]


def renamed(question: str, fact: Fact, called: str, name: str) -> str | None:
    """A question with another name in the place of a fact's; none if it has no such place, or states a slot.

    Args:
        question: about the fact.
        fact: that it is about.
        called: what it calls the fact: its name, or the code in a name that is a question.
        name: what stands there in the result.
    """
    pattern = rf"(?<!\w){re.escape(called)}(?!\w)"
    own = re.compile(pattern if re.search(pattern, question) else f"(?i){pattern}")  # who is not WHO where both stand
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
    "yes_no": yes_no,
    "comparison": comparison,
    "scenario": _scenario,
    "unknown": _unknown,
    "ordering": ordering,
}
"""Form -> what makes examples of it. New forms come last: what is drawn for one depends on its place."""
SIDES: Mapping[str, tuple[str, ...]] = {
    "yes_no": ("yes", "no"),
    "comparison": ("first", "second"),
    "ordering": ("higher", "lower"),
}
"""The sides of a form that must come equally often: which answer is right, where it stands, or what is asked."""
