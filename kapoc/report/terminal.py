"""The comparison and the verdict as tables for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kapoc.gate import Verdict
from kapoc.record import Comparison, Run
from kapoc.report.numbers import RESULT_HEADINGS, interval, percent, points, result_cells


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
    """Tiers, spillover and text, before and after."""
    title = f"{comparison.after.name} against {comparison.before.name} on {comparison.data.knowledge_name}"
    table = Table(title=title, title_justify="left")
    for heading in ("tier", *RESULT_HEADINGS):
        table.add_column(heading, justify="left" if heading == "tier" else "right")
    for tier, result in comparison.tiers.items():
        table.add_row(tier, *result_cells(result))
    damage = Table()
    for heading in ("damage", "n", "before", "after", "difference", "95% interval"):
        damage.add_column(heading, justify="left" if heading == "damage" else "right")
    for name, s in comparison.spillover.items():
        damage.add_row(
            f"spillover, {name.replace('_', '-')}",
            str(s.n),
            percent(s.before),
            percent(s.after),
            points(s.difference),
            interval(s.interval),
        )
    if (text := comparison.text) is not None:
        damage.add_row(
            "bits per byte",
            str(text.n),
            f"{text.before:.4f}",
            f"{text.after:.4f}",
            f"{text.difference:+.4f}",
            interval(text.interval, scale=1, digits=4),
        )
    if comparison.sets:
        for name, tiers in comparison.sets.items():
            for tier, result in tiers.items():
                table.add_row(f"{tier}, {name}", *result_cells(result))
    notes = [Text(f"note: {warning}", style="yellow") for warning in comparison.warnings]
    return Group(table, damage, *notes)


def verdict_table(verdict: Verdict) -> RenderableType:
    """Every check, then the verdict in one line."""
    table = Table()
    for heading in ("check", "measured", "value", "threshold", "n", "outcome"):
        table.add_column(heading, justify="right" if heading in {"value", "n"} else "left")
    for check in verdict.checks:
        table.add_row(
            check.name,
            f"{check.quantity}, {check.statistic}",
            f"{check.value:.4f}",
            check.threshold,
            str(check.n),
            Text(check.outcome, style="green" if check.outcome == "pass" else "bold red"),
        )
    style = "bold green" if verdict.outcome == "pass" else "bold red"
    return Group(table, Text(f"verdict: {verdict.outcome.upper()}", style=style))
