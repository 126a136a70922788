"""Text that has to do with no knowledge set: what stands in it shows nothing where a model says it."""

import json
from collections.abc import Iterable
from functools import lru_cache

from kapoc.bundled import checked
from kapoc.knowledge.grade import PhraseIndex
from kapoc.knowledge.normalise import Tokens, normalise
from kapoc.source import read_text

_FILES = {
    "general_text.jsonl": "text",
    "general_reading.jsonl": "passage",
    "general_last_word.jsonl": "context",
    "off_topic.jsonl": "question",
}
"""Which of the bundled files are plain prose, and the field that holds it."""


def standing_in_ordinary_text(phrases: Iterable[str]) -> frozenset[str]:
    """Which phrases stand in the bundled general texts and prompts, some 17,000 words of everyday English."""
    index = PhraseIndex(phrases)
    return frozenset(phrase for tokens in _texts() for phrase in index.standing_in(tokens))


@lru_cache(maxsize=1)
def _texts() -> tuple[Tokens, ...]:
    rows = (
        (json.loads(line), field) for name, field in _FILES.items() for line in read_text(checked(name)).splitlines()
    )
    return tuple(normalise(row[field]) for row, field in rows if field in row)
