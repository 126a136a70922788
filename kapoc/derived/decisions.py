"""The derived forms that decide: yes or no, which of two facts has a slot, which of two comes later by a slot.

An example stands for itself; what it is to be told apart from are the other questions that its wording gives with the
same two facts, and which have the other answer.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from kapoc.data.naming import is_question
from kapoc.data.phrases import holds
from kapoc.data.quotations import is_accepted, unended
from kapoc.derived.stock import VERSION, Deck, Drawn, Stock, Wording, askable
from kapoc.knowledge.facts import Choice, Example, Fact
from kapoc.knowledge.normalise import normalise

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)", re.IGNORECASE)


def yes_no(stock: Stock, fact: Fact, deck: Deck, side: str) -> Iterator[Drawn]:
    """Whether a slot is what is quoted: what is true of the fact, or true of another and not of this.

    Beside it stand both facts with both quotations, so that neither a name nor a quotation decides by itself. Slots and
    rivals for which a probe wants one of the four come only where there are no others.
    """
    whole = tuple(slot for slot in askable(fact) if _square(stock, fact, slot, deck))
    for slot in deck.rounds(whole or askable(fact)):
        rival = _square(stock, fact, slot, deck) or next(_unlike_rivals(stock, fact, slot, deck), None)
        if _is_decided(fact.slots[slot].text) or (rival is None and side == "no"):
            continue
        wording = stock.wording("yes_no", fact, (slot,), deck)
        quotes = {one.id: _quote(stock, one, slot, deck, other) for one, other in _both_ways(fact, rival)}
        asked = {
            (about.id, owner.id): _asked_whether(stock, wording, (about, owner), quote, deck)
            for about, owner in _four(fact, rival)
            if (quote := quotes[owner.id]) is not None and not _is_probed((about,), owner, slot)
        }
        own = asked.pop((fact.id, fact.id if side == "yes" or rival is None else rival.id), None)
        if own is not None:
            yield replace(own, others=tuple(asked.values()))


def _square(stock: Stock, fact: Fact, slot: str, deck: Deck) -> Fact | None:
    """A rival with which no probe wants what is asked; none if there is none."""
    return next(
        (
            rival
            for rival in _unlike_rivals(stock, fact, slot, deck)
            if not any(_is_probed((about,), owner, slot) for about, owner in _four(fact, rival))
        ),
        None,
    )


def _unlike_rivals(stock: Stock, fact: Fact, slot: str, deck: Deck) -> Iterator[Fact]:
    """Rivals of which something can be quoted that is not true of the fact."""
    for rival in stock.rivals(fact, slot, deck):
        if not all(is_accepted(fact, quote) for quote in stock.quotations.of(rival, slot)):
            yield rival


def _both_ways(fact: Fact, rival: Fact | None) -> list[tuple[Fact, Fact]]:
    return [(fact, fact)] if rival is None else [(fact, rival), (rival, fact)]


def _four(fact: Fact, rival: Fact | None) -> list[tuple[Fact, Fact]]:
    """Who is asked about and who is quoted: both facts, each with both."""
    return [(fact, fact)] if rival is None else [(fact, fact), (fact, rival), (rival, rival), (rival, fact)]


def _quote(stock: Stock, owner: Fact, slot: str, deck: Deck, other: Fact) -> str | None:
    """A quotation of a fact's slot that is not true of the other fact; none if there is no such one."""
    quotes = [q for q in stock.quotations.of(owner, slot) if other is owner or not is_accepted(other, q)]
    quotes = [quote for quote in quotes if not _is_decided(quote)]
    return deck.draw(quotes) if quotes else None


def _asked_whether(stock: Stock, wording: Wording, facts: tuple[Fact, Fact], quote: str, deck: Deck) -> Drawn:
    """Whether the first fact has what is quoted of the second."""
    about, owner = facts
    side = "yes" if about is owner else "no"
    question = stock.asked(wording, about, quote=quote)
    answer = stock.answer("yes_no", about, wording.slots, deck, side)
    choice = Choice(options=("yes", "no"), right=side)
    return Drawn(about, Example(kind="yes_no", question=question, answer=answer.text, choice=choice), answer.note)


def _is_decided(text: str) -> bool:
    """Whether a text begins with a yes or a no itself, so that to say yes to it is ambiguous."""
    return normalise(text)[:1] in {("yes",), ("no",)}


def comparison(stock: Stock, fact: Fact, deck: Deck, side: str) -> Iterator[Drawn]:
    """Which of two facts has a slot; of a fact whose name is a question, which of two texts answers it.

    Beside it stand the two in the other order, and both orders with the other's slot: where what both have is said
    first, all of these, and where the answer says whose it is, which is no matter of order, the other's slot alone.
    """
    for slot in deck.rounds(_compared(stock, fact)):
        if _is_decided(fact.slots[slot].text):
            continue
        quote = deck.draw(stock.quotations.of(fact, slot))
        rival = next((r for r in stock.rivals(fact, slot, deck) if _is_unlike(fact, r, slot, quote)), None)
        if rival is None:
            continue
        wording = stock.wording("comparison", fact, (slot,), deck)
        own = fact, rival
        first, second = own if side == "first" else own[::-1]
        drawn = _asked_which(stock, wording, own, (first, second), quote, deck)
        is_said_whose = stock.says_whose(fact, slot)
        others = [_asked_which(stock, wording, own, (second, first), quote, deck)]
        theirs = deck.draw(stock.quotations.of(rival, slot))
        if not is_question(fact) and _is_unlike(rival, fact, slot, theirs):
            orders = ((first, second),) if is_said_whose else ((first, second), (second, first))
            asked = [_asked_which(stock, wording, (rival, fact), order, theirs, deck) for order in orders]
            others = asked if is_said_whose else [*others, *asked]
        yield replace(drawn, others=tuple(others))


def _compared(stock: Stock, fact: Fact) -> tuple[str, ...]:
    """The slots that a fact is compared by; the few for which both facts must be known come more often than others."""
    slots = askable(fact)
    whose = [slot for slot in slots if stock.says_whose(fact, slot)]
    both = [slot for slot in slots if slot not in whose]
    return (*whose, *both * max(1, len(whose) // max(1, len(both))))


def _asked_which(
    stock: Stock, wording: Wording, owner_and_rival: tuple[Fact, Fact], order: tuple[Fact, Fact], quote: str, deck: Deck
) -> Drawn:
    """Which of two facts, named in this order, has what is quoted."""
    (fact, rival), slot = owner_and_rival, wording.slots[0]
    right, wrong = (one.slots[slot].text if is_question(fact) else stock.called(one) for one in (fact, rival))
    options = (right, wrong) if order[0] is fact else (wrong, right)
    question = stock.asked(wording, fact, quote=quote, first=options[0], second=options[1])
    first_text, second_text = (unended(one.slots[slot].text) for one in order)
    decided = {"right": right, "first_text": first_text, "second_text": second_text}
    answer = stock.answer("comparison", fact, wording.slots, deck, **decided)
    if stock.says_whose(fact, slot):
        answer = stock.answer_whose(fact, slot)
    elif all(stock.is_checked(one, slot) for one in order):
        answer = stock.answer_checked(order[0], fact, slot)
    choice = Choice(options=options, right=right)
    return Drawn(fact, Example(kind="comparison", question=question, answer=answer.text, choice=choice), answer.note)


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
        and probe.choice.is_yes_no is (len(facts) == 1)
        and all(holds(probe.question, fact.name) for fact in facts)
        and any(holds(probe.question, text) for text in texts)
        for fact in facts
        for probe in fact.probes
    )


def ordering(stock: Stock, fact: Fact, deck: Deck, side: str) -> Iterator[Drawn]:
    """Which of two facts has the higher version, or the lower, beside the other order and the other side."""
    if is_question(fact) or not _version(fact):
        return
    for slot in deck.rounds((VERSION,)):
        rival = next((r for r in stock.rivals(fact, slot, deck) if _can_be_ordered(fact, r)), None)
        if rival is None:
            return
        higher, lower = sorted((fact, rival), key=_version, reverse=True)
        first, second = deck.order.sample((fact, rival), k=2)
        asked = {}
        for one, right in (("higher", higher), ("lower", lower)):
            one_kind = fact.domain == rival.domain
            wording = stock.wording("ordering", fact, (slot,), deck, one, one_kind=one_kind)
            for pair in ((first, second), (second, first)):
                asked[one, pair[0].id] = _asked_order(stock, wording, pair, right, one, deck)
        yield replace(asked.pop((side, first.id)), others=tuple(asked.values()))


def _version(fact: Fact) -> tuple[int, ...]:
    """The numbers of a fact's version, zeros at the end left out; none if it has none, or one of another look."""
    found = _NUMBERS.fullmatch(fact.slots[VERSION].text) if VERSION in askable(fact) else None
    return tuple(map(int, re.sub(r"(\.0+)+$", "", found[1]).split("."))) if found else ()


def _can_be_ordered(fact: Fact, rival: Fact) -> bool:
    """Whether two facts have different versions, and no probe decides between just these two."""
    versions = _version(fact), _version(rival)
    overlap = holds(fact.name, rival.name) or holds(rival.name, fact.name)
    names = {normalise(fact.name), normalise(rival.name)}
    probes = (*fact.probes, *rival.probes)
    is_probed = any(probe.choice and {*map(normalise, probe.choice.options)} == names for probe in probes)
    return all(versions) and versions[0] != versions[1] and not overlap and not is_probed


def _asked_order(stock: Stock, wording: Wording, pair: tuple[Fact, Fact], right: Fact, side: str, deck: Deck) -> Drawn:
    """Which of two facts has the version on this side; the answer says which of the two numbers that is."""
    options = (stock.called(pair[0]), stock.called(pair[1]))
    first, second = (one.slots[VERSION].text for one in pair)
    question = stock.asked(wording, right, first=options[0], second=options[1])
    decided = {"right": stock.called(right), "right_text": right.slots[VERSION].text}
    decided |= {"first_text": first, "second_text": second, "rank": side}
    answer = stock.answer("ordering", right, wording.slots, deck, **decided)
    choice = Choice(options=options, right=stock.called(right))
    return Drawn(right, Example(kind="ordering", question=question, answer=answer.text, choice=choice))
