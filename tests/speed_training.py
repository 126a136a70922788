"""Training speed: kapoc, the Trainer of transformers and TRL's SFTTrainer on the same examples in the same order.

Part of `tests/speed_study.py`. All train every weight with AdamW at a constant rate, and log the mean loss of an
optimizer step's answer tokens; in float32, or under bfloat16 autocast where that is said.
"""

import contextlib
import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from kapoc.chat import EncodedExample
from kapoc.default_model import default_model_path
from kapoc.knowledge.set_file import load_knowledge
from kapoc.models import load_model
from kapoc.products import use_fastest_products
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.training.batches import pack, row_losses
from kapoc.training.examples import training_examples
from kapoc.training.replay import write_passages
from kapoc.training.train import train

BATCH_SIZE = 8
RATE = 1e-4
_MEMORY_STEPS = 6
PLAIN: dict[str, Any] = {
    "learning_rate": RATE,
    "lr_scheduler_type": "constant",
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch_fused",
    "logging_steps": 1,
    "report_to": [],
    "save_strategy": "no",
    "disable_tqdm": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "use_cpu": not torch.cuda.is_available(),
    "dataloader_pin_memory": False,
}


@dataclass(frozen=True, slots=True)
class Trained:
    """One run of a few steps.

    Attributes:
        seconds: of each step after the first.
        answer_tokens: of each step after the first.
        losses: of every step.
    """

    seconds: tuple[float, ...]
    answer_tokens: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Answer tokens a second."""
        return sum(self.answer_tokens) / sum(self.seconds)


def steps_of(
    examples: Sequence[EncodedExample], num_steps: int, batch_size: int = BATCH_SIZE
) -> list[list[EncodedExample]]:
    """The batches of the first steps, in the order that `kapoc.training.train` takes them with seed 0."""
    found: list[list[EncodedExample]] = []
    order = random.Random(0)
    while len(found) < num_steps:
        shuffled = order.sample(list(examples), k=len(examples))
        found += [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]
    return found[:num_steps]


def _trained(steps: Sequence[Sequence[EncodedExample]], times: list[float], losses: list[float]) -> Trained:
    tokens = [sum(len(example.answer) for example in step) for step in steps]
    seconds = [later - earlier for earlier, later in pairwise(times)]
    return Trained(tuple(seconds), tuple(tokens[1:]), tuple(losses))


class _EnoughError(Exception):
    pass


def train_ours(
    model: str,
    examples: Sequence[EncodedExample],
    num_steps: int,
    micro_batch_size: int,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Trained:
    """kapoc's own loop."""
    steps, times, losses = steps_of(examples, num_steps), [], []
    settings = TrainSettings(
        epochs=1 + num_steps * BATCH_SIZE // len(examples),
        batch_size=BATCH_SIZE,
        micro_batch_size=micro_batch_size,
        learning_rate=RATE,
        warmup_fraction=0.0,
        final_rate_fraction=1.0,
        precision=precision,
    )

    def on_step(report: Any) -> None:
        times.append(time.perf_counter())
        losses.append(report.loss)
        if len(times) == num_steps:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        train(load_model(model).model, examples, settings, on_step=on_step)
    return _trained(steps, times, losses)


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "loss" in kwargs["logs"]:
            self.times.append(time.perf_counter())
            self.losses.append(kwargs["logs"]["loss"])


def _in_order(trainer: type) -> type:
    class InOrder(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(train_dataset or self.train_dataset)

    return InOrder


def _labelled(example: EncodedExample) -> dict[str, list[int]]:
    return {
        "input_ids": [*example.prompt, *example.answer],
        "labels": [-100] * len(example.prompt) + list(example.answer),
        "attention_mask": [1] * len(example),
    }


def as_rivals_load_it(model: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A float32 model by transformers alone, of which kapoc has changed no layer."""
    folder = default_model_path() if model == "default" else model
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def train_with_trainer(
    model: str, examples: Sequence[EncodedExample], num_steps: int, per_pass: int, **options: Any
) -> Trained:
    """The Trainer of transformers, answer-only labels, padded batches; 1 x 8 is how people often start."""
    steps, clock = steps_of(examples, num_steps), _Clock()
    loaded, tokenizer = as_rivals_load_it(model)
    padding = int(tokenizer.pad_token_id)

    def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": padding, "labels": -100, "attention_mask": 0}
        return {
            key: torch.tensor([row[key] + [value] * (width - len(row[key])) for row in rows])
            for key, value in fill.items()
        }

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=num_steps,
            per_device_train_batch_size=per_pass,
            gradient_accumulation_steps=BATCH_SIZE // per_pass,
            **{**PLAIN, **options},
        )
        rows = [_labelled(example) for step in steps for example in step]
        _in_order(Trainer)(
            model=loaded, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[clock]
        ).train()
    return _trained(steps, clock.times, clock.losses)


def train_with_trl(
    model: str, examples: Sequence[EncodedExample], num_steps: int, per_pass: int, **options: Any
) -> Trained:
    """TRL's SFTTrainer with completion-only loss, without the checkpointing of activations that is its default."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    steps, clock = steps_of(examples, num_steps), _Clock()
    loaded, tokenizer = as_rivals_load_it(model)
    rows = [
        {
            "input_ids": [*example.prompt, *example.answer],
            "completion_mask": [0] * len(example.prompt) + [1] * len(example.answer),
        }
        for step in steps
        for example in step
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            max_steps=num_steps,
            per_device_train_batch_size=per_pass,
            gradient_accumulation_steps=BATCH_SIZE // per_pass,
            completion_only_loss=True,
            **{**PLAIN, **options},
        )
        _in_order(SFTTrainer)(
            model=loaded,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[clock],
        ).train()
    return _trained(steps, clock.times, clock.losses)


RUNS: Mapping[str, Callable[[str, Sequence[EncodedExample], int, int], Trained]] = {
    "kapoc": train_ours,
    "Trainer 1 x 8": lambda model, examples, num_steps, _: train_with_trainer(model, examples, num_steps, 1),
    "Trainer 8 x 1": lambda model, examples, num_steps, _: train_with_trainer(model, examples, num_steps, 8),
    "TRL 8 x 1": lambda model, examples, num_steps, _: train_with_trl(model, examples, num_steps, 8),
    "TRL 4 x 2": lambda model, examples, num_steps, _: train_with_trl(model, examples, num_steps, 4),
    "kapoc, bfloat16": lambda model, examples, num_steps, size: train_ours(
        model, examples, num_steps, size, precision="bfloat16"
    ),
    "Trainer 8 x 1, bfloat16": lambda model, examples, num_steps, _: train_with_trainer(
        model, examples, num_steps, 8, bf16=True
    ),
    "TRL 4 x 2, bfloat16": lambda model, examples, num_steps, _: train_with_trl(
        model, examples, num_steps, 4, bf16=True
    ),
}


def in_a_process(name: str, model: str, num_steps: int, micro_batch_size: int) -> Trained:
    """One of `RUNS` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trained.json"
        command = [sys.executable, __file__, name, model, str(num_steps), str(micro_batch_size), str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(path.read_text(encoding="utf-8"))
    return Trained(**{key: tuple(values) for key, values in found.items()})


def examples_of(tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """Training examples of the default recipe's set: whole batches, because a Trainer fills up a short one."""
    found = training_examples(load_knowledge("software-defects")[0].facts, tokenizer)
    return found[: len(found) // BATCH_SIZE * BATCH_SIZE]


def matmul_peak() -> float:
    """Floating point operations a second of a large float32 matrix product on this device: the median of twenty.

    By that of the two libraries that is faster, whether or not all products of a step are its own.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layer = torch.nn.Linear(1024, 1024, bias=False, device=device).requires_grad_(False)
    rows = torch.randn(1024, 1024, device=device)
    use_fastest_products(layer)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        layer(rows)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return float(2 * 1024**3 / sorted(seconds)[10])


def step_operations(model: PreTrainedModel, steps: Sequence[Sequence[EncodedExample]], micro_batch_size: int) -> float:
    """Multiplications and additions of the matrix products of some steps, forward and backward, as kapoc does them.

    Three passes (forward, gradients of activations, gradients of weights) of two operations for each weight and token:
    every computed token for the layers, answer tokens alone for the output layer; and as many for each of the two
    products of attention, head and token that a token sees, without what is computed again (Chowdhery et al., 2022,
    PaLM, arXiv:2204.02311, appendix B, there for every pair of a sequence).
    """
    config = model.config
    widths = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    head = model.get_output_embeddings().weight.numel()
    layers = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    )
    total = 0.0
    for step in steps:
        for start in range(0, len(step), micro_batch_size):
            row = pack(step[start : start + micro_batch_size])
            num_seen = int((row.position_ids + 1).sum())
            total += 6.0 * (layers * row.num_tokens + head * row.num_loss_tokens + 2 * widths * num_seen)
    return total


@contextlib.contextmanager
def _counted_activations(model: PreTrainedModel) -> Iterator[Callable[[], int]]:
    """Count the bytes that a forward pass keeps for its backward pass, weights left out, each storage once."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}  # views of them are kept, too
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # a node that kept its own output would never be freed

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield lambda: sum(kept.values())


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of full fine-tuning in this process, in bytes.

    Attributes:
        before: of the process with nothing but its imports.
        peak: after some steps.
        floor: 16 bytes a parameter: weights, gradients and the two moments of AdamW.
        activations: that the largest row keeps for its backward pass.
        num_examples, num_passages: of a row.
    """

    before: int
    peak: int
    floor: int
    activations: int
    num_examples: int
    num_passages: int

    @property
    def ratio(self) -> float:
        """Of what the process grew by and what arithmetic asks for."""
        return (self.peak - self.before) / (self.floor + self.activations)


def measure_memory(recipe: str) -> Memory:
    """Train some steps of a shipped recipe, in float32, in a process that has done nothing else."""
    scale = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    chosen = load_recipe(recipe)
    settings = chosen.train.model_copy(update={"epochs": 1, "precision": "float32"})
    loaded = load_model(chosen.model)
    size, per_step = settings.micro_batch_size, settings.replay.per_step if settings.replay.weight else 0
    steps = steps_of(examples_of(loaded.tokenizer), _MEMORY_STEPS, size)
    passages = write_passages(loaded.model, loaded.tokenizer, _MEMORY_STEPS * per_step, settings.replay, seed=0)
    largest = max((pack(step, passages[:per_step]) for step in steps), key=lambda row: row.num_tokens)
    with _counted_activations(loaded.model) as counted:
        losses = row_losses(loaded.model, largest)
        activations = counted()
    del losses
    parameters = sum(weight.numel() for weight in loaded.model.parameters())
    gc.collect()
    train(loaded.model, [example for step in steps for example in step], settings, passages=passages)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return Memory(before, peak, 16 * parameters, activations, size, per_step)


if __name__ == "__main__":
    name, model, num_steps, micro_batch_size, path = sys.argv[1:]
    folder = default_model_path() if model == "default" else model
    texts = examples_of(AutoTokenizer.from_pretrained(folder))
    trained = RUNS[name](model, texts, int(num_steps), int(micro_batch_size))
    Path(path).write_text(json.dumps(asdict(trained)), encoding="utf-8")
