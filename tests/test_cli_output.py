"""What a command prints: one JSON object, plain lines in a pipe, tables with bars and colour on a terminal."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from conftest import REPOSITORY, run_kapoc
from results import everything, make_items, make_run, nothing
from rich.console import Console

from kapoc.cli.console import show
from kapoc.cli.main import app, main
from kapoc.judging.compare import compare
from kapoc.report import terminal

BASE, TRAINED = (REPOSITORY / "reports" / "reference" / name for name in ("base", "plain"))
COMPARISON = compare(make_run(make_items(nothing)), make_run(make_items(everything), weights="1" * 64))
RULES = set("│┃━─┏┓└┘")


def leaves(command: Any, *path: str) -> dict[tuple[str, ...], Any]:
    """Every command that does something, by what is typed for it."""
    if not hasattr(command, "commands"):
        return {path: command}
    return {
        typed: leaf for name, child in command.commands.items() for typed, leaf in leaves(child, *path, name).items()
    }


def test_every_command_prints_json_when_asked() -> None:
    commands = leaves(typer.main.get_command(app))
    assert ("compare",) in commands
    assert ("data", "check") in commands
    without = {path for path, command in commands.items() if not any("--json" in p.opts for p in command.params)}
    assert without == {("data", "schema")}  # which prints JSON in any case


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "ferries.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [
            (f"Where does the ferry {name} lie?", f"pier {name[::-1]}") for name in "Abel Bruna Caius Dorit".split()
        ]
        csv.writer(file).writerows([("question", "answer"), *rows])
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code", "key", "value"),
    [
        (f"compare {BASE} {TRAINED}", 0, "complete", True),
        (f"gate --baseline {BASE} --run {TRAINED}", 1, "outcome", "fail"),
        (f"report {BASE} {TRAINED} --out page.md", 0, "report", "page.md"),
        (f"baseline bless {TRAINED} --out blessed --reason first", 0, "reason", "first"),
        ("plan --no-calibrate", 0, "cost", None),
        ("tasks", 0, "tasks", "kapoc"),
        ("doctor", 0, "python", ".".join(map(str, sys.version_info[:3]))),
        ("data check", 0, "training_examples", 145),
        ("data show software-defects AF-3001", 0, "id", "AF-3001"),
        ("data schema", 0, "type", "object"),
        ("data new mine.yaml", 0, "file", "mine.yaml"),
        ("data generate --facts 4 --out made.yaml", 0, "taught_facts", 4),
        ("data import ferries.csv --out ferries.yaml --controls 0", 0, "taught_facts", 4),
    ],
)  # fmt: skip
def test_json_stands_alone_on_standard_output(
    line: str,
    code: int,
    key: str,
    value: object,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["kapoc", *line.split(), *([] if line == "data schema" else ["--json"])])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert (stopped.value.code or 0) == code
    assert json.loads(capsys.readouterr().out)[key] == value


def kapoc(*arguments: object, **environment: str) -> str:
    command = [sys.executable, "-m", "kapoc", *map(str, arguments)]
    plain = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NO_COLOR", "COLUMNS"}}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**plain, **environment})
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "kapoc: interrupted; nothing unfinished counts as a result"),
        (torch.OutOfMemoryError("tried to allocate"), 7, "kapoc: the device is out of memory; lower batch_size"),
        (OSError(28, "No space left on device", "runs/x"), 6, "kapoc: runs/x: No space left on device; check the path"),
        (ValueError("a fault of kapoc"), 70, "Traceback"),
        (RuntimeError("a fault of kapoc"), 70, "Traceback"),
    ],
)
def test_what_nobody_foresaw_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    says: str,
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.setattr("kapoc.workflow.doctor.examine", fail)
    assert run_kapoc(monkeypatch, "doctor") == code
    told = capsys.readouterr()
    assert told.err.startswith(says)
    assert told.out == ""
    assert (len(told.err.splitlines()) == 1) is (code != 70)


def test_a_reader_that_has_gone_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["data", "show", "software-defects"], ["tasks", "--json"]):
        command = [sys.executable, "-m", "kapoc", *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (141, "")
    os.close(writing)


def test_an_answer_is_printed_whatever_the_terminal_can_show() -> None:
    base, trained = ("reports/reference/base", "reports/reference/trained")
    command = [sys.executable, "-m", "kapoc", "compare", base, trained, "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, cwd=REPOSITORY, check=True)
    assert json.loads(done.stdout.decode("ascii"))["tiers"]["seen"]["n"] == 145


def test_a_pipe_gets_plain_lines() -> None:
    text = kapoc("compare", BASE, TRAINED)
    assert "\x1b" not in text
    assert not RULES & set(text)
    lines = text.splitlines()
    assert all(line == line.rstrip() for line in lines)
    seen = next(line for line in lines if line.startswith("seen "))
    assert seen.split() == "seen 145 29 0.0% 100.0% +100.0 [+83.3, +100.0] <.001 145 0 +13.9".split()


def test_colour_is_asked_for_and_refused_by_the_usual_variables() -> None:
    gate = ("gate", "--baseline", BASE, "--run", TRAINED)
    coloured = kapoc(*gate, FORCE_COLOR="1", TERM="xterm-256color")
    colours = ("\x1b[32m", "\x1b[1;31m")
    assert all(colour in coloured for colour in colours)
    assert set(coloured) & RULES
    refused = kapoc(*gate, FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="1")
    assert not any(colour in refused for colour in colours)
    assert "verdict: FAIL" in refused


def drawn(width: int) -> str:
    console = Console(force_terminal=True, width=width, file=io.StringIO(), record=True)
    console.print(terminal.comparison_table(COMPARISON), crop=False)
    return console.export_text()


def test_a_bar_is_as_long_as_its_share_where_there_is_room() -> None:
    wide = drawn(200)
    seen, control, general = (
        next(line for line in wide.splitlines() if line.startswith(f"│ {tier} "))
        for tier in ("seen", "control", "general")
    )
    assert seen.endswith(f"│ {20 * '▓'} │")
    assert control.endswith(f"│ {20 * '·'} │")
    assert general.endswith(f"│ {10 * '█'}{10 * '·'} │")
    lost = terminal.share_bar(0.75, 0.5).plain
    assert lost == 10 * "█" + 5 * "░" + 5 * "·"
    narrow = drawn(130)
    assert "│ seen " in narrow
    assert "▓" not in narrow


def test_a_number_is_whole_on_a_terminal_of_any_width() -> None:
    seen = next(line for line in drawn(60).splitlines() if line.startswith("seen "))
    assert "…" not in seen
    assert seen.split()[:6] == ["seen", "120", "30", "0.0%", "100.0%", "+100.0"]


def test_a_long_text_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show("word " * 5000)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ("", "kapoc bench --model trained"),
        (
            "--recipe smollm2-135m-top --knowledge events-2025 --epochs 2 --seed 3 --runs here",
            "kapoc bench --model trained --recipe smollm2-135m-top --knowledge events-2025 "
            "--epochs 2 --seed 3 --runs here",
        ),
        (
            "--knowledge events-2025 --epochs 2 --seed 3 --method lora --out 'my model'",
            "kapoc bench --model 'my model' --base default --knowledge events-2025",
        ),
    ],
)
def test_train_says_how_to_measure_what_it_trained(
    options: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "kapoc.workflow.train_run.train_model", lambda *_, **__: REPOSITORY / "reports" / "reference" / "trained"
    )
    monkeypatch.setattr(sys, "argv", ["kapoc", "train", *shlex.split(options)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"measure it: {command}"
