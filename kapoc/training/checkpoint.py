"""A trained model on disk: written beside its place, checked there, and moved in only when all checks passed."""

import copy
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from kapoc.answers import generate_answers
from kapoc.chat import encode, prompt_text
from kapoc.errors import ModelError, OutputError, TrainingError
from kapoc.models import UNFINISHED, computes_bfloat16, load_model, moved, refuse_non_finite, save_model
from kapoc.source import load_json
from kapoc.training_record import TRAINING_FILE, Checks, TrainingRecord, is_training_record
from kapoc.writing import refuse_unwritable

STOPPED_FILE = "STOPPED.txt"
NUM_SAMPLES = 200
"""Answers that are sampled from a saved model, in each precision that the machine computes in."""
NUM_EMULATED_SAMPLES = 40
"""In bfloat16 on a CPU that has no such arithmetic: there they take six to eight times as long as in float32."""
SAMPLE_TOKENS = 16
MAX_RELOAD_DIFFERENCE = 1e-4
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


def read_training_record(folder: Path) -> TrainingRecord | None:
    """The training record of a finished checkpoint, or none if the folder holds no such checkpoint.

    Raises:
        DataError: the record is damaged.
    """
    if not (folder / TRAINING_FILE).is_file() or (folder / UNFINISHED).exists():
        return None
    return load_json(folder / TRAINING_FILE, TrainingRecord)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """A folder that no other process of this machine trains into meanwhile.

    Raises:
        OutputError: another one does.
    """
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=0)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{target}: another kapoc trains into it; wait for its end, or choose another --out"
        ) from None
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def refuse_without_room(target: Path, num_bytes: int) -> None:
    """Find out before training that the trained model would not find room.

    Raises:
        OutputError: the disk has less.
    """
    free = shutil.disk_usage(next(place for place in target.parents if place.exists())).free
    if free < num_bytes:
        raise OutputError(
            f"{target}: the trained model needs {num_bytes / 1e9:.1f} GB of disk space, {free / 1e9:.1f} GB are free; "
            "make room, or choose another --out"
        )


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A folder to write a model into; it takes the place of `target` only when the block ends well.

    Killed at any moment, no folder is left that looks like a finished model: the work is done in
    `.<name>.partial`, which is marked as unfinished and removed by the next call.

    Raises:
        OutputError: the place cannot be written, or holds something that is not a kapoc model.
    """
    target = _behind_link(target)
    refuse_foreign(target)
    finish_swap(target)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        partial.mkdir()
        (partial / UNFINISHED).touch()
        yield partial
        _put_in_place(partial, target)
    except OSError as error:
        if not _is_about(error, target.parent):
            raise
        kept = f"; the finished model is in {partial}, move it" if _is_finished(partial) else ""
        reason = error.strerror or error
        raise OutputError(f"{target}: cannot be written ({reason}); choose another --out{kept}") from None
    finally:
        if not _is_finished(partial):
            remove(partial)


def _is_finished(folder: Path) -> bool:
    return (folder / TRAINING_FILE).is_file() and not (folder / UNFINISHED).exists()


def _is_about(error: OSError, folder: Path) -> bool:
    """Whether an error is about a place in a folder, or about room on a disk; what trains may fail otherwise, too."""
    if error.filename is None:
        return error.errno in _NO_ROOM
    return Path(str(error.filename)).absolute().is_relative_to(folder.absolute())


def _put_in_place(partial: Path, target: Path) -> None:
    """Swap a finished folder in by renames alone, so that a kill leaves the old model, the new one, or both aside."""
    (partial / UNFINISHED).unlink()
    _swap(partial, target)


def _swap(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    remove(old)
    if target.exists():
        target.replace(old)
    partial.replace(target)
    remove(old)


def finish_swap(target: Path) -> None:
    """Put a model in its place that a kill, or a busy disk, has left beside it: the new one, else the old one."""
    target = _behind_link(target)
    partial, old = (target.with_name(f".{target.name}.{end}") for end in ("partial", "old"))
    if _is_finished(partial) and (not target.exists() or _is_ours(target / TRAINING_FILE)):
        _swap(partial, target)
    elif not target.exists() and old.is_dir():
        old.replace(target)


def _behind_link(target: Path) -> Path:
    """The folder itself where a link to one is named: a link stays where it is."""
    return target.resolve() if target.is_symlink() else target


def remove(folder: Path) -> None:
    """Remove a folder, or a link to one, if it is there and can be removed."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Refuse to write where something other than an earlier model of ours stands.

    Raises:
        OutputError: the path is a file, or a folder that kapoc did not make, or it cannot be written.
    """
    refuse_unwritable(target)
    if os.path.ismount(target):
        raise OutputError(f"{target}: is a mount point, and cannot be replaced; choose a folder in it: {target}/model")
    for folder, ours in ((target, TRAINING_FILE), (_last_good(target), STOPPED_FILE)):
        if (folder / "run.json").is_file():
            raise OutputError(f"{folder}: holds a run; choose another --out")
        if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder / ours):
            raise OutputError(f"{folder}: holds files that kapoc did not write; choose another --out or empty it")


def _is_ours(mark: Path) -> bool:
    """Whether a folder's file marks it as written by kapoc: a record of training, if a damaged one beside a model."""
    if not mark.is_file():
        return False
    if mark.name != TRAINING_FILE:
        return True
    try:
        return is_training_record(mark)
    except ValueError:
        return (mark.parent / "config.json").is_file()


def keep_last_good(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, target: Path, why: str) -> str:
    """Write the weights that a stopped training run last had, apart from where a finished model would be.

    Returns:
        In words where they are, the folder `<name>.last-good`, in which `STOPPED.txt` says why training stopped; or
        why they could not be kept, which is no reason to hide why training stopped.
    """
    folder = _last_good(target)
    partial = target.with_name(f".{folder.name}.partial")
    try:
        refuse_non_finite(model, "the last state")
        remove(partial)
        partial.mkdir()
        (partial / UNFINISHED).touch()
        save_model(model, tokenizer, partial)
        (partial / STOPPED_FILE).write_text(why + "\n", encoding="utf-8")
        _put_in_place(partial, folder)
    except OSError as error:
        return f"the last weights could not be kept ({error.strerror or error})"
    except ModelError as error:
        return f"the last weights could not be kept ({error})"
    finally:
        remove(partial)
    return f"the last weights are in {folder}"


def _last_good(target: Path) -> Path:
    return target.with_name(f"{target.name}.last-good")


def save_and_check(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    questions: Sequence[str],
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Checks, str]:
    """Save a model and prove that what lies on disk is the model in memory and can be sampled from.

    Args:
        model: the trained model.
        tokenizer: its tokenizer.
        folder: the folder that `writing` gave.
        questions: prompts for the comparison and the samples.
        tell: is given a line of text before each step.

    Returns:
        The checks, and the sha256 of the weights as they were read back.

    Raises:
        TrainingError: a weight, a logit or a sample is not finite, or the reloaded model answers differently.
    """
    prompts = [prompt_text(tokenizer, question) for question in questions]
    try:
        refuse_non_finite(model, "the trained model")
        tell("saving the model, then reading it back")
        save_model(model, tokenizer, folder)
        reloaded = load_model(str(folder), device=model.device, unfinished=True)
        difference = _largest_difference(model, reloaded.model, tokenizer, prompts[:8])
        if difference > MAX_RELOAD_DIFFERENCE:
            words = "see that the disk is sound and train again"
            raise TrainingError(f"the model read back from disk differs by {difference:.2g} in its logits; {words}")
        short = num_bfloat16_samples(model.device)
        tell(f"sampling {NUM_SAMPLES} answers at temperature 1 in float32, then {short} in bfloat16")
        samples = {"float32": sample_answers(reloaded.model, tokenizer, prompts, NUM_SAMPLES)}
        samples["bfloat16"] = sample_answers(moved(reloaded.model, dtype=torch.bfloat16), tokenizer, prompts, short)
    except ModelError as error:
        raise TrainingError(f"the trained model fails its checks: {error}") from None
    checks = Checks(
        reload_max_difference=difference,
        samples=samples,
        float16_finite=_is_finite_in_float16(model, tokenizer, prompts[:8]),
    )
    return checks, reloaded.identity.weights_sha256


def _logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([encode(tokenizer, prompt)], device=model.device)).logits
    return logits.float()


def _largest_difference(
    first: PreTrainedModel,
    second: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
) -> float:
    first.eval()
    differences = [
        float((_logits(first, tokenizer, prompt) - _logits(second, tokenizer, prompt)).abs().max())
        for prompt in prompts
    ]
    return max(differences)


def num_bfloat16_samples(device: torch.device) -> int:
    """How many answers are sampled in bfloat16: fewer where a CPU would have to emulate it."""
    return NUM_SAMPLES if computes_bfloat16(device) else min(NUM_SAMPLES, NUM_EMULATED_SAMPLES)


def sample_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    number: int,
    seed: int = 0,
) -> int:
    """Sample so many answers at temperature 1.

    Returns:
        How many came without an inf or nan: all of them.

    Raises:
        ModelError: a logit is inf or nan.
    """
    set_seed(seed)
    texts = [prompts[place % len(prompts)] for place in range(number)]
    return len(generate_answers(model, tokenizer, texts, max_new_tokens=SAMPLE_TOKENS, temperature=1.0, batch_size=40))


def _is_finite_in_float16(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> bool:
    half = moved(copy.deepcopy(model), dtype=torch.float16)
    return all(bool(torch.isfinite(_logits(half, tokenizer, prompt)).all()) for prompt in prompts)
