"""Questions and answers in Markdown: headings that ask with text below them, or lines that begin with `Q:` and `A:`."""

import re
from collections.abc import Iterator, Sequence
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
    is all text up to the next question or heading; the items of a list and the rows of a table are joined by
    semicolons, and a block of code stands between backticks. The heading above a question is its domain.

    Returns:
        The drafts, and a line for each question without an answer.

    Raises:
        DataError: the file cannot be read, or a block of code in it is never closed.
    """
    drafts, notes = [], []
    for place, domain, question, answer in _pairs(source):
        if answer:
            drafts.append(Draft(kind=kind, domain=domain, question=question, answer=answer, place=place))
        else:
            notes.append(f"{place}: '{question}' is not taken: no text stands below it")
    return (tuple(drafts), tuple(notes)) if len(drafts) >= _FEWEST else ((), ())


def _pairs(source: str) -> Iterator[tuple[str, str, str, str]]:
    """The place, the domain, the question and the answer of each, in their order."""
    above: dict[int, str] = {}
    place = domain = question = ""
    answer: list[Line] = []
    for line in with_marks(lines_of(source, read_text(Path(source)))):
        if line.fence is None:
            line = line._replace(text=_QUOTED.sub("", line.text, count=1))
        heading = HEADING.match(line.text) if line.fence is None else None
        asked = (_QUESTION.match(line.text) or _BOLD_QUESTION.match(line.text)) if line.fence is None else None
        if heading is None and asked is None:
            if question:
                said = _ANSWER.match(line.text) if line.fence is None else None
                is_first = said is not None and not any(other.text.strip() for other in answer)
                answer.append(line._replace(text=said["text"]) if said and is_first else line)
            continue
        if question:
            yield place, domain, question, _joined(answer)
        answer, question = [], _unnumbered(asked["text"]) if asked else ""
        if heading:
            depth, title = len(heading[1]), _unnumbered(heading[2])
            above = {level: name for level, name in above.items() if level < depth}
            if ends_asking(title):
                question = title
            else:
                above[depth] = title
        place, domain = f"{source}:{line.number}", above[max(above)] if above else ""
    if question:
        yield place, domain, question, _joined(answer)


def _unnumbered(text: str) -> str:
    return re.sub(r"^\d{1,3}[.)]\s+", "", plain_text(text))


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
