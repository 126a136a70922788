"""A comparison as one Markdown page: verdict, results, ledger, where the numbers come from."""

from collections.abc import Iterable, Sequence
from typing import get_args

from kapoc.comparison import Comparison, LedgerEntry, LedgerLine
from kapoc.gate import Verdict
from kapoc.report.sections import Section, sections, verdict_section

_MAX_ANSWER = 160
_ENTRIES: tuple[LedgerEntry, ...] = get_args(LedgerEntry)


def render(comparison: Comparison, verdict: Verdict | None) -> str:
    """The page.

    Args:
        comparison: of the base and the trained model.
        verdict: of the gate, or none where the comparison cannot be judged.
    """
    parts = [
        f"# {comparison.after.name} against {comparison.before.name} on {comparison.data.knowledge_name}",
        *_verdict(verdict),
        *[f"> **Note:** {warning}" for warning in comparison.warnings],
        *[part for section in sections(comparison) for part in _section(section)],
        *_ledger(comparison),
        *_validity(comparison),
        *_origin(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def render_summary(comparison: Comparison, verdict: Verdict | None, max_bytes: int = 1_000_000) -> str:
    """The page without details and ledger, for a CI's step summary; cut off before `max_bytes` UTF-8 bytes."""
    parts = [
        *_verdict(verdict),
        *[f"> **Note:** {warning}" for warning in comparison.warnings],
        *[part for section in sections(comparison) if not section.is_detail for part in _section(section)],
    ]
    text = "\n\n".join(parts) + "\n"
    return text.encode()[: max_bytes - 4].decode(errors="ignore") if len(text.encode()) >= max_bytes else text


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(headings)} |", f"|{'|'.join([' --- '] * len(headings))}|"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _section(section: Section) -> Iterable[str]:
    yield f"## {section.title}"
    if section.note:
        yield section.note
    yield table(section.headings, section.rows)


def _verdict(verdict: Verdict | None) -> Iterable[str]:
    if verdict is None:
        yield "**Verdict: none.** These runs cannot be judged; see the notes."
        return
    section = verdict_section(verdict)
    yield f"**Verdict: {verdict.sentence}.**"
    yield section.note
    yield table(section.headings, section.rows)


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


def _validity(comparison: Comparison) -> Iterable[str]:
    yield "## Can these numbers be believed?"
    validity = comparison.validity
    leaks = "not audited" if validity.num_leaks is None else f"{validity.num_leaks} found by the audit"
    known = list(validity.known_before)
    yield (
        f"Leaks between training texts and probes: {leaks}. Examples proposed from templates that nobody has read: "
        f"{validity.num_proposals}. Frozen items: sha256 `{validity.documents_sha256}`, the same in both runs. The "
        f"base answered {len(known)} knowledge items right before training."
    )
    if known:
        yield f"<details><summary>known before</summary>\n\n{', '.join(f'`{item}`' for item in known)}\n\n</details>"


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
