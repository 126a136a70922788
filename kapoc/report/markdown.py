"""The report as Markdown: one page to decide by, then the evidence."""

from collections.abc import Iterable, Sequence

from kapoc.gate import Verdict
from kapoc.record import Comparison, LedgerEntry, LedgerLine
from kapoc.report.numbers import RESULT_HEADINGS, interval, percent, points, result_cells

_ENTRIES: tuple[LedgerEntry, ...] = ("learned", "kept", "lost", "never")
_MAX_ANSWER = 220


def render(comparison: Comparison, verdict: Verdict | None) -> str:
    """The whole report.

    Args:
        comparison: of the base and the trained model.
        verdict: of the gate, or none where the comparison cannot be judged.
    """
    parts = [
        f"# {comparison.after.name} against {comparison.before.name} on {comparison.data.knowledge_name}",
        *_verdict(verdict),
        *[f"> **Note:** {warning}" for warning in comparison.warnings],
        *_results(comparison),
        *_damage(comparison),
        *_detail(comparison),
        *_ledger(comparison),
        *_origin(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(headings)} |", f"|{'|'.join([' --- '] * len(headings))}|"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _verdict(verdict: Verdict | None) -> Iterable[str]:
    if verdict is None:
        yield "**Verdict: none.** These runs cannot be judged; see the notes."
        return
    failed = [check.name for check in verdict.checks if check.outcome == "fail"]
    why = f": {', '.join(failed)}" if failed else ": every check holds"
    yield f"**Verdict: {verdict.outcome.upper()}**{why}."
    yield table(
        ["check", "measured", "value", "threshold", "n", "outcome"],
        [
            [c.name, f"{c.quantity}, {c.statistic}", f"{c.value:.4f}", c.threshold, str(c.n), c.outcome]
            for c in verdict.checks
        ],
    )


def _results(comparison: Comparison) -> Iterable[str]:
    yield "## What it learned and what it kept"
    yield (
        "Knowledge tiers are graded from free, greedy answers: every required slot must be there and no sibling's "
        "value may be. Intervals and p-values are paired and clustered by fact."
    )
    yield table(
        ["tier", *RESULT_HEADINGS],
        [[str(name), *result_cells(result)] for name, result in comparison.tiers.items()],
    )


def _damage(comparison: Comparison) -> Iterable[str]:
    yield "## What it damaged"
    yield (
        "Spillover is a taught answer in the output to a question about an untaught fact (control) or to a prompt "
        "that has nothing to do with the set (off-topic). Bits per byte are measured on plain prose; lower is better."
    )
    rows = [
        [
            f"spillover, {name.replace('_', '-')}",
            str(s.n),
            percent(s.before),
            percent(s.after),
            points(s.difference),
            interval(s.interval),
        ]
        for name, s in comparison.spillover.items()
    ]
    if (text := comparison.text) is not None:
        rows.append(
            [
                "bits per byte",
                str(text.n),
                f"{text.before:.4f}",
                f"{text.after:.4f}",
                f"{text.difference:+.4f}",
                interval(text.interval, scale=1, digits=4),
            ]
        )
    yield table(["measure", "n", "before", "after", "difference", "95% interval"], rows)


def _detail(comparison: Comparison) -> Iterable[str]:
    yield "## By kind"
    yield "Exploratory: no correction for the number of rows."
    yield table(
        ["tier/kind", *RESULT_HEADINGS],
        [[name, *result_cells(result)] for name, result in comparison.kinds.items()],
    )
    yield "## By form"
    yield "`choice` picks among four answers that differ in the slots of sibling facts; chance is 25%."
    yield table(
        ["tier/form", *RESULT_HEADINGS],
        [[name, *result_cells(result)] for name, result in comparison.forms.items()],
    )


def _ledger(comparison: Comparison) -> Iterable[str]:
    yield "## Ledger"
    tiers = list(dict.fromkeys(line.tier for line in comparison.ledger))
    counts = [
        [
            str(tier),
            *(str(sum(line.tier == tier and line.entry == entry for line in comparison.ledger)) for entry in _ENTRIES),
        ]
        for tier in tiers
    ]
    yield table(["tier", *_ENTRIES], counts)
    for tier in tiers:
        lines = [line for line in comparison.ledger if line.tier == tier]
        rows = table(["item", "entry", "expected", "before", "after"], map(_ledger_row, lines))
        yield f"<details><summary>{tier}: all {len(lines)} items with both answers</summary>\n\n{rows}\n\n</details>"


def _ledger_row(line: LedgerLine) -> list[str]:
    return [line.id, line.entry, _short(line.reference), _short(line.before), _short(line.after)]


def _short(text: str) -> str:
    return text if len(text) <= _MAX_ANSWER else text[: _MAX_ANSWER - 1] + "…"


def _origin(comparison: Comparison) -> Iterable[str]:
    yield "## Where the numbers come from"
    yield table(
        ["", "before", "after"],
        [
            [field, str(getattr(comparison.before, field)), str(getattr(comparison.after, field))]
            for field in ("name", "source", "architecture", "num_parameters", "dtype", "weights_sha256")
        ],
    )
    data = comparison.data
    yield (
        "".join(f"Knowledge set `{known.name}` {known.version}, sha256 `{known.sha256}`; " for known in data.knowledge)
        + (f"own general tasks: {', '.join(data.general)}; " if data.general else "")
        + f"bundled items sha256 `{data.general_sha256}`."
    )
    yield "```\n" + "\n".join(comparison.commands) + "\n```"
