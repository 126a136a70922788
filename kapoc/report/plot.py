"""The plot of a sweep as SVG text: recall against forgetting, the marker's size the time."""

import io
from typing import TYPE_CHECKING

from kapoc.report.sweep import FORGETTING
from kapoc.trials import Point, SweepResults, pareto_front, point_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OPTIMAL, _OTHER = "#0b6e4f", "#9aa0a6"
_LARGEST_MARKER = 320.0


def pareto_plot(results: SweepResults) -> str:
    """Draw every recipe by its means, with its standard deviations, and the line that no other recipe passes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "kapoc", "font.size": 9}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        axes.set(
            xlabel=f"forgetting: {FORGETTING[results.forgetting]}", ylabel="recall: mean of paraphrased and unseen"
        )
        axes.set_title(f"{results.name} on {results.knowledge}; the larger, the longer it trained", loc="left")
        axes.grid(visible=True, color="#eeeeee")
        axes.set_axisbelow(b=True)
        _draw(axes, results)
        axes.margins(0.15)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw(axes: "Axes", results: SweepResults) -> None:
    placed = [(row, point) for row in results.recipes if (point := point_of(row.scores, results.forgetting))]
    longest = max((point.seconds for _, point in placed), default=0.0) or 1.0
    for row, point in placed:
        colour = _OPTIMAL if row.is_optimal else _OTHER
        x, y = point.forgetting, point.recall
        x_sd, y_sd = row.scores[results.forgetting].sd, row.scores["recall"].sd
        axes.errorbar(x, y, xerr=x_sd, yerr=y_sd, color=colour, linewidth=0.8, capsize=2)
        axes.scatter([x], [y], s=20 + _LARGEST_MARKER * point.seconds / longest, color=colour, alpha=0.6)
        axes.annotate(row.recipe, (x, y), xytext=(7, 7), textcoords="offset points")
    front = front_line([point for _, point in placed])
    if len(front) > 1:
        x_values, y_values = zip(*front, strict=True)
        axes.plot(x_values, y_values, drawstyle="steps-post", color=_OPTIMAL, linewidth=1.2, linestyle="--")


def front_line(points: list[Point]) -> list[tuple[float, float]]:
    """The corners, as forgetting and recall, of what can be had when time does not count, from left to right."""
    flat = [point._replace(seconds=0.0) for point in points]
    kept = {point for point, is_optimal in zip(flat, pareto_front(flat), strict=True) if is_optimal}
    return sorted((point.forgetting, point.recall) for point in kept)
