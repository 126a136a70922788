"""Runs, comparisons and verdicts as tables for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kapoc.comparison import Comparison
from kapoc.gate import Verdict
from kapoc.leaderboard import Leaderboard
from kapoc.plan import Planned
from kapoc.record import Run
from kapoc.report.leaderboard import leaderboard_section
from kapoc.report.section import Section
from kapoc.report.sections import VERDICT_TITLE, sections, verdict_section
from kapoc.report.sweep import sweep_sections
from kapoc.trials import SweepResults

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}


def run_table(run: Run) -> RenderableType:
    """What one run scored, task by task."""
    table = Table(title=f"{run.model.name} on {run.data.knowledge_name}", title_justify="left")
    for heading in ("task", "metric", "n", "score"):
        table.add_column(heading, justify="right" if heading in {"n", "score"} else "left")
    for task, scores in run.scores.items():
        n = sum(item.task == task for item in run.items)
        for metric, value in scores.items():
            table.add_row(task, metric, str(n), f"{value:.4f}")
    return table


def comparison_table(comparison: Comparison) -> RenderableType:
    """Everything but the details and the ledger."""
    title = f"{comparison.after.name} against {comparison.before.name} on {comparison.data.knowledge_name}"
    tables = [_table(section) for section in sections(comparison) if not section.is_detail]
    notes = [Text(f"note: {warning}", style="yellow") for warning in comparison.warnings]
    return Group(Text(title, style="bold"), *tables, *notes)


def verdict_table(verdict: Verdict) -> RenderableType:
    """Every check, then the verdict in one line."""
    table = _table(verdict_section(verdict))
    notes = [Text(f"note: {warning}", style="yellow") for warning in verdict.warnings]
    return Group(table, *notes, Text(f"verdict: {verdict.sentence}", style=_STYLES[verdict.outcome]))


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
    return _table(Section("What these items can show", "", headings, rows))


def leaderboard_table(board: Leaderboard) -> RenderableType:
    """Every run against the reference."""
    return _table(leaderboard_section(board))


def sweep_table(results: SweepResults) -> RenderableType:
    """Everything but the single trials."""
    return Group(*(_table(section) for section in sweep_sections(results) if not section.is_detail))


def _table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left")
    for number, heading in enumerate(section.headings):
        is_left = number == 0 or section.title == VERDICT_TITLE
        table.add_column(heading, justify="left" if is_left else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return table
