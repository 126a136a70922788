"""A comparison as one Markdown page: verdict, results, ledger, where the numbers come from."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from kapoc.judging.comparison import Comparison, LedgerLine
from kapoc.judging.gate import Verdict
from kapoc.judging.leaderboard import Leaderboard
from kapoc.report.in_short import short_section
from kapoc.report.leaderboard import leaderboard_section, title_of, verdict_sentence
from kapoc.report.ledger import ledger_counts, ledger_section
from kapoc.report.numbers import one_line, shortened
from kapoc.report.origin import origin_section, validity_section
from kapoc.report.section import Section
from kapoc.report.sections import sections, verdict_section

_MARKUP = re.compile(
    r"""
      \\(?=[!-/:-@\[-`{-~]|$)           # an escape, or a line that goes on
    | < | `
    | &(?=\#?\w+;)                      # a character by its name or number
    | (?<=\S)[*~] | [*~](?=\S)          # emphasis, where it does not stand alone
    | (?<![^\W_])_ | _(?![^\W_])        # likewise, where it is not within a word
    | (?<=\])\(                         # a link
    """,
    re.VERBOSE,
)
_INSTEAD = {"<": "&lt;", "&": "&amp;"}
_BLOCK = re.compile(r"^(\d+(?=[.)])|(?=[#>*+\[-]))")
"""Where a line begins as a list, a heading, a quotation or a definition does."""


def render(comparison: Comparison, verdict: Verdict | None, board: Leaderboard | None = None, plot: str = "") -> str:
    """The page.

    Args:
        comparison: of the base and the trained model.
        verdict: of the gate, or none where the comparison cannot be judged.
        board: where several trained runs were given, the first of which is the comparison's.
        plot: the name of the file with the leaderboard's plot, beside the page.
    """
    parts = [
        f"# {plain(title_of(comparison, board))}",
        *_leaderboard(board, plot),
        *_beginning(comparison, verdict, board),
        *[part for section in sections(comparison) for part in section_parts(section)],
        *_ledger(comparison),
        *_validity(comparison),
        *_origin(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def render_summary(comparison: Comparison, verdict: Verdict | None, max_bytes: int = 1_000_000) -> str:
    """The page without details and ledger, for a CI's step summary; cut off before `max_bytes` UTF-8 bytes.

    It begins and ends with an empty line, so that it runs into nothing that stands before or after it.
    """
    parts = [
        f"# {plain(title_of(comparison, None))}",
        *_beginning(comparison, verdict, None),
        *[part for section in sections(comparison) if not section.is_detail for part in section_parts(section)],
    ]
    text = "\n" + "\n\n".join(parts)
    return text.encode()[: max_bytes - 4].decode(errors="ignore") + "\n\n"


def render_no_verdict(lines: Sequence[str]) -> str:
    """That there is no verdict, and why, for the same place."""
    return f"\n**No verdict:** {plain(' '.join(lines))}\n\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(map(_cell, headings))} |", f"|{'|'.join([' --- '] * len(headings))}|"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def plain(text: str) -> str:
    """A text as it is, wherever it stands: it ends no line and begins no list, heading or quotation."""
    return _BLOCK.sub(r"\1\\", _inline(text))


def _cell(text: str) -> str:
    """The same in a table, where no line begins, and which `|` does not end either."""
    return _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    """A text of one line of which nothing is markup; a tag or an image, which a viewer would fetch, least of all."""
    shown = _MARKUP.sub(lambda found: _INSTEAD.get(found[0]) or f"\\{found[0]}", one_line(text))
    if shown.count("$") > 1:  # between two of them many viewers show mathematics; GitHub asks for tags, others for `\`
        shown = shown.replace("$", r"<span>\$</span>")
    return shown


def code(text: str) -> str:
    """A text of one line as code, whatever ticks it holds."""
    marks = _fence(text, 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{room}{one_line(text)}{room}{marks}"


def _fence(text: str, least: int) -> str:
    """More ticks than stand together anywhere in a text."""
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`*", text)))


def section_parts(section: Section, *, folds: bool = False) -> Iterable[str]:
    """The paragraphs of a section; with `folds` a detail is shown when it is asked for."""
    yield f"## {section.title}"
    parts = [plain(section.note)] if section.note else []
    parts.append(table(section.headings, section.rows))
    if folds and section.is_detail:
        text = "\n\n".join(parts)
        parts = [f"<details><summary>{len(section.rows)} rows</summary>\n\n{text}\n\n</details>"]
    yield from parts


def _leaderboard(board: Leaderboard | None, plot: str) -> Iterable[str]:
    if board is not None:
        yield from section_parts(leaderboard_section(board))
        yield f"![recall against forgetting, the runs numbered as in the table]({quote(plot)})"


def notes(warnings: Iterable[str]) -> Iterable[str]:
    """What a reader should know, a paragraph each."""
    yield from (f"> **Note:** {plain(warning)}" for warning in warnings)


def _beginning(comparison: Comparison, verdict: Verdict | None, board: Leaderboard | None) -> Iterable[str]:
    yield f"**{plain(verdict_sentence(verdict, board))}**"
    yield from notes((verdict or comparison).warnings)
    for section in short_section(comparison):
        yield from section_parts(section)
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
        yield f"<details><summary>known before</summary>\n\n{', '.join(map(code, known))}\n\n</details>"


def _origin(comparison: Comparison) -> Iterable[str]:
    yield from section_parts(origin_section(comparison))
    commands = "\n".join(map(one_line, comparison.commands))
    fence = _fence(commands, 3)
    yield f"{fence}\n{commands}\n{fence}"
