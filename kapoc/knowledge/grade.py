"""Grading of free answers: are the required slots in the text, and is nothing contradicting them?

Texts are compared as sequences of tokens (`kapoc.knowledge.normalise`), so that `95 seconds` is never found
inside `195 seconds`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kapoc.knowledge.normalise import NEGATIONS, Token, Tokens, marked_tokens, normalise, positions

_NEGATING_PAIRS = frozenset({("instead", "of"), ("rather", "than"), ("no", "longer")})
_NO_NEGATION_BEFORE = frozenset({"only", "just", "merely", "simply"})
"""What stands behind a negation that adds and takes nothing away: not only this."""
_NO = normalise("no")
_NEGATED_TOKENS = 6
"""How far before a phrase, within its clause, a negation still speaks of it."""


def assertions(phrase: str, text: str) -> list[int]:
    """Where `text` asserts `phrase`: the places at which it stands unnegated and not as the end of a longer number."""
    marked = marked_tokens(text)
    tokens = tuple(token.text for token in marked)
    return [start for start in positions(normalise(phrase), tokens) if _is_asserted(marked, start)]


def _is_asserted(marked: Sequence[Token], start: int) -> bool:
    return not _is_negated(marked, start) and not _is_end_of_a_number(marked, start)


def _is_negated(marked: Sequence[Token], start: int) -> bool:
    clause = marked[start].clause
    before = [token.text for token in marked[max(0, start - _NEGATED_TOKENS) : start] if token.clause == clause]
    pairs = list(pairwise([*before, ""]))
    return any(one in NEGATIONS and next_one not in _NO_NEGATION_BEFORE for one, next_one in pairs) or (
        not _NEGATING_PAIRS.isdisjoint(pairs)
    )


def _is_end_of_a_number(marked: Sequence[Token], start: int) -> bool:
    """Whether a number right before, in the same clause, makes this another: `1 430 entries`, `90-95 seconds`."""
    return marked[start].goes_on and marked[start - 1].clause == marked[start].clause


class PhraseIndex:
    """Phrases of which any may be asserted in a text, found in one pass whatever their number."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._by_first: dict[str, dict[Tokens, str]] = {}
        for phrase in phrases:
            if tokens := normalise(phrase):
                self._by_first.setdefault(tokens[0], {}).setdefault(tokens, phrase)

    def asserted(self, text: str) -> tuple[str, ...]:
        """The phrases that a text asserts (see `assertions`), in the order of their places."""
        return tuple(dict.fromkeys(phrase for _, _, phrase in self.assertions(text)))

    def assertions(self, text: str) -> list[tuple[int, int, str]]:
        """Where a text asserts which phrase: the first token, one behind the last, and the phrase."""
        marked = marked_tokens(text)
        tokens = tuple(token.text for token in marked)
        return [
            (start, start + size, phrase)
            for start, size, phrase in self._standing_in(tokens)
            if _is_asserted(marked, start)
        ]

    def standing_in(self, tokens: Tokens) -> tuple[str, ...]:
        """The phrases that stand in normalised tokens, asserted or not."""
        return tuple(dict.fromkeys(phrase for _, _, phrase in self._standing_in(tokens)))

    def places_in(self, tokens: Tokens) -> frozenset[int]:
        """The places of normalised tokens that belong to a phrase."""
        return frozenset(place for start, size, _ in self._standing_in(tokens) for place in range(start, start + size))

    def _standing_in(self, tokens: Tokens) -> Iterator[tuple[int, int, str]]:
        for start, first in enumerate(tokens):
            for phrase_tokens, phrase in self._by_first.get(first, {}).items():
                if tokens[start : start + len(phrase_tokens)] == phrase_tokens:
                    yield start, len(phrase_tokens), phrase


NO_PHRASES = PhraseIndex(())


@dataclass(frozen=True, slots=True)
class Requirement:
    """One slot that a right answer must contain.

    Attributes:
        slot: the slot's name.
        accepted: the slot's text and its aliases; any one of them counts.
        siblings: what sibling facts have in this slot; any one of them makes the answer wrong, except where it
            stands innocently. One that holds this slot's text (`Hydra Pump Pro`) does not say this slot's.
        context: texts in which a sibling's value may stand innocently: the question, the fact's other slots.
    """

    slot: str
    accepted: tuple[str, ...]
    siblings: PhraseIndex = NO_PHRASES
    context: tuple[str, ...] = ()

    def is_stated(self, answer: str) -> bool:
        """Whether an answer asserts one of the accepted texts, and not only as a part of what a sibling has."""
        places = [(start, start + len(normalise(text))) for text in self.accepted for start in assertions(text, answer)]
        return bool(places) and not _are_within(places, self._longer(answer))

    def _longer(self, answer: str) -> list[tuple[int, int]]:
        """Where an answer asserts what a sibling has, and the fact itself says nowhere."""
        own = [normalise(text) for text in (*self.accepted, *self.context[1:])]
        return [
            (start, end)
            for start, end, value in self.siblings.assertions(answer)
            if not any(positions(normalise(value), text) for text in own)
        ]

    def contradiction(self, answer: str) -> str | None:
        """The first sibling value that an answer asserts and that neither the slot nor its context contains."""
        return next((value for value in self.siblings.asserted(answer) if not self._is_innocent(value)), None)

    def _is_innocent(self, value: str) -> bool:
        tokens = normalise(value)
        own = [normalise(text) for text in self.accepted]
        context = [normalise(text) for text in self.context]
        return any(positions(tokens, text) for text in own + context)


@dataclass(frozen=True, slots=True)
class Decision:
    """A forced choice: the first of `options` that the answer mentions is taken as its decision.

    Attributes:
        options: to choose from.
        right: one of them.
        context: texts in which an option decides nothing, such as a symptom that holds a "no".
        others: what is no option, and may hold one: `Core API` decides nothing for `Core`.
    """

    options: tuple[str, ...]
    right: str
    context: PhraseIndex = NO_PHRASES
    others: PhraseIndex = NO_PHRASES


@dataclass(frozen=True, slots=True)
class Grade:
    """The judgement of one answer: correct or not, and in words what decided it."""

    correct: bool
    reason: str


def _is_within_clause(marked: Sequence[Token], place: int) -> bool:
    """Whether words of its clause stand on both sides of a token."""
    beside = (marked[near].clause for near in (place - 1, place + 1) if 0 <= near < len(marked))
    return list(beside) == [marked[place].clause] * 2


def _are_within(places: Iterable[tuple[int, int]], longer: Iterable[tuple[int, int]]) -> bool:
    """Whether every run of tokens lies in a longer one."""
    spans = list(longer)
    return all(any(a <= start and end <= b and b - a > end - start for a, b in spans) for start, end in places)


def grade_slots(answer: str, requirements: Sequence[Requirement]) -> Grade:
    """Right when every required slot is asserted and no contradicting sibling value is."""
    for requirement in requirements:
        if not requirement.is_stated(answer):
            return Grade(correct=False, reason=f"missing {requirement.slot}")
    for requirement in requirements:
        if (value := requirement.contradiction(answer)) is not None:
            return Grade(correct=False, reason=f"contradicting {requirement.slot}: {value}")
    return Grade(correct=True, reason="all slots")


def grade_decision(answer: str, decision: Decision) -> Grade:
    """Right when the option that the answer asserts first (the longest, of several at one place) is the right one.

    A "no" decides where it begins or ends its clause: "in no record that I have" answers nothing.
    """
    marked = marked_tokens(answer)
    idle = decision.context.places_in(normalise(answer))
    own = {normalise(option) for option in decision.options}
    longer = [(a, b) for a, b, text in decision.others.assertions(answer) if normalise(text) not in own]
    asserted = {
        option: [
            start
            for start in assertions(option, answer)
            if start not in idle
            and not _are_within([(start, start + len(normalise(option)))], longer)
            and not (normalise(option) == _NO and _is_within_clause(marked, start))
        ]
        for option in decision.options
    }
    first = {option: places[0] for option, places in asserted.items() if places}
    if not first:
        return Grade(correct=False, reason="no option mentioned")
    chosen = min(first, key=lambda option: (first[option], -len(normalise(option))))
    return Grade(correct=chosen == decision.right, reason=f"decided {chosen}")
