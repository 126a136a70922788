"""Documents with questions about them: each question is a fact, and the document is its training statement."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from kapoc.data.drafts import Draft
from kapoc.errors import DataError
from kapoc.knowledge import Text
from kapoc.source import StrictRecord, read_jsonl, validate


class _Question(StrictRecord):
    question: Text
    answer: Text


class _Document(StrictRecord):
    passage: Text
    questions: Annotated[tuple[_Question, ...], Field(strict=False, min_length=1)]
    id: str = ""
    title: str = ""
    domain: str = ""


def holds_passages(source: str) -> bool:
    """Whether a JSONL file holds documents with questions, and not a table."""
    path = Path(source)
    if path.suffix.lower() != ".jsonl":
        return False
    try:
        content = next((content for _, content in read_jsonl(path)), None)
    except DataError:
        return False
    return isinstance(content, dict) and "passage" in content


def drafts_from_passages(source: str, kind: str = "question") -> tuple[Draft, ...]:
    """Read documents of the form `{"passage": ..., "questions": [{"question": ..., "answer": ...}]}`, one a line.

    `id`, `title` and `domain` are optional.

    Raises:
        DataError: the file is absent or empty, or a line is malformed.
    """
    path = Path(source)
    drafts: list[Draft] = []
    for number, content in read_jsonl(path):
        place = f"{path}:{number}"
        document = validate(content, _Document, Path(place))
        drafts.extend(
            Draft(
                id=f"{document.id}-{index}" if document.id else "",
                domain=document.domain,
                kind=kind,
                question=asked.question,
                answer=asked.answer,
                place=place,
                passage=document.passage,
                title=document.title,
            )
            for index, asked in enumerate(document.questions, start=1)
        )
    if not drafts:
        raise DataError(f"{path}: is empty; write one document a line")
    return tuple(drafts)
