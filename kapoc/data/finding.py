"""What the audit of a knowledge set says: one thing that is wrong, where, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

from kapoc.knowledge.set_file import Source
from kapoc.source import Location, dotted

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        level: an error makes the check fail; a warning is for the author to weigh.
        check: which check found it, such as `leak: exact`.
        location: where in the set.
        subject: the fact or example, in the words of the reports.
        message: what is wrong, and the fix.
        training: every training text that gives a probe away, where that is what is wrong; the message names the first.
    """

    level: Level
    check: str
    location: Location
    subject: str
    message: str
    training: tuple[str, ...] = ()

    def line(self, source: Source) -> str:
        """The finding as one line that names file, line and field."""
        place = f"{source.places.of(self.location)}: {dotted(self.location)}".removesuffix(": ")
        return f"{place} ({self.subject}): {self.check}: {self.message}"
