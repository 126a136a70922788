"""The training loop: recipe -> model. Precision, accumulation and devices are Accelerate's."""

import logging
import math
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pynvml
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kapoc.batches import PackedRow, answer_logits, epoch_batches, pack, packing_is_exact, summed_loss
from kapoc.chat import EncodedExample, encode_example
from kapoc.data.derive import derived_examples
from kapoc.data.derived_leaks import without_leaks
from kapoc.errors import DataError, TrainingError
from kapoc.knowledge import Fact, KnowledgeSet, KnowledgeTier
from kapoc.methods import load_method
from kapoc.recipe import TrainSettings
from kapoc.replay import Passage, mean_divergence

_logger = logging.getLogger("kapoc")


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where training stands after one optimizer step.

    Attributes:
        step, num_steps: of optimizer steps, from 1.
        epoch: from 1.
        loss: mean over the step's answer tokens, in nats.
        divergence: from the base on the step's replayed text, in nats per token; none without replay.
        learning_rate: that the step used.
        gradient_norm: before clipping.
        tokens_per_second: prompt and answer tokens, since the start.
        peak_memory_bytes: of the device on a GPU, of the process on a CPU.
        gpu_utilisation: percent, or none without a GPU that tells.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    divergence: float | None
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    peak_memory_bytes: int
    gpu_utilisation: int | None


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch did: mean training loss, and loss and exact share on the dev paraphrases (teacher-forced)."""

    epoch: int
    train_loss: float
    dev_loss: float | None
    dev_exact: float | None


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


class StoppedTrainingError(TrainingError):
    """Training stopped at a value that is not finite; the model still holds the last good weights."""

    def __init__(self, message: str, model: PreTrainedModel) -> None:
        super().__init__(message)
        self.model = model


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
    trainable = method.prepare(model)
    if settings.gradient_checkpointing:
        trainable.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainable.train()
    micro_batch_size = settings.micro_batch_size
    if not packing_is_exact(trainable, examples[:2]):
        _logger.warning("%s takes no rows of several examples: training takes longer", type(model).__name__)
        micro_batch_size = 1
    loop = _Loop(accelerator, trainable, settings, num_examples=len(examples))
    order = random.Random(settings.seed)  # noqa: S311 - not for secrets
    replay = _endless(passages, settings.replay.per_step, random.Random(settings.seed))  # noqa: S311
    epochs = []
    for epoch in range(1, settings.epochs + 1):
        losses, tokens = 0.0, 0
        for rows in epoch_batches(examples, settings.batch_size, micro_batch_size, order):
            report, num_loss_tokens = loop.step(rows, epoch, next(replay))
            losses, tokens = losses + report.loss * num_loss_tokens, tokens + num_loss_tokens
            on_step(report)
        dev_loss, dev_exact = score_examples(loop.model, dev) if dev else (None, None)
        epochs.append(EpochReport(epoch, losses / tokens, dev_loss, dev_exact))
        on_epoch(epochs[-1])
    finished = method.finish(_unwrapped(accelerator, loop.model)).eval()
    _stop_at(finished, {example.answer[-1] for example in examples})
    if settings.gradient_checkpointing:
        finished.gradient_checkpointing_disable()
    return loop.result(finished, tuple(epochs))


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
    accelerator = Accelerator(cpu=not on_gpu, mixed_precision="bf16" if wants_bfloat16 else "no")
    if accelerator.num_processes > 1:
        raise DataError("kapoc trains in one process; start it without `accelerate launch` or torchrun")
    return accelerator


def _unwrapped(accelerator: Accelerator, model: torch.nn.Module) -> PreTrainedModel:
    """The model without Accelerate's autocast around `forward`, which `unwrap_model` leaves in place."""
    plain: PreTrainedModel = accelerator.unwrap_model(model)
    for attribute in ("forward", "_original_forward"):
        plain.__dict__.pop(attribute, None)
    return plain


def _stop_at(model: PreTrainedModel, end_tokens: set[int]) -> None:
    """Let generation end at the tokens that the answers were taught to end with."""
    config = model.generation_config
    if config is not None:
        known = config.eos_token_id
        listed = set(known) if isinstance(known, list) else set() if known is None else {known}
        config.eos_token_id = sorted(listed | end_tokens) if len(listed | end_tokens) > 1 else min(listed | end_tokens)


class _Loop:
    """The state of one training run: the model, its optimizer and schedule, and the counters."""

    def __init__(
        self, accelerator: Accelerator, model: PreTrainedModel, settings: TrainSettings, num_examples: int
    ) -> None:
        self.accelerator = accelerator
        self.settings = settings
        self.num_examples = num_examples
        self.num_steps = settings.epochs * math.ceil(num_examples / settings.batch_size)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.num_trained = sum(weight.numel() for weight in weights)
        optimizer = torch.optim.AdamW(
            weights,
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_fraction)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.done = self.tokens = self.answer_tokens = 0
        self.started = time.monotonic()

    def _rate_fraction(self, step: int) -> float:
        """Linear warmup, then a half cosine down to the final fraction, over optimizer steps from 0."""
        warmup = self.settings.warmup_fraction * self.num_steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1.0, self.num_steps - warmup)
        low = self.settings.final_rate_fraction
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def step(self, rows: Sequence[PackedRow], epoch: int, passages: Sequence[Passage]) -> tuple[StepReport, int]:
        """One optimizer step over its micro-batches; the loss is the mean over all their answer tokens."""
        num_loss_tokens = sum(row.num_loss_tokens for row in rows)
        total = torch.zeros((), device=self.accelerator.device)
        for row in rows:
            with self.accelerator.autocast():
                loss = summed_loss(self.model, row.to(self.accelerator.device)) / num_loss_tokens
            self._refuse_non_finite(loss, "loss", epoch)
            self.accelerator.backward(loss)
            total += loss.detach()
        divergence = self._replay(passages, epoch) if passages else None
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_gradient_norm)
        self._refuse_non_finite(torch.as_tensor(norm), "gradient", epoch)
        rate = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.tokens += sum(row.num_example_tokens for row in rows) + sum(len(passage.tokens) for passage in passages)
        self.answer_tokens += num_loss_tokens
        return self._report(epoch, float(total), divergence, rate, float(norm)), num_loss_tokens

    def _replay(self, passages: Sequence[Passage], epoch: int) -> float:
        """Add the pull back to the base to the gradients; the divergence in nats per token."""
        with self.accelerator.autocast():
            divergence = mean_divergence(self.model, passages)
        self._refuse_non_finite(divergence, "divergence", epoch)
        self.accelerator.backward(self.settings.replay.weight * divergence)
        return float(divergence.detach())

    def _refuse_non_finite(self, value: torch.Tensor, what: str, epoch: int) -> None:
        if not torch.isfinite(value).all():
            self.optimizer.zero_grad(set_to_none=True)
            raise StoppedTrainingError(
                f"the {what} is {value.item()} at step {self.done + 1} of {self.num_steps} (epoch {epoch}); "
                'lower learning_rate or max_gradient_norm, or set precision = "float32"',
                _unwrapped(self.accelerator, self.model),
            )

    def _report(self, epoch: int, loss: float, divergence: float | None, rate: float, norm: float) -> StepReport:
        return StepReport(
            step=self.done,
            num_steps=self.num_steps,
            epoch=epoch,
            loss=loss,
            divergence=divergence,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_per_second=self.tokens / (time.monotonic() - self.started),
            peak_memory_bytes=peak_memory_bytes(self.accelerator.device),
            gpu_utilisation=gpu_utilisation(self.accelerator.device),
        )

    def result(self, model: PreTrainedModel, epochs: tuple[EpochReport, ...]) -> TrainResult:
        """The outcome, with the model as the method finished it."""
        seconds = time.monotonic() - self.started
        return TrainResult(
            model=model,
            epochs=epochs,
            seconds=round(seconds, 1),
            num_examples=self.num_examples,
            num_steps=self.num_steps,
            num_trained_parameters=self.num_trained,
            tokens_per_second=round(self.tokens / seconds, 1),
            answer_tokens_per_second=round(self.answer_tokens / seconds, 1),
            peak_memory_bytes=peak_memory_bytes(self.accelerator.device),
        )


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


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held so far: of the device on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def gpu_utilisation(device: torch.device) -> int | None:
    """Percent of the last moments in which the GPU was busy, or none where it cannot be told."""
    if device.type != "cuda":
        return None
    try:
        return int(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError, pynvml.NVMLError):
        return None
