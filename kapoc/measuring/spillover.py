"""By what a taught answer is recognised where it does not belong."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.grade import PhraseIndex
from kapoc.knowledge.normalise import Tokens, normalise
from kapoc.knowledge.set_file import load_knowledge


@dataclass(frozen=True, slots=True)
class SpilloverMarkers:
    """The wordings by which a taught answer is recognised where it does not belong.

    Attributes:
        phrases: the texts and aliases of every distinctive slot of every taught fact, and the fact's name where it
            looks like one of the set's spillover patterns (a code); of a name that ends in a question mark what does.
        labels: phrase -> the `<fact>.<slot>` that have it; with the set in front where there are several.
        patterns: of how taught answers look; searched in off-topic answers alone.
    """

    phrases: PhraseIndex
    labels: Mapping[str, tuple[str, ...]]
    patterns: tuple[str, ...]

    def found(
        self, output: str, prompt: str, *, own: Iterable[str] = (), with_patterns: bool = False
    ) -> tuple[str, ...]:
        """Which markers stand in an output, and neither in its prompt nor in the asked fact's own texts."""
        innocent = {*self.phrases.asserted(prompt)}
        innocent |= {phrase for text in own for phrase in self.phrases.standing_in(normalise(text))}
        new = [phrase for phrase in self.phrases.asserted(output) if phrase not in innocent]
        labels = dict.fromkeys(label for phrase in new for label in self.labels[phrase])
        for pattern in self.patterns if with_patterns else ():
            hits = {match.group(0).lower() for match in re.finditer(pattern, output)}
            if any(hit not in prompt.lower() for hit in hits):
                labels[f"pattern {pattern}"] = None
        return tuple(labels)


def spillover_markers(knowledge: tuple[str, ...]) -> SpilloverMarkers:
    """The markers of one or several sets."""
    return _markers(knowledge, tuple(load_knowledge(source)[1] for source in knowledge))


@lru_cache(maxsize=8)
def _markers(knowledge: tuple[str, ...], _sha256: tuple[str, ...]) -> SpilloverMarkers:
    """The markers of sets with these contents."""
    labels: dict[str, list[str]] = {}
    patterns: dict[str, None] = {}
    canonical: dict[Tokens, str] = {}
    for source in knowledge:
        loaded, _ = load_knowledge(source)
        patterns |= dict.fromkeys(loaded.spillover_patterns)
        for fact in loaded.taught:
            prefix = f"{loaded.name}/" if len(knowledge) > 1 else ""
            for label, phrase in _distinctive(loaded, fact, prefix):
                labels.setdefault(canonical.setdefault(normalise(phrase), phrase), []).append(label)
    return SpilloverMarkers(
        phrases=PhraseIndex(labels),
        labels={phrase: tuple(dict.fromkeys(found)) for phrase, found in labels.items()},
        patterns=tuple(patterns),
    )


def _distinctive(knowledge: KnowledgeSet, fact: Fact, prefix: str) -> Iterator[tuple[str, str]]:
    for name, slot in fact.slots.items():
        if knowledge.is_distinctive(fact, name):
            yield from ((f"{prefix}{fact.id}.{name}", phrase) for phrase in slot.accepted)
    for pattern in knowledge.spillover_patterns:
        if re.fullmatch(pattern, fact.name):
            yield f"{prefix}{fact.id}.name", fact.name
        elif fact.name.endswith("?"):
            yield from ((f"{prefix}{fact.id}.name", match.group()) for match in re.finditer(pattern, fact.name))
