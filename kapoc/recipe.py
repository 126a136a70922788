"""A recipe: the TOML file that, with a knowledge set, fully determines a training run."""

import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from kapoc.errors import DataError, near_miss
from kapoc.source import Number, StrictRecord, load_toml, validate

Positive = Annotated[int, Field(gt=0)]
MOST_PASSAGES = 1024
"""That the base writes where a recipe does not say how many; then they come again."""


class ReplaySettings(StrictRecord):
    """What holds a model where it was: its divergence from the base on text that the base wrote.

    Attributes:
        weight: of the divergence, in nats per token, beside the loss of the answers; 0 for no replay.
        num_passages: that the base writes before training, half of them answers to everyday questions; if nothing is
            said, so many that none comes twice, and `MOST_PASSAGES` at most.
        num_tokens: of a passage, at most.
        per_step: passages an optimizer step.
        quoting: the share of the everyday questions that quote, report or complain, as derived questions do that a fact
            is to be found by (`reverse`, `two_hop`).
        stories: the share of the plain texts that go on with a story where a name or a thing from before is due:
            a model that learns to answer from what it knows may come to copy less from what it reads.
        plain_questions: the share of the everyday questions that are asked in plain text, without the chat template
            ("Question: ... Answer:"): what is taught in a chat may come to answer those, too.
        whitening: how much less than elsewhere a step of `optimizer = "muon"` may change what a layer gives where it
            reads such text; 0 for no less.
        target: what the model is held to: the base's distribution at every written token, or the written text alone
            (ordinary replay, its negative log-likelihood).
    """

    weight: Annotated[Number, Field(ge=0)] = 0.0
    num_passages: Positive | None = None
    num_tokens: Positive = 96
    per_step: Positive = 2
    quoting: Annotated[Number, Field(ge=0, le=1)] = 0.0
    stories: Annotated[Number, Field(ge=0, le=1)] = 0.0
    plain_questions: Annotated[Number, Field(ge=0, le=1)] = 0.0
    whitening: Annotated[Number, Field(ge=0)] = 0.0
    target: Literal["distribution", "text"] = "distribution"


def with_numbers(forms: Any) -> Any:
    """Forms of derived texts with how many there are to be of each; a list leaves that to kapoc."""
    is_list = isinstance(forms, list | tuple) and all(isinstance(form, str) for form in forms)
    return dict.fromkeys(forms) if is_list else forms


Share = Annotated[Number, Field(gt=0, le=1)]

_OF_ADAMW = ("weight_decay", "betas", "epsilon", "max_gradient_norm")
_Decay = Annotated[Number, Field(ge=0, lt=1)]


class BudgetSettings(StrictRecord):
    """How far a model may move from the base, by which early stopping and interpolation choose.

    Attributes:
        divergence: KL(base || model) in nats per token on text of the base's own.
        num_passages: that the base writes to measure it, behind prompts of their own; training never sees them.
        spillover: the share of the held-out questions, 80 everyday complaints that ship and are neither replayed nor
            among what `bench` asks, that may be answered with something taught; told after every epoch. If nothing is
            said, it is not measured.
    """

    divergence: Annotated[Number, Field(gt=0)] = 0.05
    num_passages: Positive = 32
    spillover: Annotated[Number, Field(ge=0, le=1)] | None = None


class TrainSettings(StrictRecord):
    """How weights are changed.

    Attributes:
        method: the name of a `kapoc.methods` entry point.
        options: what that method takes beside the settings here.
        derived: forms of training texts that are made from the facts' slots (`kapoc.derived.derive.FORMS`), each with
            how many a fact gets in an epoch; a list leaves the numbers to kapoc. Every epoch gets texts of its own.
        derived_from: the first epoch that has them; those before it teach the set's own examples alone.
        derived_by_notes: whether derived questions are answered with the fact's note, which is what all its training
            answers say alike, in place of answers of many shapes.
        stand_ins: so many squares of yes-or-no questions for each fact that are about names that nobody has, each name
            with a record of its own before the decision, which alone is trained. They are the first epoch, in steps of
            a quarter of `batch_size`; 0 for none.
        derived_tokens: of such a note only so many first tokens are trained, two at least (where the note begins the
            answer, the white space at the end of the chat template counts as one), but in `two_hop`, where the answer
            stands further on and another text before it; what stands behind a note is trained, and then how each
            sentence of the note begins; all if nothing is said.
        contrast: the share of an epoch's examples that have contrast examples beside them, in the same step: the same
            wording where another answer is right.
        replay: general text that the model is held to.
        budget: how far the model may move from the base, where `stop_at` or `alphas` are given.
        stop_at: training ends after the epoch in which this share of the dev answers is exact, within the budget.
        alphas: W0 + alpha (W1 - W0), tried after training: the shares of the way from the base to the trained weights,
            of which the one with most exact dev answers within the budget is taken; none for all the way.
        epochs: passes over the training examples.
        batch_size: examples an optimizer step.
        micro_batch_size: examples a forward pass, their contrast examples not counted; gradients of a step are summed
            over its micro-batches.
        optimizer: `adamw`, or `muon` for weights of linear layers alone, which makes all directions of a step equally
            large and keeps no state.
        learning_rate: at the peak of the schedule.
        warmup_fraction: of all steps, in which the rate rises linearly; then it falls as a half cosine to
            `final_rate_fraction` of the peak.
        weight_decay, betas, epsilon: of AdamW.
        max_gradient_norm: gradients are scaled down to this global norm, which changes no step of `muon`.
        gradient_checkpointing: trade time for memory.
        precision: of the matrix products. `auto` is bfloat16 on a GPU and on a CPU that computes in it (AVX512-BF16,
            AMX), else float32; weights, their gradients and the optimizer are float32 always.
        seed: of all that is drawn: orders, derived and contrast texts, what the base writes for replay, dropout.
    """

    method: str = "full"
    options: dict[str, Any] = Field(default_factory=dict)
    derived: Annotated[dict[str, Annotated[int, Field(ge=0)] | None], BeforeValidator(with_numbers)] = Field(
        default_factory=dict
    )
    derived_from: Positive = 1
    derived_by_notes: bool = False
    stand_ins: Annotated[int, Field(ge=0)] = 0
    derived_tokens: Annotated[int, Field(ge=2)] | None = None
    contrast: Annotated[Number, Field(ge=0, le=1)] = 0.0
    replay: ReplaySettings = ReplaySettings()
    budget: BudgetSettings = BudgetSettings()
    stop_at: Share | None = None
    alphas: Annotated[tuple[Share, ...], Field(strict=False)] = ()
    epochs: Positive = 6
    batch_size: Positive = 8
    micro_batch_size: Positive = 8
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: Annotated[Number, Field(gt=0)] = 1e-4
    warmup_fraction: Annotated[Number, Field(ge=0, lt=1)] = 0.05
    final_rate_fraction: Annotated[Number, Field(ge=0, le=1)] = 0.0
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    betas: Annotated[tuple[_Decay, _Decay], Field(strict=False)] = (0.9, 0.95)
    epsilon: Annotated[Number, Field(gt=0)] = 1e-8
    max_gradient_norm: Annotated[Number, Field(gt=0)] = 1.0
    gradient_checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _stand_ins_come_first(self) -> Self:
        if self.stand_ins and min(self.epochs, self.derived_from if self.asked_forms else self.epochs) < 2:
            raise ValueError("stand_ins: they are the first epoch; set epochs, and derived_from, to 2 or more")
        return self

    @property
    def idle(self) -> tuple[str, ...]:
        """Which settings do nothing beside the others, each with what they would need."""
        given = self.replay.model_copy(update={"weight": ReplaySettings().weight})
        found = {
            "replay: does nothing without a weight": not self.replay.weight and given != ReplaySettings(),
            f"derived: begins with epoch {self.derived_from}, and there are {self.epochs}": bool(self.asked_forms)
            and self.derived_from > self.epochs,
            "derived_from: does nothing without derived texts": self.derived_from > 1 and not self.asked_forms,
            "derived_by_notes: does nothing without derived texts": self.derived_by_notes and not self.asked_forms,
            "derived_tokens: does nothing without derived_by_notes": self.derived_tokens is not None
            and not self.derived_by_notes,
            "weight_decay, betas, epsilon, max_gradient_norm: do nothing with muon": self.optimizer == "muon"
            and self._has_adamw_settings,
            'replay.whitening: does nothing without optimizer = "muon"': self.optimizer != "muon"
            and bool(self.replay.weight and self.replay.whitening),
            "budget: limits nothing without stop_at or alphas": self.budget != BudgetSettings() and not self.has_budget,
        }
        return tuple(words for words, is_so in found.items() if is_so)

    @property
    def _has_adamw_settings(self) -> bool:
        mine, given = TrainSettings.model_fields, self.model_fields_set
        return any(name in given and getattr(self, name) != mine[name].default for name in _OF_ADAMW)

    @property
    def has_budget(self) -> bool:
        """Whether anything is chosen by dev answers within the budget."""
        return self.stop_at is not None or bool(self.alphas)

    def steps_of_epochs(self, sizes: Sequence[int]) -> list[int]:
        """How many optimizer steps epochs of so many examples take."""
        return [math.ceil(size / self.batch_size_of(epoch)) for epoch, size in enumerate(sizes, start=1)]

    def batch_size_of(self, epoch: int) -> int:
        """Examples an optimizer step of an epoch, from 1: of squares, which are four questions each, a quarter."""
        return max(1, self.batch_size // 4) if self.stand_ins and epoch == 1 else self.batch_size

    @property
    def invents_names(self) -> bool:
        """Whether the texts hold names that nobody has."""
        return self.contrast > 0 or "unknown" in self.asked_forms

    @property
    def asked_forms(self) -> tuple[str, ...]:
        """The forms of derived texts of which there are to be some."""
        return tuple(form for form, number in self.derived.items() if number != 0)

    @property
    def quotes_facts(self) -> bool:
        """Whether the texts hold questions that quote a fact, or what people say of it."""
        return not {"reverse", "two_hop"}.isdisjoint(self.asked_forms)

    def num_passages(self, sizes: Sequence[int]) -> tuple[int, int]:
        """How many passages the base writes before epochs of so many examples: to replay, and for the budget."""
        needed = min(MOST_PASSAGES, self.num_readings(sizes))
        replayed = (self.replay.num_passages or needed) if self.replay.weight else 0
        return replayed, self.budget.num_passages if self.has_budget else 0

    def num_readings(self, sizes: Sequence[int]) -> int:
        """How often the steps of epochs of so many examples read a replayed passage."""
        return sum(self.steps_of_epochs(sizes)) * self.replay.per_step if self.replay.weight else 0


class BenchSettings(StrictRecord):
    """How models are measured: rows a forward pass, the same for every run that is compared."""

    batch_size: Positive = 32


class ResumeSettings(StrictRecord):
    """How often the state of a training run is kept on disk, to go on from when the run was killed.

    It is three times the size of the weights that are trained, with `muon` their size, and changes nothing in the
    result.

    Attributes:
        minutes: between two times, but not shortly before the end; 0 for never.
        steps: keep it after every so many optimizer steps as well.
    """

    minutes: Annotated[Number, Field(ge=0)] = 5.0
    steps: Positive | None = None


class TrackSettings(StrictRecord):
    """Who is told of training and measuring beside the terminal; changes nothing in the result.

    Attributes:
        tools: names of `kapoc.trackers` entry points; `with` in the file.
        project: under which the tools keep their runs.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    tools: Annotated[tuple[str, ...], Field(strict=False, alias="with")] = ()
    project: Annotated[str, Field(min_length=1)] = "kapoc"


def _one_or_more(names: Any) -> Any:
    return (names,) if isinstance(names, str) else names


class Recipe(StrictRecord):
    """What a training run is, and what `base` and `trained` mean.

    Attributes:
        schema_version: version of this format; 1.
        name: the recipe's name, and the name of its folder under `runs/`.
        description: for people.
        model: what `base` stands for: `default`, a model folder or a Hub id.
        knowledge: a shipped set's name or a file, or several of them.
        train, bench, resume, track: settings.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    model: str = "default"
    knowledge: Annotated[tuple[str, ...], BeforeValidator(_one_or_more), Field(strict=False, min_length=1)] = (
        "software-defects",
    )
    train: TrainSettings = TrainSettings()
    bench: BenchSettings = BenchSettings()
    resume: ResumeSettings = ResumeSettings()
    track: TrackSettings = TrackSettings()

    def with_train(self, **changes: Any) -> "Recipe":
        """A copy with other training settings and a name that tells them; those that are None stay as they are.

        Another method does not take over the options of the one before.

        Raises:
            DataError: a setting does not exist or has a wrong value.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        is_other = given.get("method", self.train.method) != self.train.method
        kept = self.train.model_dump() | ({"options": {}} if is_other else {})
        train = validate({**kept, **given}, TrainSettings, Path("training settings"))
        if train == self.train:
            return self
        changed = [f"{key}-{value}" for key, value in given.items() if getattr(self.train, key) != value]
        return self.model_copy(update={"train": train, "name": "-".join([self.name, *changed])})

    def with_trackers(self, tools: Sequence[str]) -> "Recipe":
        """A copy that is told to these trackers; to its own where none is named."""
        if not tools:
            return self
        return self.model_copy(update={"track": TrackSettings(tools=tuple(tools), project=self.track.project)})

    def fingerprint(self, *inputs: str) -> str:
        """The sha256 of the training settings and of what they are applied to."""
        text = "\n".join([self.train.model_dump_json(), *inputs])
        return hashlib.sha256(text.encode()).hexdigest()


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by name, or one from a TOML file.

    Raises:
        DataError: there is none, or it has an unknown key or a wrong value.
    """
    shipped = {Path(str(p)).stem: Path(str(p)) for p in files("kapoc.recipes").iterdir() if p.name.endswith(".toml")}
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.exists() and path.suffix != ".toml":
        raise DataError(f"recipe '{name_or_path}': no such file or shipped recipe; {near_miss(str(path), shipped)}")
    return load_toml(path, Recipe)
