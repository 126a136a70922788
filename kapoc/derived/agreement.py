"""Wordings that speak of one thing, made to speak of several: "The berths of Egon are 59 berths."."""

import re
from functools import lru_cache

from kapoc.data.phrases import is_plural

_MANY = {
    "is": "are", "was": "were", "has": "have", "does": "do", "reads": "read", "says": "say", "stands": "stand",
    "goes": "go", "belongs": "belong", "this": "these", "that is": "those are", "is it": "are these",
}  # fmt: skip
_VERBS = "is|was|has|reads|says|stands|goes|belongs"


def agreeing(text: str, label: str) -> str:
    """A text in whose wording a label of several things stands as if it were one: its verbs and pronouns agree.

    Args:
        text: a question or an answer as its wording makes it.
        label: what it calls a slot.

    Returns:
        The text as it is where the label names one thing.
    """
    if not is_plural(label):
        return text
    for pattern in _places(label):
        text = pattern.sub(_turned, text)
    return text


@lru_cache(maxsize=1024)
def _places(label: str) -> tuple[re.Pattern[str], ...]:
    """Where a word agrees with a label: patterns with that word in the group `one`."""
    name = rf"(?:{re.escape(label)})"
    found = (
        rf"\b(?P<one>this) {name}\b",
        rf"(?<=\bwhose ){name} (?P<one>is it)\b",
        rf"\b(?P<one>that is) the {name}\b",
        rf"(?:^|[.?!:\"] |\b(?:what|which|who) )(?P<one>is|was|does) (?:\"[^\"]*\" )?(?:the|its) {name}\b",
        rf"\b{name}(?: \"[^\"]*\"| (?:of|for) [^,.;:?!\"]{{1,60}}?)?(?: that)? (?P<one>{_VERBS})\b(?! it\b)",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in found)


def _turned(found: re.Match[str]) -> str:
    one, whole = found["one"], found.group()
    many = _MANY[one.lower()]
    begin, end = found.start("one") - found.start(), found.end("one") - found.start()
    return whole[:begin] + (many[0].upper() + many[1:] if one[0].isupper() else many) + whole[end:]
