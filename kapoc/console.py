"""What goes to standard output: tables as wide as the terminal, plain text elsewhere."""

import sys
from typing import Any

from rich.console import Console


def show(*parts: Any) -> None:
    """Print texts, and tables of rich, on standard output."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=not sys.stdout.isatty())
    for part in parts:
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)
