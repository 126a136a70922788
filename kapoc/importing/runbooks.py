"""A Markdown runbook: its headings are the items, and the lists and tables below them are their slots."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kapoc.errors import DataError
from kapoc.importing.drafts import Draft
from kapoc.source import read_text

_FENCE = re.compile(r"\s*(`{3,}(?!.*`)|~~~+)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*(?:\{[#.][^}]*\})?\s*#*\s*$")
_BULLET = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$")
_LABELLED = re.compile(r"(?:\*\*|__)?(?P<label>[^\W\d_][^:|*]{0,40}?)(?:\*\*|__)?\s*:(?:\*\*|__)?(?:\s+(?P<text>.*))?$")
_DASHED = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(?:\*\*|__)([^:*_]{1,40})(?:\*\*|__)\s+[\u2013\u2014-]\s")
_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
_MOST_LABEL_WORDS = 4
_COLUMN_TITLES = {"field", "key", "property", "attribute", "slot", "item", "what", ""}
_VALUE_TITLES = {"value", "text", "description", "detail", "details", "content"}
_NAME_TITLES = {"id", "code", "name", "title", "topic", "term", "subject", "error", "number", "nr", "no"}
_CODED = re.compile(r"(?P<code>(?=[\w./-]*\d)[A-Z][\w./-]*)(?::| [\u2013\u2014-])\s+(?P<title>\S.*)")
"""A heading that begins with a code, and says behind it what that is: `GW-501: upstream handshake stalls`."""
_TITLE = "Title"


class Line(NamedTuple):
    """A line of a Markdown file.

    Attributes:
        number: counted from 1.
        text: without the spaces at its end.
        fence: how many spaces stand before the fence of the block of code that holds the line; none outside of one.
    """

    number: int
    text: str
    fence: int | None = None


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

    Every heading of one level that owns a labelled list or table is one item, its parent heading the domain: of the
    level that has the most such headings, the deepest of several. In a table whose header names slots, every row is one
    item and its first cell the name. Nothing else is taken. A heading that begins with a code is called by that.

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
    levels = Counter(section.level for section in sections if section.slots)
    level = max(levels, key=lambda depth: (levels[depth], depth), default=0)
    coded = [_CODED.fullmatch(s.heading) for s in sections if s.level == level and s.slots]
    codes = Counter(match["code"] for match in coded if match)
    drafts = []
    for section in sections:
        for line, name, slots in section.rows:
            drafts.append(Draft(kind=kind, name=name, domain=section.heading, slots=slots, place=f"{source}:{line}"))
        place = f"{source}:{section.line}"
        if section.level == level and section.slots:
            name, slots, match = section.heading, section.slots, _CODED.fullmatch(section.heading)
            if match and codes[match["code"]] == 1:
                name, slots = match["code"], {**slots, **({} if _TITLE in slots else {_TITLE: match["title"]})}
            drafts.append(Draft(kind=kind, name=name, domain=section.parent, slots=slots, place=place))
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
    lines = with_marks(lines_of(source, text))
    index = 0
    while index < len(lines):
        number, line, fence = lines[index]
        heading = HEADING.match(line) if fence is None else None
        if heading:
            depth, title = len(heading[1]), plain_text(heading[2])
            above = {level: name for level, name in above.items() if level < depth}
            sections.append(_Section(depth, title, number, above[max(above)] if above else ""))
            above[depth] = title
        elif sections and fence is not None:
            index += len(code_at(lines, index))
            notes.append(
                f"{source}:{number - 1}: the block of code of '{sections[-1].heading}' is not taken: write a label "
                "such as 'Fix:' above it"
            )
            continue
        elif sections and line.lstrip().startswith("|"):
            table = table_at(lines, index)
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


def with_marks(lines: Sequence[Line]) -> list[Line]:
    """The lines with underlined headings written as marked ones: `==` below is the first level, `--` the second."""
    marked: list[Line] = []
    for line in lines:
        above = marked[-1] if marked else Line(0, "")
        underline = _UNDERLINE.match(line.text) if line.fence is None and above.fence is None else None
        is_text = above.number == line.number - 1 and bool(above.text.strip())
        is_text = is_text and not above.text.lstrip().startswith(("#", "|", ">"))
        if underline and is_text and not _BULLET.match(above.text) and not _LABELLED.match(above.text):
            marked[-1] = Line(above.number, f"{'#' if underline[1][0] == '=' else '##'} {above.text.strip()}")
        else:
            marked.append(line)
    return marked


def lines_of(source: str, text: str) -> list[Line]:
    """The lines of a Markdown text, without the fences of blocks of code.

    Raises:
        DataError: a block is never closed.
    """
    lines: list[Line] = []
    fence, opened, indent = "", 0, 0
    for number, line in enumerate(text.split("\n"), start=1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence, opened, indent = mark[1], number, len(line) - len(line.lstrip())
        elif mark and mark[1].startswith(fence):
            fence = ""
        else:
            lines.append(Line(number, line.rstrip(), indent if fence else None))
    if fence:
        raise DataError(f"{source}:{opened}: the block of code is never closed; write {fence} below it")
    return lines


def code_at(lines: Sequence[Line], index: int) -> list[str]:
    """The lines of the block of code that begins here; none where none does."""
    code: list[str] = []
    for line in lines[index:]:
        if line.fence is None or line.number != lines[index].number + len(code):
            break
        code.append(line.text.strip())
    return code


def plain_text(text: str) -> str:
    """A text without its inline markup: images, links, stress, and the marks of code, whose words stay as they are."""
    parts = re.split(r"(`+)(.+?)\1", text)
    plain = []
    for number in range(0, len(parts), 3):
        outside = re.sub(r"\s*!\[[^\]]*\]\([^)]*\)", "", re.sub(r"\s*<br\s*/?>\s*", " ", parts[number]))
        outside = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", outside)
        plain.append(re.sub(r"(?<![\w*])(\*\*|__|\*)(?=[^\s*])(.+?)(?<=[^\s*])\1(?![\w*])", r"\2", outside))
        plain += parts[number + 2 : number + 3]
    return "".join(plain).strip()


def _take_line(section: _Section, source: str, lines: Sequence[Line], index: int, notes: list[str]) -> int:
    """Take one labelled line, with the lines and the code that continue it; return how many those are."""
    number, line, _ = lines[index]
    bullet = _BULLET.match(line)
    labelled = _LABELLED.match(bullet[1] if bullet else line)
    if labelled is None or len(labelled["label"].split()) > _MOST_LABEL_WORDS:
        return 0
    parts = [labelled["text"] or ""]
    for following, more, fence in lines[index + 1 :]:
        if following != number + len(parts) or fence is not None or not _goes_on(more):
            break
        parts.append(more.strip())
    if parts == [""]:
        listed, num_lines = _list_below(lines, index + 1)
        if listed:
            _take_slot(section, f"{source}:{number}", plain_text(labelled["label"]), listed, notes)
            return num_lines
    said = plain_text(" ".join(parts))
    code, num_lines = _code_below(lines, index + len(parts), belongs=not bullet or not said or said.endswith(":"))
    _take_slot(section, f"{source}:{number}", plain_text(labelled["label"]), f"{said} {code}".strip(), notes)
    return len(parts) - 1 + num_lines


def _code_below(lines: Sequence[Line], index: int, *, belongs: bool) -> tuple[str, int]:
    """The block of code that begins here, or behind empty lines, as one line; how many lines that is.

    Args:
        lines: of the file.
        index: where to begin.
        belongs: whether a block belongs to the text before that is not set in, as the text of a list's item is.
    """
    start = next((i for i in range(index, len(lines)) if lines[i].fence is not None or lines[i].text.strip()), index)
    fence = lines[start].fence if start < len(lines) else None
    if fence is None or not (belongs or fence >= 2 or lines[start].number == lines[index - 1].number + 2):
        return "", 0
    code = code_at(lines, start)
    return " ".join(filter(None, code)), start - index + len(code)


def _list_below(lines: Sequence[Line], index: int) -> tuple[str, int]:
    """The items of a list that begins here, or behind empty lines, with semicolons between them; how many lines it has.

    A list of labelled items is none, for those are slots of their own; but a numbered step may have a label.
    """
    items: list[str] = []
    num_lines = indent = 0
    for place, (_, line, fence) in enumerate(lines[index:], start=1):
        bullet = _BULLET.match(line) if fence is None else None
        depth = len(line) - len(line.lstrip())
        is_step = bool(items) and depth == indent and line.lstrip()[:1].isdigit()
        if bullet and (is_step or not _LABELLED.match(bullet[1])):
            indent = indent if items else depth
            items.append(plain_text(bullet[1]).rstrip(" .;,"))
            num_lines = place
        elif items and fence is None and num_lines == place - 1 and _goes_on(line):
            items[-1] = f"{items[-1]} {plain_text(line)}".rstrip(" .;,")
            num_lines = place
        elif items and fence:
            items[-1] = f"{items[-1]} {line.strip()}".strip()
            num_lines = place
        elif line.strip():
            break
    return "; ".join(items), num_lines


def _goes_on(line: str) -> bool:
    """Whether a line right below a text is the rest of it: it begins nothing of its own."""
    text = line.strip()
    is_other = _BULLET.match(line) or HEADING.match(line) or _LABELLED.match(text)
    return bool(text) and not is_other and not text.startswith(("|", ">", "`")) and not set(text) <= set("-=*_")


def _take_slot(section: _Section, place: str, label: str, text: str, notes: list[str]) -> None:
    if not text:
        notes.append(f"{place}: '{label}' of '{section.heading}' is not taken: no text stands behind it on its line")
    elif label in section.slots:
        notes.append(f"{place}: '{label}' of '{section.heading}' stands twice; the first is taken")
    else:
        section.slots[label] = text


def table_at(lines: Sequence[Line], index: int) -> list[tuple[int, list[str]]]:
    """The rows of the table that begins here; the rule below a header is kept as an empty row."""
    table: list[tuple[int, list[str]]] = []
    for number, line, fence in lines[index:]:
        if fence is not None or not line.lstrip().startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
        is_rule = bool(_RULE.match(line.strip()))
        table.append((number, [] if is_rule else [plain_text(cell.replace("\\|", "|")) for cell in cells]))
    return table


def _names_facts(title: str) -> bool:
    """Whether a column is called so that each of its rows is a fact: `Code`, `Error code`."""
    return not _NAME_TITLES.isdisjoint(title.lower().rstrip(".").split()[-1:])


def _take_table(section: _Section, source: str, table: list[tuple[int, list[str]]], notes: list[str]) -> None:
    has_header = len(table) > 1 and not table[1][1]
    header = table[0][1]
    rows = [(number, cells) for number, cells in table if cells]
    if len(header) == 2 and not (has_header and _names_facts(header[0])):
        if has_header and header[0].lower() not in _COLUMN_TITLES and header[1].lower() not in _VALUE_TITLES:
            notes.append(
                f"{source}:{table[0][0]}: the rows below '{header[0]}' are taken for parts of '{section.heading}'; "
                "call the column 'Field' where they are, or 'Id' where each row is a fact of its own"
            )
        for number, cells in rows[has_header:]:
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
