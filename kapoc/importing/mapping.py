"""What each column of a table means, and the facts that its rows hold."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kapoc.data.phrases import ends_asking, is_plural
from kapoc.errors import DataError, near_miss
from kapoc.importing.drafts import Draft, label_of
from kapoc.importing.passages import EXPECTED
from kapoc.importing.tables import Table

# Column names by what they usually hold, the likeliest first; compared in lower case and without punctuation.
_USUAL = {
    "question": ("question", "questions", "prompt", "instruction", "query", "q"),
    "answer": ("answer", "answers", "response", "reply", "output", "completion", "a"),
    "id": ("id", "key", "code"),
    "name": ("name", "title", "topic", "term", "subject", "error"),
    "domain": ("domain", "category", "service", "product", "section"),
    "taught": ("taught",),
}
_OPTIONS = {"choices", "options", "b"}
"""Columns of the options of multiple choice; "a" is one of them, and not the answer, where there is a "b"."""
_NUMBERED = re.compile(r"[a-fA-F]|\d{1,2}")
"""What says which option is right, and is no answer."""
_NAMES_TOO = {"service", "product", "section"}
"""Columns that group facts where their texts come again or another column names these, and else name them."""
_SURE = {"question", "questions", "answer", "answers"}
"""Columns that hold a question or an answer even where no other column is its partner."""
_OF_OTHERS_TOO = {"title", "topic", "subject", "error"}
"""Columns that may say something of a row which an earlier column names: an employee's title."""
_GIVEN_NAMES = {"firstname", "givenname", "forename"}
_FAMILY_NAMES = {"lastname", "familyname", "surname"}
_SAYING_NO_KIND = {"name", "title", "topic", "term", "subject", "id", "key", "code", "item", "entry", "label", "number"}
_SAYING_NO_KIND |= {"no", "nr", "num", "ref", "fact", "record", "row", "what", "which"}
_LONGEST_KIND = 2
_YES = {"", "true", "yes", "1", "y", "t"}
_NO = {"false", "no", "0", "n", "f"}


@dataclass(frozen=True)
class ColumnMapping:
    """Which column holds what. With `question` and `answer` the rows are questions; without, the slots are columns."""

    question: str | None = None
    answer: str | None = None
    id: str | None = None
    name: str | None = None
    domain: str | None = None
    taught: str | None = None
    slots: tuple[str, ...] = ()


NOTHING_GIVEN = ColumnMapping()


def with_one_name(table: Table, given: str | None) -> tuple[Table, str | None, tuple[str, ...]]:
    """Join the columns that are a name together, such as first and last names, into one in the place of the first.

    Args:
        table: the rows.
        given: what the user calls the name's column, or several between commas; guessed where nothing is given.

    Returns:
        The table, the column with the name if one is given or was joined, and one line if it was guessed.

    Raises:
        DataError: one of several given columns does not exist, or is given twice.
    """
    if given is not None:
        parts = tuple(part.strip() for part in given.split(","))
        if given in table.columns or len(parts) == 1:
            return table, given, ()
        _check_columns(table, "name", parts)
        if twice := [part for part in parts if parts.count(part) > 1]:
            raise DataError(f"{table.source}: --name: has the column '{twice[0]}' twice; leave one out")
        lines: tuple[str, ...] = ()
    else:
        first = [column for column in table.columns if _bare(column) in _GIVEN_NAMES]
        last = [column for column in table.columns if _bare(column) in _FAMILY_NAMES]
        others = {*_USUAL["name"], *_USUAL["question"]}
        if len(first) != 1 or len(last) != 1 or not others.isdisjoint(map(_bare, table.columns)):
            return table, None, ()
        parts = (*first, *last)
        lines = (f"name: columns '{parts[0]}' and '{parts[1]}' (guessed; --name to change)",)
    whole = " ".join(parts)
    columns = tuple(whole if column == parts[0] else column for column in table.columns if column not in parts[1:])
    rows = tuple({**row, whole: " ".join(filter(None, (row[part] for part in parts)))} for row in table.rows)
    return replace(table, columns=columns, rows=rows), whole, lines


def _check_columns(table: Table, flag: str, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.columns:
            known = near_miss(column, table.columns)
            raise DataError(f"{table.source}: --{flag}: there is no column '{column}'; {known}")


def guess_mapping(table: Table, wanted: ColumnMapping = NOTHING_GIVEN) -> tuple[ColumnMapping, tuple[str, ...]]:
    """Decide which column holds what: as wanted, and by the columns' names where nothing is given.

    Returns:
        The mapping, and one line for each column that was guessed.

    Raises:
        DataError: a given column does not exist, or there is nothing to make facts of.
    """
    chosen: dict[str, str] = {flag: column for flag in _USUAL if (column := getattr(wanted, flag))}
    slots = wanted.slots
    for flag, columns in (*((flag, (column,)) for flag, column in chosen.items()), ("slots", slots)):
        _check_columns(table, flag, columns)
    given = list(chosen.values())
    if twice := [column for column in given if given.count(column) > 1]:
        flags = ", ".join(f"--{flag}" for flag, column in chosen.items() if column == twice[0])
        raise DataError(f"{table.source}: {flags}: are all the column '{twice[0]}'; name another for each")
    lines: list[str] = []
    if slots and chosen.keys() & {"question", "answer"}:
        raise DataError(
            f"{table.source}: --slots: goes with rows that have no question and answer; drop one of the two"
        )
    if not slots:
        _guess_pair(table, chosen, lines)
    _guess(table, chosen, ("id", "domain", "taught"), lines)
    if "question" in chosen:
        unused = [column for column in table.columns if column not in chosen.values()]
        _refuse_numbered(table, chosen["answer"], unused)
        if chosen["answer"] in table.listed:
            lines.append(
                "answer: lists of texts are joined by commas; of one answer in other words keep the first alone"
            )
        if unused:
            lines.append(f"not used: columns {', '.join(unused)}")
        return _mapping(chosen), tuple(lines)
    _guess_name(table, chosen, slots, lines)
    return _mapping(chosen, _slots(table, chosen, slots, lines)), tuple(lines)


def _guess_pair(table: Table, chosen: dict[str, str], lines: list[str]) -> None:
    """Guess the columns of questions and answers, both or neither.

    Raises:
        DataError: one of them is given, or is sure to be one, and there is no other.
    """
    given = dict(chosen)
    guessed: list[str] = []
    _guess(table, chosen, ("question", "answer"), guessed)
    if ("question" in chosen) == ("answer" in chosen):
        lines.extend(guessed)
        return
    found, missing = ("question", "answer") if "question" in chosen else ("answer", "question")
    texts = [row[chosen[found]] for row in table.rows if row[chosen[found]]]
    asks = found == "question" and sum(ends_asking(text) for text in texts) * 2 > len(texts)
    if found in given or asks or _bare(chosen[found]) in _SURE:
        raise DataError(
            f"{table.source}: no column of {missing}s was found; name it with --{missing}, or the columns with a "
            f"fact's parts with --slots; its columns are {', '.join(table.columns)}"
        )
    del chosen[found]


def _refuse_numbered(table: Table, answer: str, others: Sequence[str]) -> None:
    """Refuse answers that are the letter or the number of an option.

    Raises:
        DataError: all are, another column holds options, and they are not among these, as numbers may be.
    """
    answered = [row for row in table.rows if row[answer]]
    if _OPTIONS.isdisjoint(map(_bare, others)) or not all(_NUMBERED.fullmatch(row[answer]) for row in answered):
        return
    if any(row[answer] not in ", ".join(row[column] for column in others).split(", ") for row in answered):
        raise DataError(
            f"{table.source}: {answer}: says which option is right ('{answered[0][answer]}'); write the option's own "
            "text there"
        )


def _mapping(chosen: dict[str, str], slots: tuple[str, ...] = ()) -> ColumnMapping:
    question, answer, identifier, name, domain, taught = (chosen.get(flag) for flag in _USUAL)
    return ColumnMapping(question, answer, identifier, name, domain, taught, slots)


def _guess(table: Table, chosen: dict[str, str], flags: Iterable[str], lines: list[str]) -> None:
    plain = {_bare(column): column for column in reversed(table.columns)}
    is_named = "question" in chosen or "name" in chosen or not plain.keys().isdisjoint({*_USUAL["name"], "code"})
    for flag in flags:
        usual = (name for name in _USUAL[flag] if name in plain and not (name == "a" and "b" in plain))
        found = next((plain[name] for name in usual), None)
        if found is not None and _bare(found) in _NAMES_TOO and not (is_named or _repeats(table, found)):
            continue
        if found is not None and _bare(found) == "instruction" and "input" in plain and _repeats(table, found):
            found = plain["input"]
        if flag not in chosen and found is not None and found not in chosen.values():
            chosen[flag] = found
            lines.append(f"{flag}: column '{found}' (guessed; --{flag} to change)")


def _bare(column: str) -> str:
    return re.sub(r"[\W_]", "", column).lower()


def _repeats(table: Table, column: str) -> bool:
    """Whether a text of a column stands in several rows."""
    texts = [row[column] for row in table.rows if row[column]]
    return len(set(texts)) < len(texts)


def _names_rows(table: Table, column: str) -> bool:
    """Whether the texts of a column are all different, and begin with a letter, as names do and numbers do not."""
    texts = [row[column] for row in table.rows]
    return all(text[:1].isalpha() for text in texts) and not _repeats(table, column)


def _guess_name(table: Table, chosen: dict[str, str], slots: Sequence[str], lines: list[str]) -> None:
    if "name" in chosen:
        return
    if _bare(chosen.get("id", "")).endswith("code"):  # people ask what a code means, and seldom what its title does
        chosen["name"] = chosen["id"]
        lines.append(f"name: column '{chosen['id']}' (guessed; --name to change)")
        return
    taken = {*slots, chosen.get("domain"), chosen.get("taught")}
    free = [column for column in table.columns if column not in taken]
    _guess(table, chosen, ("name",), [])
    earliest = next((column for column in free if column != chosen.get("id")), None)
    is_told = _bare(chosen.get("name", "")) in _OF_OTHERS_TOO and earliest != chosen["name"]
    if is_told and earliest is not None and _names_rows(table, earliest):
        chosen["name"] = earliest
    elif "name" not in chosen:
        name = chosen.get("id", free[0] if free else None)
        if name is None:
            raise DataError(f"{table.source}: no column says what each row is about; name it with --name")
        chosen["name"] = name
    lines.append(f"name: column '{chosen['name']}' (guessed; --name to change)")
    texts = [row[chosen["name"]] for row in table.rows if row[chosen["name"]]]
    if sum(ends_asking(text) for text in texts) * 2 > len(texts):
        raise DataError(
            f"{table.source}: the column '{chosen['name']}' holds questions; name it with --question, and that of "
            "their answers with --answer"
        )


def _slots(table: Table, chosen: dict[str, str], given: Sequence[str], lines: list[str]) -> tuple[str, ...]:
    if given:
        return tuple(given)
    free = [column for column in table.columns if column not in chosen.values()]
    filled = tuple(column for column in free if any(row[column] for row in table.rows))
    if not filled:
        raise DataError(
            f"{table.source}: nothing to ask: there are no columns of questions and answers, and no other column "
            f"beside '{chosen['name']}'; name them with --question and --answer, or --slots"
        )
    lines.append(f"slots: columns {', '.join(filled)} (guessed; --slots to change)")
    return filled


def kind_of_facts(mapping: ColumnMapping) -> str | None:
    """What rows are, by what the column of their names is called: `ferry`, or `product` of `Product name`.

    None where that says nothing (`name`, `code`), and where rows are questions.
    """
    if mapping.question is not None or mapping.name is None:
        return None
    words = re.findall(r"[^\W\d_]+", label_of(mapping.name))
    if "".join(words[:2]).lower() in _GIVEN_NAMES:
        return "person"
    while words and words[-1].lower() in _SAYING_NO_KIND:
        words.pop()
    if not words or len(words) > _LONGEST_KIND or (is_plural(words[-1]) and not words[-1].isupper()):
        return None
    return " ".join(words)


def facts_from_table(table: Table, mapping: ColumnMapping, kind: str | None = None) -> tuple[Draft, ...]:
    """Make one draft of each row.

    Args:
        table: the rows.
        mapping: which column holds what.
        kind: what the facts are called (`question` or `item` if none is given).

    Raises:
        DataError: a row lacks its question, answer, name or every slot, says neither yes nor no to `taught`, or holds a
            list of named fields in one of these.
    """
    used = (mapping.question, mapping.answer, mapping.name, *mapping.slots)
    if nested := [column for column in used if column in table.nested]:
        raise DataError(
            f"{table.source}: {nested[0]}: holds lists of named fields, and a fact needs texts; leave it out with "
            f"--slots, or write each passage with its questions as a line of JSONL: {EXPECTED}"
        )
    return tuple(_draft(table, index, mapping, kind) for index in range(len(table.rows)))


def _draft(table: Table, index: int, mapping: ColumnMapping, kind: str | None) -> Draft:
    row, place = table.rows[index], table.place(index)
    needed = (mapping.question, mapping.answer) if mapping.question else (mapping.name,)
    for column in needed:
        if column is None or not row[column]:
            raise DataError(f"{place}: {column}: is empty; fill it in or remove the row")
    slots = {column: row[column] for column in mapping.slots if row[column]}
    if mapping.question is None and not slots:
        raise DataError(f"{place}: {', '.join(mapping.slots)}: all are empty; fill one in or remove the row")
    taught = row[mapping.taught].lower() if mapping.taught else ""
    if taught not in _YES | _NO:
        raise DataError(f"{place}: {mapping.taught}: '{taught}' is neither yes nor no; write yes or no")
    return Draft(
        id=row[mapping.id] if mapping.id else "",
        domain=row[mapping.domain] if mapping.domain else "",
        kind=kind or ("question" if mapping.question else "item"),
        name=row[mapping.name] if mapping.name else "",
        taught=taught in _YES,
        slots=slots,
        question=row[mapping.question] if mapping.question else None,
        answer=row[mapping.answer] if mapping.answer else None,
        place=place,
    )
