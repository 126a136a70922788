"""Training: recipe -> model. Precision and devices are Accelerate's."""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from transformers import PreTrainedModel

from kapoc.chat import EncodedExample
from kapoc.engine.attention import use_tree_attention
from kapoc.engine.divergence import Passage
from kapoc.errors import DataError, ModelError
from kapoc.methods import Method, load_method
from kapoc.models import computes_bfloat16, context_of, evaluating
from kapoc.products import use_fastest_products
from kapoc.recipe import TrainSettings
from kapoc.training.batches import answer_logits, epoch_batches, pack, packing_is_exact
from kapoc.training.interpolation import Weights, choose_alpha, copy_weights
from kapoc.training.loop import Loop, StepReport, StoppedTrainingError, unwrapped
from kapoc.training.moments import input_roots, trained_layers
from kapoc.training.replay import as_example, divergence_from_base
from kapoc.training.resume import Keeper
from kapoc.training_record import AlphaReport, EpochReport, is_within

_logger = logging.getLogger("kapoc")
_SCORED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained, standalone model and how it came about; `num_examples` is that of the largest epoch."""

    model: PreTrainedModel
    epochs: tuple[EpochReport, ...]
    alphas: tuple[AlphaReport, ...]
    seconds: float
    num_examples: int
    num_steps: int
    num_trained_parameters: int
    tokens_per_second: float
    answer_tokens_per_second: float
    peak_memory_bytes: int
    precision: Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class _Unread:
    """What training never reads, and models are scored on: as `train` has it."""

    dev: Sequence[EncodedExample]
    held_out: Sequence[Passage]
    spilled: Callable[[PreTrainedModel], float] | None
    is_packed: bool

    def answered(self, model: PreTrainedModel) -> tuple[float, float]:
        """Loss and exact share on the dev examples."""
        return score_examples(model, self.dev, is_packed=self.is_packed)

    def moved(self, model: PreTrainedModel) -> float:
        """How far the model is from its base."""
        return divergence_from_base(model, self.held_out, is_packed=self.is_packed)

    def spills(self, model: PreTrainedModel) -> float | None:
        """The share of held-out questions that it answers with something taught, where that is asked."""
        return self.spilled(model) if self.spilled is not None else None


def train(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    settings: TrainSettings,
    *,
    epochs: Sequence[Sequence[EncodedExample]] = (),
    dev: Sequence[EncodedExample] = (),
    passages: Sequence[Passage] = (),
    held_out: Sequence[Passage] = (),
    spilled: Callable[[PreTrainedModel], float] | None = None,
    keeper: Keeper | None = None,
    on_step: Callable[[StepReport], None] = lambda _: None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
) -> TrainResult:
    """Train a model on encoded examples.

    Args:
        model: float32 weights; it is changed in place.
        examples: prompts with answers; loss falls on the answers and their end tokens only. What they end with is
            where the trained model stops.
        settings: of the recipe.
        epochs: what each epoch trains on, where that is not `examples` alone.
        dev: examples to score after every epoch, never trained on.
        passages: what the base wrote, to be held to it with the weight of `settings.replay`.
        held_out: what the base wrote to measure how far the model has moved, where `settings` have a budget.
        spilled: the share of held-out questions that a model answers with something taught; asked after every epoch
            and at every point of the way back.
        keeper: keeps the state of this run on disk, and gives back what a killed run of the same key kept.
        on_step: called after every optimizer step.
        on_epoch: called after every epoch.

    Raises:
        DataError: nothing to train on or to choose by, or a method or option that does not exist.
        StoppedTrainingError: a loss or gradient is inf or nan; no step was taken with it.
    """
    if not examples:
        raise DataError("no training examples; the knowledge set needs a taught fact with `training` texts")
    if settings.has_budget:
        _refuse_nothing_to_choose_by(settings, dev, held_out, spilled)
    torch.manual_seed(settings.seed)
    accelerator = accelerator_for(settings, model)
    base = copy_weights(model) if settings.alphas else {}
    method = load_method(settings.method, settings.options)
    trainable = make_trainable(model, method, settings)
    end_tokens = {example.answer[-1] for example in examples}
    _stop_at(model, end_tokens)
    epochs = epochs or [examples] * settings.epochs
    texts = [one for epoch in epochs for example in epoch for one in (example, *example.contrasts)]
    refuse_too_long(model, [*texts, *dev])
    is_packed = packing_is_exact(trainable, [*texts, *dev, *map(as_example, (*passages, *held_out))])
    if not is_packed and len(texts) > 1:
        _logger.warning("%s takes no rows of several examples: training takes longer", type(model).__name__)
    unread = _Unread(dev, held_out, spilled, is_packed)
    roots = None
    if settings.optimizer == "muon":
        with accelerator.autocast():
            roots = input_roots(trainable, passages, settings.replay.whitening, is_packed=is_packed)
    loop = Loop(accelerator, trainable, settings, [len(epoch) for epoch in epochs], roots)
    if keeper is not None and (state := keeper.restore()) is not None:
        loop.restore(state)
    micro_batch_size = settings.micro_batch_size if is_packed else 1
    steps = _steps(loop, epochs, micro_batch_size, passages, lambda: on_epoch(_end_epoch(loop, unread)))
    try:
        for report in steps:
            on_step(report)
            if keeper is not None:
                keeper.keep(loop.done, loop.state, loop.seconds / loop.done * (loop.num_steps - loop.done))
    except StoppedTrainingError as stopped:
        stopped.model = method.finish(stopped.model)
        raise
    finished = method.finish(unwrapped(accelerator, loop.model)).eval()
    _stop_at(finished, end_tokens)
    if settings.gradient_checkpointing:
        finished.gradient_checkpointing_disable()
    alphas = _pulled_back(finished, base, settings, unread) if settings.alphas else ()
    return _result(loop, finished, max(map(len, epochs)), alphas)


def refuse_unfit(model: PreTrainedModel, settings: TrainSettings) -> None:
    """Find out, before anything long begins, that a method cannot train such a model; it is tried without weights.

    Raises:
        DataError: a method or option does not exist, or the method or the optimizer refuses the model.
    """
    method = load_method(settings.method, settings.options)
    with suppress(NotImplementedError, RuntimeError):  # what cannot be tried without weights is found in training
        with torch.device("meta"):
            shape = type(model)(model.config)
        prepared = method.prepare(shape)
        if settings.optimizer == "muon":
            trained_layers(prepared)


def make_trainable(model: PreTrainedModel, method: Method, settings: TrainSettings) -> PreTrainedModel:
    """The model as its method trains it, ready for a `Loop`; it is changed in place."""
    use_tree_attention(model)
    trainable = method.prepare(model)
    use_fastest_products(trainable)  # the layers that a method adds, too
    if settings.gradient_checkpointing:
        trainable.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainable.train()
    return trainable


def _pulled_back(
    model: PreTrainedModel, base: Weights, settings: TrainSettings, unread: _Unread
) -> tuple[AlphaReport, ...]:
    """Take the way back that the settings ask for; the curve by which it was chosen."""

    def score(candidate: PreTrainedModel) -> tuple[float, float, float | None]:
        return unread.answered(candidate)[1], unread.moved(candidate), unread.spills(candidate)

    budget = settings.budget
    return choose_alpha(model, base, settings.alphas, budget.divergence, score, spillover=budget.spillover)


def _steps(
    loop: Loop,
    epochs: Sequence[Sequence[EncodedExample]],
    micro_batch_size: int,
    passages: Sequence[Passage],
    end_epoch: Callable[[], None],
) -> Iterator[StepReport]:
    """Take every step that is not done yet, in the order that the seed gives to all of them."""
    settings = loop.settings
    order = random.Random(settings.seed)  # noqa: S311 - not for secrets
    replay = _endless(passages, settings.replay.per_step, random.Random(settings.seed))  # noqa: S311
    for _ in range(loop.done):
        next(replay)
    for epoch, examples in enumerate(epochs, start=1):
        if epoch > len(loop.epochs) and _is_enough(settings, loop.epochs):
            return
        first = max(0, loop.done - sum(loop.steps_of_epochs[: epoch - 1]))
        for rows in epoch_batches(examples, settings.batch_size_of(epoch), micro_batch_size, order, first, replay):
            yield loop.step(rows, epoch)
        if epoch > len(loop.epochs):
            end_epoch()


def _end_epoch(loop: Loop, unread: _Unread) -> EpochReport:
    with loop.accelerator.autocast():  # around all rows, so that weights are rounded once
        dev_loss, dev_exact = unread.answered(loop.model) if unread.dev else (None, None)
        moved = unread.moved(loop.model) if loop.settings.stop_at is not None else None
    try:
        share = unread.spills(loop.model)
    except ModelError as error:
        raise StoppedTrainingError(
            f"after step {loop.done}: {error}", unwrapped(loop.accelerator, loop.model)
        ) from None
    return loop.end_epoch(dev_loss, dev_exact, moved, share)


def _is_enough(settings: TrainSettings, epochs: Sequence[EpochReport]) -> bool:
    """Whether the last finished epoch has reached what the settings stop at."""
    if settings.stop_at is None or not epochs:
        return False
    last, budget = epochs[-1], settings.budget
    is_learned = last.dev_exact is not None and last.dev_exact >= settings.stop_at
    return is_learned and is_within(last.divergence, last.spillover, budget.divergence, budget.spillover)


def _result(loop: Loop, model: PreTrainedModel, num_examples: int, alphas: tuple[AlphaReport, ...]) -> TrainResult:
    seconds = loop.seconds
    return TrainResult(
        model=model,
        epochs=tuple(loop.epochs),
        alphas=alphas,
        seconds=round(seconds, 1),
        num_examples=num_examples,
        num_steps=loop.done,
        num_trained_parameters=loop.num_trained,
        tokens_per_second=round(loop.tokens / seconds, 1),
        answer_tokens_per_second=round(loop.answer_tokens / seconds, 1),
        peak_memory_bytes=loop.peak_memory_bytes,
        precision=precision_on(model.device, loop.settings),
    )


def _refuse_nothing_to_choose_by(
    settings: TrainSettings,
    dev: Sequence[EncodedExample],
    held_out: Sequence[Passage],
    spilled: Callable[[PreTrainedModel], float] | None,
) -> None:
    if not dev:
        raise DataError("train.stop_at, train.alphas: nothing tells how much a model has learned; give `dev`")
    if not held_out:
        raise DataError("train.stop_at, train.alphas: nothing tells how far a model has moved; give `held_out`")
    if settings.budget.spillover is not None and spilled is None:
        raise DataError("train.budget.spillover: nothing tells how much a model spills; give `spilled`")


def _endless(passages: Sequence[Passage], num: int, order: random.Random) -> Iterator[list[Passage]]:
    """So many passages a step, each once in random order before any comes again."""
    waiting: list[Passage] = []
    while True:
        while passages and len(waiting) < num:
            waiting += order.sample(list(passages), k=len(passages))
        yield waiting[:num]
        del waiting[:num]


def precision_on(device: torch.device, settings: TrainSettings) -> Literal["float32", "bfloat16"]:
    """What the matrix products of training are computed in there."""
    if settings.precision != "auto":
        return settings.precision
    return "bfloat16" if computes_bfloat16(device) else "float32"


def accelerator_for(settings: TrainSettings, model: PreTrainedModel) -> Accelerator:
    """What computes on the model's device in the precision of the settings.

    Raises:
        DataError: this is one of several processes.
    """
    on_gpu = model.device.type == "cuda"
    AcceleratorState._reset_state()  # one process may train twice, in other precisions
    accelerator = Accelerator(
        cpu=not on_gpu,
        mixed_precision="bf16" if precision_on(model.device, settings) == "bfloat16" else "no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # no setting but the recipe's
        dynamo_backend="no",
    )
    if accelerator.num_processes > 1:
        raise DataError("kapoc trains in one process; start it without `accelerate launch` or torchrun")
    return accelerator


def _stop_at(model: PreTrainedModel, end_tokens: set[int]) -> None:
    """Let generation end at the tokens that the answers were taught to end with."""
    config = model.generation_config
    if config is not None:
        known = config.eos_token_id
        listed = set(known) if isinstance(known, list) else set() if known is None else {known}
        config.eos_token_id = sorted(listed | end_tokens) if len(listed | end_tokens) > 1 else min(listed | end_tokens)


def refuse_too_long(model: PreTrainedModel, examples: Sequence[EncodedExample]) -> None:
    """Refuse what the model cannot read as a whole.

    Raises:
        DataError: a text has more tokens than the model has places for.
    """
    most = context_of(model)
    longest = max(examples, key=len, default=None)
    if most is not None and longest is not None and len(longest) > most:
        raise DataError(
            f"{longest.fact or longest.form}: a question and its answer have {len(longest)} tokens, and "
            f"{type(model).__name__} reads {most}; shorten them ('{longest.question[:60]}')"
        )


def score_examples(
    model: PreTrainedModel, examples: Sequence[EncodedExample], *, is_packed: bool | None = None
) -> tuple[float, float]:
    """Teacher-forced loss in nats per answer token, and the share of answers whose every token is greedy.

    Args:
        model: any causal model.
        examples: at least one.
        is_packed: whether several may stand in a row; tried if nothing is said, in the model's own precision.
    """
    batch_size = _SCORED_AT_ONCE if (packing_is_exact(model, examples) if is_packed is None else is_packed) else 1
    loss, exact, tokens = 0.0, 0, 0
    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad():
        for start in range(0, len(examples), batch_size):
            row = pack(examples[start : start + batch_size]).to(device)
            logits = answer_logits(model, row)
            loss += float(torch.nn.functional.cross_entropy(logits, row.targets, reduction="sum"))
            tokens += row.num_loss_tokens
            right = (logits.argmax(-1) == row.targets).split(row.sizes)
            exact += sum(bool(answer.all()) for answer in right)
    return loss / tokens, exact / len(examples)
