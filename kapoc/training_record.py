"""The vocabulary of a training run: its epochs, its way back to the base, what each fact got, and its JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from kapoc.knowledge.facts import SetIdentity
from kapoc.source import StrictRecord, load_json

TRAINING_FILE = "training.json"


class EpochReport(StrictRecord):
    """What one epoch did.

    Attributes:
        epoch: from 1.
        train_loss: mean over its answer tokens, in nats.
        dev_loss, dev_exact: loss and exact share on the dev paraphrases (teacher-forced), where there are some.
        divergence: KL(base || model) in nats per token, where training stops within a budget of it.
        spillover: the share of held-out questions that were answered with something taught, where there is a budget.
    """

    epoch: int
    train_loss: float
    dev_loss: float | None
    dev_exact: float | None
    divergence: float | None = None
    spillover: float | None = None


class AlphaReport(StrictRecord):
    """One point on the way from the base to the trained weights.

    Attributes:
        alpha: the share of the way.
        dev_exact: share of the dev answers whose every token is the greedy one.
        divergence: KL(base || model) in nats per token, on text of the base's own that training never saw.
        spillover: the share of held-out questions that are answered with something taught, where there is a budget.
    """

    alpha: float
    dev_exact: float
    divergence: float
    spillover: float | None = None


class Exposure(StrictRecord):
    """What training says of one fact in one form.

    Attributes:
        fact: its id, `<set>/<id>` of several sets; empty for texts about nothing that exists.
        form: `seen` for the fact's own training texts, else the form of derived texts, or `contrast`.
        num_examples, num_loss_tokens: over all epochs.
    """

    fact: str
    form: str
    num_examples: int
    num_loss_tokens: int


class Checks(StrictRecord):
    """What was checked before the folder counted as a model.

    Attributes:
        reload_max_difference: largest difference between logits in memory and after reloading from disk.
        samples: generations at temperature 1 that had no inf or nan, by precision.
        float16_finite: whether a forward pass in float16 stays finite (reported, not required).
    """

    reload_max_difference: float
    samples: dict[str, int]
    float16_finite: bool


class TrainingRecord(StrictRecord):
    """How a checkpoint came about; `training.json` in its folder."""

    schema_version: Literal[1] = 1
    fingerprint: str
    settings_sha256: str = ""
    """Of the settings, the base and the device: all that it was made of but the sets; empty in older records."""
    texts_sha256: str = ""
    """Of all that it read of the sets: another grading, or a comment in the file, is no other text."""
    recipe: dict[str, Any]
    knowledge: Annotated[tuple[SetIdentity, ...], Field(strict=False)]
    paraphrases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """The sha256 of every file of paraphrases that was quoted."""
    base: str
    base_hub_id: str | None = None
    """The base's id on the Hub; empty for a folder, none in records that are older than this field."""
    base_sha256: str
    weights_sha256: str
    num_examples: int
    num_steps: int
    num_trained_parameters: int
    seconds: float
    tokens_per_second: float
    answer_tokens_per_second: float
    peak_memory_bytes: int
    precision: Literal["float32", "bfloat16"] | None = None
    """What its matrix products were computed in; none in records that are older than this field."""
    epochs: Annotated[tuple[EpochReport, ...], Field(strict=False)]
    alphas: Annotated[tuple[AlphaReport, ...], Field(strict=False)] = ()
    exposures: Annotated[tuple[Exposure, ...], Field(strict=False)] = ()
    checks: Checks
    versions: dict[str, str]

    @property
    def budget(self) -> float:
        """How far the recipe let the model move, in nats per token."""
        return float(self.recipe["train"]["budget"]["divergence"])

    @property
    def spillover_budget(self) -> float | None:
        """How many of the held-out questions it let the model answer with something taught; none for any."""
        share = self.recipe["train"]["budget"].get("spillover")
        return None if share is None else float(share)

    @property
    def taken(self) -> AlphaReport | None:
        """The point of the way back to the base that was taken; none where none was asked for."""
        return best(self.alphas, self.budget, self.spillover_budget) if self.alphas else None

    @property
    def dev_exact(self) -> float | None:
        """The share of the dev answers that are exact, of the weights that were saved."""
        last = self.taken or next(iter(self.epochs[-1:]), None)
        return None if last is None else last.dev_exact

    @property
    def beyond_budget(self) -> str:
        """In words what of the budget the saved weights do not keep to; empty where they do, or where there is none."""
        last = self.taken or next(iter(self.epochs[-1:]), None)
        if last is None or last.divergence is None:
            return ""
        found = []
        if last.divergence > self.budget:
            found.append(f"{last.divergence:.3f} nats per token from its base, where {self.budget:g} are allowed")
        if self.spillover_budget is not None and (last.spillover or 0) > self.spillover_budget:
            found.append(
                f"something taught in {last.spillover:.1%} of the answers to held-out questions, where "
                f"{self.spillover_budget:.1%} are allowed"
            )
        return " and ".join(found)


def best(curve: Sequence[AlphaReport], budget: float, spillover: float | None = None) -> AlphaReport:
    """The point with most right dev answers within the budget, the nearest to the base of several such.

    Where none is within the budget, it is the one that spills least of those within that of the divergence; and where
    there are none either, the one that moved least.

    Args:
        curve: at least one point.
        budget: of the divergence.
        spillover: its budget; none for any.
    """
    within = [p for p in curve if is_within(p.divergence, p.spillover, budget, spillover)]
    near = [p for p in curve if p.divergence <= budget]
    if not within and near:
        return min(near, key=lambda point: (1.0 if point.spillover is None else point.spillover, point.divergence))
    if not within:
        return min(curve, key=lambda point: point.divergence)
    return max(within, key=lambda point: (point.dev_exact, -point.divergence))


def is_within(moved: float | None, spilled: float | None, divergence: float, spillover: float | None) -> bool:
    """Whether a model keeps to a budget; what was not measured does not.

    Args:
        moved: its divergence from the base.
        spilled: the share of held-out questions that it answers with something taught.
        divergence, spillover: how large they may be; none for any spillover.
    """
    near = moved is not None and moved <= divergence
    return near and (spillover is None or (spilled is not None and spilled <= spillover))


def training_of(run: Path, weights_sha256: str) -> TrainingRecord | None:
    """How the weights of a run were trained, where their record lies in the run's folder or near it.

    Args:
        run: the run's folder; the checkpoint is `model` beside it, and a sweep keeps the record beside it.
        weights_sha256: of the weights that the run measured; a record of others is passed over, and so is a file of
            that name that another tool wrote.

    Raises:
        DataError: a record is malformed.
    """
    places = [folder / TRAINING_FILE for folder in (run, run.parent / "model", run.parent)]
    found = [load_json(place, TrainingRecord) for place in places if place.is_file() and not _is_foreign(place)]
    return next((record for record in found if record.weights_sha256 == weights_sha256), None)


def is_training_record(path: Path) -> bool:
    """Whether a file is a record of kapoc's, sound or not as to its values.

    Raises:
        ValueError: it is no JSON.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(record, dict) and {"fingerprint", "weights_sha256"} <= record.keys()


def _is_foreign(path: Path) -> bool:
    try:
        return not is_training_record(path)
    except ValueError:
        return False  # a damaged one is told of
