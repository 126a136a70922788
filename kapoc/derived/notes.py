"""A fact's note: what all its training answers say alike, and what can be made of it."""

import re
from collections.abc import Sequence

from kapoc.data.naming import is_question
from kapoc.data.phrases import END_MARKS, holds
from kapoc.knowledge.facts import Fact

ARTICLES = ("a ", "an ", "the ")
_BEHIND_NAME = " :,;-\u2013\u2014"
_HEADING = re.compile(r"[\s\"')\]]*(?:[:,;(\u2013\u2014-]|(?:in|of|from|by|at|on|for|with|under)\b)", re.IGNORECASE)
_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|had|does|do|did|will|can)\b", re.IGNORECASE)
_CLOSING = "\"'\u201d\u2019\u00bb\u300d)"
"""What may stand behind the mark at the end of a sentence."""


def note_of(fact: Fact) -> str | None:
    """What all training answers of a fact say alike; none where they differ."""
    answers = {example.answer for example in fact.training}
    return answers.pop() if len(answers) == 1 else None


def nameless_note(fact: Fact) -> str | None:
    """The note of a fact without the name with which it begins; none where the name is not by itself there alone."""
    note = note_of(fact)
    if note is None or not note.startswith(fact.name):
        return None
    rest = note[len(fact.name) :]
    told = rest.lstrip(_BEHIND_NAME)
    return told if told != rest and told and not holds(told, fact.name) else None


def begins_with_name(note: str, fact: Fact) -> bool:
    """Whether a note stands well behind "That is": it begins with the name, not with an article, and as a heading does.

    "AF-3001 in AuthFlow: users are sent back" does; a name that is the subject of a sentence does not.
    """
    if not note.lower().startswith(fact.name.lower()) or note.lower().startswith(ARTICLES):
        return False
    rest = note[len(fact.name) :]
    return bool(_HEADING.match(rest)) and not _FINITE.search(rest.partition(":")[0])


def ended(text: str) -> str:
    """A text that has an end mark."""
    return text if text.rstrip(_CLOSING).endswith(tuple(END_MARKS)) else f"{text}."


def says(note: str, fact: Fact, slots: Sequence[str]) -> bool:
    """Whether a note names its fact, where that is no question, and holds all of these slots."""
    is_named = is_question(fact) or holds(note, fact.name)
    return is_named and all(holds_slot(note, fact, slot) for slot in slots)


def holds_slot(text: str, fact: Fact, slot: str) -> bool:
    """Whether a text holds what a fact has in a slot, in any accepted words."""
    return any(holds(text, accepted) for accepted in fact.slots[slot].accepted)
