"""How fast is this machine with this model? A short calibration, and what a measurement and a training will take."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from transformers import PreTrainedModel

from kapoc.answers import MAX_NEW_TOKENS, generate_tokens
from kapoc.chat import EncodedExample, encode, prompt_text
from kapoc.engine.decoding import continue_prompts
from kapoc.engine.prefix_tree import plan_groups
from kapoc.engine.reading import CannotShareError, sharing
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.measuring.task_list import TaskList
from kapoc.methods import load_method
from kapoc.models import LoadedModel, context_of
from kapoc.recipe import Recipe, ReplaySettings, TrainSettings
from kapoc.training.batches import PackedRow, epoch_batches, packing_is_exact
from kapoc.training.checkpoint import NUM_SAMPLES, SAMPLE_TOKENS, num_bfloat16_samples
from kapoc.training.loop import Loop, peak_memory_bytes
from kapoc.training.replay import HELD_OUT_PASSAGE_TOKENS, HELD_OUT_TOKENS, passage_prompts, replay_prompts
from kapoc.training.texts import training_texts
from kapoc.training.train import accelerator_for, make_trainable, refuse_too_long

_READ_ROWS = 8
_WRITE_ROWS = 16
_WRITTEN_TOKENS = 16
_TRAIN_STEPS = 4
_MOST_ROWS = 2  # behind which what a step takes once, whatever it read, is timed
_NUM_PROMPTS = 100
_EMULATED_SECONDS = 7  # of a token in emulated bfloat16, in those of one in float32 (`reports/LOG.md`)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a recipe on its knowledge sets will take on this machine.

    Attributes:
        read_tokens_per_second, write_tokens_per_second, train_tokens_per_second: measured just now.
        bench_seconds: of one measurement, with answers as long as they may be; a trained model ends earlier.
        train_seconds: of all epochs, replay and derived texts included, what the base writes for replay before
            them, the answers to held-out questions, where there are some, and the checks of the saved model.
        peak_memory_bytes: seen in a training step.
        notes: what the recipe asks for and the sets cannot give, a line each.
    """

    read_tokens_per_second: float
    write_tokens_per_second: float
    train_tokens_per_second: float
    bench_seconds: float
    train_seconds: float
    peak_memory_bytes: int
    notes: tuple[str, ...] = ()


def calibrate(loaded: LoadedModel, recipe: Recipe, knowledge: Sequence[KnowledgeSet], tasks: TaskList) -> Cost:
    """Time a forward pass, some greedy answers and a training step, and reckon from the numbers of tokens.

    Args:
        loaded: the model; its weights are not kept.
        recipe: batch sizes and epochs.
        knowledge: the sets that are taught.
        tasks: that a measurement asks.
    """
    facts = [fact for known in knowledge for fact in known.taught]
    read, written = _tokens_of(loaded, tasks)
    read_rate, write_rate = _read_rate(loaded), _write_rate(loaded, facts)
    texts = training_texts(knowledge, recipe.train, loaded.tokenizer)
    refuse_too_long(loaded.model, list(texts.read()))
    is_shared = packing_is_exact(loaded.model, [*texts.own, *texts.epochs[-1]])
    micro_batch_size = recipe.train.micro_batch_size if is_shared else 1
    row = _largest_row(texts.epochs[-1], recipe.train, micro_batch_size)
    rows = [row] * min(_MOST_ROWS, math.ceil(recipe.train.batch_size / micro_batch_size))
    train_rate = len(rows) * row.num_tokens_apart / _step_seconds(loaded, rows, recipe.train)
    train_tokens = sum(map(len, texts.read()))
    sizes = list(map(len, texts.epochs))
    replayed, replay_written = replayed_tokens(texts.settings, sizes, _prompt_tokens(loaded, recipe.train.replay))
    all_written = replay_written + held_out_tokens(recipe.train) + check_tokens(loaded.model.device)
    return Cost(
        read_tokens_per_second=read_rate,
        write_tokens_per_second=write_rate,
        train_tokens_per_second=train_rate,
        bench_seconds=read / read_rate + written / write_rate,
        train_seconds=(train_tokens + replayed) / train_rate + all_written / write_rate,
        peak_memory_bytes=peak_memory_bytes(loaded.model.device),
        notes=tuple(texts.notes),
    )


def replayed_tokens(settings: TrainSettings, sizes: Sequence[int], prompt_tokens: float) -> tuple[float, int]:
    """Tokens of general text that epochs of so many examples train on, and those that the base writes before them.

    Args:
        settings: of the training.
        sizes: examples of each epoch.
        prompt_tokens: that stand before what the base wrote, in the mean over its passages.
    """
    replay = settings.replay
    steps = sum(settings.steps_of_epochs(sizes)) if replay.weight else 0
    num_replayed, num_held_out = settings.num_passages(sizes)
    written = num_replayed * replay.num_tokens + num_held_out * HELD_OUT_PASSAGE_TOKENS
    return steps * replay.per_step * (prompt_tokens + replay.num_tokens), written


def _prompt_tokens(loaded: LoadedModel, replay: ReplaySettings) -> float:
    """What stands before a replayed passage, in the mean over some."""
    prompts = passage_prompts(loaded.tokenizer, _NUM_PROMPTS, replay, seed=0)
    return sum(map(len, prompts)) / len(prompts)


def held_out_tokens(settings: TrainSettings) -> int:
    """Tokens written in answer to held-out questions, at most: by the base, after every epoch and at every alpha."""
    if settings.budget.spillover is None:
        return 0
    return (1 + settings.epochs + len(settings.alphas)) * len(replay_prompts().held_out) * HELD_OUT_TOKENS


def check_tokens(device: torch.device) -> int:
    """Tokens sampled to check a saved model, in float32 and in bfloat16, as many as take their time in float32."""
    short = num_bfloat16_samples(device)
    return (NUM_SAMPLES + short * (1 if short == NUM_SAMPLES else _EMULATED_SECONDS)) * SAMPLE_TOKENS


def _tokens_of(loaded: LoadedModel, tasks: TaskList) -> tuple[int, int]:
    """Tokens that a measurement reads (what prompts and options begin with alike once), and those that it may write."""
    sequences: list[list[int]] = []
    written = 0
    for task in (*tasks.packaged.values(), *tasks.own.values()):
        for document in task.eval_docs:
            prompt = str(document.get("prompt", "")) + str(document.get("text", ""))
            texts = [f"{prompt} {option}" for option in document.get("choices") or [""]]
            sequences += [loaded.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        if task.config.output_type == "generate_until":
            written += len(task.eval_docs) * MAX_NEW_TOKENS
    sequences = [tokens for tokens in sequences if tokens]
    groups = plan_groups(sequences, [len(tokens) - 1 for tokens in sequences], sum(map(len, sequences)))
    return sum(group.num_tokens for group in groups), written


def _read_rate(loaded: LoadedModel) -> float:
    width = min(64, context_of(loaded.model) or 64)
    tokens = torch.full((_READ_ROWS, width), 5, device=loaded.model.device)
    with torch.no_grad():
        loaded.model(input_ids=tokens, logits_to_keep=1)
        started = _now(loaded.model)
        loaded.model(input_ids=tokens, logits_to_keep=1)
    return _READ_ROWS * width / (_now(loaded.model) - started)


def _write_rate(loaded: LoadedModel, facts: Sequence[Fact]) -> float:
    questions = [example.question for fact in facts for example in fact.training][:_WRITE_ROWS]
    prompts = [encode(loaded.tokenizer, prompt_text(loaded.tokenizer, question)) for question in questions]
    started = _now(loaded.model)
    size, most = _WRITE_ROWS, _WRITTEN_TOKENS
    try:
        with sharing():
            found = continue_prompts(loaded.model, prompts, max_new_tokens=most, stop_tokens=[-1], batch_size=size)
        num_written = sum(len(answer.tokens) for answer in found)
    except CannotShareError:
        written = generate_tokens(
            loaded.model, loaded.tokenizer, prompts, max_new_tokens=most, temperature=None, batch_size=size
        )
        num_written = sum(map(len, written))
    return num_written / (_now(loaded.model) - started)


def _now(model: PreTrainedModel) -> float:
    """Seconds, once the model's device has done what it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.monotonic()


def _largest_row(examples: Sequence[EncodedExample], settings: TrainSettings, micro_batch_size: int) -> PackedRow:
    """The row with most tokens of an epoch's first steps, without replayed text."""
    order = random.Random(settings.seed)  # noqa: S311 - not for secrets
    steps = epoch_batches(examples, settings.batch_size, micro_batch_size, order)
    return max((row for rows in islice(steps, _TRAIN_STEPS) for row in rows), key=lambda row: row.num_tokens)


def _any_roots(model: PreTrainedModel) -> dict[torch.Tensor, torch.Tensor | None]:
    """For each trained weight a root that costs a step as much as those of `kapoc.training.moments.input_roots`."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return {w: torch.eye(w.shape[1] if w.ndim > 1 else 1, device=w.device) for w in weights}


def _step_seconds(loaded: LoadedModel, rows: Sequence[PackedRow], settings: TrainSettings) -> float:
    """Of a step as the recipe takes it: with its method, its precision, its optimizer and its way to save memory."""
    trainable = make_trainable(loaded.model, load_method(settings.method, settings.options), settings)
    is_measured = settings.optimizer == "muon" and settings.replay.weight and settings.replay.whitening
    roots = _any_roots(trainable) if is_measured else None
    loop = Loop(accelerator_for(settings, loaded.model), trainable, settings, [2 * settings.batch_size], roots)
    seconds = 0.0
    for _ in range(2):
        started = _now(loaded.model)
        loop.step(rows, 1)
        seconds = _now(loaded.model) - started
    return seconds
