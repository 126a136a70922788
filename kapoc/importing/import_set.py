"""From what a user has to a knowledge set: a table, a Markdown runbook, or passages with questions."""

import re
from dataclasses import replace
from pathlib import Path

from kapoc.errors import DataError
from kapoc.importing.drafts import Draft
from kapoc.importing.faqs import drafts_from_faq
from kapoc.importing.mapping import (
    NOTHING_GIVEN,
    ColumnMapping,
    facts_from_table,
    guess_mapping,
    kind_of_facts,
    with_one_name,
)
from kapoc.importing.passages import drafts_from_passages, holds_passages
from kapoc.importing.proposals import propose
from kapoc.importing.runbooks import drafts_from_runbook
from kapoc.importing.tables import READABLE, read_table
from kapoc.knowledge.facts import RESERVED_NAMES, KnowledgeSet

_MARKDOWN = {".md", ".markdown"}


def import_set(
    source: str,
    *,
    columns: ColumnMapping | None = None,
    kind: str | None = None,
    set_name: str | None = None,
    num_controls: int | None = None,
) -> tuple[KnowledgeSet, tuple[str, ...]]:
    """Make a knowledge set out of a file or a dataset of the Hugging Face hub.

    Args:
        source: a CSV, TSV, JSONL, JSON, Parquet or Markdown file, or `owner/name` or `owner/name:split`.
        columns: which column holds what, for a table; what is left out is guessed.
        kind: of the facts; guessed from what the names' column is called, else `fact`.
        set_name: by default the name of the source.
        num_controls: how many facts to hold back as controls; by default a tenth.

    Returns:
        The set, and what was guessed, proposed and left out, in lines of text.

    Raises:
        DataError: the source cannot be read, or holds nothing that can become a fact.
    """
    if set_name in RESERVED_NAMES:
        raise DataError(f"--set-name {set_name}: is what reports call something else; choose another name")
    drafts, notes = _drafts(source, columns or NOTHING_GIVEN, kind)
    if not drafts:
        raise DataError(f"{source}: holds nothing that can become a fact; give questions with answers, or named slots")
    try:
        made, proposed = propose(drafts, set_name=set_name or set_name_of(source), num_controls=num_controls)
    except DataError as error:
        guessed = [note for note in notes if "(guessed;" in note]
        raise DataError(f"{error} [{'; '.join(guessed)}]" if guessed else f"{error}") from None
    return made, (*notes, *proposed)


def _drafts(source: str, given: ColumnMapping, wanted: str | None) -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    is_markdown, is_passages = Path(source).suffix.lower() in _MARKDOWN, holds_passages(source)
    if (is_markdown or is_passages) and given != NOTHING_GIVEN:
        raise DataError(f"{source}: has no columns; leave out the flags that name some")
    kind = wanted or "fact"
    if is_markdown:
        asked = drafts_from_faq(source, kind)
        return asked if asked[0] else drafts_from_runbook(source, kind)
    if is_passages:
        return drafts_from_passages(source, kind), ()
    table, name, joined = with_one_name(read_table(source), given.name)
    mapping, guessed = guess_mapping(table, replace(given, name=name))
    if wanted is None and (found := kind_of_facts(mapping)) is not None:
        kind, guessed = found, (*guessed, f"kind: {found} (guessed; --kind to change)")
    return facts_from_table(table, mapping, kind), (*joined, *guessed)


def set_name_of(source: str) -> str:
    """What a set is called after its file or dataset: that name in lower case, without the suffix.

    A name that means something else in reports gets a word behind it.
    """
    path = Path(source.split(":")[0])
    stem = path.stem if path.suffix.lower() in {*_MARKDOWN, *READABLE, ".yaml", ".yml"} else path.name
    name = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-").lower() or "imported"
    return f"{name}-facts" if name in RESERVED_NAMES else name
