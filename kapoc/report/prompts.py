"""Questions without the template around them. Pure."""

from collections.abc import Iterable
from typing import NamedTuple


class Frame(NamedTuple):
    """What many prompts begin and end with: their chat template."""

    before: str
    after: str

    def question(self, prompt: str) -> str:
        """The prompt without the frame; the whole prompt where it is not in it."""
        framed = prompt.startswith(self.before) and prompt.endswith(self.after)
        if not framed or len(prompt) < len(self.before) + len(self.after):
            return prompt
        return prompt[len(self.before) : len(prompt) - len(self.after)]


def frame_of(prompts: Iterable[str]) -> Frame:
    """What all prompts share: whole lines before the question, and from a mark of the template on after it.

    An empty frame where the prompts share no line, as plain prompts do.
    """
    different = list(dict.fromkeys(prompts))
    if len(different) < 2:
        return Frame("", "")
    before = _shared_beginning(different)
    before = before[: before.rfind("\n") + 1]
    if not before:
        return Frame("", "")
    after = _shared_beginning([prompt[::-1] for prompt in different])[::-1]
    starts = [place for mark in ("<", "[", "\n") if (place := after.find(mark)) >= 0]
    return Frame(before, after[min(starts) :] if starts else "")


def _shared_beginning(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # whatever these two share stands in every text between them
    number = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:number]
