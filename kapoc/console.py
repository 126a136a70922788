"""What goes out: tables as wide as the terminal, plain text elsewhere, and files that a user names."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from kapoc.errors import OutputError


def show(*parts: Any) -> None:
    """Print texts, and tables of rich, on standard output."""
    console = Console(
        width=None if sys.stdout.isatty() else 180, highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty()
    )
    for part in parts:
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)


def write_file(path: Path, text: str, *, force: bool = True) -> None:
    """Write a file that a user named, whole or not at all.

    Raises:
        OutputError: it cannot be written, or is there already and may not be replaced.
    """
    from kapoc.record import write_atomically

    if path.exists() and not force:
        raise OutputError(f"{path}: is there already; choose another name, or --force to replace it")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
