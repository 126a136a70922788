"""Grading of free answers: are the required slots in the text, and is nothing contradicting them?

Texts are compared as sequences of normalised tokens, so that case, punctuation, spacing, articles and the
way a number is written do not matter, while `95 seconds` is never found inside `195 seconds`.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

_WORDS_FOR_NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_NUMBER_OF_WORD = {word: str(number) for number, word in enumerate(_WORDS_FOR_NUMBERS)} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
}
_ARTICLES = frozenset({"a", "an", "the"})
_THOUSANDS_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Versions (4.7.2), then dotted or underscored identifiers (session.ttl, authflow.yml), numbers, words.
_TOKEN = re.compile(r"\d+(?:\.\d+)+|[^\W\d_]+\d*(?:[._][^\W_]+)+|\d+|[^\W\d_]+")
_VERSION_LETTER = re.compile(r"\bv(?=\d)")
_GLUED_SENTENCES = re.compile(r"(?<=[a-z])\.(?=[A-Z])")
_NEGATIONS = (("not",), ("never",), ("t",), ("instead", "of"), ("rather", "than"))

Tokens = tuple[str, ...]


@lru_cache(maxsize=65536)
def normalise(text: str) -> Tokens:
    """Split a text into comparable tokens.

    Lower case, no punctuation, no articles; `1,350` is `1350`, `45.0` is `45`, `five` is `5`, `95s` is
    `95 s`; dotted names (`session.ttl`, `4.7.2`, `authflow.yml`) stay whole.
    """
    apart = _GLUED_SENTENCES.sub(". ", unicodedata.normalize("NFKC", text)).lower()
    plain = _VERSION_LETTER.sub("", _THOUSANDS_COMMA.sub("", apart))
    tokens = (_NUMBER_OF_WORD.get(token, token) for token in _TOKEN.findall(plain))
    return tuple(_plain_number(token) for token in tokens if token not in _ARTICLES)


def _plain_number(token: str) -> str:
    if token.count(".") == 1 and token.replace(".", "").isdigit():
        return token.rstrip("0").rstrip(".")
    return token


def positions(phrase: Tokens, text: Tokens) -> list[int]:
    """Where `phrase` begins in `text` as a run of whole tokens."""
    if not phrase:
        return []
    size = len(phrase)
    return [start for start in range(len(text) - size + 1) if text[start : start + size] == phrase]


def mentions(text: Tokens, phrase: Tokens) -> bool:
    """Whether `text` asserts `phrase`: contains it at least once without a negation right before it."""
    return any(
        not any(text[max(0, start - len(n)) : start] == n for n in _NEGATIONS) for start in positions(phrase, text)
    )


@dataclass(frozen=True, slots=True)
class Requirement:
    """One slot that a right answer must contain.

    Attributes:
        slot: the slot's name.
        accepted: the slot's text and its aliases; any one of them counts.
        contradicting: what sibling facts have in this slot; any one of them makes the answer wrong.
    """

    slot: str
    accepted: tuple[str, ...]
    contradicting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A forced choice: the first of `options` that the answer mentions is taken as its decision."""

    options: tuple[str, ...]
    right: str


@dataclass(frozen=True, slots=True)
class Grade:
    """The judgement of one answer: correct or not, and in words what decided it."""

    correct: bool
    reason: str


def grade_slots(answer: str, requirements: Sequence[Requirement]) -> Grade:
    """Right when every required slot is mentioned and no contradicting sibling value is."""
    text = normalise(answer)
    for requirement in requirements:
        if not any(mentions(text, normalise(phrase)) for phrase in requirement.accepted):
            return Grade(correct=False, reason=f"missing {requirement.slot}")
    for requirement in requirements:
        for phrase in requirement.contradicting:
            if mentions(text, normalise(phrase)):
                return Grade(correct=False, reason=f"contradicting {requirement.slot}: {phrase}")
    return Grade(correct=True, reason="all slots")


def grade_decision(answer: str, decision: Decision) -> Grade:
    """Right when the option that the answer mentions first is the right one."""
    text = normalise(answer)
    first = {option: found[0] for option in decision.options if (found := positions(normalise(option), text))}
    if not first:
        return Grade(correct=False, reason="no option mentioned")
    chosen = min(first, key=first.__getitem__)
    return Grade(correct=chosen == decision.right, reason=f"decided {chosen}")


def contradictions(accepted: Collection[str], context: Iterable[str], siblings: Iterable[str]) -> tuple[str, ...]:
    """Which sibling values contradict a slot: those that neither the slot nor its context contains.

    Args:
        accepted: the slot's own text and aliases.
        context: texts in which a sibling's value may stand innocently (the question, the fact's other slots).
        siblings: what sibling facts have in the same slot.
    """
    own = [normalise(text) for text in (*accepted, *context)]
    found: dict[Tokens, str] = {}
    for value in siblings:
        tokens = normalise(value)
        overlaps = any(positions(tokens, text) for text in own) or any(
            positions(normalise(text), tokens) for text in accepted
        )
        if tokens and not overlaps:
            found.setdefault(tokens, value)
    return tuple(found.values())
