"""One report in every format of a file: the same facts as a page, as Markdown and as JSON."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict
from kapoc.judging.leaderboard import Leaderboard
from kapoc.judging.pairing import Pair
from kapoc.record import to_json
from kapoc.report import markdown

ENDINGS = (".html", ".md", ".json", ".svg")
_MARKS = {
    ".html": r'<p class="maker">kapoc report</p>',
    ".md": r"\A# [^\n]+ against [^\n]+ on [^\n]+\n.*^\*\*Verdict",
    ".svg": r"<svg [^>]*>\s*<style>:root\{--paper:",
}
"""By what a report of any age is told from a file of a user's own."""


def beside(out: Path, ending: str) -> Path:
    """Where one of the files lies: `out`, with this ending in the place of that of any of them."""
    stem = out.with_suffix("") if out.suffix in ENDINGS else out
    return stem.with_name(stem.name + ending)


def is_report(ending: str, text: str) -> bool:
    """Whether a file with this ending and this text is one of a report's; an empty one is as good as none."""
    if not text.strip():
        return True
    if ending != ".json":
        return re.search(_MARKS[ending], text, re.DOTALL | re.MULTILINE) is not None
    try:
        facts = json.loads(text)
    except ValueError:
        return False
    return isinstance(facts, dict) and {"comparison", "verdict"} <= facts.keys()


def render_report(
    comparison: Comparison,
    verdict: Verdict | None,
    pairs: Sequence[Pair],
    board: Leaderboard | None = None,
    name: str = "report",
) -> dict[str, str]:
    """The end of each file's name, and its text.

    Args:
        comparison: of the base and the trained model.
        verdict: of the gate, or none where the comparison cannot be judged.
        pairs: every item of the two runs.
        board: where several trained runs were given, the first of which is the comparison's.
        name: of the files, for the Markdown to show the plot of a leaderboard that lies beside it.
    """
    from kapoc.report.html.page import render_page
    from kapoc.report.plot import leaderboard_plot

    facts = {
        "comparison": json.loads(to_json(comparison)),
        "verdict": None if verdict is None else verdict.model_dump(mode="json"),
        "leaderboard": None if board is None else board.model_dump(mode="json"),
    }
    files = {
        ".html": render_page(comparison, verdict, pairs, board),
        ".md": markdown.render(comparison, verdict, board, plot=f"{name}.svg"),
        ".json": json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    return files if board is None else {**files, ".svg": leaderboard_plot(board)}
