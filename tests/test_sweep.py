"""A sweep while it runs: what has finished is not done again, and what fails stops no other."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pages import training_record
from results import everything, make_items, make_run, nothing
from sweeps import PLAIN, planned

from kapoc.counting import Lines
from kapoc.errors import DataError
from kapoc.judging.compare import compare
from kapoc.judging.trials import SweepResults
from kapoc.models import load_model
from kapoc.recipe import load_recipe
from kapoc.record import Run, load_run, save_run
from kapoc.training.checkpoint import finish_swap
from kapoc.training_record import EpochReport
from kapoc.workflow import sweep_ray, sweep_run
from kapoc.workflow.current import settings_sha256, texts_sha256
from kapoc.workflow.sweep_file import Sweep, load_sweep
from kapoc.workflow.sweep_ray import ray_runner, trial_resources
from kapoc.workflow.sweep_run import FinishedTrial, Job, Report, finish, log_listener, perform, run_sweep
from kapoc.workflow.workspace import Workspace, open_workspace


# ------------------------------------------------------------------ running, without Ray and without training
def test_a_trial_is_another_one_where_anything_differs_that_it_is_made_of(place: Path) -> None:
    Path("lamps.paraphrases.yaml").write_text("ZX-11:\n  colour: [the lane that glows]\n", encoding="utf-8")
    recipe, base = load_recipe("tiny.toml").with_train(derived={"reverse": 1}), make_run(make_items(nothing))
    changes: dict[str, dict[str, Any]] = {
        "model": {"weights_sha256": "2" * 64, "dtype": "bfloat16"},
        "settings": {"batch_size": 1, "chat_template_sha256": "2" * 64, "limit": 2},
        "data": {"documents_sha256": "2" * 64},
    }
    bases = [base] + [
        base.model_copy(update={part: getattr(base, part).model_copy(update={name: value})})
        for part, fields in changes.items()
        for name, value in fields.items()
    ]
    made = [sweep_run._fingerprint(open_workspace(place, recipe), one) for one in bases]
    made.append(sweep_run._fingerprint(open_workspace(place, recipe.with_train(seed=7)), base))
    Path("lamps.paraphrases.yaml").write_text("ZX-11:\n  colour: [the lane that shines]\n", encoding="utf-8")
    made.append(sweep_run._fingerprint(open_workspace(place, recipe), base))
    assert len(set(made)) == len(made) == 9


class Worker:
    """Does jobs one after another with made-up runs, and remembers which trials it was asked to do."""

    def __init__(self, stop_after: int | None = None, weights: str = "0" * 64) -> None:
        self.done: list[str] = []
        self.broken: set[str] = set()
        self.weights, self.trained = weights, "1" * 64
        self.others: dict[str, str] = {}
        self._stop_after = stop_after

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Report]:
        for job in jobs:
            if self._stop_after is not None and len(self.done) == self._stop_after:
                raise KeyboardInterrupt
            yield perform(job, self._work)

    def _work(self, job: Job) -> Run | FinishedTrial:
        workspace = job.workspace
        if job.name in self.broken:
            raise MemoryError("too much\nof everything")
        weights = self.others.get(job.recipe.model, self.weights)
        base = make_run(make_items(nothing), weights=weights)
        if job.base is None:
            save_run(base, workspace.run("base"))
            return load_run(workspace.run("base"))
        assert load_run(job.base).items == base.items
        self.done.append(job.name)
        items = make_items(everything, divergence=0.25)
        save_run(make_run(items, weights=self.trained, base_sha256=weights), workspace.run("trained"))
        workspace.model.mkdir(parents=True, exist_ok=True)
        record = training_record(self.trained).model_dump_json()
        (workspace.model / "training.json").write_text(record, encoding="utf-8")
        return finish(job, compare(base, load_run(workspace.run("trained"))), 12.5)


Rerun = Callable[..., SweepResults]


@pytest.fixture
def rerun(place: Path) -> Rerun:
    """Runs a sweep of two seeds with a worker."""

    def run(worker: Worker, extra: str = "", told: list[str] | None = None) -> SweepResults:
        text = f'name = "first"\nseeds = [0, 1]\n{extra}{PLAIN}'
        Path("sweep.toml").write_text(text, encoding="utf-8")
        sweep, trials = load_sweep(Path("sweep.toml"))
        return run_sweep(sweep, trials, Path("out"), worker, tell=(told if told is not None else []).append)

    return run


def test_a_stopped_sweep_goes_on_with_what_is_missing(rerun: Rerun) -> None:
    first = Worker(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        rerun(first)
    assert first.done == ["plain-seed-0"]
    mark = Path("out/first/plain-seed-0/lamps/trial.json")
    written = mark.stat().st_mtime_ns
    told: list[str] = []
    second = Worker()
    results = rerun(second, told=told)
    assert second.done == ["plain-seed-1"]
    assert mark.stat().st_mtime_ns == written
    assert [(result.name, result.seed) for result in results.trials] == [("plain-seed-0", 0), ("plain-seed-1", 1)]
    marks = [json.loads(path.read_text(encoding="utf-8")) for path in Path("out").rglob("trial.json")]
    assert len({mark["fingerprint"] for mark in marks}) == 2
    assert results.trials[0].scores["recall"] == 1.0
    assert results.trials[0].seconds == 12.5
    assert told[0] == "measuring 1 base, where that was not done yet; progress in out/first/base/log.txt"
    assert told[2:] == [
        "2 trials: 1 finished before, 1 to do, 0 impossible",
        "each trial tells its progress in out/first/<trial>/log.txt",
        "2/2 plain-seed-1: recall 100.0%, trained in 12 s",
    ]


def test_a_try_out_and_the_whole_sweep_leave_each_other_alone(rerun: Rerun) -> None:
    limited = "limit = 2\n"
    rerun(Worker(), limited)
    folder = Path("out/first/plain-seed-0/lamps")
    assert {path.name for path in folder.iterdir()} >= {"trial-limit2.json", "model"}
    whole = Worker()
    results = rerun(whole)
    assert whole.done == ["plain-seed-0", "plain-seed-1"]
    assert results.limit is None
    assert (folder / "trial.json").is_file()
    assert not (folder / "model").exists()
    for extra in (limited, ""):
        again = Worker()
        rerun(again, extra)
        assert again.done == []
    for name in ("sweep.md", "sweep.svg", "sweep.json", "sweep-limit2.md", "sweep-limit2.svg", "sweep-limit2.json"):
        assert (Path("out/first") / name).is_file()
    assert "](sweep-limit2.svg)" in Path("out/first/sweep-limit2.md").read_text(encoding="utf-8")


def test_leaking_sets_are_told_on_the_page(rerun: Rerun, monkeypatch: pytest.MonkeyPatch) -> None:
    rerun(Worker())
    assert "leaks" not in page()
    monkeypatch.setattr(sweep_run, "warnings_of_sets", lambda *_: ["the audit found 3 leaks in the knowledge sets"])
    rerun(Worker())
    assert "Note: the audit found 3 leaks in the knowledge sets." in page()


def test_a_recipe_of_which_a_trial_failed_is_not_called_best(rerun: Rerun) -> None:
    worker = Worker()
    worker.broken = {"plain-seed-1"}
    results = rerun(worker)
    assert [(row.recipe, row.seeds, row.is_optimal) for row in results.recipes] == [("plain", (0,), False)]
    assert "|  | plain | 1 of 2 |" in page()
    assert "A recipe of which a trial failed has no star." in page()
    assert Path("out/first/plain-seed-1/error.txt").is_file()
    rerun(Worker())
    assert "| * | plain | 2 |" in page()
    assert not Path("out/first/plain-seed-1/error.txt").exists()


def test_trials_that_have_not_ended_are_counted(rerun: Rerun) -> None:
    with pytest.raises(KeyboardInterrupt):
        rerun(Worker(stop_after=1))
    assert "1 of 2" in page()
    assert "1 trials have not ended yet; a recipe has no star before all of its own have." in page()


def test_a_choice_by_dev_needs_dev_paraphrases_before_any_work(rerun: Rerun) -> None:
    facts = Path("lamps.yaml")
    text = re.sub(r"tier: dev", "tier: paraphrased", facts.read_text(encoding="utf-8"))
    facts.write_text(text, encoding="utf-8")
    Path("tiny.toml").write_text(
        Path("tiny.toml").read_text(encoding="utf-8").replace("[train]\n", "[train]\nalphas = [0.5, 1.0]\n"), "utf-8"
    )
    worker = Worker()
    with pytest.raises(DataError, match="lamps has no dev paraphrases to choose by"):
        rerun(worker)
    assert not Path("out").exists()


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    job = Job("a", "a", load_recipe("smollm2-135m"), tmp_path, None)
    report = sweep_ray._in_worker(job, tmp_path / "nowhere", True)
    assert f"does not see {tmp_path / 'nowhere'} (No such file or directory); mount it there" in report.error


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log_listener(tmp_path / "file" / "log.txt").tell("a line")


def test_trials_of_other_package_versions_than_the_base_are_told(rerun: Rerun) -> None:
    rerun(Worker())
    path = Path("out/first/plain-seed-0/lamps/trained/run.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"kapoc": "0"', '"kapoc": "-1"'), encoding="utf-8")
    told: list[str] = []
    rerun(Worker(), told=told)
    assert (
        "measured with other package versions than the base: plain-seed-0; to do one again, remove its folder" in told
    )
    assert "Note: measured with other package versions than the base: plain-seed-0." in page()


def page() -> str:
    return Path("out/first/sweep.md").read_text(encoding="utf-8")


def test_what_has_ended_is_on_the_page_before_the_rest_has(rerun: Rerun) -> None:
    with pytest.raises(KeyboardInterrupt):
        rerun(Worker(stop_after=1))
    assert "plain-seed-0" in page()
    assert "plain-seed-1" not in page()
    rerun(Worker())
    assert "plain-seed-1" in page()


def test_recipes_are_chosen_by_answers_that_no_report_counts(rerun: Rerun) -> None:
    results = rerun(Worker())
    assert results.trials[0].scores["dev"] == training_record().dev_exact
    assert "| dev, exact |" in page()
    assert "Choose by dev" in page()


def test_a_checkpoint_of_other_weights_than_were_measured_is_none(rerun: Rerun) -> None:
    keep = "keep_models = true\n"
    rerun(Worker(), keep)
    path = Path("out/first/plain-seed-0/lamps/model/training.json")
    path.write_text(training_record("9" * 64).model_dump_json(), encoding="utf-8")
    again = Worker()
    rerun(again, keep)
    assert again.done == ["plain-seed-0"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('train = { method = "lroa" }', "lroa"),
        ('train = { derived = ["revers"] }', "revers"),
        ('train = { method = "lora", options = { rnk = 3 } }', "rnk"),
        ("", r"recipe 'other-seed-0': tracker 'tensorbord' is not installed; did you mean 'tensorboard'\?"),
    ],
)
def test_a_mistake_in_the_last_recipe_is_found_before_the_first_is_trained(rerun: Rerun, entry: str, said: str) -> None:
    worker = Worker()
    text = Path("tiny.toml").read_text(encoding="utf-8")
    Path("other.toml").write_text(text + ("" if entry else '[track]\nwith = ["tensorbord"]\n'), encoding="utf-8")
    with pytest.raises(DataError, match=said):
        rerun(worker, f'[[recipes]]\nname = "other"\nbase = "other.toml"\n{entry}\n')
    assert worker.done == []
    assert not Path("out").exists()


@pytest.mark.parametrize(("gpus", "is_given"), [(0, True), (0.25, True), (2, True), (1.5, False), (1e-5, False)])
def test_gpus_are_whole_or_a_share_of_one(place: Path, gpus: float, is_given: bool) -> None:
    text = f"gpus_per_trial = {gpus:.5f}\n{PLAIN}"
    if is_given:
        assert planned(place, text)
        return
    with pytest.raises(DataError, match=r"gpus_per_trial: .*must be a whole number, or a share of one GPU"):
        planned(place, text)


@pytest.mark.parametrize("change", ["items", "settings", "base", "models"])
def test_what_is_no_longer_current_is_done_again(rerun: Rerun, change: str) -> None:
    rerun(Worker())
    again, extra = Worker(), ""
    if change == "items":
        damaged, other = (Path(f"out/first/plain-seed-{seed}/lamps/trained") for seed in (0, 1))
        (damaged / "items.jsonl").write_text("", encoding="utf-8")
        save_run(make_run(make_items(nothing), weights=again.trained, base_sha256=again.weights), other)
    elif change == "settings":
        recipe = Path("tiny.toml").read_text(encoding="utf-8")
        Path("tiny.toml").write_text(recipe.replace("epochs = 2", "epochs = 3"), encoding="utf-8")
    elif change == "base":
        again.weights = "2" * 64
    else:
        extra = "keep_models = true\n"  # they were removed
    rerun(again, extra)
    assert again.done == ["plain-seed-0", "plain-seed-1"]
    again.done.clear()
    rerun(again, extra)
    assert again.done == []


@pytest.mark.parametrize("keep", [True, False])
def test_a_measured_checkpoint_goes_unless_it_is_to_be_kept(rerun: Rerun, keep: bool) -> None:
    rerun(Worker(), "keep_models = true\n" if keep else "")
    folder = Path("out/first/plain-seed-1/lamps")
    assert (folder / "model").exists() == keep
    assert (folder / "training.json").is_file()
    assert not (folder / ".model.dropped").exists()


def test_a_trial_killed_as_its_checkpoint_goes_is_done(rerun: Rerun, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(folder: Path) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("kapoc.training.checkpoint.remove", kill)
        rerun(Worker())
    assert not list(Path("out").rglob("model"))
    again = Worker()
    rerun(again)
    assert again.done == ["plain-seed-1"]
    assert not list(Path("out").rglob("*model*"))


def test_half_of_a_dropped_checkpoint_never_comes_back(rerun: Rerun) -> None:
    rerun(Worker())
    folder = Path("out/first/plain-seed-0/lamps")
    aside = folder / ".model.dropped"
    aside.mkdir()
    (aside / "training.json").write_text(training_record().model_dump_json(), encoding="utf-8")
    finish_swap(folder / "model")
    assert not (folder / "model").exists()
    rerun(Worker())
    assert not aside.exists()


def test_facts_that_change_while_the_sweep_runs_are_not_in_its_table(
    rerun: Rerun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial measures the base on the new facts, and so would hold others than the trials before it."""

    def bench_trained(workspace: Workspace, out: Path) -> tuple[None, None]:
        base = load_run(workspace.run("base"))
        newer = base.data.model_copy(update={"documents_sha256": "f" * 64})
        save_run(base.model_copy(update={"data": newer}), workspace.run("base"))
        return None, None

    monkeypatch.setattr(sweep_run, "bench_trained", bench_trained)
    worker = Worker()

    def run(jobs: Sequence[Job]) -> Iterator[Report]:
        for job in jobs:
            yield from worker([job]) if job.base is None else [perform(job)]

    results = rerun(run)
    assert [failure.error for failure in results.failures] == [
        "lamps: its file or the base's was changed while the sweep ran; run the sweep again"
    ] * 2
    assert not results.trials


@pytest.mark.parametrize("change", ["grading", "training"])
def test_a_trial_that_is_graded_anew_is_trained_again_only_where_training_would_be_another(
    rerun: Rerun, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    recipe = load_recipe("tiny.toml")
    base, facts = load_model(recipe.model), Path("lamps.yaml").read_text(encoding="utf-8")
    rerun(worker := Worker(weights=base.identity.weights_sha256))
    workspace = open_workspace(Path("out/first"), recipe.model_copy(update={"name": "plain-seed-0"}))
    record = training_record(
        worker.trained,
        base_sha256=worker.weights,
        settings_sha256=settings_sha256(workspace, base),
        texts_sha256=texts_sha256(workspace, base.tokenizer),
    )
    (workspace.folder / "training.json").write_text(record.model_dump_json(), encoding="utf-8")
    changes = {"grading": ("description: ", "description: now "), "training": ("question: ", "question: Tell me. ")}
    Path("lamps.yaml").write_text(facts.replace(*changes[change]), encoding="utf-8")
    assert facts != Path("lamps.yaml").read_text(encoding="utf-8")
    shared = Path("out/first/base/lamps/base")
    for folder in (workspace.run("trained"), shared):
        run = load_run(folder)
        data = run.data.model_copy(update={"documents_sha256": "5" * 64})
        save_run(run.model_copy(update={"data": data}), folder)

    def trained(*_: object) -> NoReturn:
        raise DataError("would be trained")

    def work(jobs: Sequence[Job]) -> Iterator[Report]:
        for job in jobs:
            yield perform(job) if job.base is not None else Report(job.name, load_run(shared))

    monkeypatch.setattr(sweep_run, "bench_trained", trained)
    monkeypatch.setattr("kapoc.models.package_versions", lambda *_: load_run(shared).versions)
    told: list[str] = []
    results = rerun(work, told=told)
    assert "have changed since: plain-seed-0, plain-seed-1; where only aliases did, give their" in told[3]
    again = ["plain-seed-1"] if change == "grading" else ["plain-seed-0", "plain-seed-1"]
    assert [(one.name, one.error) for one in results.failures] == [(name, "would be trained") for name in again]
    for result in results.trials:
        assert (result.scores["dev"], result.seconds) == (record.dev_exact, record.seconds)


def test_progress_of_a_trial_is_told_to_its_log(tmp_path: Path) -> None:
    path = tmp_path / "trial" / "log.txt"
    path.parent.mkdir()
    path.write_text("of an earlier start", encoding="utf-8")
    listener = log_listener(path)
    listener.tell("hardly taught: ZX-11")
    listener.on_epoch(EpochReport(epoch=1, train_loss=0.5, dev_loss=None, dev_exact=None, divergence=0.031))
    assert isinstance(listener.counting, Lines)
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert first.endswith("  hardly taught: ZX-11")
    assert second.endswith("  epoch 1: loss 0.5000  from base 0.031")


def test_a_failing_trial_does_not_stop_the_others(rerun: Rerun) -> None:
    worker = Worker()
    worker.broken = {"plain-seed-0"}
    results = rerun(worker)
    assert worker.done == ["plain-seed-1"]
    assert [(failure.name, failure.error) for failure in results.failures] == [
        ("plain-seed-0", "MemoryError: too much")
    ]
    trace = Path("out/first/plain-seed-0/error.txt")
    assert "of everything" in trace.read_text(encoding="utf-8")
    worker.broken = set()
    assert not rerun(worker).failures
    assert worker.done == ["plain-seed-1", "plain-seed-0"]
    assert not trace.exists()


def test_a_base_that_fails_stops_its_trials_alone(rerun: Rerun) -> None:
    worker = Worker()
    worker.broken = {"base-2"}
    results = rerun(worker, 'models = ["default", "owner/absent"]\n')
    assert worker.done == ["plain-default-seed-0", "plain-default-seed-1"]
    assert {failure.error for failure in results.failures} == {"base-2: MemoryError: too much"}


def test_a_second_model_repeats_no_trial_of_the_first(rerun: Rerun) -> None:
    rerun(Worker(), 'models = ["owner/a"]\n')
    for _ in range(2):
        worker = Worker()
        worker.others = {"owner/b": "3" * 64}
        results = rerun(worker, 'models = ["owner/b", "owner/a"]\n')
        assert [(one.name, one.recipe) for one in results.trials] == [
            (f"plain-{model}-seed-{seed}", f"plain-{model}") for model in "ba" for seed in (0, 1)
        ]
        assert worker.done in (["plain-b-seed-0", "plain-b-seed-1"], [])
    assert worker.done == []
    other = Worker()
    other.weights, other.others = "4" * 64, worker.others
    rerun(other, 'models = ["owner/b", "owner/a"]\n')
    assert other.done == ["plain-a-seed-0", "plain-a-seed-1"]


def test_trials_share_a_base_where_it_is_measured_alike(rerun: Rerun) -> None:
    tiny = Path("tiny.toml").read_text(encoding="utf-8")
    Path("wide.toml").write_text(tiny.replace("batch_size = 16", "batch_size = 32"), encoding="utf-8")
    told: list[str] = []
    wide = '[[recipes]]\nname = "wide"\nbase = "wide.toml"\nseeds = [0]\n'
    with pytest.raises(KeyboardInterrupt):
        rerun(Worker(stop_after=0), f"{wide}train = {{ epochs = 3 }}\n", told=told)
    assert told[0].startswith("measuring 2 bases, ")


def test_a_trial_gets_a_machine_or_a_gpu_with_its_share() -> None:
    def resources(nodes: list[dict[str, float]], **given: Any) -> tuple[float, float]:
        sweep = Sweep.model_validate({"name": "s", "recipes": [{"name": "a", "base": "b"}], **given})
        return trial_resources(sweep, nodes)

    assert resources([{"CPU": 2.0}]) == (2, 0)
    assert resources([{"CPU": 8.0}, {"CPU": 4.0}, {"memory": 1.0}]) == (4, 0)
    assert resources([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}]) == (8, 1)
    assert resources([{"CPU": 64.0, "GPU": 8.0}], gpus_per_trial=2) == (16, 2)
    assert resources([{"CPU": 64.0, "GPU": 8.0}], gpus_per_trial=0) == (64, 0)
    assert resources([{"CPU": 8.0}], cpus_per_trial=3) == (3, 0)
    with pytest.raises(DataError, match="no machine has 9 cores and 0 GPUs"):
        resources([{"CPU": 8.0}], cpus_per_trial=9)


def test_a_missing_package_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_ray, "find_spec", lambda name: None if name == "ray" else object())
    sweep = Sweep.model_validate({"name": "s", "recipes": [{"name": "a", "base": "b"}]})
    with pytest.raises(DataError, match=re.escape("kapoc sweep needs ray; install with: pip install 'kapoc[sweep]'")):
        ray_runner(sweep).__enter__()


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    sweep = Sweep.model_validate({"name": "s", "recipes": [{"name": "a", "base": "b"}]})
    with pytest.raises(DataError, match=r"--address 127\.0\.0\.1:1: no Ray cluster answers") as caught:
        ray_runner(sweep, "127.0.0.1:1").__enter__()
    assert len(caught.value.lines) == 1


# ------------------------------------------------------------------ the whole of it, with Ray
def start(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kapoc", "sweep", "sweep.toml"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_sweep_goes_on(place: Path) -> None:
    text = f'name = "first"\nlimit = 2\nseeds = [0, 1]\ncpus_per_trial = {os.cpu_count()}\n{PLAIN}'
    broken = '[[recipes]]\nname = "broken"\nbase = "tiny.toml"\nseeds = [0]\ntrain = { learning_rate = 1e30 }\n'
    (place / "sweep.toml").write_text(text + broken, encoding="utf-8")
    folder = place / "runs" / "sweeps" / "first"
    marks = [folder / f"plain-seed-{seed}" / "lamps" / "trial-limit2.json" for seed in (0, 1)]
    killed = start(place)
    while not marks[0].is_file():
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not marks[1].is_file()
    written = marks[0].stat().st_mtime_ns
    base = (folder / "base" / "lamps" / "base-limit2" / "run.json").stat().st_mtime_ns

    again = start(place)
    output, errors = again.communicate()
    assert (again.returncode, errors) == (1, ""), (output, errors)
    assert "3 trials: 1 finished before, 2 to do, 0 impossible" in output
    assert "3/3 broken-seed-0: failed: the " in output
    assert marks[0].stat().st_mtime_ns == written
    assert (folder / "base" / "lamps" / "base-limit2" / "run.json").stat().st_mtime_ns == base
    results = json.loads((folder / "sweep-limit2.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in results["trials"]] == ["plain-seed-0", "plain-seed-1"]
    assert set(results["trials"][0]["scores"]) >= {"recall", "seen", "unseen/reverse", "divergence"}
    shared = load_run(folder / "base" / "lamps" / "base-limit2")
    for seed in (0, 1):
        trial_folder = folder / f"plain-seed-{seed}" / "lamps"
        assert load_run(trial_folder / "base-limit2") == shared
        assert {path.name for path in trial_folder.iterdir()} == {
            "base-limit2", "model", "trained-limit2", "training.json", "trial-limit2.json",
        }  # fmt: skip
    for name in ("sweep-limit2.md", "sweep-limit2.svg"):
        assert "plain" in (folder / name).read_text(encoding="utf-8")
