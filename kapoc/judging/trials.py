"""What the trials of a sweep found: numbers a trial, means a recipe, and which recipes no other beats. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from kapoc.judging.pareto import Point, Unit, common_unit, pareto_front
from kapoc.record import limit_suffix
from kapoc.source import StrictRecord
from kapoc.stats import seed_summary


class TrialResult(StrictRecord):
    """One finished trial.

    Attributes:
        name: of the trial.
        recipe: what it has in common with other seeds.
        model: that was trained.
        seed: of training.
        seconds: of training alone.
        scores: `dev` (the share of dev paraphrases whose answer is exact, to choose by), `recall` (mean of paraphrased
            and unseen), `seen`, `paraphrased`, `unseen`, `unseen/<kind>`,
            `spillover/control`, `spillover/off_topic` (shares), `general_difference`, `bits_per_byte_difference`,
            `divergence` (mean KL(base || trained), nats per token); those that were measured.
        settings: the whole recipe.
    """

    name: str
    recipe: str
    model: str
    seed: int
    seconds: float
    scores: dict[str, float]
    settings: dict[str, Any]


class TrialFailure(StrictRecord):
    """One trial that ended in an error, told in one line."""

    name: str
    recipe: str
    error: str


class Spread(StrictRecord):
    """A number over seeds; no sd of one seed."""

    mean: float
    sd: float | None


class RecipeSummary(StrictRecord):
    """One recipe over its seeds.

    Attributes:
        recipe: its name.
        seeds: of the trials that finished.
        scores: of `TrialResult`, and `seconds`; those that every trial has.
        is_optimal: whether no other recipe is at least as good in recall, forgetting and seconds, and better in one.
    """

    recipe: str
    seeds: Annotated[tuple[int, ...], Field(strict=False)]
    scores: dict[str, Spread]
    is_optimal: bool = False


class SweepResults(StrictRecord):
    """All that a sweep found; `sweep.json`.

    Attributes:
        schema_version: version of this record; 1.
        name: of the sweep.
        knowledge: name of the knowledge sets.
        limit: items a task, where not all were asked.
        forgetting: what stands for forgetting: the divergence, or bits per byte where not every trial has it.
        recipes: over their seeds, in the order of the file.
        trials: that finished.
        failures: that did not.
        notes: what a reader must know of them.
        planned: how many trials each recipe was to have.
    """

    schema_version: Literal[1] = 1
    name: str
    knowledge: str
    limit: int | None
    forgetting: Unit
    recipes: Annotated[tuple[RecipeSummary, ...], Field(strict=False)]
    trials: Annotated[tuple[TrialResult, ...], Field(strict=False)]
    failures: Annotated[tuple[TrialFailure, ...], Field(strict=False)]
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    planned: dict[str, int] = Field(default_factory=dict)

    @property
    def stem(self) -> str:
        """What its files are called, but for their endings."""
        return f"sweep{limit_suffix(self.limit)}"

    @property
    def num_open(self) -> int:
        """How many trials have neither finished nor failed yet."""
        return max(0, sum(self.planned.values()) - len(self.trials) - len(self.failures))


def summarise(
    name: str,
    knowledge: str,
    trials: Sequence[TrialResult],
    failures: Sequence[TrialFailure] = (),
    limit: int | None = None,
    notes: Sequence[str] = (),
    planned: Mapping[str, int] | None = None,
) -> SweepResults:
    """Every trial, every recipe over its seeds, and which recipes are Pareto-optimal.

    A recipe of which a trial failed, or is still to come, is none of them: those that are there may be the lucky ones.
    """
    unit = common_unit([trial.scores for trial in trials])
    groups: dict[str, list[TrialResult]] = {}
    for trial in trials:
        groups.setdefault(trial.recipe, []).append(trial)
    recipes = [_summary(recipe, group) for recipe, group in groups.items()]
    broken = {failure.recipe for failure in failures}
    broken |= {recipe for recipe, group in groups.items() if len(group) < (planned or {}).get(recipe, 0)}
    points = {
        recipe.recipe: point
        for recipe in recipes
        if recipe.recipe not in broken and (point := point_of(recipe.scores, unit)) is not None
    }
    optimal = dict(zip(points, pareto_front(list(points.values())), strict=True))
    marked = tuple(recipe.model_copy(update={"is_optimal": optimal.get(recipe.recipe, False)}) for recipe in recipes)
    return SweepResults(
        name=name,
        knowledge=knowledge,
        limit=limit,
        forgetting=unit,
        recipes=marked,
        trials=tuple(trials),
        failures=tuple(failures),
        notes=tuple(notes),
        planned=dict(planned or {}),
    )


def point_of(scores: Mapping[str, Spread], unit: Unit) -> Point | None:
    """Where a recipe stands, by its means; none where something was not measured."""
    if "recall" not in scores or unit not in scores:
        return None
    return Point(scores["recall"].mean, scores[unit].mean, scores["seconds"].mean)


def _summary(recipe: str, trials: Sequence[TrialResult]) -> RecipeSummary:
    rows = [{**trial.scores, "seconds": trial.seconds} for trial in trials]
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    scores = {name: _spread([row[name] for row in rows]) for name in shared}
    return RecipeSummary(recipe=recipe, seeds=tuple(trial.seed for trial in trials), scores=scores)


def _spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(mean=values[0], sd=None)
    summary = seed_summary(values)
    return Spread(mean=summary.mean, sd=summary.sd)
