"""Short quotations of slots: what a derived question states of a fact, so that it is told from all others.

A text of more than a few words is not quoted in full where a probe of the fact quotes it: two questions that do so are
nearly the same question, whatever stands around it, and the probe would then measure memory of a wording. A long text
is not quoted in full either; that saves tokens too. The exception are comparisons of facts that are questions: their
options are whole texts.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache, lru_cache

import snowballstemmer

from kapoc.data.phrases import END_MARKS, holds
from kapoc.knowledge.amounts import amount
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.normalise import Tokens, normalise, positions

LONGEST_QUOTE = 6
"""How many tokens a quotation has at most."""
_ALWAYS_WHOLE = 3
"""Up to so many tokens a text cannot be recognised by a part."""
_SHORTEST_EXCERPT = 4
"""How many tokens an excerpt has at least, where the text has enough."""
_LARGEST_SHARE = 0.6
"""How much of a text an excerpt may repeat."""
_FEWEST_TELLING_WORDS = 2
_MOST_SHARED = 2
"""Telling words that a paraphrase may share with a probe of its fact: one or two name what is spoken of."""
_STEM = 5
"""Letters by which the stems of telling words are compared: `lunch` is `lunchtime`."""
_ABBREVIATED = re.compile(r"\.\w{1,3}\.$")
# Words at which no excerpt begins or ends, because it would look broken off, and which tell nothing by themselves.
_GRAMMAR = frozenset(
    "a an the and or but nor if when while as than that which who whose what where because so is are was were be been "
    "being am do does did has have had can could will would shall should may might must not no of in on at to from by "
    "with without for into onto over under about after before between during until since its his her their our your "
    "my it he she they we you i this these those each every".split()
)
_NEGATIONS = frozenset("no not never neither nor nobody none nothing cannot without".split())
_LIMITS = frozenset("but except excepting excluding unless only hardly barely".split())
_DENIALS = frozenset("deni refus reject fail forbid forbidden prohibit ban lack prevent block exclud avoid".split())
"""Stems of words that deny what stands behind them."""
_WORD = re.compile(r"[^\W\d_]+")


class Quotations:
    """The quotations of every slot of a set, and which of them belong to one fact alone."""

    def __init__(self, knowledge: KnowledgeSet) -> None:
        self._texts: list[tuple[str, Tokens]] = []
        self._holding: dict[str, list[int]] = defaultdict(list)
        self._found: dict[tuple[str, str], tuple[str, ...]] = {}
        self._reworded: dict[tuple[str, str], tuple[str, ...]] = {}
        for fact in knowledge.facts:
            for text in _stated(fact):
                number = len(self._texts)
                self._texts.append((fact.id, normalise(text)))
                for token in dict.fromkeys(normalise(text)):
                    self._holding[token].append(number)

    def of(self, fact: Fact, slot: str) -> tuple[str, ...]:
        """Everything that may be quoted of a slot: its text or excerpts of it, and its telling aliases."""
        found = self._found.get((fact.id, slot))
        if found is None:
            text, aliases = fact.slots[slot].text, fact.slots[slot].aliases
            size = len(normalise(text))
            is_probed = size > _ALWAYS_WHOLE and any(holds(probe.question, text) for probe in fact.probes)
            whole = (text,) if size <= LONGEST_QUOTE and not is_probed else tuple(_excerpts(text))
            whole = tuple(quote if quote.endswith("...") else unended(quote) for quote in whole)
            found = tuple(dict.fromkeys((*whole, *(alias for alias in aliases if _is_telling(alias))))) or (text,)
            self._found[fact.id, slot] = found
        return found

    def paraphrases(self, fact: Fact, slot: str) -> tuple[str, ...]:
        """The paraphrases of a slot, but for those that stand in a text of another fact or are near a probe."""
        found = self._reworded.get((fact.id, slot))
        if found is None:
            texts = map(unended, fact.slots[slot].paraphrases)
            alone = (text for text in texts if self._is_alone(fact, normalise(text)))
            found = self._reworded[fact.id, slot] = tuple(text for text in alone if near_probe(fact, text) is None)
        return found

    def distinctive(self, fact: Fact, slot: str) -> tuple[str, ...]:
        """The quotations of a slot that stand in no text and no name of another fact, taught or not."""
        return tuple(quote for quote in self.of(fact, slot) if self._is_alone(fact, normalise(quote)))

    def _is_alone(self, fact: Fact, quote: Tokens) -> bool:
        rarest = min((self._holding[token] for token in quote), key=len, default=[])
        texts = (self._texts[number] for number in rarest)
        return bool(quote) and not any(owner != fact.id and positions(quote, tokens) for owner, tokens in texts)


def is_accepted(fact: Fact, quote: str) -> bool:
    """Whether a quotation says what the fact itself says somewhere: it holds one of its texts, or stands in one.

    An amount is also said in another unit.
    """
    tokens, quoted = normalise(quote), amount(quote)
    texts = [normalise(text) for text in _stated(fact)]
    is_same = any(positions(tokens, text) or positions(text, tokens) for text in texts)
    return is_same or (quoted is not None and any(amount(text) == quoted for text in _stated(fact)))


def unended(text: str) -> str:
    """A text without the mark at its end, for the wording around it has its own; "p.m." stays as it is."""
    return text if _ABBREVIATED.search(text) else text.rstrip(END_MARKS + " ")


def near_probe(fact: Fact, paraphrase: str) -> str | None:
    """The first probe of a fact that a paraphrase says nearly, so that who learns the one has read the other.

    The leak audit compares whole questions; of what two people say of one thing only the few words that tell it can be
    near. None if there is no such probe.
    """
    said = _telling_words(paraphrase)
    return next((p.question for p in fact.probes if len(said & _telling_words(p.question)) > _MOST_SHARED), None)


@lru_cache(maxsize=50_000)
def _telling_words(text: str) -> frozenset[str]:
    telling = (word for word in normalise(text) if len(word) > 2 and word not in _GRAMMAR)
    return frozenset(stem[:_STEM] for stem in english_stemmer().stemWords(telling))


@cache
def english_stemmer() -> snowballstemmer.stemmer:
    """The one of all that compares words by their stems."""
    return snowballstemmer.stemmer("english")


def _stated(fact: Fact) -> Iterator[str]:
    for slot in fact.all_slots.values():
        yield from slot.accepted


def _is_telling(alias: str) -> bool:
    """Whether an alias is worth quoting: not a unit spelt otherwise, not a crumb such as "by the US"."""
    words = [word for word in _WORD.findall(alias) if word.lower() not in _GRAMMAR]
    telling = [word for word in words if len(word) >= 4 or (len(word) >= 3 and word[0].isupper())]
    return len(normalise(alias)) <= LONGEST_QUOTE and len(telling) >= _FEWEST_TELLING_WORDS


def _excerpts(text: str) -> Iterator[str]:
    """The beginnings and ends of a text, with dots for the rest, that do not break off at a word without weight.

    None leaves out a word that turns what it says: "vouchers are taken ..." says the opposite of "vouchers are taken
    only in shops".
    """
    words = text.split()
    most = min(LONGEST_QUOTE, int(_LARGEST_SHARE * len(normalise(text))))
    fewest = min(_SHORTEST_EXCERPT, max(2, most - 1))
    for size in range(2, len(words)):
        for start, end in ((0, size), (len(words) - size, len(words))):
            is_broken = _bare(words[end - 1]) in _GRAMMAR or (start > 0 and _bare(words[start]) in _GRAMMAR)
            is_broken |= _is_turned(normalise(" ".join(words[:start])), normalise(" ".join(words[end:])))
            run = " ".join(words[start:end]).strip(",;:.")
            if not is_broken and fewest <= len(normalise(run)) <= most:
                yield f"... {run}" if start else f"{run} ..."


def _is_turned(before: Tokens, after: Tokens) -> bool:
    """Whether what is left out around an excerpt makes it say something else than its text says."""
    denies = not _DENIALS.isdisjoint(english_stemmer().stemWords(list(before)))
    limits = not _LIMITS.union(_NEGATIONS).isdisjoint(after)
    return denies or limits or not _NEGATIONS.union({"only"}).isdisjoint(before)


def _bare(word: str) -> str:
    return word.lower().strip("\"'.,;:!?()")
