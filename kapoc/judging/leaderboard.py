"""Several trained runs against one reference: what each recalls and forgot, and which no other beats. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Outcome, judged
from kapoc.judging.gate_file import Gate
from kapoc.judging.pareto import Point, Unit, common_unit, pareto_front, scores_of
from kapoc.record import Run
from kapoc.source import StrictRecord


class Standing(StrictRecord):
    """One run of a leaderboard.

    Attributes:
        name: how it was given.
        verdict: of the gate; none of the reference, and where a run cannot be judged.
        scores: as `trials.TrialResult.scores` names them, and `seconds` of training where their record was found.
        is_optimal: whether no other run has as much recall and as little forgetting, and is better in one of them.
    """

    name: str
    verdict: Outcome | None
    scores: dict[str, float]
    is_optimal: bool = False


class Leaderboard(StrictRecord):
    """Several runs against one reference.

    Attributes:
        forgetting: what stands for forgetting: the divergence, or bits per byte where not every run has it.
        complete: whether every item was asked of every run.
        reference: the run that the others are held against.
        standings: the others, in the order in which they were given.
    """

    forgetting: Unit
    complete: bool
    reference: Standing
    standings: Annotated[tuple[Standing, ...], Field(strict=False)]


def leaderboard(name: str, reference: Run, comparisons: Mapping[str, Comparison], gate: Gate) -> Leaderboard:
    """Hold runs against each other.

    Args:
        name: of the reference.
        reference: the run that the comparisons have as `before`.
        comparisons: of the reference with each run, by the run's name.
        gate: that judges each of them.
    """
    scores = {run: _scores(comparison) for run, comparison in comparisons.items()}
    unit = common_unit(list(scores.values()))
    verdicts = {run: judged(comparison, gate)[1] for run, comparison in comparisons.items()}
    points = {run: point for run, found in scores.items() if (point := standing_point(found, unit)) is not None}
    optimal = dict(zip(points, pareto_front(list(points.values())), strict=True))
    return Leaderboard(
        forgetting=unit,
        complete=all(comparison.complete for comparison in comparisons.values()),
        reference=Standing(name=name, verdict=None, scores=_reference_scores(reference, scores.values())),
        standings=tuple(
            Standing(
                name=run,
                verdict=None if verdict is None else verdict.outcome,
                scores=scores[run],
                is_optimal=optimal.get(run, False),
            )
            for run, verdict in verdicts.items()
        ),
    )


def standing_point(scores: Mapping[str, float], unit: Unit) -> Point | None:
    """Where a run stands when time does not count; none where something was not measured."""
    return Point(scores["recall"], scores[unit]) if "recall" in scores and unit in scores else None


def _reference_scores(reference: Run, others: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """What the reference itself scores; where the others are measured to its weights, it is at no distance."""
    is_base = not reference.settings.base_sha256 and any("divergence" in scores for scores in others)
    return scores_of(compare(reference, reference)) | ({"divergence": 0.0} if is_base else {})


def _scores(comparison: Comparison) -> dict[str, float]:
    seconds = {} if comparison.training is None else {"seconds": comparison.training.seconds}
    return scores_of(comparison) | seconds
