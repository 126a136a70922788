"""A Markdown runbook: its headings are the items, and the lists and tables below them are their slots."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kapoc.data.drafts import Draft
from kapoc.errors import DataError
from kapoc.source import read_text

_FENCE = re.compile(r"\s*(`{3,}(?!.*`)|~~~+)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_BULLET = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$")
_LABELLED = re.compile(r"(?:\*\*|__)?(?P<label>[^\W\d_][^:|*]{0,40}?)(?:\*\*|__)?\s*:(?:\*\*|__)?(?:\s+(?P<text>.*))?$")
_DASHED = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(?:\*\*|__)([^:*_]{1,40})(?:\*\*|__)\s+[\u2013\u2014-]\s")
_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
_MOST_LABEL_WORDS = 4
_COLUMN_TITLES = {"field", "key", "property", "attribute", "slot", "item", "what", ""}
_VALUE_TITLES = {"value", "text", "description", "detail", "details", "content"}
_NAME_TITLES = {"id", "code", "name", "title", "topic", "term", "subject", "error"}


@dataclass
class _Section:
    """A heading and what it owns: `slots` of its own, and `rows`, items that a table of it lists."""

    level: int
    heading: str
    line: int
    parent: str
    slots: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)


def drafts_from_runbook(source: str, kind: str = "item") -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    """Read the items of a Markdown file.

    Every heading of the deepest level that owns a labelled list or table is one item, its parent heading the domain. In
    a table whose header names slots, every row is one item and its first cell the name. Nothing else is taken.

    Returns:
        The drafts, and a line for everything that looked like an item or a slot and was not taken.

    Raises:
        DataError: the file is absent, empty or holds no item.
    """
    path = Path(source)
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: is empty; write one heading for each item")
    notes: list[str] = []
    sections = _sections(source, text, notes)
    level = max((section.level for section in sections if section.slots), default=0)
    drafts = []
    for section in sections:
        for line, name, slots in section.rows:
            drafts.append(Draft(kind=kind, name=name, domain=section.heading, slots=slots, place=f"{source}:{line}"))
        place = f"{source}:{section.line}"
        if section.level == level and section.slots:
            drafts.append(
                Draft(kind=kind, name=section.heading, domain=section.parent, slots=section.slots, place=place)
            )
        elif section.slots:
            notes.append(f"{place}: '{section.heading}' is not taken: items are headings of level {level}")
        elif section.level == level and not section.rows:
            notes.append(
                f"{place}: '{section.heading}' is not taken: it has no list or table of the form 'Cause: text'"
            )
    if not drafts:
        raise DataError(
            f"{path}: no item was found; write a heading for each and below it a list such as '- Cause: text'"
        )
    return tuple(drafts), tuple(sorted(notes, key=lambda note: int(note[len(source) + 1 :].split(":")[0])))


def _sections(source: str, text: str, notes: list[str]) -> list[_Section]:
    sections: list[_Section] = []
    above: dict[int, str] = {}
    lines = _with_marks(list(lines_outside_fences(source, text)))
    index = 0
    while index < len(lines):
        number, line = lines[index]
        heading = HEADING.match(line)
        if heading:
            depth, title = len(heading[1]), plain_text(heading[2])
            above = {level: name for level, name in above.items() if level < depth}
            sections.append(_Section(depth, title, number, above[max(above)] if above else ""))
            above[depth] = title
        elif sections and line.lstrip().startswith("|"):
            table = _table_at(lines, index)
            _take_table(sections[-1], source, table, notes)
            index += len(table)
            continue
        elif sections:
            if unlabelled := _DASHED.match(line):
                notes.append(
                    f"{source}:{number}: '{plain_text(unlabelled[1])}' of '{sections[-1].heading}' is not taken: "
                    "write a colon behind it"
                )
            index += _take_line(sections[-1], source, lines, index, notes)
        index += 1
    return sections


def _with_marks(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines with underlined headings written as marked ones: `==` below is the first level, `--` the second."""
    marked: list[tuple[int, str]] = []
    for number, line in lines:
        above = marked[-1] if marked else (0, "")
        underline = _UNDERLINE.match(line)
        is_text = above[0] == number - 1 and above[1].strip() and not above[1].lstrip().startswith(("#", "|", ">"))
        if underline and is_text and not _BULLET.match(above[1]) and not _LABELLED.match(above[1]):
            marked[-1] = (above[0], f"{'#' if underline[1][0] == '=' else '##'} {above[1].strip()}")
        else:
            marked.append((number, line))
    return marked


def lines_outside_fences(source: str, text: str) -> Iterator[tuple[int, str]]:
    """The lines of a Markdown text with their numbers, counted from 1, without those of blocks of code.

    Raises:
        DataError: a block is never closed.
    """
    fence, opened = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence, opened = mark[1], number
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence:
            yield number, line.rstrip()
    if fence:
        raise DataError(f"{source}:{opened}: the block of code is never closed; write {fence} below it")


def plain_text(text: str) -> str:
    """A text without its inline markup: links, stress, and the marks of code, whose words stay as they are."""
    parts = re.split(r"(`+)(.+?)\1", text)
    plain = []
    for number in range(0, len(parts), 3):
        outside = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", parts[number])
        plain.append(re.sub(r"(?<![\w*])(\*\*|__|\*)(?=[^\s*])(.+?)(?<=[^\s*])\1(?![\w*])", r"\2", outside))
        plain += parts[number + 2 : number + 3]
    return "".join(plain).strip()


def _take_line(section: _Section, source: str, lines: list[tuple[int, str]], index: int, notes: list[str]) -> int:
    """Take one labelled line, with the indented lines that continue it; return how many those are."""
    number, line = lines[index]
    bullet = _BULLET.match(line)
    labelled = _LABELLED.match(bullet[1] if bullet else line)
    if labelled is None or len(labelled["label"].split()) > _MOST_LABEL_WORDS:
        return 0
    parts = [labelled["text"] or ""]
    for following, more in lines[index + 1 :]:
        is_continuation = following == number + len(parts) and more.startswith("  ") and not _BULLET.match(more)
        if not is_continuation or _LABELLED.match(more.strip()):
            break
        parts.append(more.strip())
    if parts == [""]:
        listed, num_lines = _list_below(lines, index + 1)
        if listed:
            _take_slot(section, f"{source}:{number}", plain_text(labelled["label"]), listed, notes)
            return num_lines
    _take_slot(section, f"{source}:{number}", plain_text(labelled["label"]), plain_text(" ".join(parts)), notes)
    return len(parts) - 1


def _list_below(lines: list[tuple[int, str]], index: int) -> tuple[str, int]:
    """The items of a list that begins here, or behind empty lines, with semicolons between them; how many lines it has.

    A list of labelled items is none: those are slots of their own.
    """
    items: list[str] = []
    num_lines = 0
    for place, (_, line) in enumerate(lines[index:], start=1):
        bullet = _BULLET.match(line)
        if bullet and not _LABELLED.match(bullet[1]):
            items.append(plain_text(bullet[1]).rstrip(" .;,"))
            num_lines = place
        elif line.strip():
            break
    return "; ".join(items), num_lines


def _take_slot(section: _Section, place: str, label: str, text: str, notes: list[str]) -> None:
    if not text:
        notes.append(f"{place}: '{label}' of '{section.heading}' is not taken: no text stands behind it on its line")
    elif label in section.slots:
        notes.append(f"{place}: '{label}' of '{section.heading}' stands twice; the first is taken")
    else:
        section.slots[label] = text


def _table_at(lines: list[tuple[int, str]], index: int) -> list[tuple[int, list[str]]]:
    """The rows of the table that begins here; the rule below a header is kept as an empty row."""
    table: list[tuple[int, list[str]]] = []
    for number, line in lines[index:]:
        if not line.lstrip().startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
        is_rule = bool(_RULE.match(line.strip()))
        table.append((number, [] if is_rule else [plain_text(cell.replace("\\|", "|")) for cell in cells]))
    return table


def _take_table(section: _Section, source: str, table: list[tuple[int, list[str]]], notes: list[str]) -> None:
    has_header = len(table) > 1 and not table[1][1]
    header = table[0][1]
    rows = [(number, cells) for number, cells in table if cells]
    if len(header) == 2 and not (has_header and header[0].lower() in _NAME_TITLES):
        if has_header and (header[0].lower() in _COLUMN_TITLES or header[1].lower() in _VALUE_TITLES):
            rows = rows[1:]
        elif has_header:
            notes.append(
                f"{source}:{table[0][0]}: '{header[0]}' is taken for a part like the rows below it; call the column "
                "'Field' where it names parts, or 'Id' where each row is a fact of its own"
            )
        for number, cells in rows:
            _take_slot(section, f"{source}:{number}", cells[0].removesuffix(":"), " ".join(cells[1:]), notes)
        return
    if not has_header or len(header) < 2:
        notes.append(f"{source}:{table[0][0]}: the table is not taken: it has no header that names its columns")
        return
    for number, cells in rows[1:]:
        slots = {label: text for label, text in zip(header[1:], cells[1:], strict=False) if label and text}
        if len(cells) != len(header) or not cells[0] or not slots:
            notes.append(
                f"{source}:{number}: the row is not taken: it needs a name and {len(header) - 1} cells behind it"
            )
        else:
            section.rows.append((number, cells[0], slots))
