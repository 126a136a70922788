"""The bundled items that do not depend on a knowledge set: general ability, prose and off-topic prompts.

Every file is checked against `SHA256SUMS` when it is read, so that two runs that name the same file have
read the same items.
"""

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kapoc.errors import DataError, near_miss
from kapoc.knowledge import Identifier, Text
from kapoc.source import load_jsonl, read_text

CHOICE_ABILITIES = ("grammar", "common_sense", "world", "science", "reading")
COMPLETION_ABILITIES = ("last_word",)
ABILITIES = (*CHOICE_ABILITIES, *COMPLETION_ABILITIES)


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(pattern=r"^[a-z_]+/\d+$")]


class ChoiceItem(_Item):
    """A question (or none, for minimal pairs) with two or more options and the index of the right one."""

    kind: Identifier
    passage: str = ""
    question: str = ""
    choices: Annotated[tuple[Text, ...], Field(strict=False, min_length=2)]
    answer: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> "ChoiceItem":
        if self.answer >= len(self.choices):
            raise ValueError(f"answer: {self.answer} is not an index of the {len(self.choices)} choices")
        return self


class CompletionItem(_Item):
    """A passage and the word that ends it."""

    kind: Identifier
    context: Text
    target: Text


class TextItem(_Item):
    """A paragraph whose bits per byte are measured."""

    subject: Text
    text: Text


class PromptItem(_Item):
    """A prompt that has nothing to do with any taught fact."""

    kind: Identifier
    question: Text


def load_choices(ability: str) -> tuple[ChoiceItem, ...]:
    """The multiple-choice items of one ability."""
    return load_jsonl(_checked(f"general_{ability}.jsonl"), ChoiceItem)


def load_completions(ability: str) -> tuple[CompletionItem, ...]:
    """The passages of one ability whose last word is to be given."""
    return load_jsonl(_checked(f"general_{ability}.jsonl"), CompletionItem)


def load_texts() -> tuple[TextItem, ...]:
    """The paragraphs of plain prose."""
    return load_jsonl(_checked("general_text.jsonl"), TextItem)


def load_off_topic() -> tuple[PromptItem, ...]:
    """The off-topic prompts."""
    return load_jsonl(_checked("off_topic.jsonl"), PromptItem)


@lru_cache
def general_sha256() -> str:
    """One sha256 over all bundled items that are not part of a knowledge set."""
    names = (*(f"general_{ability}.jsonl" for ability in ABILITIES), "general_text.jsonl", "off_topic.jsonl")
    digests = [hashlib.sha256(_checked(name).read_bytes()).hexdigest() for name in names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def bundled(name: str) -> Path:
    """The path of a file that ships in `kapoc.benchmark`."""
    return Path(str(files("kapoc.benchmark").joinpath(name)))


@lru_cache
def _checked(name: str) -> Path:
    """The path of a bundled file whose sha256 is the one in SHA256SUMS.

    Raises:
        DataError: the file is not listed, absent or changed.
    """
    sums = dict(line.split()[::-1] for line in read_text(bundled("SHA256SUMS")).splitlines() if line.strip())
    if name not in sums:
        raise DataError(f"{bundled('SHA256SUMS')}: no line for {name}; {near_miss(name, sums)}")
    path = bundled(name)
    if not path.exists():
        raise DataError(f"{path}: the bundled file is missing; reinstall kapoc")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sums[name]:
        raise DataError(f"{path}: its sha256 is {found[:12]}, SHA256SUMS says {sums[name][:12]}; reinstall kapoc")
    return path
