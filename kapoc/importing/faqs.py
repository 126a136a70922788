"""Questions and answers in Markdown: headings that ask with text below them, or lines that begin with `Q:` and `A:`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kapoc.data.phrases import QUESTION_MARKS, ends_asking
from kapoc.importing.drafts import Draft
from kapoc.importing.runbooks import HEADING, Line, code_at, lines_of, plain_text, table_at, with_marks
from kapoc.source import read_text

_MARKED = r"\s*(?:[-*+]\s+)?(?:\*\*|__)?{}(?:\*\*|__)?\s*[:.)\uff1a](?:\*\*|__)?\s*(?P<text>.*?)(?:\*\*|__)?\s*$"
_QUESTION = re.compile(
    _MARKED.format(r"(?:Q|Question|F|Frage|Pregunta|Domanda|Pergunta|\u95ee|\u554f)\d{0,3}"), re.IGNORECASE
)
_ELSEWHERE = r"(?:R|R\u00e9ponse|Respuesta|Risposta|Resposta|\u7b54)(?=\d{0,3}\s*[:\uff1a])"
_ANSWER = re.compile(_MARKED.format(rf"(?:A|Answer|Antwort|{_ELSEWHERE})\d{{0,3}}"), re.IGNORECASE)
_BOLD_QUESTION = re.compile(rf"\s*(?:\d{{1,3}}[.)]\s+)?(?:\*\*|__)(?P<text>.+[{QUESTION_MARKS}])(?:\*\*|__)\s*$")
_BULLET = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(?P<text>.*)$")
_QUOTED = re.compile(r"^\s*(?:>\s?)+")
_FEWEST = 2


def drafts_from_faq(source: str, kind: str = "item") -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    """Read the questions and answers of a Markdown file; none where it has fewer than two of them.

    A question is a heading or a bold line that ends with a question mark, or a line that begins with `Q:`. Its answer
    is all text up to the next question or heading, or below a heading with what stands under deeper ones; the items of
    a list and the rows of a table are joined by semicolons, and a block of code stands between backticks. The heading
    above a question is its domain.

    Returns:
        The drafts, and a line for each question without an answer, and each text under a heading that does not ask
        where others of its level do.

    Raises:
        DataError: the file cannot be read, or a block of code in it is never closed.
    """
    drafts: list[Draft] = []
    notes: list[str] = []
    for place, domain, question, answer in _pairs(source, notes):
        if answer:
            drafts.append(Draft(kind=kind, domain=domain, question=question, answer=answer, place=place))
        else:
            notes.append(f"{place}: '{question}' is not taken: no text stands below it")
    return (tuple(drafts), tuple(notes)) if len(drafts) >= _FEWEST else ((), ())


@dataclass
class _Passage:
    """A heading, or a line that asks, and what stands below it.

    Attributes:
        place: in the file.
        level: of the heading, 1 to 6; 0 where it is none.
        domain: the heading above it.
        title: what it says.
        asks: whether that is a question.
        lines: below it.
        titles: the numbers of those that are deeper headings.
    """

    place: str
    level: int
    domain: str
    title: str
    asks: bool
    lines: list[Line] = field(default_factory=list)
    titles: set[int] = field(default_factory=set)

    @property
    def text(self) -> str:
        """All lines as one text, without a heading below which nothing stands."""
        kept = [line for line in self.lines if line.fence is not None or line.text.strip()]
        while kept and kept[-1].number in self.titles:
            kept.pop()
        return _joined(self.lines[: self.lines.index(kept[-1]) + 1]) if kept else ""


def _pairs(source: str, notes: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """The place, the domain, the question and the answer of each, in their order; a note of what does not ask."""
    passages = list(_passages(source))
    levels = {passage.level for passage in passages if passage.asks and passage.level}
    for passage in passages:
        if passage.asks:
            yield passage.place, passage.domain, passage.title, passage.text
        elif passage.level in levels and passage.text:
            notes.append(f"{passage.place}: '{passage.title}' is not taken: its heading does not ask; end it with '?'")


def _passages(source: str) -> Iterator[_Passage]:
    above: dict[int, str] = {}
    passage = _Passage("", 0, "", "", asks=False)
    for line in with_marks(lines_of(source, read_text(Path(source)))):
        if line.fence is None:
            line = line._replace(text=_QUOTED.sub("", line.text, count=1))
        heading = HEADING.match(line.text) if line.fence is None else None
        asked = (_QUESTION.match(line.text) or _BOLD_QUESTION.match(line.text)) if line.fence is None else None
        if heading is None and asked is None:
            said = _ANSWER.match(line.text) if line.fence is None else None
            is_first = said is not None and not any(other.text.strip() for other in passage.lines)
            passage.lines.append(line._replace(text=said["text"]) if said and is_first else line)
            continue
        level, title = (len(heading[1]), heading[2]) if heading else (0, asked["text"] if asked else "")
        marked = _QUESTION.match(title) if heading else None
        if marked and ends_asking(marked["text"]):
            title = marked["text"]
        title = _unnumbered(title)
        asks = asked is not None or ends_asking(title)
        if heading:
            above = {depth: name for depth, name in above.items() if depth < level}
        if heading and not asks:
            above[level] = title
            if passage.asks and 0 < passage.level < level:
                passage.lines.append(Line(line.number, f"{title.rstrip(':')}:"))
                passage.titles.add(line.number)
                continue
        if passage.place:
            yield passage
        domain = above[max(above)] if above else ""
        passage = _Passage(f"{source}:{line.number}", level, domain, title, asks)
    if passage.place:
        yield passage


def _unnumbered(text: str) -> str:
    """A heading's text without its number: `3.`, `3)` or `1.2`."""
    return re.sub(r"^(?:\d{1,3}[.)]|\d{1,3}(?:\.\d{1,3})+[.)]?)\s+", "", plain_text(text))


def _joined(lines: Sequence[Line]) -> str:
    """Lines of Markdown as one text: the items of a list and the rows of a table with semicolons between them."""
    text = ""
    index = 0
    while index < len(lines):
        line = lines[index]
        is_item = False
        if line.fence is not None:
            code = code_at(lines, index)
            index += len(code)
            part = " ".join(filter(None, code))
            part = f"`{part}`" if part and "`" not in part else part
        elif table := table_at(lines, index):
            index += len(table)
            part = _rows(table)
        else:
            bullet = _BULLET.match(line.text)
            is_item = bullet is not None
            part = plain_text(bullet["text"] if bullet else line.text)
            index += 1
        if not part or set(part) <= set("-=*_"):
            continue
        ends = text[-1:] in set(".;:!?,")
        text += f"{'' if not text or ends or not is_item else ';'}{' ' if text else ''}{part}"
    return text


def _rows(table: Sequence[tuple[int, list[str]]]) -> str:
    """The rows of a table as text, `Paris: 190 EUR; Berlin: 140 EUR`; of more than two columns cells have titles."""
    header = table[0][1] if len(table) > 2 and not table[1][1] else []
    rows = []
    for _, (first, *others) in ((number, cells) for number, cells in table[2 if header else 0 :] if cells):
        named = header[1:] if len(header) > 2 and len(header) == len(others) + 1 else [""] * len(others)
        said = [f"{title} {cell}".strip() for title, cell in zip(named, others, strict=True) if cell]
        rows.append(f"{first}: {', '.join(said)}" if first and said else first or ", ".join(said))
    return "; ".join(filter(None, rows))
