"""The bundled items that do not depend on a knowledge set: general ability, prose and off-topic prompts."""

import hashlib
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kapoc.bundled import checked
from kapoc.knowledge import Identifier, Text
from kapoc.source import load_jsonl

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
    return load_jsonl(checked(f"general_{ability}.jsonl"), ChoiceItem)


def load_completions(ability: str) -> tuple[CompletionItem, ...]:
    """The passages of one ability whose last word is to be given."""
    return load_jsonl(checked(f"general_{ability}.jsonl"), CompletionItem)


def load_texts() -> tuple[TextItem, ...]:
    """The paragraphs of plain prose."""
    return load_jsonl(checked("general_text.jsonl"), TextItem)


def load_off_topic() -> tuple[PromptItem, ...]:
    """The off-topic prompts."""
    return load_jsonl(checked("off_topic.jsonl"), PromptItem)


@lru_cache
def general_sha256() -> str:
    """One sha256 over all bundled items that are not part of a knowledge set."""
    names = (*(f"general_{ability}.jsonl" for ability in ABILITIES), "general_text.jsonl", "off_topic.jsonl")
    digests = [hashlib.sha256(checked(name).read_bytes()).hexdigest() for name in names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
