"""Items that do not depend on a knowledge set: general ability, prose and off-topic prompts.

The bundled ones, and those of files of the user's own.
"""

import hashlib
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from kapoc.bundled import checked
from kapoc.errors import DataError, near_miss
from kapoc.knowledge.facts import Identifier, Text
from kapoc.source import StrictRecord, load_jsonl, read_text

CHOICE_ABILITIES = ("grammar", "common_sense", "world", "science", "reading")
COMPLETION_ABILITIES = ("last_word",)
ABILITIES = (*CHOICE_ABILITIES, *COMPLETION_ABILITIES)
_TABLES = {".json", ".csv", ".tsv", ".yaml", ".yml", ".parquet", ".xlsx"}
"""What holds more than a prompt a line."""


RawText = Annotated[str, StringConstraints(min_length=1)]
"""Text that is scored as it stands: a space at its end is part of it."""


class _Item(StrictRecord):
    id: Annotated[str, Field(pattern=r"^[\w.-]+/\d+$")]


class ChoiceItem(_Item):
    """A question (or none, for minimal pairs) with two or more options and the index of the right one."""

    kind: Identifier
    passage: str = ""
    question: str = ""
    choices: Annotated[tuple[RawText, ...], Field(strict=False, min_length=2)]
    answer: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> "ChoiceItem":
        if self.answer >= len(self.choices):
            raise ValueError(f"answer: {self.answer} is not an index of the {len(self.choices)} choices")
        return self


class CompletionItem(_Item):
    """A passage and the word that ends it."""

    kind: Identifier
    context: RawText
    target: Text


class TextItem(_Item):
    """A paragraph whose bits per byte are measured."""

    subject: str = ""
    text: RawText


class PromptItem(_Item):
    """A prompt that has nothing to do with any taught fact."""

    kind: Identifier
    question: Text


class OwnPrompt(BaseModel):
    """An off-topic prompt as a user brings it in a JSONL file; other fields are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    question: Text


GeneralItem = ChoiceItem | CompletionItem | TextItem


class OwnItem(BaseModel):
    """A general item as a user brings it: `choices` and `answer`, `context` and `target`, or `text`.

    Fields beside these are passed over, so that files made for other tools can be used as they are.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    passage: str = ""
    question: str = ""
    choices: Annotated[tuple[RawText, ...] | None, Field(strict=False, min_length=2)] = None
    answer: Annotated[int, Field(ge=0)] | None = None
    context: RawText | None = None
    target: Text | None = None
    text: RawText | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_misspelt_field(cls, content: Any) -> Any:
        """Other fields are passed over, but not one that was meant to be read."""
        for name in content if isinstance(content, dict) else ():
            meant = get_close_matches(str(name), cls.model_fields, n=1, cutoff=0.8)
            if name not in cls.model_fields and meant and meant[0] not in content:
                raise ValueError(f"{name}: is not a known field; did you mean '{meant[0]}'?")
        return content

    @model_validator(mode="after")
    def _one_form(self) -> "OwnItem":
        forms = [self.choices is not None, self.context is not None, self.text is not None]
        if sum(forms) != 1:
            raise ValueError("needs one of: choices with answer, context with target, or text")
        if self.choices is not None and len(set(self.choices)) < len(self.choices):
            raise ValueError("choices: two are the same; leave one out")
        if self.choices is not None and (self.answer is None or self.answer >= len(self.choices)):
            raise ValueError(f"answer: must be an index of the {len(self.choices)} choices, counted from 0")
        if self.context is not None and self.target is None:
            raise ValueError("target: is missing; what is the right continuation of the context?")
        return self

    def named(self, name: str, number: int) -> GeneralItem:
        """The item with its place in the file `name` as its id."""
        item_id = f"{name}/{number}"
        if self.choices is not None and self.answer is not None:
            return ChoiceItem(
                id=item_id,
                kind=name,
                passage=self.passage,
                question=self.question,
                choices=self.choices,
                answer=self.answer,
            )
        if self.context is not None and self.target is not None:
            return CompletionItem(id=item_id, kind=name, context=self.context, target=self.target)
        return TextItem(id=item_id, subject=name, text=self.text or "")


def load_general(source: str) -> tuple[GeneralItem, ...]:
    """The items of a bundled ability (`world`, `text` ...) or of a JSONL file.

    Raises:
        DataError: there is no such ability or file, or a line of it is malformed.
    """
    if source.lower().endswith(".jsonl"):
        return _own_items(Path(source), hashlib.sha256(read_text(Path(source)).encode()).hexdigest())
    if source in CHOICE_ABILITIES:
        return load_choices(source)
    if source in COMPLETION_ABILITIES:
        return load_completions(source)
    if source == "text":
        return load_texts()
    raise DataError(f"'{source}' is no general ability; {near_miss(source, (*ABILITIES, 'text'))}")


@lru_cache(maxsize=16)
def _own_items(path: Path, sha256: str) -> tuple[GeneralItem, ...]:
    del sha256  # part of the cache's key alone
    name = ability_name(path)
    items = tuple(item.named(name, number) for number, item in enumerate(load_jsonl(path, OwnItem), start=1))
    if not items:
        raise DataError(f"{path}: holds no item; write one JSON object a line")
    first: dict[str, int] = {}
    for number, item in enumerate(items, start=1):
        if (earlier := first.setdefault(item.model_dump_json(exclude={"id"}), number)) != number:
            raise DataError(f"{path}: item {number} is item {earlier} once more; leave one out")
    if len({type(item) for item in items}) > 1:
        raise DataError(f"{path}: holds items of several forms; give each form a file of its own")
    if len({isinstance(item, ChoiceItem) and not (item.question or item.passage) for item in items}) > 1:
        raise DataError(f"{path}: some items have a question and some have none; give each sort a file of its own")
    return items


def ability_name(path: Path) -> str:
    """What a file's ability is called in tasks and reports: its name without the suffix.

    Raises:
        DataError: a bundled ability has that name.
    """
    name = kind_of(path)
    if name in {*ABILITIES, "text"}:
        raise DataError(f"{path}: kapoc has an ability '{name}' of its own; rename the file")
    return name


def load_choices(ability: str) -> tuple[ChoiceItem, ...]:
    """The multiple-choice items of one bundled ability."""
    return load_jsonl(checked(f"general_{ability}.jsonl"), ChoiceItem)


def load_completions(ability: str) -> tuple[CompletionItem, ...]:
    """The passages of one bundled ability whose last word is to be given."""
    return load_jsonl(checked(f"general_{ability}.jsonl"), CompletionItem)


def load_texts() -> tuple[TextItem, ...]:
    """The bundled paragraphs of plain prose."""
    return load_jsonl(checked("general_text.jsonl"), TextItem)


def load_off_topic(own: Sequence[str] = ()) -> tuple[PromptItem, ...]:
    """The off-topic prompts: those of the user's own files, by the files' names, and kapoc's behind them.

    Args:
        own: files of a prompt a line, where lines that begin with "# " are passed over, or JSONL files of objects with
            a `question`. A file's name without its suffix is the kind of its prompts.

    Raises:
        DataError: a file cannot be read, holds no prompt or one twice, or has the name of a kind that is there.
    """
    shipped = load_jsonl(checked("off_topic.jsonl"), PromptItem)
    kinds = {item.kind for item in shipped}
    asked = {item.question: "among kapoc's own" for item in shipped}
    found: list[PromptItem] = []
    for path in sorted(map(Path, own), key=kind_of):
        if (kind := kind_of(path)) in kinds:
            raise DataError(f"{path}: there are off-topic prompts of the kind '{kind}' already; rename the file")
        kinds.add(kind)
        for number, question in enumerate(_own_prompts(path), start=1):
            if question in asked:
                raise DataError(f"{path}: prompt {number} ({question!r}) stands {asked[question]}, too; leave one out")
            asked[question] = f"in {path}"
            found.append(PromptItem(id=f"off_topic.{kind}/{number}", kind=kind, question=question))
    return (*found, *shipped)


def _own_prompts(path: Path) -> list[str]:
    if path.suffix.lower() == ".jsonl":
        found = [prompt.question for prompt in load_jsonl(path, OwnPrompt)]
    elif path.suffix.lower() in _TABLES:
        raise DataError(f"{path}: prompts are lines of a text file, or JSONL with a 'question'; write them so")
    else:
        lines = (line.strip() for line in read_text(path).split("\n"))
        found = [line for line in lines if line and not f"{line} ".startswith("# ")]
    if not found:
        raise DataError(f"{path}: holds no prompt; write one a line")
    return found


def kind_of(path: Path) -> str:
    """What the items of a file of the user's own are called in reports: its name without the suffix."""
    return re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_").lower() or "own"


@lru_cache
def general_sha256() -> str:
    """One sha256 over all bundled items that are not part of a knowledge set."""
    names = (*(f"general_{ability}.jsonl" for ability in ABILITIES), "general_text.jsonl", "off_topic.jsonl")
    digests = [hashlib.sha256(checked(name).read_bytes()).hexdigest() for name in names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
