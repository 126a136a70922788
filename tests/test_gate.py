"""The gate catches what is planted, passes what is good, and judges nothing that it cannot."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from results import everything, make_items, make_run, nothing

from kapoc.compare import compare
from kapoc.errors import DataError, IncomparableError
from kapoc.gate import DEFAULT_GATE, Check, Gate, judge, load_gate
from kapoc.record import Run, save_run

BASE = make_run(make_items(nothing))
GOOD = make_run(make_items(everything), weights="1" * 64)


def _failed(after: Run) -> set[str]:
    verdict = judge(compare(BASE, after), DEFAULT_GATE)
    failed = {check.name for check in verdict.checks if check.outcome == "fail"}
    assert verdict.exit_code == (1 if failed else 0)
    assert verdict.outcome == ("fail" if failed else "pass")
    return failed


def test_a_good_model_passes() -> None:
    assert _failed(GOOD) == set()


@pytest.mark.parametrize(
    ("after", "caught"),
    [
        (BASE, {"seen learned", "paraphrased learned", "unseen improved"}),
        (make_run(make_items(lambda t, n: 0.0 if t == "general" else everything(t, n))), {"general ability kept"}),
        (make_run(make_items(everything, bits=1.02)), {"text kept"}),
        (make_run(make_items(everything, spilled=3)), {"control spillover"}),
        (make_run(make_items(lambda t, n: 1.0)), {"control at floor"}),
        (make_run(make_items(lambda t, n: everything(t, n) * (t != "seen" or n > 0))), {"seen learned"}),
    ],
)
def test_planted_damage_is_caught_by_its_check(after: Run, caught: set[str]) -> None:
    assert _failed(after) == caught


def test_thresholds_include_their_own_value() -> None:
    gate = Gate(
        check=(Check(name="half", quantity="general", at_least=0.5), Check(name="top", quantity="general", at_most=0.5))
    )
    assert judge(compare(BASE, GOOD), gate).outcome == "pass"


def test_limited_runs_and_missing_tiers_cannot_be_judged() -> None:
    limited = compare(make_run(make_items(nothing), limit=3), make_run(make_items(everything), limit=3))
    with pytest.raises(IncomparableError, match="--limit"):
        judge(limited, DEFAULT_GATE)
    few = [make_run(tuple(item for item in run.items if item.tier != "general")) for run in (BASE, GOOD)]
    with pytest.raises(IncomparableError, match="lack the tier general"):
        judge(compare(*few), DEFAULT_GATE)


def test_an_unknown_quantity_names_the_near_one() -> None:
    gate = Gate(check=(Check(name="typo", quantity="paraphrase", at_least=0.5),))
    with pytest.raises(DataError, match="did you mean 'paraphrased'"):
        judge(compare(BASE, GOOD), gate)


def test_a_gate_file_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('[[check]]\nname = "seen"\nquantity = "seen"\nat_least = 1\n', encoding="utf-8")
    assert load_gate(path).check[0].threshold == ">= 1"
    path.write_text('[[check]]\nname = "seen"\nquantity = "seen"\natleast = 1\n', encoding="utf-8")
    with pytest.raises(DataError, match="did you mean 'at_least'"):
        load_gate(path)


def test_the_command_is_quick_needs_no_torch_and_exits_with_the_verdict(tmp_path: Path) -> None:
    save_run(BASE, tmp_path / "base")
    save_run(GOOD, tmp_path / "good")
    code = (
        "import sys; from kapoc.cli import main; sys.argv = ['kapoc', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print('heavy:', sorted({'torch', 'transformers', 'datasets', 'lm_eval'} & set(sys.modules)))"
    )
    seconds = []
    for run, expected in (("good", 0), ("base", 1), ("good", 0)):
        command = [
            sys.executable,
            "-c",
            code,
            "gate",
            "--baseline",
            str(tmp_path / "base"),
            "--run",
            str(tmp_path / run),
        ]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - started)
        assert done.returncode == expected, done.stderr
        assert "heavy: []" in done.stdout
        assert ("verdict: PASS" in done.stdout) is (expected == 0)
    assert min(seconds) < 1.0
