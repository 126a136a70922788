"""What a model knows of every stage after every stage: the matrix, and what the field makes of it. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from kapoc.judging.comparison import Result
from kapoc.judging.pairing import Pair, pair_runs
from kapoc.judging.quantities import is_headline, is_prose, paired_scores, result_of
from kapoc.record import Item, Run
from kapoc.source import StrictRecord

RECALLED = ("paraphrased", "unseen")
"""The tiers whose mean is recall."""
TAUGHT = ("seen", *RECALLED)
ASKED = (*TAUGHT, "control")
Matrix = Sequence[Sequence[float]]
"""Row 0 is the base, row i the model after stage i; column j is stage j + 1."""


class TaughtStage(StrictRecord):
    """One stage of training.

    Attributes:
        label: in tables and folder names.
        knowledge: name of the set that holds its facts; items of runs carry it.
        num_facts: taught.
        num_items: tier -> free questions asked about it after every stage.
    """

    label: str
    knowledge: str
    num_facts: int
    num_items: dict[str, int]


class Measured(StrictRecord):
    """The model at one time.

    Attributes:
        after: `base`, a stage's label, or `unrelated`.
        run: the folder of the run, beside `retain.json`.
        scores: `recall` (mean of paraphrased and unseen) or a tier -> the share of right answers on every stage; none
            where a stage has no such probe.
        general: share of general items that are right; none where none were asked.
        bits_per_byte: on prose; none where none was read.
        divergence: mean KL(base || this model) in nats per token; none of the base itself.
    """

    after: str
    run: str
    scores: dict[str, Annotated[tuple[float | None, ...], Field(strict=False)]]
    general: float | None
    bits_per_byte: float | None
    divergence: float | None


class Transfer(StrictRecord):
    """What stages did to each other, in one score; differences of shares.

    Attributes:
        backward: `backward_transfer`.
        forgetting: `forgetting`.
        forward: `forward_transfer`.
    """

    backward: float
    forgetting: float
    forward: float


class Retention(StrictRecord):
    """All that training in stages left; `retain.json`.

    Attributes:
        schema_version: version of this record; 1.
        settings: the recipe.
        rehearse: training examples of each earlier fact in every epoch of later stages.
        unrelated_steps: optimizer steps of unrelated training after the last stage.
        limit: items a task, where not all were asked.
        stages: in the order of training.
        measured: the base, the model after every stage and, where there was any, after unrelated training.
        transfer: `recall` or a tier -> what stages did to each other; of those that every stage has, and none where
            there is one stage.
        kept: for every stage but the last, recall of its facts right after it and after the last stage.
        backward: recall of the facts of all stages but the last, each stage counting as much, right after theirs and
            after the last stage; its difference is the backward transfer.
        unrelated: recall of the facts of all stages, each counting as much, before and after unrelated training.
        notes: what a reader must know of the sets.
    """

    schema_version: Literal[1] = 1
    settings: dict[str, Any]
    rehearse: int
    unrelated_steps: int
    limit: int | None
    stages: Annotated[tuple[TaughtStage, ...], Field(strict=False)]
    measured: Annotated[tuple[Measured, ...], Field(strict=False)]
    transfer: dict[str, Transfer]
    kept: Annotated[tuple[Result, ...], Field(strict=False)]
    backward: Result | None
    unrelated: Result | None
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def matrix(self, score: str) -> list[tuple[float | None, ...]]:
        """`recall` or a tier of every stage, of the base and after every stage."""
        return [row.scores[score] for row in self.measured[: len(self.stages) + 1]]


def backward_transfer(matrix: Matrix) -> float:
    """How much later stages changed earlier ones: mean over j < T of R[T][j] - R[j][j].

    Args:
        matrix: T + 1 rows (the base first) of T columns, T at least 2.

    Sources:
        Lopez-Paz and Ranzato (2017), Gradient Episodic Memory for Continual Learning.
    """
    last = _last(matrix)
    return statistics.fmean(matrix[last][j - 1] - matrix[j][j - 1] for j in range(1, last))


def forgetting(matrix: Matrix) -> float:
    """How far earlier stages are below their best: mean over j < T of max over 1 <= i < T of R[i][j] - R[T][j].

    Args:
        matrix: as `backward_transfer`.

    Sources:
        Chaudhry et al. (2018), Riemannian Walk for Incremental Learning.
    """
    last = _last(matrix)
    return statistics.fmean(max(matrix[i][j - 1] for i in range(1, last)) - matrix[last][j - 1] for j in range(1, last))


def forward_transfer(matrix: Matrix) -> float:
    """How much earlier stages helped with later ones not taught yet: mean over j > 1 of R[j-1][j] - R[0][j].

    Args:
        matrix: as `backward_transfer`; the base stands where the source has an untrained model.

    Sources:
        Lopez-Paz and Ranzato (2017), Gradient Episodic Memory for Continual Learning.
    """
    last = _last(matrix)
    return statistics.fmean(matrix[j - 1][j - 1] - matrix[0][j - 1] for j in range(2, last + 1))


def _last(matrix: Matrix) -> int:
    last = len(matrix) - 1
    if last < 2 or any(len(row) != last for row in matrix):
        raise ValueError(f"need T + 1 rows of T stages, at least two: {[len(row) for row in matrix]}")
    return last


def measured_in(run: Run, after: str, folder: str, knowledge: Sequence[str]) -> Measured:
    """The numbers of one run.

    Args:
        run: of all stages' sets together.
        after: which stage, or `base` or `unrelated`.
        folder: of the run.
        knowledge: the names of the stages' sets, in the order of the stages.
    """
    headline = [item for item in run.items if is_headline(item)]
    stages = [{tier: _mean(_of(headline, name, tier)) for tier in ASKED} for name in knowledge]
    recall = tuple(_mean([share for tier in RECALLED if (share := stage[tier]) is not None]) for stage in stages)
    texts = [item for item in run.items if is_prose(item)]
    num_bytes = sum(item.num_bytes for item in texts)
    moved = [item.divergence for item in texts if item.divergence is not None]
    return Measured(
        after=after,
        run=folder,
        scores={"recall": recall, **{tier: tuple(stage[tier] for stage in stages) for tier in ASKED}},
        general=_mean([item.score for item in headline if item.tier == "general"]),
        bits_per_byte=sum(item.score * item.num_bytes for item in texts) / num_bytes if texts else None,
        divergence=_mean(moved),
    )


def num_items(run: Run, knowledge: str) -> dict[str, int]:
    """How many free questions of each tier a run asked about one set."""
    headline = [item for item in run.items if is_headline(item)]
    return {tier: number for tier in ASKED if (number := len(_of(headline, knowledge, tier)))}


def transfers(matrices: Mapping[str, Sequence[Sequence[float | None]]]) -> dict[str, Transfer]:
    """What stages did to each other, in every score that all stages have; nothing of one stage alone."""
    found = {}
    for score, rows in matrices.items():
        matrix = [[share for share in row if share is not None] for row in rows]
        if len(rows) > 2 and all(len(row) == len(rows) - 1 for row in matrix):
            found[score] = Transfer(
                backward=backward_transfer(matrix),
                forgetting=forgetting(matrix),
                forward=forward_transfer(matrix),
            )
    return found


def recall_change(parts: Sequence[tuple[Run, Run, str]]) -> Result:
    """Recall before and after, paired item by item and clustered by fact; every part counts as much as any other.

    Args:
        parts: an earlier run, a later one, and the set that both are looked at on.

    Raises:
        IncomparableError: two runs asked other items, or in another way.
    """
    pairs: list[Pair] = []
    weights: list[float] = []
    for before, after, knowledge in parts:
        asked = [p for p in pair_runs(before, after) if is_headline(p[0]) and p[0].knowledge == knowledge]
        tiers = [group for tier in RECALLED if (group := [pair for pair in asked if pair[0].tier == tier])]
        for group in tiers:
            pairs += group
            weights += [1 / len(group) / len(tiers)] * len(group)
    return result_of(paired_scores(pairs, lambda item: item.score, weights))


def _of(items: Sequence[Item], knowledge: str, tier: str) -> list[float]:
    return [item.score for item in items if item.knowledge == knowledge and item.tier == tier]


def _mean(numbers: Sequence[float]) -> float | None:
    return statistics.fmean(numbers) if numbers else None
