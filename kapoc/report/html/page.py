"""A comparison, its verdict and its items as one HTML page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict
from kapoc.judging.leaderboard import Leaderboard
from kapoc.judging.pairing import Pair
from kapoc.report.charts import Chart, comparison_charts
from kapoc.report.curves import training_charts
from kapoc.report.html.assets import data_url, own, policy, table_library
from kapoc.report.html.items import item_frame, items_island
from kapoc.report.in_short import short_section
from kapoc.report.leaderboard import LEADERBOARD, leaderboard_section, title_of, verdict_sentence
from kapoc.report.ledger import ledger_section
from kapoc.report.origin import origin_section, validity_section
from kapoc.report.plot import has_front_line, leaderboard_plot
from kapoc.report.section import Section
from kapoc.report.sections import sections, verdict_section


@dataclass(frozen=True, slots=True)
class _Part:
    """A section of the page: its table and the charts beside it."""

    anchor: str
    section: Section
    charts: Sequence[Chart]


def render_page(
    comparison: Comparison, verdict: Verdict | None, pairs: Sequence[Pair], board: Leaderboard | None = None
) -> str:
    """The page; it fetches nothing, and shows every text of a model as text.

    Args:
        comparison: of the base and the trained model.
        verdict: of the gate, or none where the comparison cannot be judged.
        pairs: every item of the two runs.
        board: where several trained runs were given, the first of which is the comparison's.
    """
    script = own("page.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["data_url"] = data_url
    return environment.from_string(own("page.html.j2")).render(
        title=title_of(comparison, board),
        verdict_sentence=verdict_sentence(verdict, board),
        comparison=comparison,
        verdict=verdict,
        warnings=(verdict or comparison).warnings,
        parts=list(_parts(comparison, verdict, board)),
        frame=item_frame(pairs),
        num_items=len(pairs),
        policy=policy(script),
        style=Markup(own("page.css")),  # noqa: S704 - files of this package
        script=Markup(script),  # noqa: S704
        library=Markup(table_library()),  # noqa: S704
        items=Markup(items_island(pairs)),  # noqa: S704 - `island` leaves nothing that is markup
    )


def _parts(comparison: Comparison, verdict: Verdict | None, board: Leaderboard | None) -> Iterator[_Part]:
    charts: dict[str, list[Chart]] = {}
    for chart in _charts(comparison, board):
        charts.setdefault(chart.section, []).append(chart)
    for number, section in enumerate(_sections(comparison, verdict, board), start=1):
        yield _Part(f"section-{number}", section, charts.get(section.title, []))


def _sections(comparison: Comparison, verdict: Verdict | None, board: Leaderboard | None) -> Iterator[Section]:
    if board is not None:
        yield leaderboard_section(board)
    yield from short_section(comparison)
    if verdict is not None:
        yield verdict_section(verdict)
    found = list(sections(comparison))
    yield from (section for section in found if not section.is_detail)
    yield ledger_section(comparison)
    yield from (section for section in found if section.is_detail)
    yield validity_section(comparison)
    yield origin_section(comparison)


def _charts(comparison: Comparison, board: Leaderboard | None) -> Iterator[Chart]:
    if board is not None:
        line = "; the dashed line is the front" if has_front_line(board) else ""
        yield Chart(
            LEADERBOARD,
            "Recall against forgetting, the runs numbered in the order of the table. Rounds are on the Pareto front, "
            f"crosses are not{line}.",
            leaderboard_plot(board),
        )
    yield from comparison_charts(comparison)
    if comparison.training is not None:
        yield from training_charts(comparison.training)
