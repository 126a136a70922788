"""Runs on disk -> their comparison, its verdict, and the leaderboard where several were trained."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kapoc.errors import DataError, IncomparableError
from kapoc.judging.baseline import load_baseline
from kapoc.judging.compare import compare, warnings_of
from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict, judged
from kapoc.judging.gate_file import Gate
from kapoc.judging.leaderboard import Leaderboard, leaderboard
from kapoc.judging.pairing import pair_runs
from kapoc.recipe import Recipe
from kapoc.record import Run, load_run
from kapoc.source import load_json
from kapoc.training_record import TrainingRecord, training_of


@dataclass(frozen=True, slots=True)
class Compared:
    """A base run and the trained runs that are held against it.

    Attributes:
        base: the base's folder, as it was given.
        before: the base's run.
        after: the trained runs, by their folders as they were given; at least one.
        training: how each of them was trained, where its record was found.
        comparison: of the base with the first of them.
    """

    base: str
    before: Run
    after: Mapping[str, Run]
    training: Mapping[str, TrainingRecord | None]
    comparison: Comparison

    @property
    def first(self) -> Run:
        """The trained run that the comparison is about."""
        return next(iter(self.after.values()))

    def judged(self, gate: Gate) -> tuple[Comparison, Verdict | None]:
        """What a gate says of the comparison; where it cannot be judged, the comparison says why in a warning."""
        return judged(self.comparison, gate)

    def leaderboard(self, gate: Gate) -> Leaderboard | None:
        """All trained runs against the base; none where there is only one."""
        if len(self.after) == 1:
            return None
        comparisons = {
            name: compare(self.before, run, training=self.training[name]) for name, run in self.after.items()
        }
        return leaderboard(self.base, self.before, comparisons, gate)


def compare_on_disk(
    before: Path,
    after: Sequence[Path],
    *,
    contexts: Mapping[str, Path] | None = None,
    noise: Path | None = None,
    training: Path | None = None,
    seeds: bool = False,
) -> Compared:
    """Load runs and compare the base with the first trained one.

    Args:
        before: the base's run.
        after: the trained run, and others.
        contexts: `oracle`, `retrieved` -> the base measured with knowledge in its prompt.
        noise: the base measured once more.
        training: the training record of the first trained run; looked for beside it if none is given.
        seeds: whether a user says that the trained runs are of one recipe; believed where no record says otherwise.

    Raises:
        DataError: a run or a record is malformed, stands twice, or the record is of other weights.
        IncomparableError: the runs asked other items, or in another way.
    """
    if not after:
        raise DataError(f"{before}: is the only run; name a trained run after it, or the base with --base")
    if twice := [path for number, path in enumerate(after) if path in after[:number]]:
        raise DataError(f"{twice[0]}: is given twice; name each run once")
    runs = {str(path): load_run(path) for path in after}
    first = next(iter(runs.values()))
    given = {} if training is None else {str(after[0]): _given(training, first)}
    sought = {name: run.model.weights_sha256 for name, run in runs.items() if name not in given}
    records = given | {name: training_of(Path(name), weights) for name, weights in sought.items()}
    base = load_baseline(before)
    for name, run in runs.items():
        try:
            pair_runs(base, run)
        except IncomparableError as error:
            raise IncomparableError(f"{name}: {error}" if len(runs) > 1 else str(error)) from None
    for name, run in runs.items():
        if len(runs) > 1 and run.model.weights_sha256 == base.model.weights_sha256:
            raise DataError(f"{name}: measured the weights of the base, and is no trained run; leave it out")
    again = _of_weights_before(runs)
    apart = {name: record for name, record in records.items() if name not in again}
    may_be_seeds, why_not = _may_be_of_one_recipe(apart, said=seeds)
    comparison = compare(
        base,
        first,
        contexts={name: load_run(path) for name, path in (contexts or {}).items()},
        noise=None if noise is None else load_run(noise),
        other_seeds=[run for name, run in runs.items() if run is not first and name not in again]
        if may_be_seeds
        else (),
        training=records[str(after[0])],
    )
    known = set(comparison.warnings)
    odd = [f"{name}: {words}" for name, run in runs.items() for words in warnings_of(base, run) if words not in known]
    twins = [f"{name}: measured the same weights as {earlier}" for name, earlier in again.items()]
    comparison = comparison.model_copy(update={"warnings": (*comparison.warnings, *odd, *why_not, *twins)})
    return Compared(str(before), base, runs, records, comparison)


def _of_weights_before(runs: Mapping[str, Run]) -> dict[str, str]:
    """The runs that measured the weights of an earlier one -> that one: one training is one seed."""
    first_of: dict[str, str] = {}
    for name, run in runs.items():
        first_of.setdefault(run.model.weights_sha256, name)
    earlier = {name: first_of[run.model.weights_sha256] for name, run in runs.items()}
    return {name: first for name, first in earlier.items() if first != name}


def _given(path: Path, run: Run) -> TrainingRecord:
    record = load_json(path, TrainingRecord)
    if record.weights_sha256 != run.model.weights_sha256:
        raise DataError(f"{path}: weights_sha256: is not that of the measured model; give the record of that")
    return record


def _may_be_of_one_recipe(
    records: Mapping[str, TrainingRecord | None], *, said: bool = False
) -> tuple[bool, tuple[str, ...]]:
    """Whether runs are of one recipe and several seeds: as their records say, or a user where there is none.

    Returns:
        Whether they may be, and what is to be said of it.
    """
    known = [_made_of(record) for record in records.values() if record is not None]
    lacking = ", ".join(name for name, record in records.items() if record is None)
    if not lacking or len(records) == 1:
        if any(one != known[0] for one in known):
            why = (
                "the training records are of different recipes, sets or bases; only the first of these runs is compared"
            )
            return False, (f"the spread between seeds is left out: {why}",)
        seeds = [record.recipe["train"]["seed"] for record in records.values() if record is not None]
        if twice := [seed for number, seed in enumerate(seeds) if seed in seeds[:number]]:
            why = f"two of the runs are of seed {twice[0]}, and what lies between them is not the seed's"
            return False, (f"the spread between seeds is left out: {why}",)
        return True, ()
    if said and not known:
        return True, (f"nothing says that these runs are of one recipe: no training record lies beside {lacking}",)
    return False, (f"the spread between seeds is left out: no training record lies beside {lacking}",)


def _made_of(record: TrainingRecord) -> tuple[object, ...]:
    """What the trainings of one recipe have in common, whatever their seeds."""
    sets = tuple(known.name for known in record.knowledge)
    return _trained_by(record), record.paraphrases, sets, record.base_sha256


def _trained_by(record: TrainingRecord) -> dict[str, Any]:
    """Settings of training without the seed; those that came after it was recorded have the value that changes nothing.

    What else a recipe says (what it is, who is told, how it is measured) trains nothing.
    """
    recipe = record.recipe
    with contextlib.suppress(ValidationError):
        recipe = Recipe.model_validate(recipe).model_dump(mode="json")
    return {**recipe["train"], "seed": 0}
