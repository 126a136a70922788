"""Files that people write, read so that every complaint can name the file, the line and the field."""

import contextlib
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from kapoc.errors import DataError, first_line, near_miss

Record = TypeVar("Record", bound=BaseModel)
Location = tuple[int | str, ...]
"""Where something stands in a file: the fields and numbers that lead to it, from the top."""
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not a known field",
    "string_type": "must be text: put it in quotes",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _finite_number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"must be a number, without quotes, and not infinite (found {str(value)[:60]!r})")
    return number


Number = Annotated[float, BeforeValidator(_finite_number)]
"""What people write for a number: whole or not, but no text, no `true`, and nothing that is not finite."""


class StrictRecord(BaseModel):
    """What files hold and steps hand on: unknown fields and wrong types are refused, and a made one never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        DataError: the file is absent, is a folder, cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name a file in it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a file stand, so that a complaint can name the line.

    Attributes:
        path: the file.
        root: its YAML nodes, of a YAML file.
        fact_lines: the line of every fact, of a JSONL file.
    """

    path: Path
    root: yaml.Node | None = None
    fact_lines: tuple[int, ...] = ()

    def of(self, location: Location) -> str:
        """`file:line` of a part, or of the deepest part around it that the file has."""
        if self.root is not None:
            return f"{self.path}:{_line_of(self.root, location)}"
        if len(location) > 1 and location[0] == "facts" and isinstance(location[1], int) and self.fact_lines:
            return f"{self.path}:{self.fact_lines[location[1]]}"
        return f"{self.path}:1" if self.fact_lines else str(self.path)


def read_yaml(path: Path) -> tuple[Any, Places]:
    """The plain data of a YAML file, and where its parts stand.

    Raises:
        DataError: the file is not YAML, or a key stands twice in it.
    """
    text = read_text(path)
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            _refuse_repeated_keys(path, root)
        content = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{line}: not valid YAML ({error.problem}); mend this line") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML ({first_line(error)}); put texts in quotes") from None
    finally:
        loader.dispose()
    return content, Places(path, root)


def load_toml(path: Path, schema: type[Record]) -> Record:
    """Read a TOML file into a record; unknown fields and wrong types are refused.

    Raises:
        DataError: one line that names the file, the field and the fix.
    """
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not valid TOML ({error}); mend this line") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid TOML ({json_fault(error)})") from None
    return validate(content, schema, path)


def load_json(path: Path, schema: type[Record]) -> Record:
    """Read a JSON file into a record, with the same care as `load_toml`.

    Raises:
        DataError: one line that names the file, the field and the fix.
    """
    try:
        content = json.loads(read_text(path), parse_constant=lambda name: _refuse_constant(path, name))
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{line}: not valid JSON ({json_fault(error)})") from None
    return validate(content, schema, path)


def _refuse_constant(path: Path, name: str) -> NoReturn:
    raise DataError(f"{path}: not valid JSON ({name} is no number of JSON); write a finite number")


def json_fault(error: ValueError | RecursionError) -> str:
    """What is wrong with a JSON or TOML text, and the fix, in a few words."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}; was it cut off?"
    return "nested too deep" if isinstance(error, RecursionError) else "a number is too long; put it in quotes"


def load_jsonl(path: Path, schema: type[Record]) -> tuple[Record, ...]:
    """Read a file of one JSON object a line into records; lines that hold only a canary are passed over.

    Raises:
        DataError: one line that names the file, the line, the field and the fix.
    """
    records = []
    for number, line in _lines(read_text(path)):
        with contextlib.suppress(ValidationError):  # the slower way below finds out what is wrong, and says it
            records.append(schema.model_validate_json(line))
            continue
        content = _json_line(path, number, line)
        if not (isinstance(content, dict) and content.keys() == {"canary"}):
            records.append(validate(content, schema, Path(f"{path}:{number}")))
    return tuple(records)


def read_jsonl(path: Path, number: Callable[[str], Any] = float) -> Iterator[tuple[int, Any]]:
    """The plain data of a file of one JSON value a line, each with its line, counted from 1; empty lines are none.

    Args:
        path: the file.
        number: what becomes of a number with a fraction or an exponent, as it is written.

    Raises:
        DataError: the file cannot be read, or a line is not JSON.
    """
    for line_number, line in _lines(read_text(path)):
        yield line_number, _json_line(path, line_number, line, number)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _json_line(path: Path, number: int, line: str, parse_float: Callable[[str], Any] = float) -> Any:
    try:
        return json.loads(line, parse_float=parse_float)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: not valid JSON ({json_fault(error)})") from None


def validate(content: Any, schema: type[Record], path: Path, places: Places | None = None) -> Record:
    """Turn plain data into a record.

    Raises:
        DataError: the first thing that is wrong, with its file, line (where known) and field.
    """
    places = places or Places(path)
    try:
        return schema.model_validate(_named_fields(content, path))
    except ValidationError as error:
        first = complaints(error, schema, places)[0]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataError(f"{first}{more}") from None


def complaints(error: ValidationError, schema: type[BaseModel], places: Places) -> list[str]:
    """Everything that is wrong with data, a line each: the place, the field, what is wrong and the fix."""
    return [
        f"{places.of(part['loc'])}: {field + ': ' if (field := dotted(part['loc'])) else ''}{_message(part, schema)}"
        for part in error.errors()
    ]


def _named_fields(content: Any, path: Path) -> Any:
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {_kind(content)}, not a set of named fields; see the documented format")
    return content


def _message(part: Any, schema: type[BaseModel]) -> str:
    if part["loc"][-1:] == ("schema_version",) and part["type"] == "literal_error":
        expected = part["ctx"]["expected"]
        return f"is {part['input']!r}, and this version of kapoc reads {expected}; use the version that it is of"
    message = str(_MESSAGES.get(part["type"], part["msg"].removeprefix("Value error, ")))
    if part["type"] == "extra_forbidden":
        known = _fields_at(schema, part["loc"][:-1])
        return message + (f"; {near_miss(str(part['loc'][-1]), known)}" if known else "; remove it")
    if part["type"] == "string_pattern_mismatch" and part["ctx"]["pattern"].startswith("^[A-Za-z0-9]"):
        message = "takes letters (a to z), digits, '.', '_' and '-', a letter or digit first"
    if part["type"] not in {*_MESSAGES, "value_error"}:
        message += f" (found {str(part['input'])[:60]!r})"
    return message


def _kind(content: Any) -> str:
    return "nothing" if content is None else f"a {type(content).__name__}"


def dotted(location: Sequence[int | str]) -> str:
    """A location in words, such as `facts[2].probes[1].answer`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).lstrip(".")


def _fields_at(schema: type[BaseModel], location: Location) -> list[str]:
    """The field names of the record at a location inside a schema, or none where it is a free mapping."""
    current: Any = schema
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        while not isinstance(current, type) or not issubclass(current, BaseModel):
            inner = [a for a in getattr(current, "__args__", ()) if a is not type(None) and a is not ...]
            if not inner:
                return []
            current = inner[-1]
    return list(current.model_fields)


def _line_of(root: yaml.Node, location: Location) -> int:
    """The line, counted from 1, of the deepest part of a location that the YAML text has."""
    node, line = root, root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            entry = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if entry is None:
                break
            node, line = entry[1], entry[0].start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1


def _refuse_repeated_keys(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                raise DataError(f"{path}:{line}: a field's name must be a plain word; put texts with braces in quotes")
            if key.value in seen:
                raise DataError(
                    f"{path}:{key.start_mark.line + 1}: the key '{key.value}' stands twice; keep one of them"
                )
            seen.add(key.value)
            _refuse_repeated_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated_keys(path, child)
