"""Several runs side by side as a table. Pure."""

from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict
from kapoc.judging.leaderboard import Leaderboard, Standing
from kapoc.report.columns import COLUMNS, FORGETTING
from kapoc.report.numbers import percent
from kapoc.report.section import Section

LEADERBOARD = "Leaderboard"


def leaderboard_section(board: Leaderboard) -> Section:
    """Every run with its verdict, what it recalls, what it forgot and how long it trained; the reference first."""
    rows = [board.reference, *board.standings]
    shown = [name for name in COLUMNS if any(name in row.scores for row in rows)]
    note = (
        f"Every run against {board.reference.name}, in the order given. Recall is the mean of paraphrased and unseen. "
        f"A star marks the Pareto front: no other run has as much recall and as little forgetting "
        f"({FORGETTING[board.forgetting]}), and is better in one of them."
    )
    note += f" All that follows is about the first run, {board.standings[0].name}."
    if any(row.verdict is None or name not in row.scores for row in board.standings for name in shown):
        note += " A dash: not asked or not comparable, no record of the training beside the run, or no verdict."
    if not board.complete:
        note += " Not all items were asked: nothing here is evidence."
    return Section(
        LEADERBOARD,
        note,
        ["", "run", "verdict", *(COLUMNS[name][0] for name in shown)],
        [
            [_mark(number, row), row.name, row.verdict or "-", *(_cell(row, name) for name in shown)]
            for number, row in enumerate(rows)
        ],
    )


def title_of(comparison: Comparison, board: Leaderboard | None) -> str:
    """What a report is about."""
    what = comparison.after.name if board is None else f"{len(board.standings)} runs"
    return f"{what} against {comparison.before.name} on {comparison.data.knowledge_name}"


def verdict_sentence(verdict: Verdict | None, board: Leaderboard | None) -> str:
    """The verdict, and whose it is where there are several runs."""
    whose = "" if board is None else f" of {board.standings[0].name}"
    if verdict is None:
        return f"Verdict{whose}: none. These runs cannot be judged; see the notes."
    return f"Verdict{whose}: {verdict.sentence}."


def _mark(number: int, row: Standing) -> str:
    return "reference" if number == 0 else f"{number} *" if row.is_optimal else str(number)


def _cell(row: Standing, name: str) -> str:
    return COLUMNS[name][1](row.scores[name]) if name in row.scores else percent(None)
