"""A comparison as one Markdown page: verdict, results, ledger, where the numbers come from."""

from collections.abc import Iterable, Sequence

from kapoc.comparison import Comparison, LedgerLine
from kapoc.gate import Verdict
from kapoc.leaderboard import Leaderboard
from kapoc.report.in_short import short_section
from kapoc.report.leaderboard import leaderboard_section, title_of, verdict_sentence
from kapoc.report.ledger import ledger_counts, ledger_section
from kapoc.report.numbers import shortened
from kapoc.report.origin import origin_section, validity_section
from kapoc.report.section import Section
from kapoc.report.sections import sections, verdict_section


def render(comparison: Comparison, verdict: Verdict | None, board: Leaderboard | None = None, plot: str = "") -> str:
    """The page.

    Args:
        comparison: of the base and the trained model.
        verdict: of the gate, or none where the comparison cannot be judged.
        board: where several trained runs were given, the first of which is the comparison's.
        plot: the name of the file with the leaderboard's plot, beside the page.
    """
    parts = [
        f"# {title_of(comparison, board)}",
        *_leaderboard(board, plot),
        *_beginning(comparison, verdict, board),
        *[part for section in sections(comparison) for part in section_parts(section)],
        *_ledger(comparison),
        *_validity(comparison),
        *_origin(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def render_summary(comparison: Comparison, verdict: Verdict | None, max_bytes: int = 1_000_000) -> str:
    """The page without details and ledger, for a CI's step summary; cut off before `max_bytes` UTF-8 bytes."""
    parts = [
        *_beginning(comparison, verdict, None),
        *[part for section in sections(comparison) if not section.is_detail for part in section_parts(section)],
    ]
    text = "\n\n".join(parts) + "\n"
    return text.encode()[: max_bytes - 4].decode(errors="ignore") if len(text.encode()) >= max_bytes else text


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(map(_cell, headings))} |", f"|{'|'.join([' --- '] * len(headings))}|"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A cell's text as it is: no end of the cell or line, no tag, link or image, which a viewer would fetch."""
    return " ".join(text.splitlines()).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def section_parts(section: Section, *, folds: bool = False) -> Iterable[str]:
    """The paragraphs of a section; with `folds` a detail is shown when it is asked for."""
    yield f"## {section.title}"
    parts = [section.note] if section.note else []
    parts.append(table(section.headings, section.rows))
    if folds and section.is_detail:
        text = "\n\n".join(parts)
        parts = [f"<details><summary>{len(section.rows)} rows</summary>\n\n{text}\n\n</details>"]
    yield from parts


def _leaderboard(board: Leaderboard | None, plot: str) -> Iterable[str]:
    if board is not None:
        yield from section_parts(leaderboard_section(board))
        yield f"![recall against forgetting, the runs numbered as in the table]({plot})"


def _beginning(comparison: Comparison, verdict: Verdict | None, board: Leaderboard | None) -> Iterable[str]:
    yield f"**{verdict_sentence(verdict, board)}**"
    yield from (f"> **Note:** {warning}" for warning in (verdict or comparison).warnings)
    yield from section_parts(short_section(comparison))
    if verdict is not None:
        yield from section_parts(verdict_section(verdict))


def _ledger(comparison: Comparison) -> Iterable[str]:
    yield from section_parts(ledger_section(comparison))
    for tier in ledger_counts(comparison):
        lines = [line for line in comparison.ledger if line.tier == tier]
        rows = table(["item", "entry", "expected", "before", "after"], map(_ledger_row, lines))
        yield f"<details><summary>{tier}: all {len(lines)} items with both answers</summary>\n\n{rows}\n\n</details>"


def _ledger_row(line: LedgerLine) -> list[str]:
    return [line.id, line.entry, shortened(line.reference), shortened(line.before), shortened(line.after)]


def _validity(comparison: Comparison) -> Iterable[str]:
    yield from section_parts(validity_section(comparison))
    if known := comparison.validity.known_before:
        yield f"<details><summary>known before</summary>\n\n{', '.join(f'`{item}`' for item in known)}\n\n</details>"


def _origin(comparison: Comparison) -> Iterable[str]:
    yield from section_parts(origin_section(comparison))
    yield "```\n" + "\n".join(comparison.commands) + "\n```"
