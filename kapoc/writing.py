"""Files that are written whole or not at all, and places where none could be."""

import os
import re
import secrets
from pathlib import Path

from kapoc.errors import OutputError

_OPEN_FILE = re.compile(r"/dev/(?:fd/)?(?P<name>stdout|stderr|(?<=fd/)\d+)")
"""The names of what the process has open already."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees either the old content or the new one.

    A link stays one: what it points to is written. A device or a pipe is written as it is.
    """
    if (number := _OPEN_FILE.fullmatch(str(path))) is not None:
        name = number["name"]  # another way to it would write at another place of the same file
        with os.fdopen(os.dup({"stdout": 1, "stderr": 2}.get(name) or int(name)), "w", encoding="utf-8") as file:
            file.write(text)
        return
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as file:
            file.write(text)
        return
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def refuse_unwritable(folder: Path, option: str = "--out") -> None:
    """Find out before the work, not after it, that a result could not be written.

    Args:
        folder: where it goes.
        option: by which a user names another place.

    Raises:
        OutputError: the folder, or the nearest that exists above it, takes no files.
    """
    parent = next(place for place in (folder, *folder.parents) if place.exists())
    if not parent.is_dir():
        raise OutputError(f"{parent}: is a file, not a folder; choose another {option}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent}: cannot be written (permission denied); choose another {option}")
