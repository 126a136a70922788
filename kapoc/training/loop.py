"""The steps of one training run, what is told of them, and the state from which they go on to the same bits."""

import math
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from kapoc.errors import DataError, TrainingError
from kapoc.recipe import TrainSettings
from kapoc.training.batches import PackedRow, row_losses
from kapoc.training.muon import Muon
from kapoc.training.tied_embedding import TiedEmbedding
from kapoc.training_record import EpochReport


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where training stands after one optimizer step.

    Attributes:
        step, num_steps: of optimizer steps, from 1.
        epoch: from 1.
        loss: mean over the step's answer tokens that carry loss, in nats.
        divergence: from the base on the step's replayed text, in nats per token; none without replay.
        learning_rate: that the step used.
        gradient_norm: before clipping.
        tokens_per_second: prompt and answer tokens and those of replayed text, since the start.
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
class LoopState:
    """All that the steps to come depend on, between two optimizer steps.

    The order of the examples and of the replayed passages follows from the seed and `done`, so it is not in here.

    Attributes:
        done, num_steps: of optimizer steps.
        seconds, tokens, answer_tokens, peak_memory_bytes: up to here, of all parts of the run.
        epochs: that were told already.
        epoch_loss, epoch_tokens: summed over the unfinished epoch.
        weights: those that are trained, and all buffers, by name.
        optimizer, schedule: their own state dictionaries.
        random: torch's generators: the CPU's, then the GPU's where there is one.
    """

    done: int
    num_steps: int
    seconds: float
    tokens: int
    answer_tokens: int
    peak_memory_bytes: int
    epochs: tuple[EpochReport, ...]
    epoch_loss: float
    epoch_tokens: int
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    random: tuple[torch.Tensor, ...]


class StoppedTrainingError(TrainingError):
    """Training stopped at a value that is not finite; no step was taken with it, and the model holds what it had."""

    def __init__(self, message: str, model: PreTrainedModel) -> None:
        super().__init__(message)
        self.model = model


class Loop:
    """One training run: the model, its optimizer and schedule, the counters and the epochs so far."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: PreTrainedModel,
        settings: TrainSettings,
        num_examples: Sequence[int],
        roots: Mapping[torch.Tensor, torch.Tensor | None] | None = None,
    ) -> None:
        """Prepare to train on so many examples in each epoch; with `muon`, by the roots of `input_roots`."""
        self.accelerator = accelerator
        self.settings = settings
        self.steps_of_epochs = settings.steps_of_epochs(num_examples)
        self.num_steps = sum(self.steps_of_epochs)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.num_trained = sum(weight.numel() for weight in weights)
        optimizer = _optimizer(accelerator, weights, settings, roots)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_fraction)
        self._plain_optimizer = optimizer
        self._embedding = TiedEmbedding(model)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.done = self.tokens = self.answer_tokens = self.epoch_tokens = 0
        self.epoch_loss = 0.0
        self.epochs: list[EpochReport] = []
        self._started = time.monotonic()
        self._peak_memory_bytes = 0

    def _rate_fraction(self, step: int) -> float:
        """Linear warmup, then a half cosine down to the final fraction, over optimizer steps from 0."""
        warmup = self.settings.warmup_fraction * self.num_steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1.0, self.num_steps - warmup)
        low = self.settings.final_rate_fraction
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def step(self, rows: Sequence[PackedRow], epoch: int) -> StepReport:
        """One optimizer step over its micro-batches; losses are means over all their tokens."""
        num_loss_tokens = sum(row.num_loss_tokens for row in rows)
        num_written_tokens = sum(row.num_written_tokens for row in rows)
        replay = self.settings.replay
        total = divergence = 0.0
        for row in rows:
            with self.accelerator.autocast(), self._embedding.apart():
                losses = row_losses(self.model, row.to(self.accelerator.device))
            loss = losses.answers / num_loss_tokens
            self._refuse_non_finite(loss, "loss", epoch)
            total += float(loss.detach())
            if row.passages:
                self._refuse_non_finite(losses.divergence, "divergence", epoch)
                pull = losses.divergence if replay.target == "distribution" else losses.surprise
                loss = loss + replay.weight * pull / num_written_tokens
                divergence += float(losses.divergence.detach()) / num_written_tokens
            self.accelerator.backward(loss)
            self._embedding.add_gradient()
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_gradient_norm)
        self._refuse_non_finite(torch.as_tensor(norm), "gradient", epoch)
        rate = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.tokens += sum(row.num_tokens_apart for row in rows)
        self.answer_tokens += num_loss_tokens
        self.epoch_loss += total * num_loss_tokens
        self.epoch_tokens += num_loss_tokens
        return self._report(epoch, total, divergence if num_written_tokens else None, rate, float(norm))

    def end_epoch(
        self, dev_loss: float | None, dev_exact: float | None, divergence: float | None, spillover: float | None
    ) -> EpochReport:
        """What the epoch did, with its scores on the dev examples, how far the model has moved and what it spills."""
        loss = self.epoch_loss / self.epoch_tokens
        self.epochs.append(
            EpochReport(
                epoch=len(self.epochs) + 1,
                train_loss=loss,
                dev_loss=dev_loss,
                dev_exact=dev_exact,
                divergence=divergence,
                spillover=spillover,
            )
        )
        self.epoch_loss, self.epoch_tokens = 0.0, 0
        return self.epochs[-1]

    @property
    def seconds(self) -> float:
        """Since the start, without the time between a kill and the next start."""
        return time.monotonic() - self._started

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory held by any part of the run."""
        return max(self._peak_memory_bytes, peak_memory_bytes(self.accelerator.device))

    def state(self) -> LoopState:
        """The state after the last step; its tensors are the run's own, not copies."""
        device = self.accelerator.device
        on_gpu = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
        return LoopState(
            done=self.done,
            num_steps=self.num_steps,
            seconds=self.seconds,
            tokens=self.tokens,
            answer_tokens=self.answer_tokens,
            peak_memory_bytes=self.peak_memory_bytes,
            epochs=tuple(self.epochs),
            epoch_loss=self.epoch_loss,
            epoch_tokens=self.epoch_tokens,
            weights=self._weights(),
            optimizer=self._plain_optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
            random=(torch.get_rng_state(), *on_gpu),
        )

    def restore(self, state: LoopState) -> None:
        """Go on from a state of the same run.

        Raises:
            DataError: it is of other weights than those that are trained here.
        """
        weights = self._weights()
        if {name: weight.shape for name, weight in weights.items()} != {
            name: weight.shape for name, weight in state.weights.items()
        }:
            raise DataError("the kept training state is of other weights; start anew with `kapoc train --restart`")
        for name, weight in weights.items():
            weight.copy_(state.weights[name])
        self._plain_optimizer.load_state_dict(state.optimizer)
        self.schedule.load_state_dict(state.schedule)
        self.done, self.tokens, self.answer_tokens = state.done, state.tokens, state.answer_tokens
        self.epochs = list(state.epochs)
        self.epoch_loss, self.epoch_tokens = state.epoch_loss, state.epoch_tokens
        self._started = time.monotonic() - state.seconds
        self._peak_memory_bytes = state.peak_memory_bytes
        torch.set_rng_state(state.random[0])
        if self.accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(state.random[1], self.accelerator.device)

    def _weights(self) -> dict[str, torch.Tensor]:
        trained = {name: weight.detach() for name, weight in self.model.named_parameters() if weight.requires_grad}
        return trained | dict(self.model.named_buffers())

    def _refuse_non_finite(self, value: torch.Tensor, what: str, epoch: int) -> None:
        if not torch.isfinite(value).all():
            self.optimizer.zero_grad(set_to_none=True)
            raise StoppedTrainingError(
                f"the {what} is {value.item()} at step {self.done + 1} of {self.num_steps} (epoch {epoch}); "
                'lower learning_rate or max_gradient_norm, or set precision = "float32"',
                unwrapped(self.accelerator, self.model),
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
            tokens_per_second=self.tokens / self.seconds,
            peak_memory_bytes=self.peak_memory_bytes,
            gpu_utilisation=gpu_utilisation(self.accelerator.device),
        )


def _optimizer(
    accelerator: Accelerator,
    weights: Sequence[torch.nn.Parameter],
    settings: TrainSettings,
    roots: Mapping[torch.Tensor, torch.Tensor | None] | None,
) -> torch.optim.Optimizer:
    if settings.optimizer == "muon":
        precision = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        return Muon(roots or dict.fromkeys(weights), settings.learning_rate, precision)
    return torch.optim.AdamW(
        weights,
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def unwrapped(accelerator: Accelerator, model: torch.nn.Module) -> PreTrainedModel:
    """The model without Accelerate's autocast around `forward`, which `unwrap_model` leaves in place."""
    plain: PreTrainedModel = accelerator.unwrap_model(model)
    for attribute in ("forward", "_original_forward"):
        plain.__dict__.pop(attribute, None)
    return plain


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
