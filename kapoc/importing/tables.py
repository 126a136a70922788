"""A table of text from a file or the Hugging Face hub."""

import contextlib
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from kapoc.data.phrases import ends_asking
from kapoc.errors import DataError, first_line
from kapoc.importing.conversations import as_pair
from kapoc.source import json_fault, read_jsonl, read_text

_DELIMITERS = {";": "semicolon", "\t": "tab", "|": "bar", ",": "comma"}
"""The comma comes last: it stands inside of texts and numbers, too."""
_NUM_SNIFFED = 20
_LONGEST_COLUMN_NAME = 60
READABLE = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_DATASET = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<split>[\w.%:\[\]+-]+))?")
_SAID_DELIMITER = re.compile(r"sep=([,;\t|])\r?\n")
_SPREADSHEETS = {".xlsx", ".xls", ".ods", ".txt", ".doc", ".docx", ".pdf", ".md", ".yaml", ".yml", ".xml"}
_INDEX = re.compile(r"__index_level_\d+__")  # what pandas adds to a Parquet file: the numbers of the rows


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns.

    Attributes:
        source: the file or dataset that it was read from.
        columns: the names of the columns, in order.
        rows: one mapping of column to text a row; an absent value is the empty text.
        lines: where each row begins, counted from 1.
        nested: the columns in which a row holds a list of named fields, which is no text.
        listed: the columns in which a row holds a list of several texts, which are joined.
    """

    source: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]
    nested: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()

    def place(self, index: int) -> str:
        """Where a row stands, as `file:line` (for Parquet and hub datasets, the number of the row).

        Of several rows on one line it is the number of the row.
        """
        return self._places[index]

    @cached_property
    def _places(self) -> list[str]:
        return _places(self.source, self.lines)


def _places(source: str, lines: Sequence[int]) -> list[str]:
    sharing = Counter(lines)
    return [
        f"{source}:{line}" if sharing[line] == 1 else f"{source}: row {number}"
        for number, line in enumerate(lines, start=1)
    ]


def read_table(source: str) -> Table:
    """Read a CSV, TSV, JSONL, JSON or Parquet file, or a dataset of the Hugging Face hub.

    Args:
        source: a path, or `owner/name` or `owner/name:split` where no such file exists.

    Raises:
        DataError: the source is absent, empty or malformed, or of a kind that is not known.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    is_file = path.exists() or suffix in READABLE or (path.parent != Path() and path.parent.is_dir())
    if not is_file and suffix not in _SPREADSHEETS and (match := _DATASET.fullmatch(source)):
        return _from_hub(source, match["name"], match["split"])
    if suffix in (".csv", ".tsv"):
        return _from_csv(source, _text(path), "\t" if suffix == ".tsv" else None)
    if suffix == ".jsonl":
        return _from_records(source, read_jsonl(path, number=_as_typed))
    if suffix == ".json":
        return _from_records(source, _json_list(source, _text(path)))
    if suffix == ".parquet":
        return _from_records(source, _parquet(path))
    if path.is_dir():
        raise DataError(f"{source}: is a folder; name a file in it")
    raise DataError(
        f"{source}: the kind of file is not known; save it as one of {', '.join((*READABLE, '.md'))}, or give a "
        "dataset id such as owner/name"
    )


def _text(path: Path) -> str:
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: is empty; write one row for each fact")
    return text


def _from_csv(source: str, text: str, delimiter: str | None) -> Table:
    said = _SAID_DELIMITER.match(text)  # by spreadsheets
    chosen = delimiter or (said[1] if said else _sniff(text))
    lines: list[int] = []
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text[said.end() :] if said else text), delimiter=chosen, strict=True)
    skipped = start = 1 + bool(said)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append([cell.strip() for cell in cells])
                lines.append(start)
            start = reader.line_num + skipped
    except csv.Error as error:
        raise DataError(f"{source}:{start}: not valid CSV ({error}); close every quote in this row") from None
    if not rows:
        raise DataError(f"{source}: has no rows; write a header and one row for each fact")
    if _is_title(text, lines[0], rows[0]):
        raise DataError(
            f"{source}:{lines[0]}: '{rows[0][0][:40]}' stands above the rows and names no columns; take this line "
            "away, so that the first line names them"
        )
    columns = _header(f"{source}:{lines[0]}", rows[0])
    for line, cells in zip(lines[1:], rows[1:], strict=True):
        if any(cells[len(columns) :]) or len(cells) < len(columns):
            quotes = f"put texts that contain a {_DELIMITERS[chosen]} in double quotes"
            fix = f"add the others, empty if need be, or {quotes}" if len(cells) < len(columns) else quotes
            raise DataError(f"{source}:{line}: row: has {len(cells)} cells where the header has {len(columns)}; {fix}")
    records = tuple(dict(zip(columns, cells, strict=False)) for cells in rows[1:])
    return _filled(Table(source, columns, records, tuple(lines[1:])))


def _is_title(text: str, line: int, cells: Sequence[str]) -> bool:
    """Whether the first row is one cell alone, above a row that could name the columns and others as long as that."""
    if any(cells[1:]):
        return False
    below = "\n".join(text.split("\n")[line:])
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        reader = csv.reader(io.StringIO(below), delimiter=_sniff(below))
        rows.extend(islice((row for row in reader if any(map(str.strip, row))), _NUM_SNIFFED))
    is_header = len(rows) > 1 and len(rows[0]) > 1 and not any(_looks_like_data(cell.strip()) for cell in rows[0])
    return is_header and all(len(row) == len(rows[0]) for row in rows)


def _sniff(text: str) -> str:
    """The delimiter that splits the first rows into as many cells as the header, and of several that which makes most.

    One that does not split the header is none; the comma is where none does.
    """

    def score(mark: str) -> tuple[bool, float, int]:
        rows: list[list[str]] = []
        with contextlib.suppress(csv.Error):
            reader = (row for row in csv.reader(io.StringIO(text), delimiter=mark) if any(map(str.strip, row)))
            rows.extend(islice(reader, _NUM_SNIFFED))
        sizes = [len(row) for row in rows] or [0]
        return sizes[0] > 1, sizes.count(sizes[0]) / len(sizes), sizes[0]

    best = max(_DELIMITERS, key=score)
    return best if score(best)[0] else ","


def _header(place: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns; a first row that looks like data is refused instead of being lost as a header."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    for number, cell in enumerate(cells, start=1):
        if not cell:
            raise DataError(f"{place}: header: column {number} has no name; name it or remove it")
        if cells.count(cell) > 1:
            raise DataError(f"{place}: header: the column '{cell}' stands twice; rename one of them")
    odd = [cell for cell in cells if _looks_like_data(cell)]
    if odd:
        fix = f"rename the column '{odd[0][:40]}'"
        if odd[0] == cells[0] or len(odd) == len(cells):
            fix = "add a first line that names them, such as question,answer"
        raise DataError(f"{place}: header: '{odd[0][:40]}' does not look like the name of a column; {fix}")
    return tuple(cells)


def _looks_like_data(cell: str) -> bool:
    return ends_asking(cell) or len(cell) > _LONGEST_COLUMN_NAME or not re.search(r"[^\W\d_]", cell)


def _as_typed(number: str) -> str:
    """A number as it stands in the file: 49.90 and not 49.9; but 3.0, as programs write a whole one, is 3."""
    return number.removesuffix(".0")


def _json_list(source: str, text: str) -> Iterator[tuple[int, Any]]:
    """The members of a list with the line that each begins on."""
    decoder = json.JSONDecoder(parse_float=_as_typed)
    try:
        if not isinstance(json.loads(text), list):
            raise DataError(
                f"{source}: holds one JSON value, not a list; write one of rows, such as "
                '[{"question": "Who runs it?", "answer": "Mira"}]'
            )
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{source}{line}: not valid JSON ({json_fault(error)})") from None
    position = text.index("[") + 1
    while (start := _next_member(text, position)) is not None:
        member, position = decoder.raw_decode(text, start)
        yield text.count("\n", 0, start) + 1, member


def _next_member(text: str, position: int) -> int | None:
    found = re.compile(r"[\s,]*").match(text, position)
    start = found.end() if found else position
    return None if text[start] == "]" else start


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped] # slow, and only this kind of file needs it

    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        table = pyarrow.parquet.read_table(path)
        short = [field.name for field in table.schema if field.type in (pyarrow.float16(), pyarrow.float32())]
        members = [{**row, **_as_written(row, short)} for row in table.to_pylist()]
    except (OverflowError, ValueError) as error:
        if isinstance(error, pyarrow.ArrowException):
            raise _not_parquet(path, error) from None
        raise DataError(f"{path}: holds a date that no calendar has ({first_line(error)}); correct it") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise _not_parquet(path, error) from None
    return iter(enumerate(members, start=1))


def _not_parquet(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not valid Parquet ({first_line(error)}); write it again")


def _as_written(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Numbers of few digits as these say them: 2.35, and not 2.3499999046325684."""
    return {name: float(f"{row[name]:.6g}") for name in columns if row[name] is not None}


def _from_hub(source: str, name: str, split: str | None) -> Table:
    import datasets

    try:
        loaded = datasets.load_dataset(name, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{source}: cannot be loaded from the Hugging Face hub ({first_line(error)}); check the id and the "
            "network, or download it and give the file"
        ) from None
    if isinstance(loaded, dict):
        if "train" not in loaded and len(loaded) > 1:
            raise DataError(f"{source}: has the splits {', '.join(loaded)}; choose one as {name}:{next(iter(loaded))}")
        loaded = loaded["train"] if "train" in loaded else next(iter(loaded.values()))
    return _from_records(source, enumerate(loaded, start=1))


def _from_records(source: str, members: Iterable[tuple[int, Any]]) -> Table:
    rows, lines = [], []
    columns: dict[str, None] = {}
    nested: set[str] = set()
    listed: set[str] = set()
    found = list(members)
    places = _places(source, [line for line, _ in found])
    for place, (line, member) in zip(places, found, strict=True):
        if not isinstance(member, dict):
            raise DataError(f"{place}: holds a {type(member).__name__}, not named fields; write {{...}}")
        if member.keys() == {"canary"}:
            continue
        pair = as_pair(member, place)
        cells = dict(_flattened(pair))
        nested |= {name for name, value in cells.items() if _is_nested(value)}
        listed |= {name for name, value in cells.items() if isinstance(value, list) and len(value) > 1}
        named = {name: _plain(value) for name, value in cells.items()}
        for name, value in named.items():
            _refuse_half_characters(f"{place}: {name}", value)
        rows.append({name: value for name, value in named.items() if not _INDEX.fullmatch(name)})
        lines.append(line)
        columns |= dict.fromkeys(rows[-1])
    complete = tuple({name: row.get(name, "") for name in columns} for row in rows)
    return _filled(Table(source, tuple(columns), complete, tuple(lines), frozenset(nested), frozenset(listed)))


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, dict) for part in value)


def _flattened(member: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Cells by their columns; one that holds named fields is as many columns, such as `answers.text`.

    Of answers as SQuAD has them, each with the place where it begins, the first is taken: they are one in other words.
    """
    for name, value in member.items():
        column = f"{before}{str(name).strip()}"
        if name == "text" and isinstance(value, list) and "answer_start" in member:
            yield column, value[0] if value else ""
            continue
        if isinstance(value, dict) and value:
            yield from _flattened(value, f"{column}.")
        else:
            yield column, value


def _refuse_half_characters(place: str, text: str) -> None:
    """Refuse text that no file can hold: half of a character that JSON writes as two.

    Raises:
        DataError: there is one, at this place.
    """
    if (half := re.search("[\ud800-\udfff]", text)) is not None:
        code = f"\\u{ord(half.group()):04x}"
        raise DataError(f"{place}: holds half of a character ({code}); write the whole one, or take it away")


def _plain(value: Any) -> str:
    """A cell as text: nothing is empty, a whole number has no fraction, a list of words is joined."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        return ", ".join(map(_plain, value))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value).strip()


def _filled(table: Table) -> Table:
    if not table.rows or not table.columns:
        raise DataError(f"{table.source}: has no rows; write one for each fact")
    return table
