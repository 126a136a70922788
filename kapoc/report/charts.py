"""A comparison as charts, each an SVG with the same numbers as the table beside it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kapoc.judging.comparison import Comparison, LedgerEntry, Result
from kapoc.record import Tier
from kapoc.report.drawing import LIGHT, as_svg, figure, legend_above
from kapoc.report.ledger import LEDGER, ledger_counts
from kapoc.report.sections import CONTEXTS_TITLE, DAMAGE_TITLE, TIERS_TITLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENTRY_COLOURS: dict[LedgerEntry, str] = {"learned": "blue", "kept": "green", "lost": "orange", "never": "grey"}
_Bounds = tuple[float | None, float | None]
_HATCHES: dict[LedgerEntry, str] = {"learned": "", "kept": "..", "lost": "//", "never": ""}


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing.

    Attributes:
        section: the title of the section whose table holds the same numbers.
        caption: what is drawn.
        svg: the drawing.
    """

    section: str
    caption: str
    svg: str


def comparison_charts(comparison: Comparison) -> Iterator[Chart]:
    """The charts of every section that has numbers to draw."""
    if comparison.tiers:
        yield Chart(TIERS_TITLE, "Right answers before and after, by tier.", _before_after(comparison))
        hollow = _hollow(result.interval for result in comparison.tiers.values())
        caption = f"Difference in points with its 95% interval, by tier.{hollow}"
        yield Chart(TIERS_TITLE, caption, _differences(comparison))
    if comparison.ledger:
        yield Chart(LEDGER, "What became of the items of each tier, in numbers of items.", _ledger(comparison))
    if units := dict(_forgetting_units(comparison)):
        hollow = _hollow(bounds for _, bounds, _ in units.values())
        yield Chart(DAMAGE_TITLE, f"Forgetting in its units, each with its 95% interval.{hollow}", _forgetting(units))
    if comparison.contexts and _recalled(comparison):
        yield Chart(
            CONTEXTS_TITLE, "Right answers with knowledge in the prompt and after training.", _contexts(comparison)
        )


def _hollow(intervals: Iterable[_Bounds]) -> str:
    """What the caption says where a mark has no interval, as that of a single item."""
    return " A hollow mark has none." if any(bounds == (None, None) for bounds in intervals) else ""


def _rows(axes: "Axes", names: list[str]) -> range:
    places = range(len(names))
    axes.set_yticks(list(places), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    return places


def _before_after(comparison: Comparison) -> str:
    tiers = comparison.tiers
    with figure(0.8 + 0.36 * len(tiers)) as drawn:
        axes = drawn.add_subplot()
        places = _rows(axes, list(tiers))
        before, after = ([100 * share for share in shares] for shares in _shares(list(tiers.values())))
        axes.hlines(list(places), before, after, color=LIGHT["grey"], linewidth=2)
        axes.scatter(before, list(places), s=44, marker="s", color=LIGHT["orange"], label="before", zorder=3)
        axes.scatter(after, list(places), s=44, marker="o", color=LIGHT["blue"], label="after", zorder=3)
        axes.set(xlabel="right, %", xlim=(-3, 103))
        legend_above(axes)
        return as_svg(drawn)


def _shares(results: list[Result]) -> tuple[list[float], list[float]]:
    return [result.before for result in results], [result.after for result in results]


def _differences(comparison: Comparison) -> str:
    tiers = comparison.tiers
    with figure(0.8 + 0.36 * len(tiers)) as drawn:
        axes = drawn.add_subplot()
        for place, result in zip(_rows(axes, list(tiers)), tiers.values(), strict=True):
            _interval(axes, place, result.difference, result.interval, scale=100)
        axes.axvline(0, color=LIGHT["ink"], linewidth=0.8)
        axes.set(xlabel="difference, points")
        return as_svg(drawn)


def _interval(axes: "Axes", place: float, value: float, bounds: _Bounds, scale: float = 1) -> None:
    low, high = (value if bound is None else bound for bound in bounds)
    axes.hlines(place, scale * low, scale * high, color=LIGHT["blue"], linewidth=2)
    inside = LIGHT["paper" if bounds == (None, None) else "blue"]
    axes.scatter([scale * value], [place], s=36, facecolors=inside, edgecolors=LIGHT["blue"], zorder=3)


def _ledger(comparison: Comparison) -> str:
    counts = ledger_counts(comparison)
    with figure(0.8 + 0.42 * len(counts)) as drawn:
        axes = drawn.add_subplot()
        places = list(_rows(axes, list(counts)))
        left = [0] * len(counts)
        for entry, colour in ENTRY_COLOURS.items():
            widths = [tier[entry] for tier in counts.values()]
            bars = axes.barh(
                places,
                widths,
                left=left,
                height=0.62,
                color=LIGHT[colour],
                hatch=_HATCHES[entry],
                edgecolor=LIGHT["paper"],
                label=entry,
            )
            largest = max(sum(tier.values()) for tier in counts.values())
            labels = [str(width) if width >= 0.06 * largest else "" for width in widths]
            axes.bar_label(
                bars,
                labels,
                label_type="center",
                color=LIGHT["ink"],
                bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "boxstyle": "round,pad=0.15"},
            )
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set(xlabel="items")
        legend_above(axes)
        return as_svg(drawn)


def _forgetting_units(comparison: Comparison) -> Iterator[tuple[str, tuple[float, _Bounds, float]]]:
    forgetting = comparison.forgetting
    if (general := comparison.tiers.get("general")) is not None:
        yield "general items right, points", (general.difference, general.interval, 100)
    for kind, result in forgetting.completions.items():
        yield f"log-probability, {kind}, difference in nats", (result.difference, result.interval, 1)
    if (text := forgetting.bits_per_byte) is not None:
        yield "bits per byte on prose, difference", (text.difference, text.interval, 1)
    for kind, result in forgetting.own_texts.items():
        yield f"bits per byte on {kind}, difference", (result.difference, result.interval, 1)
    if forgetting.divergence is not None and forgetting.divergence_interval is not None:
        yield "KL(base || run), nats per token", (forgetting.divergence, forgetting.divergence_interval, 1)


def _forgetting(units: dict[str, tuple[float, _Bounds, float]]) -> str:
    with figure(0.95 * len(units)) as drawn:
        for axes, (name, (value, bounds, scale)) in zip(
            drawn.subplots(len(units), squeeze=False)[:, 0], units.items(), strict=True
        ):
            _interval(axes, 0, value, bounds, scale)
            axes.axvline(0, color=LIGHT["ink"], linewidth=0.8)
            axes.set(title=name, yticks=[], ylim=(-1, 1))
            axes.spines["left"].set_visible(False)
            axes.grid(visible=True, axis="x")
        return as_svg(drawn)


def _recalled(comparison: Comparison) -> list[Tier]:
    return [tier for tier in comparison.tiers if tier not in {"general", "control"}]


def _contexts(comparison: Comparison) -> str:
    tiers = _recalled(comparison)
    marks = {"retrieved": ("^", "green", "facts found by a search"), "oracle": ("D", "grey", "the fact in its prompt")}
    with figure(1.1 + 0.36 * len(tiers)) as drawn:
        axes = drawn.add_subplot()
        places = list(_rows(axes, list(tiers)))
        before, after = _shares([comparison.tiers[tier] for tier in tiers])
        axes.scatter([100 * x for x in before], places, s=44, marker="s", color=LIGHT["orange"], label="base")
        for name, found in comparison.contexts.items():
            marker, colour, label = marks.get(name, ("v", "muted", name))
            there = [place for tier, place in zip(tiers, places, strict=True) if tier in found]
            shares = [100 * found[tiers[place]].score for place in there]
            axes.scatter(shares, there, s=44, marker=marker, color=LIGHT[colour], label=label)
        axes.scatter([100 * x for x in after], places, s=44, marker="o", color=LIGHT["blue"], label="trained")
        axes.set(xlabel="right, %", xlim=(-3, 103))
        legend_above(axes, columns=2)
        return as_svg(drawn)
