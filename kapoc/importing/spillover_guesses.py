"""By what spillover of an imported set is recognised, where nobody has said: guesses for the user to look through."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kapoc.data.naming import codes_in
from kapoc.data.ordinary_text import standing_in_ordinary_text
from kapoc.data.phrases import LEADING_WORDS, STOP_WORDS, is_identifier
from kapoc.knowledge.facts import Fact, SlotKind
from kapoc.knowledge.grade import PhraseIndex
from kapoc.knowledge.normalise import Tokens, normalise

_SEVERAL = 3
"""In how many other facts a text may not stand that is to show a spillover."""


def guess_distinctive(
    slots: Mapping[str, SlotKind], facts: Sequence[Fact]
) -> tuple[dict[str, SlotKind], tuple[Fact, ...]]:
    """Mark the slots of which many texts are rare as distinctive, and beside their other texts that those are not.

    A text is rare that holds two words of meaning, or one and a year, or that a machine reads (`auth.retry_limit`).
    What stands in ordinary text shows nothing, nor what stands in the names or notes of several other facts, of which
    no slot holds it: of many facts about one person each may say who that is.

    Args:
        slots: of the set.
        facts: all of them.

    Returns:
        The slots and the facts with the guesses in them.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        for name, slot in fact.slots.items():
            texts[name].append(slot.text)
    kinds = {name: kind.model_copy(update={"distinctive": _is_telling(texts[name])}) for name, kind in slots.items()}
    guessed = [text for name, found in texts.items() if kinds[name].distinctive for text in found]
    shared = _said_of_others(guessed, facts) | set(map(normalise, standing_in_ordinary_text(guessed)))
    marked = []
    for fact in facts:
        common = {
            name: slot.model_copy(update={"distinctive": False})
            for name, slot in fact.slots.items()
            if fact.taught and kinds[name].distinctive
            if not _is_rare(slot.text) or normalise(slot.text) in shared
        }
        marked.append(fact.model_copy(update={"slots": fact.slots | common}) if common else fact)
    return kinds, tuple(marked)


def _is_telling(texts: Sequence[str]) -> bool:
    """Whether a quarter of the texts of a slot is rare, and more than half of them differ."""
    num_rare = sum(map(_is_rare, texts))
    return num_rare * 4 >= len(texts) > 0 and len(set(map(normalise, texts))) * 2 > len(texts)


def _is_rare(text: str) -> bool:
    tokens = set(normalise(text)) - STOP_WORDS - LEADING_WORDS
    num_words = sum(any(character.isalpha() for character in token) for token in tokens)
    has_year = any(token.isdigit() and len(token) >= len("1990") for token in tokens)
    return is_identifier(text) or num_words + has_year >= 2


def _said_of_others(phrases: Sequence[str], facts: Sequence[Fact]) -> set[Tokens]:
    """The phrases that stand in the names or notes of several facts of which no slot holds them."""
    index = PhraseIndex(phrases)
    number: Counter[Tokens] = Counter()
    for fact in facts:
        own = {phrase for slot in fact.slots.values() for phrase in index.standing_in(normalise(slot.text))}
        said = {phrase for text in (fact.name, fact.note or "") for phrase in index.standing_in(normalise(text))}
        number.update(set(map(normalise, said - own)))
    return {phrase for phrase, facts_with_it in number.items() if facts_with_it >= _SEVERAL}


def guess_patterns(names: Iterable[str]) -> Iterator[str]:
    """How the codes look that stand in names, such as AF-3001, where at least two begin alike and end in digits."""
    alike: dict[str, set[str]] = defaultdict(set)
    for code in (code for name in names for code in codes_in(name)):
        digits = re.search(r"\d+$", code)
        if digits:
            alike[code[: digits.start()]].add(digits.group())
    for head, numbers in alike.items():
        fewest, most = min(map(len, numbers)), max(map(len, numbers))
        if len(numbers) > 1 and any(character.isalpha() for character in head):
            yield rf"\b{re.escape(head)}\d{{{fewest if fewest == most else f'{fewest},{most}'}}}\b"
