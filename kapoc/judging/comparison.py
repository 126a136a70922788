"""The vocabulary of a comparison: two runs paired item by item, and what else is known of them."""

import math
from typing import Annotated, Literal

from pydantic import Field

from kapoc.record import SCHEMA_VERSION, DataIdentity, Form, ModelIdentity, Settings, Tier
from kapoc.source import StrictRecord
from kapoc.training_record import TrainingRecord

Floats = Annotated[tuple[float, ...], Field(strict=False)]
Interval = Annotated[tuple[float | None, float | None], Field(strict=False)]
"""Two bounds; none where there is no bound."""


def finite(bounds: tuple[float, float]) -> tuple[float | None, float | None]:
    """Bounds as JSON can hold them: none in place of an infinite one."""
    low, high = bounds
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


class PairedScores(StrictRecord):
    """One quantity, item by item: what the gate's tests are made on.

    Attributes:
        before, after: one number an item.
        clusters: what each item belongs to.
        weights: what each item counts; one each if none.
        lower_is_better: whether a decrease is an improvement.
        is_share: whether every number lies from 0 to 1 by its nature, and not by chance.
    """

    before: Floats
    after: Floats
    clusters: Annotated[tuple[str, ...], Field(strict=False)]
    weights: Floats | None = None
    lower_is_better: bool = False
    is_share: bool = True


class Result(StrictRecord):
    """One group of items before and after.

    Attributes:
        n: paired items.
        clusters: of paired items: facts, or the items themselves.
        before, after: mean scores.
        difference: after - before.
        interval: 95% of the difference, clustered.
        p_value: of no difference, two-sided, clustered.
        gained, lost: items that went up, and down.
        detectable: the smallest difference that these items could have shown: one-sided 5%, 80% power; none where
            they could not have shown any.
    """

    n: int
    clusters: int
    before: float
    after: float
    difference: float
    interval: Interval
    p_value: float
    gained: int
    lost: int
    detectable: float | None

    @property
    def churn(self) -> float:
        """The share of items that changed, either way."""
        return (self.gained + self.lost) / self.n


class Learning(StrictRecord):
    """A tier apart by what the base knew already.

    Attributes:
        num_unknown, num_known: items that were wrong, and right, before.
        learned: share of the unknown ones that are right after; none where all were known.
        learned_interval: 95%, Wilson, for the number of items that the clusters are worth.
        kept: share of the known ones that are right after; none where none was known.
        kept_interval: the same of `kept`.
    """

    num_unknown: int
    num_known: int
    learned: float | None
    learned_interval: Interval | None
    kept: float | None
    kept_interval: Interval | None


class Forgetting(StrictRecord):
    """What was forgotten, in four units.

    Attributes:
        num_lost, num_gained: general items that changed.
        p_value: of as many lost as gained: exact McNemar.
        completions: general ability -> log-probability, in nats, of the words that go on with its passages; it falls
            before the greedy word changes. Abilities that are choices have none: what a choice takes is which of its
            options is likelier, and all of them may gain.
        bits_per_byte: on prose, before and after; none where no text was measured.
        own_texts: file or task of the user's own -> the same on its texts.
        divergence: mean KL(base || trained) in nats per token on the same prose; none where it was not measured.
        divergence_before: the same of the first run: 0 of the base itself, more of an earlier trained model.
        divergence_interval: 95%.
    """

    num_lost: int
    num_gained: int
    p_value: float
    completions: dict[str, Result] = Field(default_factory=dict)
    bits_per_byte: Result | None
    own_texts: dict[str, Result] = Field(default_factory=dict)
    divergence: float | None
    divergence_before: float | None
    divergence_interval: Interval | None


class Variety(StrictRecord):
    """How alike the answers to control and off-topic prompts are: a collapsed model says one thing to all.

    Attributes:
        n: answers.
        distinct: share of different answers, case and spacing apart.
        most_frequent: the answer given most often.
        most_frequent_share: of all answers.
    """

    n: int
    distinct: float
    most_frequent: str
    most_frequent_share: float


class ContextResult(StrictRecord):
    """A tier asked of the base with knowledge in its prompt.

    Attributes:
        n, clusters: items.
        score: mean score.
        interval: 95%, Wilson, for the number of items that the clusters are worth.
        normalised_gain: (after - before) / (score - before): how much of what the context gives, training gave; none
            where the context gives nothing.
    """

    n: int
    clusters: int
    score: float
    interval: Interval
    normalised_gain: float | None


class Noise(StrictRecord):
    """The same model measured twice, at another batch size or on another device: what changes without any training.

    Attributes:
        n: paired items.
        changed: share of items whose score changed.
        difference: of the mean scores.
    """

    n: int
    changed: float
    difference: float


class Seeds(StrictRecord):
    """One quantity in several trained runs of one recipe; seed variation is not item error, and stands apart."""

    values: Floats
    mean: float
    sd: float


class Validity(StrictRecord):
    """What a reader must know before believing the numbers.

    Attributes:
        known_before: ids of the knowledge items that the base answered right; not counted as learned.
        num_leaks: what the audit of the sets found, the larger number of the two runs; none where neither was audited.
        num_proposals: examples that kapoc proposed and nobody has looked at, the larger number, too.
        documents_sha256: of the frozen items, the same in both runs.
    """

    known_before: Annotated[tuple[str, ...], Field(strict=False)]
    num_leaks: int | None
    num_proposals: int
    documents_sha256: str


LedgerEntry = Literal["learned", "kept", "lost", "never"]


class LedgerLine(StrictRecord):
    """One item in both runs."""

    id: str
    tier: Tier
    form: Form
    kind: str
    prompt: str
    reference: str
    entry: LedgerEntry
    before: str
    after: str


class SpilledLine(StrictRecord):
    """An answer of the second run to a control or off-topic prompt, with taught answers in it.

    Attributes:
        group: `control` or `off_topic`.
        before: the first run's answer.
        taught: the slots, as `<fact>.<slot>`, that stand in the second run's answer.
    """

    id: str
    group: str
    prompt: str
    before: str
    after: str
    taught: Annotated[tuple[str, ...], Field(strict=False)]


class Measurement(StrictRecord):
    """When and how one of the two runs was made."""

    created: str
    seconds: float
    settings: Settings
    versions: dict[str, str]


class Comparison(StrictRecord):
    """Two runs paired item by item.

    Attributes:
        tiers: each tier in its headline form: free answers for knowledge, accuracy for general.
        forms: `<tier>/<form>`: the same by form.
        kinds: `<tier>/<kind>`: the same by kind, free answers and general abilities.
        sets: knowledge set -> its tiers, where several were asked about.
        set_spillover: the same -> the spillover of its controls; a set without any has none.
        learning: the knowledge tiers apart by what the base knew.
        forgetting: in four units.
        spillover: `control` and `off_topic`: the share of outputs that hold a taught answer.
        spillover_kinds: `<group>/<kind>`: the same by kind of question.
        ended: the share of answers that the model ended by itself.
        variety: of the answers to control and off-topic prompts, `before` and `after`.
        contexts: `oracle`, `retrieved` -> tiers of the base with knowledge in its prompt, where such runs were given.
        noise: tier -> what changes between two measurements of the base, where a second one was given.
        seeds: quantity -> the trained runs of one recipe, where several were given.
        validity: what a reader must know first.
        spilled: every answer of the second run in which taught answers stand where none belongs.
        ledger: every knowledge item asked freely.
        commands: that made the two runs.
        measured: when and how they were made.
        training: of the second run's weights, where their record was found.
        warnings: what a reader must know before using the numbers.
        scores: every quantity that a gate may judge, item by item; not written out.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    before: ModelIdentity
    after: ModelIdentity
    data: DataIdentity
    complete: bool
    tiers: dict[Tier, Result]
    forms: dict[str, Result]
    kinds: dict[str, Result]
    sets: dict[str, dict[Tier, Result]] = Field(default_factory=dict)
    set_spillover: dict[str, Result] = Field(default_factory=dict)
    learning: dict[Tier, Learning]
    forgetting: Forgetting
    spillover: dict[str, Result]
    spillover_kinds: dict[str, Result] = Field(default_factory=dict)
    ended: Result | None
    variety: dict[str, Variety]
    contexts: dict[str, dict[Tier, ContextResult]] = Field(default_factory=dict)
    noise: dict[Tier, Noise] = Field(default_factory=dict)
    seeds: dict[str, Seeds] = Field(default_factory=dict)
    validity: Validity
    ledger: tuple[LedgerLine, ...] = Field(strict=False)
    spilled: tuple[SpilledLine, ...] = Field(default=(), strict=False)
    commands: tuple[str, str] = Field(strict=False)
    measured: tuple[Measurement, Measurement] = Field(strict=False)
    training: TrainingRecord | None = None
    warnings: tuple[str, ...] = Field(default=(), strict=False)
    scores: dict[str, PairedScores] = Field(default_factory=dict, exclude=True)
