"""What goes out: tables and colour on a terminal, plain lines elsewhere, and files that a user names."""

import atexit
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapoc.errors import OutputError
from kapoc.writing import refuse_unwritable

if TYPE_CHECKING:
    from rich.console import Console

    from kapoc.workflow.workspace import Listener

_NO_LIMIT = 10_000
"""Columns of a line that nobody looks at on a screen: long enough that no cell is broken."""


def show(*parts: Any) -> None:
    """Print texts, and what rich can draw, on standard output.

    A terminal gets as many columns as it has, and colour unless `NO_COLOR` is set. A pipe or a file gets plain lines,
    none of them broken. `FORCE_COLOR` treats those as a terminal.
    """
    console = _standard_output()
    for part in parts:
        if console.is_terminal:
            console.print(part, markup=False) if isinstance(part, str) else console.print(part, crop=False)
        else:
            sys.stdout.write(part + "\n" if isinstance(part, str) else _plain(console, part))
    sys.stdout.flush()


def is_terminal() -> bool:
    """Whether standard output is a terminal, or is to be treated as one."""
    return _standard_output().is_terminal


def _standard_output() -> "Console":
    from rich.console import Console

    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else _NO_LIMIT)


def _plain(console: "Console", part: Any) -> str:
    with console.capture() as captured:
        console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def tell(line: str) -> None:
    """Print a line about work in progress on standard error, so that it never mixes with a result."""
    from rich.console import Console

    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(line, markup=False)


def listener() -> "Listener":
    """Progress on standard error: bars where that is a terminal, lines elsewhere."""
    from rich.console import Console

    from kapoc.counting import Lines, bars
    from kapoc.workflow.progress import TrainingLines, TrainingProgress
    from kapoc.workflow.workspace import Listener

    if not sys.stderr.isatty():
        lines = TrainingLines(tell)
        return Listener(tell=tell, on_step=lines.on_step, on_epoch=lines.on_epoch, counting=Lines(tell))
    progress = TrainingProgress(Console(stderr=True, emoji=False))
    atexit.register(progress.close)
    return Listener(tell=progress.tell, on_step=progress.on_step, on_epoch=progress.on_epoch, counting=bars)


def write_file(path: Path, text: str, *, force: bool = True) -> None:
    """Write a file that a user named, whole or not at all.

    Raises:
        OutputError: it cannot be written, or is there already and may not be replaced.
    """
    from kapoc.writing import write_atomically

    if path.exists() and not force:
        raise OutputError(f"{path}: is there already; choose another name, or --force to replace it")
    _refuse_lacking_folder(path)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def refuse_unwritable_file(path: Path, option: str) -> None:
    """Find out before the work that a file that a user named could not be written; what is open or a device can be.

    Raises:
        OutputError: it is a folder, or its folder is not there or takes no files.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it with {option}")
    if path.parts[:2] == ("/", "dev") or (path.exists() and not path.is_file()):
        return
    _refuse_lacking_folder(path)
    refuse_unwritable(path.resolve().parent, option)


def _refuse_lacking_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise OutputError(
            f"{path}: cannot be written: there is no folder {path.parent}; make it, or choose another place"
        )
