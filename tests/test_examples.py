"""The scripts under `examples/` run as their first lines say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, write_set

from kapoc.judging.compare import compare
from kapoc.record import load_run

SCRIPTS = sorted((REPOSITORY / "examples").glob("*.py"))
REFERENCE = REPOSITORY / "reports" / "reference"


def run_script(name: str, *arguments: object, folder: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / name), *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "KAPOC_HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_model_is_measured_and_the_run_kept(tmp_path: Path, llama_folder: Path) -> None:
    write_set(tmp_path / "lamps.yaml")
    text = run_script("measure_a_model.py", llama_folder, "lamps.yaml", "run", "--limit", 1, folder=tmp_path)
    run = load_run(tmp_path / "run")
    assert run.data.knowledge_name == "lamps"
    for task, scores in run.scores.items():
        for metric, value in scores.items():
            assert f"{task} {metric}: {value:.4f}" in text
    assert re.search(r"^\d free answers are wrong, such as lamps/ZX-\d\d/", text, re.MULTILINE)


def test_two_runs_are_judged_by_checks_of_ones_own(tmp_path: Path) -> None:
    runs = REFERENCE / "base", REFERENCE / "plain"
    text = run_script("judge_two_runs.py", *runs, folder=tmp_path, code=1)
    comparison = compare(*map(load_run, runs))
    for tier, result in comparison.tiers.items():
        assert f"{tier}: {result.before:.1%} -> {result.after:.1%}" in text
    assert "learned: pass (should be better by more than 0.1; it is +0.2512)" in text
    assert "prose kept: fail (should be worse by less than 0.01; it is +0.1514)" in text
    num_lost = sum(line.entry == "lost" for line in comparison.ledger)
    assert f"{num_lost} items lost\n" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_run_here_and_says_how_it_is_run(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert re.search(rf"^    python examples/{script.name} \S", text, re.MULTILINE)
    assert f'run_script("{script.name}"' in Path(__file__).read_text(encoding="utf-8")
