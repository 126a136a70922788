"""Running a sweep: every trial an ordinary workspace of its own; what has finished is not done again."""

import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from kapoc.errors import DataError, KapocError, first_line
from kapoc.judging.compare import warnings_of_sets
from kapoc.judging.comparison import Comparison
from kapoc.judging.pareto import scores_of
from kapoc.judging.trials import SweepResults, TrialFailure, TrialResult, summarise
from kapoc.recipe import Recipe
from kapoc.record import Run, limit_suffix, load_run, save_run, to_json
from kapoc.report.plot import pareto_plot
from kapoc.report.sweep import render_sweep
from kapoc.source import StrictRecord, load_json
from kapoc.training_record import TRAINING_FILE, TrainingRecord
from kapoc.workflow.bench_run import bench_base, bench_trained, compare_again
from kapoc.workflow.sweep_file import Sweep, Trial
from kapoc.workflow.train_run import refuse_bad_settings, refuse_missing_dev, refuse_unknown_trackers
from kapoc.workflow.workspace import Listener, Workspace, open_workspace
from kapoc.writing import write_atomically

TRIAL_FILE = "trial{limit}.json"
"""Of a try-out with fewer items it is another file, so that neither takes the other's place."""
ERROR_FILE = "error.txt"
LOG_FILE = "log.txt"


class FinishedTrial(StrictRecord):
    """The last thing that a trial writes; `trial.json` in its folder.

    Attributes:
        schema_version: version of this record; 1.
        fingerprint: of the recipe, the base's weights, the items and how they were asked.
        items_sha256: of the trained run, which lies beside it.
        result: the trial's numbers.
    """

    schema_version: Literal[1] = 1
    fingerprint: str
    items_sha256: str
    result: TrialResult


@dataclass(frozen=True, slots=True)
class Job:
    """What one worker is asked to do: measure a base, or train and measure a trial.

    Attributes:
        name: of the trial, or of the base.
        group: the trial's recipe; empty for a base.
        recipe: with its overrides.
        root: the sweep's folder.
        limit: ask only so many items a task.
        keep_model: whether the checkpoint stays.
        command: that was typed.
        base: folder of the base's run, of a trial; none of a base.
        fingerprint: that the finished trial will have.
        unlabelled: what a trial was called before the sweep had a second model; empty where it has none.
    """

    name: str
    group: str
    recipe: Recipe
    root: Path
    limit: int | None
    keep_model: bool = False
    command: str = ""
    base: Path | None = None
    fingerprint: str = ""
    unlabelled: str = ""

    @property
    def drops_model(self) -> bool:
        """Whether the checkpoint goes once it was measured; a try-out's stays, for the whole sweep measures it."""
        return not self.keep_model and self.limit is None

    @property
    def mark(self) -> Path:
        """The file that a finished trial leaves."""
        return self.workspace.folder / TRIAL_FILE.format(limit=limit_suffix(self.limit))

    @property
    def workspace(self) -> Workspace:
        """Where the job's results lie; its progress is told to a file in the job's folder."""
        listener = log_listener(self.root / self.recipe.name / LOG_FILE)
        return open_workspace(self.root, self.recipe, limit=self.limit, command=self.command, listener=listener)


@dataclass(frozen=True, slots=True)
class Report:
    """How a job ended: with what it was to make, or with one line that says what went wrong."""

    name: str
    made: Run | FinishedTrial | None = None
    error: str = ""


Runner = Callable[[Sequence[Job]], Iterable[Report]]
"""Does jobs, in any order or at once, and reports on each as it ends."""


@dataclass(frozen=True, slots=True)
class _SoFar:
    """A sweep while it runs.

    Attributes:
        sweep: the file.
        knowledge: the sets' name.
        jobs: all trials.
        notes: for a reader of the results.
        finished: trials that have ended well, by name.
        failures: what stopped others, by name.
    """

    sweep: Sweep
    knowledge: str
    jobs: Sequence[Job]
    notes: Sequence[str]
    finished: dict[str, FinishedTrial]
    failures: dict[str, str]

    @property
    def num_ended(self) -> int:
        """Of all trials."""
        return len(self.finished) + len(self.failures)

    def take(self, report: Report) -> None:
        """Enter how one more trial has ended."""
        if isinstance(report.made, FinishedTrial):
            self.finished[report.name] = report.made
        else:
            self.failures[report.name] = report.error

    def results(self) -> SweepResults:
        """What there is by now, in the order of the trials."""
        return summarise(
            self.sweep.name,
            self.knowledge,
            [self.finished[job.name].result for job in self.jobs if job.name in self.finished],
            [
                TrialFailure(name=job.name, recipe=job.group, error=self.failures[job.name])
                for job in self.jobs
                if job.name in self.failures
            ],
            self.sweep.limit,
            self.notes,
            Counter(job.group for job in self.jobs),
        )


def run_sweep(
    sweep: Sweep,
    trials: Sequence[Trial],
    out: Path,
    runner: Runner,
    *,
    tell: Callable[[str], None] = lambda _: None,
    command: str = "",
) -> SweepResults:
    """Measure each base once, do the trials that have not finished yet, and sum up.

    The results so far are written whenever a trial ends.

    Args:
        sweep: the file.
        trials: that it stands for.
        out: the folder of sweeps; results lie in a folder of the sweep's name.
        runner: does the work.
        tell: is given a line of text whenever a job ends.
        command: that was typed, to be kept with the runs.

    Raises:
        DataError: a recipe names what does not exist, or the knowledge set is malformed; nothing has been done.
    """
    jobs = [
        Job(
            trial.name,
            trial.group,
            trial.recipe,
            out / sweep.name,
            sweep.limit,
            sweep.keep_models,
            command,
            unlabelled=trial.unlabelled,
        )
        for trial in trials
    ]
    for job in jobs:
        refuse_bad_settings(job.recipe)
        refuse_unknown_trackers(job.recipe)
    workspaces = [job.workspace for job in jobs]  # opening each refuses malformed files before any work
    for workspace in workspaces:
        refuse_missing_dev(workspace.recipe, workspace.facts, workspace.name)
    for note in dict.fromkeys(f"{job.group}: {note}" for job in jobs for note in job.recipe.train.idle):
        tell(note)
    ready, failures = _after_their_bases(jobs, runner, tell)
    ready = [_where_it_finished(job) for job in ready]
    finished = {job.name: done for job in ready if (done := finished_trial(job)) is not None}
    waiting = [job for job in ready if job.name not in finished]
    tell(f"{len(jobs)} trials: {len(finished)} finished before, {len(waiting)} to do, {len(failures)} impossible")
    notes = _notes(ready, finished, tell)
    if changed := [job.name for job in waiting if job.mark.is_file()]:
        tell(
            f"to be done again, as sets, settings, base or runs have changed since: {', '.join(changed)}; where only "
            "aliases did, give their `trained` to `kapoc regrade` first, and they are not trained again"
        )
    if waiting:
        tell(f"each trial tells its progress in {out / sweep.name / '<trial>' / LOG_FILE}")
    so_far = _SoFar(sweep, workspaces[0].name, jobs, notes, finished, failures)
    for report in runner(waiting) if waiting else ():
        so_far.take(report)
        write_results(so_far.results(), out / sweep.name)
        tell(f"{so_far.num_ended}/{len(jobs)} {report.name}: {_in_short(report)}")
    write_results(so_far.results(), out / sweep.name)
    return so_far.results()


def _notes(ready: Sequence[Job], finished: Mapping[str, FinishedTrial], tell: Callable[[str], None]) -> list[str]:
    """What a reader of the results should know; what the user can mend now is told at once."""
    old = [job.name for job in ready if job.name in finished and not _has_versions_of_base(job)]
    notes = [f"measured with other package versions than the base: {', '.join(old)}"] if old else []
    for note in notes:
        tell(f"{note}; to do one again, remove its folder")
    if (base := next((job.base for job in ready if job.base is not None), None)) is not None:
        measured = load_run(base)
        notes += warnings_of_sets(measured, measured)
    return notes


def _has_versions_of_base(job: Job) -> bool:
    """Whether the same package versions measured a trial and its base."""
    return job.base is None or load_run(job.workspace.run("trained")).versions == load_run(job.base).versions


def write_results(results: SweepResults, folder: Path) -> None:
    """Write `sweep.json`, `sweep.md` and `sweep.svg`; those of a try-out with fewer items end in `-limit<number>`."""
    folder.mkdir(parents=True, exist_ok=True)
    page = page_of(results, folder)
    write_atomically(page.with_suffix(".json"), to_json(results) + "\n")
    write_atomically(page.with_suffix(".svg"), pareto_plot(results))
    write_atomically(page, render_sweep(results))


def page_of(results: SweepResults, folder: Path) -> Path:
    """Where the results of a sweep are shown."""
    return folder / f"{results.stem}.md"


def _in_short(report: Report) -> str:
    if not isinstance(report.made, FinishedTrial):
        return f"failed: {report.error}"
    scores = report.made.result.scores
    recall = f"recall {scores['recall']:.1%}, " if "recall" in scores else ""
    return f"{recall}trained in {report.made.result.seconds:.0f} s"


def _base_key(job: Job) -> tuple[str, int]:
    return job.recipe.model, job.recipe.bench.batch_size


def _after_their_bases(
    jobs: Sequence[Job], runner: Runner, tell: Callable[[str], None]
) -> tuple[list[Job], dict[str, str]]:
    """Measure each base once: the trials that know theirs, and what stops the others, by name."""
    bases: dict[tuple[str, int], Job] = {}
    for job in jobs:
        name = "base" if not bases else f"base-{len(bases) + 1}"
        recipe = job.recipe.model_copy(update={"name": name})
        bases.setdefault(_base_key(job), replace(job, name=name, group="", recipe=recipe))
    reports = {}
    logs = ", ".join(str(base.root / base.recipe.name / LOG_FILE) for base in bases.values())
    tell(f"measuring {len(bases)} base{'s' if len(bases) > 1 else ''}, where that was not done yet; progress in {logs}")
    for report in runner(list(bases.values())):
        tell(f"{report.name}: {report.error or 'measured'}")
        reports[report.name] = report
    ready, impossible = [], {}
    for job in jobs:
        base = bases[_base_key(job)]
        run = reports[base.name].made
        if isinstance(run, Run):
            ready.append(replace(job, base=base.workspace.run("base"), fingerprint=_fingerprint(job.workspace, run)))
        else:
            impossible[job.name] = f"{base.name}: {reports[base.name].error}"
    return ready, impossible


def _fingerprint(workspace: Workspace, base: Run) -> str:
    """What a trial is made of: another fingerprint means another trial."""
    return workspace.recipe.fingerprint(
        base.model.weights_sha256,
        base.model.dtype,
        base.settings.model_dump_json(),
        base.data.model_dump_json(),
        *workspace.paraphrases,
    )


def _where_it_finished(job: Job) -> Job:
    """A trial, in the folder without the label of its model where it has finished before there was a second one."""
    if not job.unlabelled or job.mark.is_file():
        return job
    earlier = replace(job, recipe=job.recipe.model_copy(update={"name": job.unlabelled}))
    return earlier if finished_trial(earlier) is not None else job


def finished_trial(job: Job) -> FinishedTrial | None:
    """What the trial wrote at its end, if it was this very trial and its run still lies there."""
    workspace = job.workspace
    try:
        done = load_json(job.mark, FinishedTrial)
        trained = load_run(workspace.run("trained"))
        is_current = done.fingerprint == job.fingerprint and trained.items_sha256 == done.items_sha256
        has_model = job.keep_model and _is_model_of(workspace, trained)
    except DataError:
        return None
    if not is_current or (job.keep_model and not has_model):
        return None
    if job.drops_model:
        _drop_model(workspace)
    return done.model_copy(update={"result": done.result.model_copy(update={"name": job.name, "recipe": job.group})})


def _is_model_of(workspace: Workspace, trained: Run) -> bool:
    """Whether the checkpoint that lies there is the one that a run measured."""
    path = workspace.model / TRAINING_FILE
    return path.is_file() and load_json(path, TrainingRecord).weights_sha256 == trained.model.weights_sha256


def perform(job: Job, work: Callable[[Job], Run | FinishedTrial] | None = None) -> Report:
    """Do a job in this process; whatever goes wrong ends this job alone.

    Args:
        job: to be done.
        work: that does it; measuring and training by default.
    """
    traces = job.root / job.recipe.name / ERROR_FILE
    try:
        traces.unlink(missing_ok=True)
        return Report(job.name, (work or do)(job))
    except KapocError as error:
        line = "; ".join(error.lines)
    except Exception as error:  # other trials must go on
        line = f"{type(error).__name__}: {first_line(error)}"
        with suppress(OSError):  # where not even that can be written, the line has to do
            traces.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(traces, traceback.format_exc())
    return Report(job.name, error=line)


def log_listener(path: Path) -> Listener:
    """Tells progress to a file, which is begun anew; its folder is made when there is something to tell.

    A file that cannot be written is no reason to stop a training.
    """
    from kapoc.counting import Lines
    from kapoc.workflow.progress import TrainingLines

    begun: list[bool] = []

    def tell(line: str) -> None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if begun else "w", encoding="utf-8") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}  {line}\n")
            begun.append(True)

    lines = TrainingLines(tell)
    return Listener(tell=tell, on_step=lines.on_step, on_epoch=lines.on_epoch, counting=Lines(tell))


def do(job: Job) -> Run | FinishedTrial:
    """Measure a base, or train, measure and compare a trial and mark it as finished."""
    workspace = job.workspace
    if job.base is None:
        return bench_base(workspace).model_copy(update={"items": ()})
    from kapoc.training.checkpoint import read_training_record

    save_run(load_run(job.base), workspace.run("base"))
    again = None if job.keep_model else compare_again(workspace)
    if again is not None:
        workspace.listener.tell("graded anew since it finished, and its training would be the same: compared alone")
    comparison = again[0] if again is not None else bench_trained(workspace, workspace.run("trained"))[0]
    if _fingerprint(job.workspace, load_run(workspace.run("base"))) != job.fingerprint:
        raise DataError(
            f"{workspace.name}: its file or the base's was changed while the sweep ran; run the sweep again"
        )
    record = again[1] if again is not None else read_training_record(workspace.model)
    if record is None:
        raise DataError(f"{workspace.model}: the checkpoint was taken away during its measurement; run the sweep again")
    return finish(job, comparison, record.seconds)


def finish(job: Job, comparison: Comparison, seconds: float) -> FinishedTrial:
    """Mark a trial as done, once all else of it is on disk; then its checkpoint goes, unless it is to be kept."""
    workspace = job.workspace
    if (workspace.model / TRAINING_FILE).is_file():
        shutil.copyfile(workspace.model / TRAINING_FILE, workspace.folder / TRAINING_FILE)
    result = TrialResult(
        name=job.name,
        recipe=job.group,
        model=job.recipe.model,
        seed=job.recipe.train.seed,
        seconds=seconds,
        scores=scores_of(comparison) | _dev_score(workspace),
        settings=job.recipe.model_dump(mode="json"),
    )
    trained = load_run(workspace.run("trained"))
    done = FinishedTrial(fingerprint=job.fingerprint, items_sha256=trained.items_sha256, result=result)
    write_atomically(job.mark, to_json(done) + "\n")
    if job.drops_model:
        _drop_model(workspace)
    return done


def _dev_score(workspace: Workspace) -> dict[str, float]:
    """The share of the dev answers that are exact, of the weights that were measured; where there are any."""
    path = workspace.folder / TRAINING_FILE
    exact = load_json(path, TrainingRecord).dev_exact if path.is_file() else None
    return {} if exact is None else {"dev": exact}


def _drop_model(workspace: Workspace) -> None:
    """Remove a measured checkpoint; moved aside first, so that a kill leaves no half of one where one is looked for."""
    from kapoc.training.checkpoint import remove

    aside = workspace.model.with_name(f".{workspace.model.name}.dropped")
    remove(aside)
    if (workspace.model / TRAINING_FILE).is_file():
        workspace.model.replace(aside)
        remove(aside)
