"""Documents with questions about them: each question is a fact, and the document is its training statement."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kapoc.errors import DataError
from kapoc.importing.drafts import Draft
from kapoc.knowledge.facts import Text
from kapoc.source import StrictRecord, read_jsonl, validate

EXPECTED = '{"passage": "...", "questions": [{"question": "...", "answer": "..."}]}'
"""A line with a passage."""


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
    return isinstance(content, dict) and ("passage" in content or {"context", "qas"} <= content.keys())


def drafts_from_passages(source: str, kind: str = "question") -> tuple[Draft, ...]:
    """Read documents of the form `{"passage": ..., "questions": [{"question": ..., "answer": ...}]}`, one a line.

    `id`, `title` and `domain` are optional. A paragraph of SQuAD is such a document: `context` and `qas`, and of each
    question the first of its `answers`.

    Raises:
        DataError: the file is absent or empty, or a line is malformed.
    """
    path = Path(source)
    drafts: list[Draft] = []
    for number, content in read_jsonl(path):
        place = f"{path}:{number}"
        try:
            document = validate(_as_document(content), _Document, Path(place))
        except DataError as error:
            raise DataError(f"{error}; write {EXPECTED}") from None
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


def _as_document(content: Any) -> Any:
    """A paragraph of SQuAD as a document; anything else as it is."""
    if not isinstance(content, dict) or not isinstance(content.get("qas"), list) or "context" not in content:
        return content
    rest = {name: value for name, value in content.items() if name not in ("context", "qas")}
    return {"passage": content["context"], "questions": [_as_question(asked) for asked in content["qas"]], **rest}


def _as_question(asked: Any) -> Any:
    if not isinstance(asked, dict):
        return asked
    answers = asked.get("answers")
    texts = answers.get("text") if isinstance(answers, dict) else answers
    first = texts[0] if isinstance(texts, list) and texts else texts
    answer = asked.get("answer", first.get("text") if isinstance(first, dict) else first)
    return {name: value for name, value in (("question", asked.get("question")), ("answer", answer)) if value}
