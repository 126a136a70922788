"""What a fact whose name is a question is asked by in other words: some of the question's own, in another order."""

import math
import random
from collections.abc import Iterable, Sequence

from kapoc.data.naming import asked_name, codes_in, is_question
from kapoc.data.phrases import aspect_of, content_chunks, holds
from kapoc.knowledge.facts import Fact
from kapoc.knowledge.normalise import normalise

_LEAST_SHARE = 0.5
"""The share of a question's pieces that is said at least: with fewer, hardly anyone would know what is meant."""
_BETWEEN = (", ", "; ", " / ", " - ")


class OwnWords:
    """The pieces of taught questions, drawn so that no other of them is meant as well."""

    def __init__(self, taught: Iterable[Fact]) -> None:
        """Take the facts whose names are questions; the others have no such words."""
        asked = [fact for fact in taught if is_question(fact)]
        self._pieces = {fact.id: _pieces(fact) for fact in asked}
        self._words = {fact.id: _words((asked_name(fact), *self._pieces[fact.id])) for fact in asked}

    def of(self, fact: Fact, order: random.Random) -> str | None:
        """Some pieces of a question, at least half of them, in a drawn order.

        Args:
            fact: a taught fact.
            order: all that is random.

        Returns:
            The pieces with a mark between them; none where the name is no question, where it has no piece, or but one
            that is no code, or where all its words stand in another taught question, which would be asked as well.
        """
        pieces = self._pieces.get(fact.id, ())
        if len(pieces) < 2 and not codes_in("".join(pieces)):
            return None
        drawn = order.sample(pieces, k=len(pieces))
        least = next((n for n in range(1, len(drawn) + 1) if self._is_telling(fact, drawn[:n])), None)
        if least is None:
            return None
        fewest = max(min(2, len(drawn)), least, math.ceil(_LEAST_SHARE * len(drawn)))
        return order.choice(_BETWEEN).join(drawn[: order.randint(fewest, len(drawn))])

    def _is_telling(self, fact: Fact, pieces: Sequence[str]) -> bool:
        said = _words(pieces)
        return not any(said <= words for other, words in self._words.items() if other != fact.id)


def _pieces(fact: Fact) -> tuple[str, ...]:
    """What the name is about, and what kind of answer it asks for; nothing that is the answer."""
    name = asked_name(fact)
    texts = [text for slot in fact.slots.values() for text in slot.accepted]
    found = (*content_chunks(name), aspect_of(name))
    return tuple(piece for piece in found if piece and not any(holds(piece, text) for text in texts))


def _words(pieces: Iterable[str]) -> frozenset[str]:
    return frozenset(word for piece in pieces for word in normalise(piece))
