"""Files that people write, read so that every complaint can name the file, the line and the field."""

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from kapoc.errors import DataError, near_miss

Record = TypeVar("Record", bound=BaseModel)
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not a known field",
    "string_type": "must be text: put it in quotes",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        DataError: the file is absent, is a folder, cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name a file in it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def load_yaml(path: Path, schema: type[Record]) -> Record:
    """Read a YAML file into a record; unknown fields, wrong types and repeated keys are refused.

    Raises:
        DataError: one line that names the file, the line, the field and the fix.
    """
    text = read_text(path)
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _refuse_repeated_keys(path, root)
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{line}: not valid YAML ({error.problem}); mend this line") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML ({str(error).splitlines()[0]}); put texts in quotes") from None
    return validate(content, schema, path, root)


def load_toml(path: Path, schema: type[Record]) -> Record:
    """Read a TOML file into a record, with the same care as `load_yaml`."""
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not valid TOML ({error}); mend this line") from None
    return validate(content, schema, path)


def load_json(path: Path, schema: type[Record]) -> Record:
    """Read a JSON file into a record, with the same care as `load_yaml`."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg}); was it cut off?") from None
    return validate(content, schema, path)


def load_jsonl(path: Path, schema: type[Record]) -> tuple[Record, ...]:
    """Read a file of one JSON object a line into records; lines that hold only a canary are passed over."""
    records = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = Path(f"{path}:{number}")
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not valid JSON ({error.msg}); was the line cut off?") from None
        if not (isinstance(content, dict) and content.keys() == {"canary"}):
            records.append(validate(content, schema, place))
    return tuple(records)


def validate(content: Any, schema: type[Record], path: Path, root: yaml.Node | None = None) -> Record:
    """Turn plain data into a record.

    Raises:
        DataError: the first thing that is wrong, with its file, line (where known) and field.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {_kind(content)}, not a set of named fields; see the documented format")
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = _dotted(first["loc"])
        line = f":{_line_of(root, first['loc'])}" if root is not None else ""
        message = _MESSAGES.get(first["type"], first["msg"].removeprefix("Value error, "))
        if first["type"] == "extra_forbidden":
            known = _fields_at(schema, first["loc"][:-1])
            message += f"; {near_miss(str(first['loc'][-1]), known)}" if known else "; remove it"
        elif first["type"] not in {*_MESSAGES, "value_error"}:
            message += f" (found {str(first['input'])[:60]!r})"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataError(f"{path}{line}: {field + ': ' if field else ''}{message}{more}") from None


def _kind(content: Any) -> str:
    return "nothing" if content is None else f"a {type(content).__name__}"


def _dotted(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).lstrip(".")


def _fields_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
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


def _line_of(root: yaml.Node, location: tuple[int | str, ...]) -> int:
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
