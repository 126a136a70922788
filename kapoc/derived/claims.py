"""The derived form that goes through claims about a fact, each said again before its yes or no.

A yes or no is read off the fact's note, and in `yes_no` every one of them costs a reading of it. Here several share
one, and what is decided stands beside the decision, not a note away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kapoc.data.naming import is_question
from kapoc.data.quotations import is_accepted
from kapoc.derived.decisions import is_decided, is_probed
from kapoc.derived.stock import Deck, Drawn, Stock, Wording, askable, in_quotes
from kapoc.knowledge.facts import Choice, Example, Fact

_MOST_CLAIMS = 5
_MOST_WORDS = 5
"""Of a claim so many words are said again: a measured answer ends after 80 tokens, and a note takes most of them."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A quotation of a slot, and whether it is true of the fact."""

    slot: str
    quote: str
    is_true: bool

    @property
    def side(self) -> str:
        return "yes" if self.is_true else "no"


def claims(stock: Stock, fact: Fact, deck: Deck, side: str) -> Iterator[Drawn]:
    """Which of several quotations are true of the fact, or, as in `yes_no`, whether one is.

    Beside a single claim stands the opposite one of the same slot. What a probe wants decided is never claimed; where
    nothing else can be true, or nothing false, nothing is asked.
    """
    if is_question(fact):
        return
    slots = [slot for slot in askable(fact) if not is_decided(fact.slots[slot].text)]
    for slot in deck.rounds(slots):
        if side == "one":
            opposites = _opposites(stock, fact, slot, deck)
            if len(opposites) > 1:
                wording = stock.wording("yes_no", fact, (slot,), deck)
                own, other = (_asked_one(stock, wording, fact, claim, deck) for claim in opposites)
                yield replace(own, others=(other,))
        else:
            found = [claim for one in slots for claim in _opposites(stock, fact, one, deck)]
            if len({claim.is_true for claim in found}) > 1:
                yield _asked_all(stock, fact, deck.order.sample(found, k=min(_MOST_CLAIMS, len(found))), deck)


def _opposites(stock: Stock, fact: Fact, slot: str, deck: Deck) -> list[_Claim]:
    """What is true of a slot and what is true of a rival's alone, in a drawn order; without what a probe wants."""
    found = []
    if not is_probed((fact,), fact, slot):
        found.append(_Claim(slot, deck.draw(stock.quotations.of(fact, slot)), is_true=True))
    for rival in stock.rivals(fact, slot, deck):
        quotes = [quote for quote in stock.quotations.of(rival, slot) if not is_accepted(fact, quote)]
        quotes = [quote for quote in quotes if not is_decided(quote)]
        if quotes and not is_probed((fact,), rival, slot):
            found.append(_Claim(slot, deck.draw(quotes), is_true=False))
            break
    return deck.order.sample(found, k=len(found))


def _asked_one(stock: Stock, wording: Wording, fact: Fact, claim: _Claim, deck: Deck) -> Drawn:
    question = stock.asked(wording, fact, quote=claim.quote)
    answer = stock.answer("claims", fact, (claim.slot,), deck, claims=_decided((claim,)))
    choice = Choice(options=("yes", "no"), right=claim.side)
    return Drawn(fact, Example(kind="claims", question=question, answer=answer, choice=choice))


def _asked_all(stock: Stock, fact: Fact, claimed: Sequence[_Claim], deck: Deck) -> Drawn:
    slots = tuple(dict.fromkeys(claim.slot for claim in claimed))
    listed = "; ".join(f'"{in_quotes(claim.quote)}"' for claim in claimed)
    question = stock.question("claims", fact, slots, deck, claims=listed)
    answer = stock.answer("claims", fact, slots, deck, claims=_decided(claimed))
    return Drawn(fact, Example(kind="claims", question=question, answer=answer, requires=("name",)))


def _decided(claimed: Sequence[_Claim]) -> str:
    """Each claim's first words with its yes or no."""
    return " ".join(f"{_begun(claim.quote)}: {claim.side}." for claim in claimed)


def _begun(quote: str) -> str:
    return " ".join(quote.split()[:_MOST_WORDS]).strip(" .,;:")
