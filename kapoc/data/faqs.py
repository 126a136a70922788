"""Questions and answers in Markdown: headings that ask with text below them, or lines that begin with `Q:` and `A:`."""

import re
from collections.abc import Iterator
from pathlib import Path

from kapoc.data.drafts import Draft
from kapoc.data.runbooks import HEADING, lines_outside_fences, plain_text
from kapoc.source import read_text

_MARKED = r"\s*(?:[-*+]\s+)?(?:\*\*|__)?{}(?:\*\*|__)?\s*[:.)](?:\*\*|__)?\s*(?P<text>.*?)(?:\*\*|__)?\s*$"
_QUESTION = re.compile(_MARKED.format(r"(?:Q|Question|F|Frage)\d{0,3}"), re.IGNORECASE)
_ANSWER = re.compile(_MARKED.format(r"(?:A|Answer|Antwort)\d{0,3}"), re.IGNORECASE)
_BOLD_QUESTION = re.compile(r"\s*(?:\d{1,3}[.)]\s+)?(?:\*\*|__)(?P<text>.+\?)(?:\*\*|__)\s*$")
_BULLET = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(?P<text>.*)$")
_FEWEST = 2


def drafts_from_faq(source: str, kind: str = "item") -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    """Read the questions and answers of a Markdown file; none where it has fewer than two of them.

    A question is a heading or a bold line that ends with a question mark, or a line that begins with `Q:`. Its answer
    is all text up to the next question or heading; the items of a list are joined by semicolons. The heading above a
    question is its domain.

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
    answer: list[str] = []
    for number, line in lines_outside_fences(source, read_text(Path(source))):
        heading, asked = HEADING.match(line), _QUESTION.match(line) or _BOLD_QUESTION.match(line)
        if heading is None and asked is None:
            if question:
                said = _ANSWER.match(line)
                answer.append(said["text"] if said and not any(map(str.strip, answer)) else line)
            continue
        if question:
            yield place, domain, question, _joined(answer)
        answer, question = [], _unnumbered(asked["text"]) if asked else ""
        if heading:
            depth, title = len(heading[1]), _unnumbered(heading[2])
            above = {level: name for level, name in above.items() if level < depth}
            if title.endswith("?"):
                question = title
            else:
                above[depth] = title
        place, domain = f"{source}:{number}", above[max(above)] if above else ""
    if question:
        yield place, domain, question, _joined(answer)


def _unnumbered(text: str) -> str:
    return re.sub(r"^\d{1,3}[.)]\s+", "", plain_text(text))


def _joined(lines: list[str]) -> str:
    """Lines of Markdown as one text: the items of a list with semicolons between them."""
    text = ""
    for line in lines:
        bullet = _BULLET.match(line)
        part = plain_text(bullet["text"] if bullet else line)
        if not part or set(part) <= set("-=*_"):
            continue
        ends = text[-1:] in set(".;:!?,")
        text += f"{'' if not text or ends or not bullet else ';'}{' ' if text else ''}{part}"
    return text
