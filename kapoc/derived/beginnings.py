"""How the texts of a knowledge set begin: as many first words as tell one from all others."""

from collections import Counter

from kapoc.knowledge.facts import KnowledgeSet

_FEWEST_WORDS = 6
"""A text is known by so many words where no other of its slot begins with them, too."""


class Beginnings:
    """The beginnings of the texts of each slot.

    Args:
        knowledge: the set; only what is taught counts.
    """

    def __init__(self, knowledge: KnowledgeSet) -> None:
        texts = {
            (name, tuple(slot.text.lower().split())) for fact in knowledge.taught for name, slot in fact.slots.items()
        }
        self._number = Counter((name, words[:end]) for name, words in texts for end in range(1, len(words) + 1))

    def of(self, slot: str, text: str) -> str:
        """The first words of a slot's text, and a mark that they are not all; or all, where one more would be."""
        words, size = text.split(), _FEWEST_WORDS
        while size + 1 < len(words) and self._number[slot, tuple(text.lower().split()[:size])] > 1:
            size += 1
        return text if len(words) <= size + 1 else " ".join(words[:size]).rstrip(".,;:") + "..."
