"""Recall against forgetting as SVG text: the recipes of a sweep, or several runs; which of them no other beats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kapoc.judging.leaderboard import Leaderboard, standing_point
from kapoc.judging.pareto import Point, pareto_front
from kapoc.judging.trials import SweepResults, point_of
from kapoc.report.columns import FORGETTING
from kapoc.report.drawing import LIGHT, as_svg, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST_MARKER = 320.0
_MARKER = 60.0
_RECALL = "recall: mean of paraphrased and unseen"


class Dot(NamedTuple):
    """One recipe or run on the plot.

    Attributes:
        name: written beside it.
        point: recall, forgetting and the seconds that its size stands for.
        is_optimal: whether it is marked.
        sd: of recall and of forgetting, over seeds; none of one.
    """

    name: str
    point: Point
    is_optimal: bool
    sd: tuple[float | None, float | None] = (None, None)


def pareto_plot(results: SweepResults) -> str:
    """Draw every recipe by its means, with its standard deviations, and the line that no other recipe passes."""
    unit = results.forgetting
    dots = [
        Dot(row.recipe, point, row.is_optimal, (row.scores["recall"].sd, row.scores[unit].sd))
        for row in results.recipes
        if (point := point_of(row.scores, unit))
    ]
    title = f"{results.name} on {results.knowledge}; the larger, the longer it trained"
    return _plot(dots, f"forgetting: {FORGETTING[unit]}", title, (8, 5))


def leaderboard_plot(board: Leaderboard) -> str:
    """Draw every run of a leaderboard, numbered in its order, and the line that no other run passes."""
    dots = [
        Dot(str(number), point, standing.is_optimal)
        for number, standing in enumerate(board.standings, start=1)
        if (point := standing_point(standing.scores, board.forgetting))
    ]
    return _plot(dots, f"forgetting: {FORGETTING[board.forgetting]}", "", (4.6, 3.4))


def has_front_line(board: Leaderboard) -> bool:
    """Whether the plot of a leaderboard has a line: one run alone on the front makes none."""
    points = (standing_point(standing.scores, board.forgetting) for standing in board.standings)
    return len(front_line([point for point in points if point])) > 1


def _plot(dots: Sequence[Dot], forgetting: str, title: str, size: tuple[float, float]) -> str:
    with figure(size[1], size[0]) as drawn:
        axes = drawn.add_subplot()
        axes.set(xlabel=forgetting, ylabel=_RECALL)
        axes.set_title(title)
        axes.grid(visible=True)
        _draw(axes, dots)
        axes.margins(0.15)
        return as_svg(drawn)


def _draw(axes: "Axes", dots: Sequence[Dot]) -> None:
    longest = max((dot.point.seconds for dot in dots), default=0.0)
    for dot in dots:
        colour = LIGHT["green"] if dot.is_optimal else LIGHT["grey"]
        x, y = dot.point.forgetting, dot.point.recall
        axes.errorbar(x, y, xerr=dot.sd[1], yerr=dot.sd[0], color=colour, linewidth=0.8, capsize=2)
        size = 20 + _LARGEST_MARKER * dot.point.seconds / longest if longest else _MARKER
        axes.scatter([x], [y], s=size, color=colour, alpha=0.6, marker="o" if dot.is_optimal else "X")
        axes.annotate(dot.name, (x, y), xytext=(7, 7), textcoords="offset points")
    front = front_line([dot.point for dot in dots])
    if len(front) > 1:
        x_values, y_values = zip(*front, strict=True)
        axes.plot(x_values, y_values, drawstyle="steps-post", color=LIGHT["green"], linewidth=1.2, linestyle="--")


def front_line(points: list[Point]) -> list[tuple[float, float]]:
    """The corners, as forgetting and recall, of what can be had when time does not count, from left to right."""
    flat = [point._replace(seconds=0.0) for point in points]
    kept = {point for point, is_optimal in zip(flat, pareto_front(flat), strict=True) if is_optimal}
    return sorted((point.forgetting, point.recall) for point in kept)
