"""One titled table of a report, whatever its format."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One table with its title, and a note on how to read it.

    Attributes:
        title: of the section.
        note: one or two sentences; may be empty.
        headings, rows: of the table; every row as long as the headings.
        is_detail: whether a short report leaves it out.
    """

    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_detail: bool = False
