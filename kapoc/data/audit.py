"""The check of a knowledge set, before it costs a minute of training: is it usable, sound, and free of leaks?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kapoc.data.finding import Finding
from kapoc.data.leaks import find_leaks
from kapoc.data.quotations import Quotations, near_probe, unended
from kapoc.data.soundness import find_flaws
from kapoc.knowledge.paraphrase_file import read_paraphrases
from kapoc.knowledge.set_file import Source, examine


@dataclass(frozen=True, slots=True)
class Audit:
    """What the check of one set found.

    Attributes:
        source: the set, or none where the file does not hold one.
        errors, warnings: one line each: file, line, field, what is wrong, and the fix.
    """

    source: Source | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def audit(name_or_path: str | Path) -> Audit:
    """Check a knowledge set: schema and references first; where they hold, its soundness and its leaks.

    Raises:
        DataError: the file cannot be read.
    """
    source, faults = examine(name_or_path)
    if source is None or faults:
        return Audit(source, faults, ())
    findings: list[Finding] = [*find_flaws(source.knowledge), *find_leaks(source.knowledge)]
    lines = {level: tuple(f.line(source) for f in findings if f.level == level) for level in ("error", "warning")}
    return Audit(source, lines["error"], (*lines["warning"], *_unused_paraphrases(source)))


def _unused_paraphrases(source: Source) -> Iterator[str]:
    """Paraphrases that no training text quotes, a line each."""
    found = read_paraphrases(source.places.path)
    if found is None:
        return
    knowledge = source.for_training()
    quotations = Quotations(knowledge)
    for fact_id, slots in found.texts.items():
        fact = knowledge.fact_by_id[fact_id]
        for name, texts in slots.items():
            used = quotations.paraphrases(fact, name)
            for number, text in enumerate(texts):
                if unended(text) not in used:
                    near = near_probe(fact, text)
                    why = f"is nearly what a probe says ('{near}')" if near else "stands in a text of another fact"
                    yield found.line((fact_id, name, number), f"'{text}' {why}, so no training text quotes it")


def count_leaks(source: Source) -> int:
    """How many leaks a set has: what a run keeps of the audit, so that a report can say it."""
    return sum(1 for _ in find_leaks(source.knowledge))
