"""Training in stages: each stage trains the model of the one before; what has finished is not done again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kapoc.errors import DataError, OutputError
from kapoc.judging.compare import warnings_of_sets
from kapoc.judging.retention import TAUGHT, Retention, TaughtStage, measured_in, num_items, recall_change, transfers
from kapoc.knowledge.set_file import Source
from kapoc.recipe import BudgetSettings, Recipe
from kapoc.record import Run, holds_model, limit_suffix, to_json
from kapoc.report.retention import render_retention
from kapoc.workflow.bench_run import bench_once
from kapoc.workflow.stages import MAX_UNRELATED, Stage, load_stages, write_stages, write_unrelated
from kapoc.workflow.train_run import (
    refuse_before_training,
    refuse_missing_dev,
    refuse_unfit_base,
    refuse_unknown_trackers,
    train_once,
)
from kapoc.workflow.workspace import Listener, Rehearsal, Workspace
from kapoc.writing import refuse_unwritable, write_atomically

UNRELATED = "unrelated"


@dataclass(frozen=True, slots=True)
class _AtOneTime:
    """A run with what came before it, and its folder as the results name it."""

    after: str
    folder: str
    run: Run


@dataclass(frozen=True, slots=True)
class RetainPlan:
    """What is learned one after another.

    Attributes:
        recipe: of every stage.
        stages: in their order.
        rehearse: training examples of each earlier fact in every epoch of later stages.
        unrelated_steps: optimizer steps on invented facts of no stage, after the last one.
        limit: ask only so many items a task and set, to try things out.
        command: that was typed, to be kept with the runs.
        listener: who is told.
    """

    recipe: Recipe
    stages: tuple[Stage, ...]
    rehearse: int = 0
    unrelated_steps: int = 0
    limit: int | None = None
    command: str = ""
    listener: Listener = field(default_factory=Listener)

    @property
    def name(self) -> str:
        """Of the folder: the recipe, the stages and the rehearsal, which is what the checkpoints depend on."""
        rehearsed = [f"rehearse-{self.rehearse}"] if self.rehearse else []
        return "-".join([self.recipe.name, *(stage.in_a_name for stage in self.stages), *rehearsed])

    @property
    def suffix(self) -> str:
        """What keeps the runs of fewer items apart."""
        return limit_suffix(self.limit)

    @property
    def page(self) -> str:
        """What the results are called: they are others with unrelated training at the end."""
        after = f"-{UNRELATED}-{self.unrelated_steps}" if self.unrelated_steps else ""
        return f"retain{after}{self.suffix}"


def plan_retain(
    typed: Sequence[str],
    recipe: Recipe,
    *,
    rehearse: int = 0,
    unrelated_steps: int = 0,
    limit: int | None = None,
    command: str = "",
    listener: Listener | None = None,
) -> RetainPlan:
    """Read what a user wants to be learned one after another.

    Raises:
        DataError: a stage cannot be used, or there is nothing to come after the only stage.
    """
    stages = load_stages(typed)
    if recipe.train.quotes_facts:
        for stage in stages:
            stage.origin.for_training()  # what is wrong with their paraphrases is said before anything long begins
    for stage in stages:
        refuse_missing_dev(recipe, stage.knowledge.taught, f"stage '{stage.typed}'")
    if len(stages) < 2 and not unrelated_steps:
        raise DataError("retain: one stage has nothing to follow it; name another stage, or --unrelated STEPS")
    most = MAX_UNRELATED // recipe.train.batch_size
    if unrelated_steps > most:
        raise DataError(f"--unrelated {unrelated_steps}: there are invented facts for {most} steps; ask for fewer")
    return RetainPlan(recipe, stages, rehearse, unrelated_steps, limit, command, listener or Listener())


def run_retain(plan: RetainPlan, folder: Path) -> Retention:
    """Measure the base, then train and measure stage by stage, and sum up.

    Args:
        plan: what is learned.
        folder: of the results: `base`, `<number>-<stage>/model` and `/run`, `sets`.

    Raises:
        DataError: the recipe names what does not exist.
        OutputError: the folder cannot be written, is a model's, or holds other files.
    """
    refuse_unwritable(folder)
    refuse_unknown_trackers(plan.recipe)
    steps = [f"{number}-{stage.in_a_name}" for number, stage in enumerate(plan.stages, start=1)]
    unrelated = f"{UNRELATED}-{plan.unrelated_steps}"
    for step in (*steps, unrelated):
        refuse_before_training(plan.recipe, folder / step / "model")
    _refuse_other_files(folder, steps)
    (folder / "sets").mkdir(parents=True, exist_ok=True)
    sources = write_stages(plan.stages, folder / "sets", paraphrased=plan.recipe.train.quotes_facts)
    measured = list(_stages(plan, sources, folder, steps))
    if plan.unrelated_steps:
        model = str(folder / steps[-1] / "model")
        measured.append(_after_unrelated(plan, sources, folder, model, unrelated, measured[0].run))
    return _summary(plan, [source.knowledge.name for source in sources], measured)


def write_retention(plan: RetainPlan, retention: Retention, folder: Path) -> Path:
    """Write `retain.json` and `retain.md`; with unrelated training `retain-unrelated-<steps>.*`.

    Returns:
        The page.
    """
    page = folder / f"{plan.page}.md"
    write_atomically(page.with_suffix(".json"), to_json(retention) + "\n")
    write_atomically(page, render_retention(retention))
    return page


def _refuse_other_files(folder: Path, steps: Sequence[str]) -> None:
    """Refuse a folder whose runs or model would be replaced, or taken for results of stages.

    Raises:
        OutputError: a model lies there, or files and neither `sets`, which is made first, nor a stage, nor results.
    """
    if holds_model(folder):
        raise OutputError(f"{folder}: holds a model; choose another --out for the results")
    is_own = any((folder / name).is_dir() for name in ("sets", *steps)) or any(folder.glob("retain*.json"))
    if folder.is_dir() and not is_own and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise OutputError(f"{folder}: holds files that are not of `kapoc retain`; choose another --out or empty it")


def _stages(plan: RetainPlan, sources: Sequence[Source], folder: Path, steps: Sequence[str]) -> Iterator[_AtOneTime]:
    """The base, then the model after every stage."""
    asking = _asking(plan, sources, folder)
    model, name = plan.recipe.model, f"base{plan.suffix}"
    base = bench_once(asking, model, folder / name, on_loaded=partial(refuse_unfit_base, asking))
    yield _AtOneTime("base", name, base)
    for number, (stage, step) in enumerate(zip(plan.stages, steps, strict=True)):
        own = plan.recipe.model_copy(update={"model": model, "knowledge": (sources[number].name,), "name": step})
        teaching = replace(
            _teaching(plan, folder, own, sources[number]),
            rehearsal=Rehearsal(tuple(sources[:number]), plan.rehearse),
            elsewhere=(*sources[:number], *sources[number + 1 :]),
        )
        model = str(train_once(teaching, folder / step / "model"))
        name = f"{step}/run{plan.suffix}"
        yield _AtOneTime(stage.label, name, bench_once(asking, model, folder / name, base))


def _after_unrelated(
    plan: RetainPlan, sources: Sequence[Source], folder: Path, model: str, step: str, base: Run
) -> _AtOneTime:
    """The model after so many steps on invented facts: an epoch of the recipe on their plain examples, all the way."""
    settings = plan.recipe.train
    source = write_unrelated(plan.unrelated_steps * settings.batch_size, folder / "sets")
    derived = {"derived": {}, "derived_from": 1, "derived_by_notes": False, "derived_tokens": None}
    derived |= {"stand_ins": 0, "contrast": 0.0}
    plain = {"epochs": 1, "stop_at": None, "alphas": (), "budget": BudgetSettings()}
    train = settings.model_copy(update=derived | plain)
    own = plan.recipe.model_copy(update={"model": model, "knowledge": (source.name,), "name": step, "train": train})
    trained = train_once(_teaching(plan, folder, own, source), folder / step / "model")
    name = f"{step}/run{plan.suffix}"
    return _AtOneTime(UNRELATED, name, bench_once(_asking(plan, sources, folder), str(trained), folder / name, base))


def _teaching(plan: RetainPlan, folder: Path, recipe: Recipe, source: Source) -> Workspace:
    return Workspace(folder, recipe, (source,), command=plan.command, listener=plan.listener)


def _asking(plan: RetainPlan, sources: Sequence[Source], folder: Path) -> Workspace:
    """Where all stages are asked about at once, in the order in which a run names its sets."""
    by_name = tuple(sorted(sources, key=lambda source: source.knowledge.name))
    return Workspace(folder, plan.recipe, by_name, limit=plan.limit, command=plan.command, listener=plan.listener)


def _summary(plan: RetainPlan, knowledge: Sequence[str], measured: Sequence[_AtOneTime]) -> Retention:
    last, runs = len(plan.stages), [one.run for one in measured]
    earlier = [(runs[number], runs[last], name) for number, name in enumerate(knowledge[:-1], start=1)]
    rows = tuple(measured_in(one.run, one.after, one.folder, knowledge) for one in measured)
    return Retention(
        settings=plan.recipe.model_dump(mode="json"),
        rehearse=plan.rehearse,
        unrelated_steps=plan.unrelated_steps,
        limit=plan.limit,
        stages=tuple(
            TaughtStage(
                label=stage.label,
                knowledge=name,
                num_facts=len(stage.knowledge.taught),
                num_items=num_items(runs[0], name),
            )
            for stage, name in zip(plan.stages, knowledge, strict=True)
        ),
        measured=rows,
        transfer=transfers({score: [row.scores[score] for row in rows[: last + 1]] for score in ("recall", *TAUGHT)}),
        kept=tuple(recall_change([part]) for part in earlier),
        backward=recall_change(earlier) if earlier else None,
        notes=tuple(warnings_of_sets(runs[0], runs[0])),
        unrelated=recall_change([(runs[last], runs[-1], name) for name in knowledge]) if plan.unrelated_steps else None,
    )
