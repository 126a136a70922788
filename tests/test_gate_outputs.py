"""What `kapoc gate` prints and writes for a CI: all of it says what the verdict says."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import kapoc_here, run_kapoc
from results import BASE, GOOD, RUNS, everything, make_items, make_run, nothing

from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import RELEASE_GATE, Check, Gate
from kapoc.record import save_run
from kapoc.report import markdown
from kapoc.report.junit import render_annotations, render_error, render_junit
from kapoc.report.leaderboard import title_of
from kapoc.report.numbers import p_value


def test_junit_and_annotations_say_what_the_verdict_says() -> None:
    slightly = make_run(make_items(lambda t, n: everything(t, n) * (t != "general" or n % 32 != 0), bits=1.05))
    verdict = judge(compare(BASE, slightly), RELEASE_GATE)
    suite = ElementTree.fromstring(render_junit(verdict, RUNS))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("9", "2", "0")
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert failed == {check.name for check in verdict.checks if check.outcome != "pass"}
    lines = list(render_annotations(verdict, RUNS))
    assert sum(line.startswith("::error title=kapoc gate%3A") for line in lines) == 2
    assert lines[-1] == f"::error title=kapoc gate::{verdict.sentence} ({RUNS})"
    lenient = verdict.model_copy(update={"inconclusive_fails": False})
    assert ElementTree.fromstring(render_junit(lenient, RUNS)).get("skipped") == "1"  # noqa: S314 - our own


def test_the_outputs_for_a_ci_say_which_runs_were_judged() -> None:
    comparison = compare(BASE, GOOD)
    verdict = judge(comparison, RELEASE_GATE)
    title = title_of(comparison, None)
    assert title == "tiny against tiny on lamps"
    assert markdown.render_summary(comparison, verdict).startswith(f"\n# {title}\n\n**Verdict: PASS")
    suite = ElementTree.fromstring(render_junit(verdict, title))  # noqa: S314 - our own
    assert [(p.get("name"), p.get("value")) for p in suite.iter("property")] == [("runs", title)]
    told = f"::notice title=kapoc gate::{verdict.sentence}"
    assert list(render_annotations(verdict, title))[-1] == f"{told} ({title})"
    assert list(render_annotations(verdict, 200 * "x"))[-1] == told


@pytest.mark.parametrize(
    ("fails", "counts", "level"), [(True, ("10", "1", "0"), "error"), (False, ("10", "0", "1"), "warning")]
)
def test_leaks_are_no_green_suite(counts: tuple[str, str, str], level: str, *, fails: bool) -> None:
    leaking = [make_run(run.items, weights=run.model.weights_sha256, num_leaks=3) for run in (BASE, GOOD)]
    verdict = judge(compare(*leaking), RELEASE_GATE.model_copy(update={"inconclusive_fails": fails}))
    suite = ElementTree.fromstring(render_junit(verdict, RUNS))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == counts
    [case] = [case for case in suite if case.find("failure") is not None or case.find("skipped") is not None]
    assert case.get("name") == "knowledge sets do not leak"
    lines = list(render_annotations(verdict, RUNS))
    assert (
        f"::{level} title=kapoc gate%3A knowledge sets do not leak::inconclusive: the audit found 3 leaks" in lines[0]
    )
    assert lines[-1].startswith("::error " if fails else "::notice ")


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31mb", "a\ufffeb", "a\ud800b"])
def test_junit_is_xml_whatever_a_text_holds(text: str) -> None:
    verdict = judge(compare(BASE, GOOD), RELEASE_GATE).model_copy(update={"warnings": (text,)})
    for document in (render_junit(verdict, RUNS), render_error([text])):
        found = ElementTree.fromstring(document.encode())  # noqa: S314 - our own
        said = [f"{part.text} {part.get('message')}" for part in found.iter()]
        assert any(mark in text for text in said for mark in ("a\ufffd", "a\\x00b", "a\\x1b[31mb"))


def test_junit_says_why_a_check_within_its_margin_is_inconclusive() -> None:
    """Alone the claim would be shown, with p = .033; beside two that are not shown it has three times that."""
    worse = make_run(make_items(lambda t, n: nothing(t, n) * (t != "general" or n % 36 != 0)))
    quantities = {"general": 0.05, "seen": 0.01, "ended": 0.01}
    checks = tuple(Check(name=q, kind="non_inferiority", quantity=q, margin=m) for q, m in quantities.items())
    verdict = judge(compare(BASE, worse), Gate(check=checks))
    [general] = [check for check in verdict.checks if check.name == "general"]
    low, high = general.bounds
    assert low is not None and high is not None and general.p_claim is not None
    assert low > -0.05 and general.outcome == "inconclusive"
    suite = ElementTree.fromstring(render_junit(verdict, RUNS))  # noqa: S314 - our own
    [message] = [part.get("message") for part in suite.findall("testcase[@name='general']/failure")]
    assert message == (
        f"inconclusive: general should be worse by less than 0.05; the difference is {general.value:+.4f}, with "
        f"bounds of [{low:+.4f}, {high:+.4f}], each one-sided at 0.05, over 400 items in 400 clusters; "
        f"p of the claim {p_value(general.p_claim)}, corrected over 3 gating checks"
    )


def test_junit_tells_a_floors_own_value_and_the_p_value_of_what_failed() -> None:
    floor = Check(name="x", kind="floor", quantity="seen", at_least=0.5)
    [case, *_] = render_annotations(judge(compare(BASE, BASE), Gate(check=(floor,))), RUNS)
    assert "::fail: seen should be at least 0.5; it is 0.0000, with bounds of [0.0000, " in case
    assert case.endswith("over 120 items in 30 clusters; p of the opposite <.001")


def test_the_level_of_a_gate_is_the_one_that_its_file_says() -> None:
    """The claim has p = 0.0541: shown at a level of 0.1, and not at one of 0.05."""
    slightly = make_run(make_items(lambda tier, n: everything(tier, n) * (tier != "general" or n % 32 != 0)))
    check = Check(name="kept", kind="non_inferiority", quantity="general", margin=0.05)
    strict, lenient = (judge(compare(BASE, slightly), Gate(check=(check,), alpha=alpha)) for alpha in (0.05, 0.1))
    assert strict.checks[0].p_claim == pytest.approx(0.0541, abs=1e-4)
    assert (strict.outcome, lenient.outcome) == ("inconclusive", "pass")
    (low, high), (other_low, other_high) = strict.checks[0].bounds, lenient.checks[0].bounds
    assert None not in {low, high, other_low, other_high}
    assert low < other_low < other_high < high  # type: ignore[operator]


def test_without_a_verdict_the_outputs_for_a_ci_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(GOOD, tmp_path / "good")
    save_run(make_run(make_items(everything), limit=2), tmp_path / "limited")
    junit = tmp_path / "gate.xml"
    junit.write_text('<testsuite errors="0" failures="0"/>', encoding="utf-8")  # of an earlier run, and green
    monkeypatch.chdir(tmp_path)
    asked = ("gate", "--baseline", "good", "--run", "limited", "--junit", "gate.xml", "--annotate", "--summary", "s.md")
    assert run_kapoc(monkeypatch, *asked) == 3
    told = capsys.readouterr()
    suite = ElementTree.parse(junit).getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    [error] = suite.iter("error")
    assert f"kapoc: {error.get('message')}\n" == told.err
    assert f"::error title=kapoc gate::{error.get('message')}\n" == told.out
    assert (tmp_path / "s.md").read_text(encoding="utf-8") == f"\n**No verdict:** {error.get('message')}\n\n"


@pytest.mark.parametrize(
    ("option", "place", "says"),
    [
        ("--junit", "none/gate.xml", "none/gate.xml: cannot be written: there is no folder none; make it, or"),
        ("--summary", "none/s.md", "none/s.md: cannot be written: there is no folder none; make it, or"),
        ("--junit", "good", "good: is a folder; name a file in it with --junit"),
    ],
)
def test_files_that_cannot_be_written_are_told_before_anything_is_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    place: str,
    says: str,
) -> None:
    save_run(GOOD, tmp_path / "good")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kapoc.judging.gate.judge", lambda *_: pytest.fail("it was judged"))
    assert run_kapoc(monkeypatch, "gate", "--baseline", "good", "--run", "good", option, place, "--annotate") == 6
    told = capsys.readouterr()
    assert told.err.startswith(f"kapoc: {says}")
    assert told.out.startswith(f"::error title=kapoc gate::{says}")


def test_a_file_of_something_else_is_not_replaced_and_a_summary_that_is_no_text_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(GOOD, tmp_path / "good")
    monkeypatch.chdir(tmp_path)
    asked = ("gate", "--baseline", "good", "--run", "good", "--junit")
    before = (tmp_path / "good" / "run.json").read_bytes()
    assert run_kapoc(monkeypatch, *asked, "good/run.json") == 6
    assert "good/run.json: is there already and is no JUnit file; choose another --junit" in capsys.readouterr().err
    assert (tmp_path / "good" / "run.json").read_bytes() == before
    (tmp_path / "s.md").write_bytes("gr\u00f6\u00dfe\n".encode("utf-16"))
    assert run_kapoc(monkeypatch, *asked, "new.xml", "--summary", "s.md") == 2
    assert "s.md: not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "new.xml").exists()


def test_an_error_is_annotated_even_where_no_file_can_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kapoc.writing.write_atomically", full)
    asked = ("gate", "--baseline", "none", "--run", "none", "--junit", "gate.xml", "--annotate")
    assert run_kapoc(monkeypatch, *asked) == 6
    assert capsys.readouterr().out.startswith("::error title=kapoc gate::none: no run here")


@pytest.mark.parametrize("command", [["gate", "--baseline", "base", "--run", "good"], ["report", "base", "good"]])
def test_a_check_of_no_quantity_is_told_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for name, run in (("base", BASE), ("good", GOOD)):
        save_run(run, tmp_path / name)
    text = '[[check]]\nname = "x"\nkind = "floor"\nquantity = "sen"\nat_least = 0.5\n'
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run_kapoc(monkeypatch, *command, "--gate", "my.toml") == 2
    assert capsys.readouterr().err.startswith("kapoc: my.toml: check 'x': there is no quantity 'sen' in these runs;")


def test_a_summary_is_added_to_what_other_steps_wrote(tmp_path: Path) -> None:
    save_run(BASE, tmp_path / "base")
    save_run(GOOD, tmp_path / "good")
    summary = tmp_path / "summary.md"
    summary.write_text("# another step\n", encoding="utf-8")
    kapoc_here("gate", "--baseline", "base", "--run", "good", "--summary", summary, folder=tmp_path)
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("# another step\n")
    assert "**Verdict: PASS" in text


def test_a_summary_is_apart_from_one_before_it(tmp_path: Path) -> None:
    for name, run in (("base", BASE), ("good", GOOD)):
        save_run(run, tmp_path / name)
    summary = tmp_path / "summary.md"
    summary.write_text("| a table |\n| --- |\n| without its end |", encoding="utf-8")
    for _ in range(2):
        kapoc_here("gate", "--baseline", "base", "--run", "good", "--summary", summary, folder=tmp_path)
    text = summary.read_text(encoding="utf-8")
    assert text.count("\n\n**Verdict: PASS") == 2
    assert text.endswith("|\n\n")


def test_no_line_of_what_is_printed_is_a_command_that_a_run_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = {**GOOD.versions, "x\n::stop-commands::token\r::error title=made up::\u2028::notice::y": "1"}
    save_run(BASE, tmp_path / "base")
    save_run(GOOD.model_copy(update={"versions": planted}), tmp_path / "good")
    monkeypatch.chdir(tmp_path)
    asked = ("gate", "--baseline", "base", "--run", "good", "--annotate", "--junit", "gate.xml")
    assert run_kapoc(monkeypatch, *asked) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert [line.split("::")[1] for line in commands] == ["warning title=kapoc gate", "notice title=kapoc gate"]
    told = ElementTree.parse(tmp_path / "gate.xml").findtext("system-out")  # noqa: S314 - our own
    assert told is not None and len(told.splitlines()) == 1


def test_a_link_stays_one_and_a_device_is_written_as_it_is(tmp_path: Path) -> None:
    save_run(BASE, tmp_path / "base")
    (tmp_path / "real.xml").write_text("<testsuite/>", encoding="utf-8")
    (tmp_path / "link.xml").symlink_to("real.xml")
    asked = ("gate", "--baseline", "base", "--run", "base", "--mode", "pull-request", "--junit")
    kapoc_here(*asked, "link.xml", folder=tmp_path)
    assert (tmp_path / "link.xml").is_symlink()
    assert "<testsuite" in (tmp_path / "real.xml").read_text(encoding="utf-8")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text, "utf-8")
        kapoc_here(*asked, "pipe", folder=tmp_path)
        assert "<testsuite" in read.result(timeout=30)
    assert pipe.is_fifo()


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1"])
def test_a_summary_may_go_where_the_rest_is_printed(tmp_path: Path, place: str) -> None:
    save_run(BASE, tmp_path / "base")
    command = [sys.executable, "-m", "kapoc", "gate", "--baseline", "base", "--run", "base", "--mode", "pull-request"]
    with (tmp_path / "out.txt").open("w") as out:
        subprocess.run([*command, "--summary", place], cwd=tmp_path, stdout=out, check=True)
    text = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert "**Verdict: PASS" in text
    assert "\nverdict: PASS" in text
    assert Path("/dev/stdout").is_symlink()


def test_a_summary_stays_under_its_limit() -> None:
    comparison = compare(BASE, GOOD)
    verdict = judge(comparison, RELEASE_GATE)
    whole = markdown.render_summary(comparison, verdict)
    assert len(whole.encode()) < 1_000_000
    assert "Ledger" not in whole
    assert len(markdown.render_summary(comparison, verdict, max_bytes=500).encode()) < 500


def test_the_command_is_quick_needs_no_torch_and_all_its_outputs_agree(tmp_path: Path) -> None:
    save_run(BASE, tmp_path / "base")
    save_run(GOOD, tmp_path / "good")
    code = (
        "import sys; from kapoc.cli.main import main; sys.argv = ['kapoc', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print('heavy:', sorted({'torch', 'transformers', 'lm_eval', 'sklearn'} & set(sys.modules)))"
    )
    seconds = []
    for run, expected, sentence in (("good", 0, "PASS"), ("base", 1, "FAIL"), ("good", 0, "PASS")):
        junit, summary = tmp_path / f"{run}.xml", tmp_path / f"{run}.md"
        summary.unlink(missing_ok=True)
        command = [
            sys.executable, "-c", code, "gate", "--baseline", tmp_path / "base", "--run", tmp_path / run,
            "--junit", junit, "--summary", summary, "--annotate",
        ]  # fmt: skip
        started = time.monotonic()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - started)
        assert done.returncode == expected, done.stderr
        assert "heavy: []" in done.stdout
        assert f"verdict: {sentence}" in done.stdout
        assert f"::{'error' if expected else 'notice'} title=kapoc gate::{sentence}" in done.stdout
        assert f"**Verdict: {sentence}" in summary.read_text(encoding="utf-8")
        failures = int(ElementTree.parse(junit).getroot().get("failures") or 0)  # noqa: S314 - our own
        assert (failures == 0) is (expected == 0)
    imports: list[float] = []
    while min(seconds) >= 1.0 and len(seconds) < 12:  # a busy machine is slow for a while; its imports tell how slow
        for timed, typed in ((seconds, command), (imports, [sys.executable, "-c", "import pydantic, scipy.special"])):
            started = time.monotonic()
            subprocess.run(list(map(str, typed)), capture_output=True, check=False)
            timed.append(time.monotonic() - started)
    assert min(seconds) < max(1.0, 3 * min(imports, default=0.0))


def test_the_verdict_as_json_has_its_exit_code(tmp_path: Path) -> None:
    save_run(BASE, tmp_path / "base")
    command = [
        sys.executable, "-m", "kapoc", "gate", "--baseline", "base", "--run", "base",
        "--mode", "pull-request", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "pass"


def test_annotations_escape_what_a_title_may_not_hold() -> None:
    check = Check(name="seen: a, b", kind="floor", quantity="unseen", at_least=0.9)
    lines = list(render_annotations(judge(compare(BASE, BASE), Gate(check=(check,))), RUNS))
    assert lines[0].startswith("::error title=kapoc gate%3A seen%3A a%2C b::fail")
