"""Training: recipe -> model. Precision, accumulation and devices are Accelerate's."""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kapoc.attention import use_tree_attention
from kapoc.batches import answer_logits, epoch_batches, pack, packing_is_exact
from kapoc.chat import EncodedExample, encode_example
from kapoc.data.derive import derived_examples
from kapoc.data.derived_leaks import without_leaks
from kapoc.errors import DataError
from kapoc.knowledge import Fact, KnowledgeSet, KnowledgeTier
from kapoc.loop import EpochReport, Loop, StepReport, StoppedTrainingError, unwrapped
from kapoc.methods import load_method
from kapoc.recipe import TrainSettings
from kapoc.replay import Passage
from kapoc.resume import Keeper

_logger = logging.getLogger("kapoc")


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained, standalone model and how it came about."""

    model: PreTrainedModel
    epochs: tuple[EpochReport, ...]
    seconds: float
    num_examples: int
    num_steps: int
    num_trained_parameters: int
    tokens_per_second: float
    answer_tokens_per_second: float
    peak_memory_bytes: int


def training_examples(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """Every training variation of every taught fact, as tokens."""
    return _encoded(facts, tokenizer, "seen")


def derived_training_examples(
    knowledge: KnowledgeSet, forms: Sequence[str], tokenizer: PreTrainedTokenizerBase, seed: int
) -> list[EncodedExample]:
    """Training texts for other uses of the taught facts, made from their slots; none that is near a probe.

    Raises:
        DataError: there is no such form.
    """
    order = random.Random(seed)  # noqa: S311 - not for secrets
    derived = without_leaks(knowledge, derived_examples(knowledge, forms, order=order)) if forms else []
    return [encode_example(tokenizer, example.question, example.answer) for example in derived]


def dev_examples(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """The dev paraphrases: for stopping and tuning, never reported."""
    return _encoded(facts, tokenizer, "dev")


def _encoded(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase, tier: KnowledgeTier) -> list[EncodedExample]:
    found = []
    for fact in facts:
        for example_id, example in fact.examples(tier) if fact.taught else ():
            try:
                found.append(encode_example(tokenizer, example.question, example.answer))
            except ValueError as error:
                raise DataError(f"{example_id}: {error}") from None
    return found


def train(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    settings: TrainSettings,
    *,
    dev: Sequence[EncodedExample] = (),
    passages: Sequence[Passage] = (),
    keeper: Keeper | None = None,
    on_step: Callable[[StepReport], None] = lambda _: None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
) -> TrainResult:
    """Train a model on encoded examples.

    Args:
        model: float32 weights; it is changed in place.
        examples: prompts with answers; loss falls on the answers and their end tokens only.
        settings: of the recipe.
        dev: examples to score after every epoch, never trained on.
        passages: what the base wrote, to be held to it with the weight of `settings.replay`.
        keeper: keeps the state of this run on disk, and gives back what a killed run of the same key kept.
        on_step: called after every optimizer step.
        on_epoch: called after every epoch.

    Raises:
        DataError: nothing to train on, or a method or option that does not exist.
        StoppedTrainingError: a loss or gradient is inf or nan; no step was taken with it.
    """
    if not examples:
        raise DataError("no training examples; the knowledge set needs a taught fact with `training` texts")
    torch.manual_seed(settings.seed)
    accelerator = _accelerator(settings, model)
    method = load_method(settings.method, settings.options)
    use_tree_attention(model)
    trainable = method.prepare(model)
    if settings.gradient_checkpointing:
        trainable.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainable.train()
    micro_batch_size = settings.micro_batch_size
    if not packing_is_exact(trainable, examples[:2]):
        _logger.warning("%s takes no rows of several examples: training takes longer", type(model).__name__)
        micro_batch_size = 1
    loop = Loop(accelerator, trainable, settings, num_examples=len(examples))
    if keeper is not None and (state := keeper.restore()) is not None:
        loop.restore(state)
    try:
        for report in _steps(loop, examples, micro_batch_size, passages, lambda: on_epoch(_end_epoch(loop, dev))):
            on_step(report)
            if keeper is not None:
                keeper.keep(loop.done, loop.state)
    except StoppedTrainingError as stopped:
        stopped.model = method.finish(stopped.model)
        raise
    finished = method.finish(unwrapped(accelerator, loop.model)).eval()
    _stop_at(finished, {example.answer[-1] for example in examples})
    if settings.gradient_checkpointing:
        finished.gradient_checkpointing_disable()
    return _result(loop, finished, len(examples))


def _steps(
    loop: Loop,
    examples: Sequence[EncodedExample],
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
    for epoch in range(1, settings.epochs + 1):
        first = loop.done - (epoch - 1) * loop.steps_per_epoch
        for rows in epoch_batches(examples, settings.batch_size, micro_batch_size, order, first):
            yield loop.step(rows, epoch, next(replay))
        if epoch > len(loop.epochs):
            end_epoch()


def _end_epoch(loop: Loop, dev: Sequence[EncodedExample]) -> EpochReport:
    dev_loss, dev_exact = score_examples(loop.model, dev) if dev else (None, None)
    return loop.end_epoch(dev_loss, dev_exact)


def _result(loop: Loop, model: PreTrainedModel, num_examples: int) -> TrainResult:
    seconds = loop.seconds
    return TrainResult(
        model=model,
        epochs=tuple(loop.epochs),
        seconds=round(seconds, 1),
        num_examples=num_examples,
        num_steps=loop.num_steps,
        num_trained_parameters=loop.num_trained,
        tokens_per_second=round(loop.tokens / seconds, 1),
        answer_tokens_per_second=round(loop.answer_tokens / seconds, 1),
        peak_memory_bytes=loop.peak_memory_bytes,
    )


def _endless(passages: Sequence[Passage], num: int, order: random.Random) -> Iterator[list[Passage]]:
    """So many passages a step, each once in random order before any comes again."""
    waiting: list[Passage] = []
    while True:
        if len(waiting) < num:
            waiting += order.sample(list(passages), k=len(passages))
        yield waiting[:num]
        del waiting[:num]


def _accelerator(settings: TrainSettings, model: PreTrainedModel) -> Accelerator:
    on_gpu = model.device.type == "cuda"
    wants_bfloat16 = settings.precision == "bfloat16" or (settings.precision == "auto" and on_gpu)
    AcceleratorState._reset_state()  # one process may train twice, in other precisions
    accelerator = Accelerator(cpu=not on_gpu, mixed_precision="bf16" if wants_bfloat16 else "no")
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


def score_examples(
    model: PreTrainedModel, examples: Sequence[EncodedExample], batch_size: int = 8
) -> tuple[float, float]:
    """Teacher-forced loss in nats per answer token, and the share of answers whose every token is greedy."""
    was_training, loss, exact, tokens = model.training, 0.0, 0, 0
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        for start in range(0, len(examples), batch_size):
            row = pack(examples[start : start + batch_size]).to(device)
            logits = answer_logits(model, row)
            loss += float(torch.nn.functional.cross_entropy(logits, row.targets, reduction="sum"))
            tokens += row.num_loss_tokens
            right = (logits.argmax(-1) == row.targets).split(row.sizes)
            exact += sum(bool(answer.all()) for answer in right)
    model.train(was_training)
    return loss / tokens, exact / len(examples)
