"""Taught answers where none belongs, as examples. Pure."""

from kapoc.judging.comparison import Comparison, SpilledLine
from kapoc.report.numbers import shortened
from kapoc.report.prompts import frame_of
from kapoc.report.section import Section

SPILLED = "Spillover examples"
_EXAMPLES = 5


def spilled_section(comparison: Comparison) -> Section:
    """A few answers of each group; those with different taught answers first."""
    groups: dict[str, list[SpilledLine]] = {}
    for line in comparison.spilled:
        groups.setdefault(line.group, []).append(line)
    asked = [line.prompt for line in comparison.ledger if line.tier != "general"]
    frame = frame_of([*asked, *(line.prompt for line in comparison.spilled)])
    counts = ", ".join(f"{len(lines)} {group.replace('_', '-')}" for group, lines in groups.items())
    rows = [
        [
            line.group.replace("_", "-"),
            shortened(frame.question(line.prompt).strip()),
            shortened(line.before),
            shortened(line.after),
            ", ".join(line.taught),
        ]
        for lines in groups.values()
        for line in _various(lines)[:_EXAMPLES]
    ]
    return Section(
        SPILLED,
        f"Answers after training to questions about untaught facts (control) and to prompts that have nothing to do "
        f"with the set (off-topic), in which taught answers stand: {counts}. At most {_EXAMPLES} of each are shown.",
        ["group", "prompt", "before", "after", "taught answers in it"],
        rows,
        is_detail=True,
    )


def _various(lines: list[SpilledLine]) -> list[SpilledLine]:
    first = {line.taught: line for line in reversed(lines)}
    return sorted(lines, key=lambda line: first[line.taught] is not line)
