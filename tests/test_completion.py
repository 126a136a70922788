"""What the shell completes, and that it is quick to say so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from kapoc.bundled import bundled_sets
from kapoc.cli import completion
from kapoc.judging.gate_file import Mode
from kapoc.measuring.context import CONTEXTS

KAPOC = Path(sys.executable).with_name("kapoc")


def complete(line: str, folder: Path) -> list[str]:
    """What bash would offer for the last word of a line."""
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_KAPOC_COMPLETE": "complete_bash",
    }
    done = subprocess.run([KAPOC], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a model, a run, a recipe and a set of its own."""
    for path in (
        "mine.toml", "mine.yaml", "notes.txt", "runs/r/lamps/model/training.json", "runs/r/lamps/base/run.json",
        "other/r/lamps/model/training.json",
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def test_names_that_ship_and_what_lies_here(folder: Path) -> None:
    recipes = complete("kapoc train --recipe ", folder)
    assert "smollm2-135m-full" in recipes
    assert "tinyllama-1.1b-full" in recipes
    assert recipes[-1] == "mine.toml"
    assert complete("kapoc train --recipe smollm2-135m-to", folder) == ["smollm2-135m-top"]
    assert complete("kapoc bench --knowledge ", folder) == [*sorted(bundled_sets()), "mine.yaml"]
    assert complete("kapoc data check eve", folder) == ["events-2025"]
    assert complete("kapoc bench --model ", folder) == ["base", "default", "trained", "runs/r/lamps/model"]
    assert complete("kapoc bench --runs other --model o", folder) == ["other/r/lamps/model"]
    assert complete("kapoc compare ", folder) == ["runs/r/lamps/base"]
    assert complete("kapoc train --method ", folder) == ["feed_forward", "full", "lora", "top_layers"]
    assert complete("kapoc gate --mode p", folder) == ["pull_request"]
    assert complete("kapoc bench --context ", folder) == sorted(CONTEXTS)
    assert "check" in complete("kapoc data ", folder)


def test_the_names_written_down_are_those_that_are_taken() -> None:
    assert get_args(Mode) == completion.MODES
    assert completion.CONTEXTS == CONTEXTS


def test_nothing_heavy_is_imported_to_complete_or_to_help() -> None:
    code = (
        "import sys, kapoc.cli.main; print(*{'torch', 'numpy', 'scipy', 'pydantic', 'yaml', 'rich'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


def test_bash_completes_once_it_is_installed(folder: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    environment = {**os.environ, "HOME": str(folder), "PATH": f"{KAPOC.parent}:{os.environ['PATH']}"}
    subprocess.run([bash, "-c", "kapoc --install-completion; true"], cwd=folder, env=environment, check=True)
    assert "kapoc" in (folder / ".bashrc").read_text(encoding="utf-8")
    script = (
        "source .bash_completions/kapoc.sh; complete -p kapoc; COMP_WORDS=(kapoc data check soft); COMP_CWORD=3; "
        '_kapoc_completion kapoc; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["complete -o default -F _kapoc_completion kapoc", "software-defects"]
