"""Runs, comparisons and verdicts for a terminal, with bars where there is room; as plain columns elsewhere."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict
from kapoc.judging.leaderboard import Leaderboard
from kapoc.judging.plan import Planned
from kapoc.judging.retention import Retention
from kapoc.judging.trials import SweepResults
from kapoc.record import Run
from kapoc.report.in_short import SHORT_TITLE, in_short
from kapoc.report.leaderboard import leaderboard_section
from kapoc.report.numbers import one_line
from kapoc.report.retention import retention_sections, title_of, warnings_of
from kapoc.report.section import Section
from kapoc.report.sections import VERDICT_TITLE, sections, verdict_section
from kapoc.report.sweep import sweep_sections

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_UNLIMITED = 10_000
_BAR_COLUMNS = 20
_NO_SHARES = ("bits_per_byte", "perplexity")
"""What the names of metrics that are no shares, and so have no bar, end in."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A section: a ruled table on a terminal, with a bar a row where there is room; columns of plain text elsewhere.

    Attributes:
        section: what is shown.
        scale: the heading of the bars.
        bars: one a row, or none.
    """

    section: Section
    scale: str = ""
    bars: Sequence[Text] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType | Segment]:
        """The widest form that fits; lines longer than a terminal are left to it, so that no number is broken here."""
        unlimited = options.update(max_width=_UNLIMITED)
        if console.is_terminal:
            title: dict[str, Any] = {"title": self.section.title, "title_justify": "left", "title_style": "bold"}
            for table in (self._table(Table(**title), bars=self.bars), self._table(Table(**title))):
                if Measurement.get(console, unlimited, table).maximum <= options.max_width:
                    yield table
                    return
        yield Text(f"{self.section.title}:", style="bold")
        yield from console.render(self._table(Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))), unlimited)
        yield Text()

    def _table(self, table: Table, bars: Sequence[Text] = ()) -> Table:
        for number, heading in enumerate(self.section.headings):
            table.add_column(heading, justify="left" if number == 0 or self.section.title == VERDICT_TITLE else "right")
        if bars:
            table.add_column(self.scale, no_wrap=True)
        for number, row in enumerate(self.section.rows):
            cells = [Text(cell, style=_STYLES.get(cell, "")) for cell in row]
            table.add_row(*cells, *bars[number : number + 1])
        return table


def run_table(run: Run) -> RenderableType:
    """What one run scored, task by task."""
    sizes = Counter(item.task for item in run.items)
    scores = [(task, metric, value) for task, metrics in run.scores.items() for metric, value in metrics.items()]
    section = Section(
        title=f"{run.model.name} on {run.data.knowledge_name}",
        note="",
        headings=["task", "metric", "n", "score"],
        rows=[[task, metric, str(sizes[task]), f"{value:.4f}"] for task, metric, value in scores],
    )
    bars = [Text() if metric.endswith(_NO_SHARES) else share_bar(value, value) for _, metric, value in scores]
    return _Drawn(section, "0 to 100%", bars)


def comparison_table(comparison: Comparison) -> RenderableType:
    """Everything but the details and the ledger; at the end, where a reader looks first, what it comes to."""
    names = f"{comparison.after.name} against {comparison.before.name} on {comparison.data.knowledge_name}"
    first, *others = (section for section in sections(comparison) if not section.is_detail)
    results = [*comparison.tiers.values(), *(r for tiers in comparison.sets.values() for r in tiers.values())]
    tiers = _Drawn(first, "before, gain, loss", [share_bar(result.before, result.after) for result in results])
    notes = _notes(comparison.warnings)
    short = [Text.assemble((f"{question} ", "bold"), answer) for question, answer in in_short(comparison)]
    ending = [Text(f"{SHORT_TITLE}:", style="bold"), *short, Text()] if short else []
    return Group(Text(one_line(names), style="bold"), tiers, *map(_Drawn, others), *notes, *ending)


def _notes(warnings: Iterable[str]) -> list[Text]:
    """A line each, whatever they quote: a CI takes a line that begins with `::` for a command."""
    return [Text(f"note: {one_line(warning)}", style="yellow") for warning in warnings]


def share_bar(before: float, after: float) -> Text:
    """Two shares as one bar: what both have, then what was gained or lost; told apart by more than their colour."""
    low, high = (round(_BAR_COLUMNS * min(max(share, 0.0), 1.0)) for share in sorted((before, after)))
    changed, style = ("▓", "green") if after >= before else ("░", "red")
    rest = "·" * (_BAR_COLUMNS - high)
    return Text.assemble("█" * low, (changed * (high - low), style), (rest, "dim"))


def verdict_table(verdict: Verdict) -> RenderableType:
    """Every check, then the verdict in one line."""
    table = _Drawn(verdict_section(verdict))
    notes = _notes(verdict.warnings)
    return Group(table, *notes, Text(f"verdict: {verdict.sentence}", style=_STYLES[verdict.outcome]))


def answers_table(answers: Mapping[str, tuple[str, bool]]) -> RenderableType:
    """The answers of several models side by side, or of one alone; what was cut off ends in three dots.

    Args:
        answers: by the model's name: the text, and whether the model ended it.
    """
    texts = [Text(text if ended else f"{text} ...") for text, ended in answers.values()]
    if len(texts) == 1:
        return texts[0]
    table = Table()
    for name in answers:
        table.add_column(name, overflow="fold")
    table.add_row(*texts)
    return table


def plan_table(planned: Sequence[Planned]) -> RenderableType:
    """What each check can show, and how many clusters it would take."""
    rows = [
        [
            check.name,
            check.quantity,
            check.claim,
            f"{check.n} ({check.clusters})",
            check.can_show,
            "yes" if check.is_enough else "no",
            "-" if check.needed_clusters is None else str(check.needed_clusters),
        ]
        for check in planned
    ]
    headings = ["check", "quantity", "claim", "n (clusters)", "can show", "enough", "clusters needed"]
    return _Drawn(Section("What these items can show", "", headings, rows))


def leaderboard_table(board: Leaderboard) -> RenderableType:
    """Every run against the reference."""
    return _Drawn(leaderboard_section(board))


def sweep_table(results: SweepResults) -> RenderableType:
    """Everything but the single trials."""
    return Group(*(_Drawn(section) for section in sweep_sections(results) if not section.is_detail))


def retention_table(retention: Retention) -> RenderableType:
    """Everything but the matrices by tier."""
    shown = [section for section in retention_sections(retention) if not section.is_detail]
    notes = _notes(warnings_of(retention))
    return Group(Text(title_of(retention), style="bold"), *map(_Drawn, shown), *notes)
