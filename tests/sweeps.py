"""Sweep files for the tests of what they stand for and of how they run."""

from pathlib import Path
from typing import Any

from kapoc.workflow.sweep_file import load_sweep

PLAIN = '[[recipes]]\nname = "plain"\nbase = "tiny.toml"\n'


def planned(folder: Path, text: str) -> list[Any]:
    path = folder / "sweep.toml"
    path.write_text(f'name = "first"\n{text}', encoding="utf-8")
    return list(load_sweep(Path("sweep.toml"))[1])
