"""Several runs against one base: where each stands, and what `kapoc report` writes about them."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import run_kapoc
from pages import base_run, trained_run, training_record
from results import make_items, make_run

from kapoc.judging.baseline import bless
from kapoc.judging.compare import compare
from kapoc.judging.gate_file import RELEASE_GATE, Check, Gate
from kapoc.judging.leaderboard import Leaderboard, leaderboard
from kapoc.record import Run, save_run
from kapoc.report.formats import is_report
from kapoc.report.leaderboard import leaderboard_section
from kapoc.report.plot import leaderboard_plot


def learned(share: int, divergence: float, weights: str) -> Run:
    """Answers so many of four questions of each fact right, at a distance from the base."""
    items = make_items(
        lambda tier, n: float(n % 2 == 0 if tier == "general" else tier != "control" and n % 4 < share),
        divergence=divergence,
    )
    return make_run(items, weights=weights * 64, base_sha256="0" * 64)


RUNS = {"half": learned(2, 0.05, "2"), "all": learned(4, 0.5, "4"), "worse": learned(1, 0.6, "5")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The base, three trained runs and the training record of one of them; commands are typed here."""
    save_run(base_run(), tmp_path / "base")
    for name, run in RUNS.items():
        save_run(run, tmp_path / name)
    record = training_record("4" * 64, seconds=77.0).model_dump_json()
    (tmp_path / "all" / "training.json").write_text(record, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def board() -> Leaderboard:
    base = base_run()
    return leaderboard("base", base, {name: compare(base, run) for name, run in RUNS.items()}, RELEASE_GATE)


def test_a_run_that_another_beats_has_no_star() -> None:
    found = {standing.name: standing for standing in board().standings}
    assert {name: standing.scores["recall"] for name, standing in found.items()} == {
        "half": 0.5,
        "all": 1.0,
        "worse": 0.25,
    }
    assert [found[name].is_optimal for name in ("half", "all", "worse")] == [True, True, False]
    assert board().forgetting == "divergence"
    assert (board().reference.scores["recall"], board().reference.scores["divergence"]) == (0, 0)
    assert found["worse"].verdict == "fail"


def test_a_run_that_cannot_be_judged_has_no_verdict_and_the_others_have_theirs() -> None:
    near = Gate(check=(Check(name="near", kind="floor", quantity="divergence", at_most=0.1),))
    base = base_run()
    runs = {"near": RUNS["half"], "unmeasured": make_run(make_items(lambda tier, n: 0.0), weights="6" * 64)}
    found = leaderboard("base", base, {name: compare(base, run) for name, run in runs.items()}, near)
    assert {standing.name: standing.verdict for standing in found.standings} == {"near": "pass", "unmeasured": None}
    assert " A dash: " in leaderboard_section(found).note
    assert " A dash: " not in leaderboard_section(board()).note


def test_without_divergence_bits_per_byte_stand_for_forgetting() -> None:
    base = base_run()
    plain = make_run(make_items(lambda tier, n: float(tier != "control"), bits=1.5), weights="3" * 64)
    mixed = leaderboard("base", base, {"all": compare(base, RUNS["all"]), "plain": compare(base, plain)}, RELEASE_GATE)
    assert mixed.forgetting == "bits_per_byte_difference"
    assert [standing.is_optimal for standing in mixed.standings] == [True, False]
    assert " A dash: " in leaderboard_section(mixed).note


def test_a_reference_that_none_is_measured_to_has_no_distance_of_its_own() -> None:
    unmeasured = make_run(make_items(lambda tier, n: 0.0), weights="6" * 64)
    found = leaderboard("base", base_run(), {"a": compare(base_run(), unmeasured)}, RELEASE_GATE)
    assert "divergence" not in found.reference.scores
    found = leaderboard("half", RUNS["half"], {"all": compare(RUNS["half"], RUNS["all"])}, RELEASE_GATE)
    assert found.reference.scores["divergence"] == pytest.approx(0.05)


def test_the_plot_numbers_every_run() -> None:
    plot = leaderboard_plot(board())
    for part in (">1<", ">2<", ">3<", "KL(base || trained)", "prefers-color-scheme"):
        assert part in plot


def test_report_of_several_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_kapoc(monkeypatch, "report", "base", "half", "all", "worse", "--out", "runs.md") == 0
    page = (folder / "runs.md").read_text(encoding="utf-8")
    assert page.startswith("# 3 runs against tiny on lamps\n\n## Leaderboard")
    assert "| reference | base | - | 0.0% |" in page
    assert "| 1 * | half | fail | 50.0% |" in page
    assert "| 3 | worse | fail | 25.0% |" in page
    assert next(line for line in page.splitlines() if line.startswith("| 2 * | all | ")).endswith("| 0.5000 | 77 |")
    assert "(runs.svg)" in page
    assert "## Between seeds" not in page  # of one alone it is known how it was trained
    facts = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in facts["leaderboard"]["standings"]] == ["half", "all", "worse"]
    assert facts["comparison"]["tiers"]["seen"]["after"] == 0.5
    html = (folder / "runs.html").read_text(encoding="utf-8")
    assert '<h2 id="section-1">Leaderboard</h2>' in html
    assert "Verdict of half: FAIL: " in html
    assert "Recall against forgetting" in html
    assert (folder / "runs.svg").read_text(encoding="utf-8").endswith("</svg>\n")


def test_report_of_one_run_has_no_leaderboard_and_finds_its_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_kapoc(monkeypatch, "report", "all", "--base", "base") == 0
    assert capsys.readouterr().out == "report: report.html\nreport: report.md\nreport: report.json\n"
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "Leaderboard" not in page
    assert "| 3 | 0.1250 | 0.7500 | 90.0% | 0.2000 |" in page
    assert "| * | 0.6 | 70.0% | 0.0400 |" in page
    assert "| seen | 2 | 6 | 42 | F2 (12) |" in page
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert facts["comparison"]["training"]["alphas"][1] == {
        "alpha": 0.6,
        "dev_exact": 0.7,
        "divergence": 0.04,
        "spillover": None,
    }
    assert facts["leaderboard"] is None


def test_compare_shows_the_curves_in_the_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_kapoc(monkeypatch, "compare", "base", "all") == 0
    shown = capsys.readouterr().out
    assert "Learning curve" in shown
    assert "The way back to the base" in shown
    assert "0.7500" in shown


def test_runs_of_which_nothing_is_known_are_no_seeds_unless_a_user_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_kapoc(monkeypatch, "report", "base", "half", "worse") == 0
    page = (folder / "report.md").read_text(encoding="utf-8")
    left_out = "the spread between seeds is left out: no training record lies beside half, worse"
    assert "## Between seeds" not in page and f"> **Note:** {left_out}\n" in page
    assert run_kapoc(monkeypatch, "compare", "base", "half", "worse") == 0
    shown = capsys.readouterr().out
    assert "Between seeds:\n" in shown
    assert "nothing says that these runs are of one recipe: no training record lies beside half, worse\n" in shown


def test_of_one_run_without_a_record_nothing_is_said_of_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_kapoc(monkeypatch, "report", "base", "half") == 0
    assert "training record" not in (folder / "report.md").read_text(encoding="utf-8")


def test_how_a_later_run_was_measured_otherwise_is_told_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RUNS["worse"].settings.model_copy(update={"device": "cuda"})
    save_run(RUNS["worse"].model_copy(update={"settings": settings}), folder / "worse")
    assert run_kapoc(monkeypatch, "report", "base", "half", "worse") == 0
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "> **Note:** worse: the runs differ in device: cpu and cuda" in page and "> **Note:** half" not in page


def test_that_there_is_no_spread_between_seeds_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_kapoc(monkeypatch, "report", "base", "all", "half") == 0
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "the spread between seeds is left out: no training record lies beside half" in page


def test_runs_whose_records_name_other_recipes_are_no_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"name": "b", "train": {"seed": 1, "epochs": 9, "budget": {"divergence": 0.05}}}
    record = training_record("2" * 64, recipe=other).model_dump_json()
    (folder / "half" / "training.json").write_text(record, encoding="utf-8")
    assert run_kapoc(monkeypatch, "report", "base", "all", "half") == 0
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Between seeds" not in page
    assert "the training records are of different recipes, sets or bases; only the first of these runs is" in page


@pytest.mark.parametrize(
    ("seed", "others", "says"),
    [
        (1, {}, None),
        (0, {}, "two of the runs are of seed 0, and what lies between them is not the seed's"),
        (1, {"base_sha256": "9" * 64}, "the training records are of different recipes, sets or bases"),
    ],
)
def test_a_spread_between_seeds_is_of_other_seeds_and_one_base(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, others: dict[str, Any], says: str | None
) -> None:
    record = json.loads((folder / "all" / "training.json").read_text(encoding="utf-8"))
    recipe = {**record["recipe"], "train": {**record["recipe"]["train"], "seed": seed}}
    later = {**record, "weights_sha256": "2" * 64, "recipe": recipe, **others}
    (folder / "half" / "training.json").write_text(json.dumps(later), encoding="utf-8")
    assert run_kapoc(monkeypatch, "report", "base", "all", "half") == 0
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert ("## Between seeds" in page) is (says is None)
    assert says is None or f"the spread between seeds is left out: {says}" in page


def test_seeds_may_be_told_of_and_measured_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = json.loads((folder / "all" / "training.json").read_text(encoding="utf-8"))
    others = {"description": "the second seed", "track": {"with": ["tensorboard"]}, "bench": {"batch_size": 64}}
    recipe = {**record["recipe"], "train": {**record["recipe"]["train"], "seed": 1}, **others}
    later = {**record, "weights_sha256": "2" * 64, "recipe": recipe}
    (folder / "half" / "training.json").write_text(json.dumps(later), encoding="utf-8")
    assert run_kapoc(monkeypatch, "report", "base", "all", "half") == 0
    assert "## Between seeds" in (folder / "report.md").read_text(encoding="utf-8")


def test_another_tools_record_beside_the_runs_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "training.json").write_text('{"output_dir": "x"}', encoding="utf-8")
    assert run_kapoc(monkeypatch, "compare", "base", "half") == 0
    (folder / "half" / "training.json").write_text('{"fingerprint": "f"', encoding="utf-8")
    assert run_kapoc(monkeypatch, "compare", "base", "half") == 2  # a damaged one may be kapoc's
    assert run_kapoc(monkeypatch, "compare", "base", "half", "--training", "all/training.json") == 2
    assert run_kapoc(monkeypatch, "compare", "base", "all", "--training", "all/training.json") == 0


def test_a_baseline_that_was_swapped_gets_no_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bless(folder / "base", folder / "baseline", "the first")
    for name in ("run.json", "items.jsonl"):
        (folder / "baseline" / name).write_bytes((folder / "half" / name).read_bytes())
    assert run_kapoc(monkeypatch, "report", "baseline", "all") == 2
    assert "baseline: the run is not the one that was blessed" in capsys.readouterr().err


def test_a_run_that_asked_something_else_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = RUNS["worse"].items[1:]
    save_run(RUNS["worse"].model_copy(update={"items": fewer, "num_items": len(fewer)}), folder / "worse")
    assert run_kapoc(monkeypatch, "report", "base", "all", "worse") == 3
    assert "kapoc: worse: the runs asked different items" in capsys.readouterr().err


def test_a_run_of_the_same_weights_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(RUNS["half"], folder / "again")
    assert run_kapoc(monkeypatch, "compare", "base", "half", "worse", "again") == 0
    assert "again: measured the same weights as half\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["base"], "base: is the only run; name a trained run after it, or the base with --base"),
        (["base", "all", "all"], "all: is given twice; name each run once"),
        (["base", "half", "--training", "all/training.json"], "all/training.json: weights_sha256: is not that of"),
        (["base", "half", "--training", "none.json"], "none.json: no such file"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    assert run_kapoc(monkeypatch, "report", *arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not list(folder.glob("report.*"))


def test_a_record_of_other_weights_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_run(trained_run(), folder / "all")
    assert run_kapoc(monkeypatch, "report", "base", "all") == 0
    assert "Learning curve" not in (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_replaces_a_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for runs in (["base", "half", "all"], ["base", "all", "half"]):
        assert run_kapoc(monkeypatch, "report", *runs) == 0
    assert "| 1 * | all |" in (folder / "report.md").read_text(encoding="utf-8")
    (folder / "report.html").write_text("", encoding="utf-8")
    assert run_kapoc(monkeypatch, "report", "base", "half") == 0
    assert (folder / "report.html").stat().st_size


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("report.html", "<!doctype html>\n<h1>Minutes</h1>\n"),
        ("report.md", "# Us against them on Monday\n\nMinutes.\n"),
        ("report.json", '{"verdict": "fine"}\n'),
        ("report.svg", "<svg><style>path{}</style></svg>\n"),
    ],
)
def test_a_report_replaces_no_other_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    assert run_kapoc(monkeypatch, "report", "base", "half", "all", "--out", name) == 6
    assert capsys.readouterr().err == f"kapoc: {name}: is there already and is no report; choose another --out\n"
    assert (folder / name).read_text(encoding="utf-8") == text
    assert len(list(folder.glob("report.*"))) == 1


@pytest.mark.parametrize("page", sorted((Path(__file__).parents[1] / "reports").glob("*/report.md")), ids=str)
def test_the_reports_of_the_repository_are_reports(page: Path) -> None:
    assert is_report(".md", page.read_text(encoding="utf-8"))
