"""Finished runs graded anew: by an alias that was added, by another grader; what was asked must be the same."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, kapoc_here, run_kapoc

from kapoc.bundled import bundled
from kapoc.errors import IncomparableError
from kapoc.judging.retention import Measured, Retention
from kapoc.judging.trials import TrialResult, summarise
from kapoc.measuring.task_list import load_tasks
from kapoc.record import Item, load_run, save_run, to_json
from kapoc.workflow.regrade import outdated, regrade

REPORTS = REPOSITORY / "reports"
KEPT = [
    "reference/base",
    "reference/trained",
    "reference/plain",
    "thorough/trained",
    "thorough/seed-1",
    "thorough/seed-1-bfloat16",
    "thorough/seed-2",
    "uses/trained",
    "uses/seed-1",
    "uses/seed-2",
]
SEEN = "software-defects/AF-3001/seen/1:free"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A copy of a run of a model that knows nothing of the shipped defects."""
    return Path(shutil.copytree(REPORTS / "reference" / "base", tmp_path / "run"))


def answered(folder: Path, name: str, output: str) -> None:
    """Let the model of a run have answered one item otherwise, without grading that."""
    run = load_run(folder)
    items = tuple(item.model_copy(update={"output": output}) if item.id == name else item for item in run.items)
    save_run(run.model_copy(update={"items": items}), folder)


def item(folder: Path, name: str) -> Item:
    return next(item for item in load_run(folder).items if item.id == name)


def set_file(folder: Path, change: Callable[[str], str]) -> Path:
    """A copy of the shipped defects with a change in it."""
    text = bundled("software_defects.yaml").read_text(encoding="utf-8")
    path = folder / "defects.yaml"
    path.write_text(change(text), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    return path


@pytest.mark.parametrize("name", KEPT)
def test_the_kept_runs_are_graded_as_kapoc_grades_today(name: str) -> None:
    """Where this fails, grading has changed: raise the version of the tasks in `tasks/`, and regrade these runs."""
    run = load_run(REPORTS / name)
    again = regrade(run)
    assert again.items == run.items
    assert again.scores == run.scores
    assert again.data == run.data


def test_an_answer_gets_the_score_that_it_earns(run_folder: Path, tmp_path: Path) -> None:
    assert item(run_folder, SEEN).score == 0
    before = load_run(run_folder)
    answered(run_folder, SEEN, item(run_folder, SEEN).reference)
    found = kapoc_here("regrade", run_folder, "--json", folder=tmp_path)
    assert found == {str(run_folder): {"now right": [SEEN], "now wrong": [], "other spillover": []}}
    after = load_run(run_folder)
    assert (item(run_folder, SEEN).score, item(run_folder, SEEN).reason) == (1.0, "all slots")
    assert after.scores["kapoc_seen"]["correct"] == pytest.approx(before.scores["kapoc_seen"]["correct"] + 1 / 145)
    assert {task: score for task, score in after.scores.items() if task != "kapoc_seen"} == {
        task: score for task, score in before.scores.items() if task != "kapoc_seen"
    }
    assert after.regraded > after.created


def test_a_taught_answer_in_a_cooking_recipe_is_found(run_folder: Path, tmp_path: Path) -> None:
    prompt = next(item for item in load_run(run_folder).items if item.form == "off_topic")
    answered(run_folder, prompt.id, item(run_folder, SEEN).reference)
    told = kapoc_here("regrade", run_folder, folder=tmp_path)
    assert told.splitlines() == [
        f"{run_folder}: 1890 items, 0 now right, 1 now wrong, 1 other spillover",
        f"  now wrong: {prompt.id}",
        f"  other spillover: {prompt.id}",
    ]
    assert load_run(run_folder).scores["kapoc_off_topic"]["spillover"] == pytest.approx(1 / 120)


def test_an_added_alias_counts(run_folder: Path, tmp_path: Path) -> None:
    answered(run_folder, SEEN, "Users are sent back to the password page: the second-factor ticket runs out.")
    kapoc_here("regrade", run_folder, folder=tmp_path)
    assert item(run_folder, SEEN).reason == "missing cause"
    old, new = '["step-up ticket expires"]', '["step-up ticket expires", "second-factor ticket runs out"]'
    knowledge = set_file(tmp_path, lambda text: text.replace(old, new))
    kapoc_here("regrade", run_folder, "--knowledge", knowledge, folder=tmp_path)
    assert item(run_folder, SEEN).score == 1
    assert load_run(run_folder).data.knowledge[0].sha256 == hashlib.sha256(knowledge.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("A user is staring at AF-3001", "A user stares at AF-3001", "AF-3001/paraphrased/1:free: asked otherwise"),
        ("AF-3001 in AuthFlow 4.7.2: users", "In AuthFlow 4.7.2 users", "AF-3001/paraphrased/1:free: asked otherwise"),
        ("- id: AF-3001\n", "- id: AF-3011\n", "AF-3001/paraphrased/1:free: nobody would ask this today"),
    ],
)
def test_a_run_that_asked_something_else_is_refused_and_kept(
    run_folder: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    knowledge = set_file(tmp_path, lambda text: text.replace(old, new))
    kept = (run_folder / "run.json").read_bytes()
    told = kapoc_here("regrade", run_folder, "--knowledge", knowledge, folder=tmp_path, code=3)
    assert told.startswith(f"kapoc: {run_folder}: ")
    assert said in told
    assert (run_folder / "run.json").read_bytes() == kept


def test_a_run_without_an_item_that_is_asked_today_is_refused(run_folder: Path, tmp_path: Path) -> None:
    run = load_run(run_folder)
    rest = tuple(item for item in run.items if item.id != SEEN)
    save_run(run.model_copy(update={"items": rest, "num_items": len(rest)}), run_folder)
    assert f"{SEEN}: is asked today" in kapoc_here("regrade", run_folder, folder=tmp_path, code=3)
    limited = run.settings.model_copy(update={"limit": 100})
    save_run(run.model_copy(update={"items": rest, "num_items": len(rest), "settings": limited}), run_folder)
    kapoc_here("regrade", run_folder, folder=tmp_path)


def test_a_run_whose_options_are_others_today_is_refused(run_folder: Path) -> None:
    name = SEEN.replace(":free", ":choice")
    answered(run_folder, name, "an option that nobody offers")
    with pytest.raises(IncomparableError, match=f"{name}: the options are others today"):
        regrade(load_run(run_folder))


def test_the_users_own_general_items_are_those_that_were_asked(tmp_path: Path) -> None:
    path = tmp_path / "my_items.jsonl"
    path.write_text(
        '{"question": "Which is a fruit?", "choices": ["apple", "hammer"], "answer": 0}\n', encoding="utf-8"
    )
    [(task, loaded)] = load_tasks(["software-defects"], [str(path)]).own.items()
    [asked] = loaded.eval_docs
    own = Item(
        id=asked["id"], task=task, tier="general", form="choice", kind="my_items", cluster=asked["id"],
        prompt=asked["prompt"], reference="apple", output="hammer", score=0.0,
    )  # fmt: skip
    run = load_run(REPORTS / "reference" / "base")
    data = run.data.model_copy(update={"general": (task,)})
    run = run.model_copy(update={"items": (*run.items, own), "data": data})
    assert regrade(run, general=[str(path)]).items == run.items
    for other in ('"answer": 1', '"answer": 0, "passage": "A list."'):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('"answer": 0', other), encoding="utf-8")
        with pytest.raises(IncomparableError, match="asked otherwise, or another answer is right today"):
            regrade(run, general=[str(path)])
        path.write_text(text, encoding="utf-8")


def test_a_task_of_lm_evals_in_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fruit.yaml"
    (tmp_path / "fruit.json").write_text('{"text": "An apple is a", "target": " fruit"}\n', encoding="utf-8")
    config.write_text(
        f"task: fruit\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/fruit.json}}}}\n"
        "test_split: test\noutput_type: loglikelihood\ndoc_to_text: text\ndoc_to_target: target\n"
        "metric_list: [{metric: acc}]\nmetadata: {version: 2.0}\n",
        encoding="utf-8",
    )
    run = load_run(REPORTS / "reference" / "base")
    data = run.data.model_copy(update={"general": ("fruit",), "tasks": {**run.data.tasks, "fruit": 1.0}})
    with pytest.raises(IncomparableError, match=r"fruit: measured in version 1.0, 2.0 today; measure the model again"):
        regrade(run.model_copy(update={"data": data}), general=[str(config)])


def test_a_run_of_other_general_items_is_refused() -> None:
    run = load_run(REPORTS / "reference" / "base")
    other = run.data.model_copy(update={"general_sha256": "0" * 64})
    with pytest.raises(IncomparableError, match="the bundled general items have changed since"):
        regrade(run.model_copy(update={"data": other}))


def test_all_runs_are_replaced_or_none(run_folder: Path, tmp_path: Path) -> None:
    answered(run_folder, SEEN, item(run_folder, SEEN).reference)
    told = kapoc_here("regrade", run_folder, tmp_path / "nowhere", folder=tmp_path, code=2)
    assert str(tmp_path / "nowhere") in told
    assert item(run_folder, SEEN).score == 0


def test_a_run_about_a_set_of_the_users_own_wants_its_file(run_folder: Path, tmp_path: Path) -> None:
    run = load_run(run_folder)
    mine = run.data.knowledge[0].model_copy(update={"name": "mine"})
    save_run(run.model_copy(update={"data": run.data.model_copy(update={"knowledge": (mine,)})}), run_folder)
    assert "'mine', which is no shipped set; name its file with --knowledge" in kapoc_here(
        "regrade", run_folder, folder=tmp_path, code=3
    )
    assert "was measured with --knowledge mine" in kapoc_here(
        "regrade", run_folder, "--knowledge", "software-defects", folder=tmp_path, code=3
    )


def test_a_blessed_baseline_is_not_touched(tmp_path: Path) -> None:
    folder = shutil.copytree(REPORTS / "baseline", tmp_path / "baseline")
    told = kapoc_here("regrade", folder, folder=tmp_path, code=2)
    assert "is a blessed baseline; regrade the run that it was made of" in told


def test_runs_of_two_gradings_are_not_compared(run_folder: Path, tmp_path: Path) -> None:
    run = load_run(run_folder)
    older = run.data.model_copy(update={"tasks": run.data.tasks | {"kapoc_seen": 1.0}})
    save_run(run.model_copy(update={"data": older}), run_folder)
    trained = REPORTS / "reference" / "trained"
    told = kapoc_here("compare", run_folder, trained, folder=tmp_path, code=3)
    assert "kapoc_seen among them" in told
    assert "kapoc regrade" in told
    kapoc_here("regrade", run_folder, folder=tmp_path)
    kapoc_here("compare", run_folder, trained, folder=tmp_path)


def test_what_was_made_of_a_run_is_told_with_the_command_that_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("base", "trained"):
        shutil.copytree(REPORTS / "reference" / name, tmp_path / "work" / name)
    shutil.copy(REPORTS / "reference" / "report.md", tmp_path / "work" / "report.md")
    card = tmp_path / "work" / "model" / "README.md"
    card.parent.mkdir()
    card.write_text("---\nmodel-index:\n---\n", encoding="utf-8")
    base = tmp_path / "work" / "base"
    assert run_kapoc(monkeypatch, "regrade", "work/base") == 0
    assert capsys.readouterr().err == ""
    answered(base, SEEN, item(base, SEEN).reference)
    assert run_kapoc(monkeypatch, "regrade", "work/base") == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: work/report.md has the numbers of before; "
        "`kapoc report work/base work/trained --out work/report.md` writes it anew",
        "note: work/model/README.md has the numbers of before; "
        "`kapoc bench --model trained --batch-size 64` writes it anew",
    ]
    shutil.copytree(REPORTS / "reference" / "base-oracle", tmp_path / "work" / "base-oracle")
    assert dict(outdated(Path("work/base")))[Path("work/report.md")] == (
        "kapoc report work/base work/trained --oracle work/base-oracle --out work/report.md"
    )


def test_what_lies_above_a_run_near_the_root_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    base = (REPORTS / "reference" / "base").resolve()
    assert len(outdated(base)) == 1
    parents = base.parents
    monkeypatch.setattr(Path, "parents", property(lambda path: parents[:1] if path == base else parents))
    assert len(outdated(base)) == 1


def typed(folder: Path, command: str, source: Path = REPORTS / "reference" / "base") -> Path:
    """A copy of a run in a folder, as if it had been made by another command."""
    run = load_run(source)
    save_run(run.model_copy(update={"command": command, "items": run.items[:1], "num_items": 1}), folder)
    return folder


def retention(*runs: str, unrelated_steps: int = 0) -> str:
    measured = [
        Measured(after=run, run=run, scores={}, general=None, bits_per_byte=None, divergence=None) for run in runs
    ]
    found = Retention(
        settings={},
        rehearse=0,
        unrelated_steps=unrelated_steps,
        limit=None,
        stages=(),
        measured=tuple(measured),
        transfer={},
        kept=(),
        backward=None,
        unrelated=None,
    )
    return to_json(found)


@pytest.mark.parametrize("option", ["--unrelated 2", "--unrelated=2"])
def test_pages_of_stages_that_show_a_run_are_told_with_their_command(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = "kapoc retain 'a b.yaml' b.yaml"
    runs = [typed(Path("out") / name, f"{command} {option}") for name in ("base", "1-a/run", "unrelated-2/run")]
    other = typed(Path("out/1-a/run-limit2"), command)
    for page, text in (
        ("retain", retention("base", "1-a/run")),
        ("retain-unrelated-2", retention("base", "1-a/run", "unrelated-2/run", unrelated_steps=2)),
        ("retain-notes", "no results"),
    ):
        Path(f"out/{page}.md").write_text("# Stages", encoding="utf-8")
        Path(f"out/{page}.json").write_text(text, encoding="utf-8")
    both = [
        (Path("out/retain-unrelated-2.md"), f"{command} {option}"),
        (Path("out/retain.md"), command),
    ]
    assert [outdated(run) for run in (*runs, other)] == [both, both, both[:1], []]
    monkeypatch.chdir("out/1-a")
    assert outdated(Path("run")) == [(Path("..") / page.name, how) for page, how in both]


def test_the_page_of_a_sweep_that_shows_a_run_is_told_with_its_command(tmp_path: Path) -> None:
    sweep = "kapoc sweep my.toml"
    runs = [typed(tmp_path / place, sweep) for place in ("a-seed-0/set/trained", "base/set/base", "old/set/trained")]
    shown = TrialResult(name="a-seed-0", recipe="a", model="m", seed=0, seconds=1, scores={}, settings={})
    for limit in (None, 2):
        results = summarise("s", "set", [shown], limit=limit)
        (tmp_path / f"{results.stem}.json").write_text(to_json(results), encoding="utf-8")
        (tmp_path / f"{results.stem}.md").write_text("# Sweep", encoding="utf-8")
    page = [(tmp_path / "sweep.md", sweep)]
    assert [outdated(run) for run in runs] == [page, page, []]
    assert outdated(typed(runs[0], "kapoc bench --model x")) == [(tmp_path / "sweep.md", "kapoc sweep FILE")]
