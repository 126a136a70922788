"""From a recipe to a checkpoint on disk: train the base, go on where a killed run was, check what was saved."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from kapoc.derived.derive import checked_forms
from kapoc.errors import DataError
from kapoc.knowledge.facts import Fact
from kapoc.recipe import Recipe
from kapoc.trackers import TrackedRun, load_tracker
from kapoc.training_record import TRAINING_FILE
from kapoc.workflow.current import fingerprint, has_current_model, markers_of, settings_sha256, texts_of, texts_sha256
from kapoc.workflow.workspace import Workspace
from kapoc.writing import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from kapoc.chat import EncodedExample
    from kapoc.engine.divergence import Passage
    from kapoc.models import LoadedModel
    from kapoc.training.resume import Keeper
    from kapoc.training.texts import TrainingTexts
    from kapoc.training.train import TrainResult
    from kapoc.training_record import Checks, Exposure, TrainingRecord

_BATCH_SIZE = 20
_OFTEN = 1.5
"""Readings of a replayed passage from which on they are told."""
_NUM_TRIED = 200
"""So many passages are looked at where their number is not known yet."""


def train_model(workspace: Workspace, out: Path, *, restart: bool = False) -> Path:
    """Train the recipe's base model, check the result and put it in its place.

    A run that was killed goes on from the state that it last kept, on one CPU machine to the same weights.

    Args:
        workspace: recipe and knowledge sets.
        out: the checkpoint's folder.
        restart: throw away what a killed run kept, and begin anew.

    Returns:
        The checkpoint's folder.

    Raises:
        TrainingError: a value was not finite, and the last weights are kept beside the checkpoint's place, in
            `<name>.last-good`; or the saved model fails a check, and the state of training is kept as it was.
    """
    from kapoc.models import load_model
    from kapoc.workflow.tracking import tracked

    out = out.resolve() if out.is_symlink() or not out.name else out  # "." has no name, and a link stays where it is
    refuse_before_training(workspace.recipe, out)
    refuse_missing_dev(workspace.recipe, workspace.facts, workspace.name)
    with tracked(workspace, workspace.folder, f"{workspace.recipe.name} on {workspace.name}") as workspace:
        workspace.listener.tell(f"loading {workspace.recipe.model}")
        base = load_model(workspace.base_model, tell=workspace.listener.tell)
        refuse_unfit_base(workspace, base)
        return train_loaded(workspace, base, out, restart)


def train_once(workspace: Workspace, out: Path) -> Path:
    """As `train_model`, unless the checkpoint that it would make lies there already."""
    from kapoc.models import load_model
    from kapoc.training.resume import drop_state

    if not has_current_model(workspace, load_model(workspace.base_model, tell=workspace.listener.tell), out):
        train_model(workspace, out)
        return out
    trained_weights(out, load_model(str(out), tell=workspace.listener.tell))
    drop_state(out)
    tell_other_packages(workspace, out)
    return out


def trained_weights(folder: Path, loaded: "LoadedModel") -> "TrainingRecord":
    """The record of a checkpoint, which must hold the weights that it tells of.

    Raises:
        DataError: it holds others.
    """
    from kapoc.training.checkpoint import read_training_record

    record = read_training_record(folder)
    if record is None or record.weights_sha256 != loaded.identity.weights_sha256:
        raise DataError(f"{folder}: these are not the weights that were trained; remove the folder")
    return record


def tell_other_packages(workspace: Workspace, folder: Path) -> None:
    """Say of a checkpoint that is used again where other packages than today's have trained it."""
    from kapoc.models import package_versions
    from kapoc.training.checkpoint import read_training_record

    record, now = read_training_record(folder), package_versions("accelerate", "peft")
    if record is not None and (odd := [name for name in now if record.versions.get(name) != now[name]]):
        found = ", ".join(f"{name} {record.versions.get(name, 'none')} and now {now[name]}" for name in odd)
        workspace.listener.tell(
            f"note: {folder} was trained with other packages ({found}); remove it to train it again"
        )


def train_loaded(workspace: Workspace, base: "LoadedModel", out: Path, restart: bool = False) -> Path:
    """As `train_model`, with the base in memory, which training changes."""
    from kapoc.training.checkpoint import locked

    refuse_before_training(workspace.recipe, out)
    refuse_missing_dev(workspace.recipe, workspace.facts, workspace.name)
    with locked(out):
        return _train(workspace, base, out, restart)


def _train(workspace: Workspace, base: "LoadedModel", out: Path, restart: bool) -> Path:
    from kapoc.training import checkpoint

    texts = texts_of(workspace, base.tokenizer)
    examples = list(texts.read())
    read = texts_sha256(workspace, base.tokenizer, texts)
    keeper = _keeper(workspace, base, read, out)
    if restart:
        keeper.discard()
    _tell_replaced(workspace, base, out, read)
    checkpoint.refuse_without_room(out, 4 * base.identity.num_parameters)
    sizes = list(map(len, texts.epochs))
    numbers = texts.settings.num_passages(sizes)
    passages, held_out = _passages(workspace, base, keeper, numbers)
    _tell_taught(workspace, texts, examples)
    _tell_read_again(numbers[0], texts.settings.num_readings(sizes), workspace.listener.tell)
    with checkpoint.writing(out) as folder:
        result = _trained(workspace, base, out, texts, passages, held_out, keeper)
        _save(workspace, base, result, folder, texts, read)
    keeper.discard()
    return out


def _tell_replaced(workspace: Workspace, base: "LoadedModel", out: Path, read: str) -> None:
    """Say of a model that lies there that it is another one than this training makes."""
    if not has_current_model(workspace, base, out, read) and (earlier := _record_of(out)) is not None:
        taught = ", ".join(identity.name for identity in earlier.knowledge)
        workspace.listener.tell(f"replacing the model of other facts, settings or packages in {out} ({taught})")


def _tell_taught(workspace: Workspace, texts: "TrainingTexts", examples: "Sequence[EncodedExample]") -> None:
    """Say how much is trained on, and what of it falls short of what was asked for."""
    from kapoc.training.exposure import exposures, faint_facts

    recipe, tell = workspace.recipe, workspace.listener.tell
    tell(f"training {recipe.name}: {len(examples)} examples in {recipe.train.epochs} epochs")
    for note in texts.notes:
        tell(f"note: {note}")
    markers = markers_of(workspace)
    if markers is not None and not markers.labels and not markers.patterns:
        reason = f"no slot of {workspace.name} is distinctive and no pattern is given"
        tell(f"note: budget.spillover: limits nothing, since {reason}")
    if faint := faint_facts(exposures(examples), texts.facts):
        tell(f"hardly taught: {', '.join(faint)}; give these facts more or longer training answers")


def _tell_read_again(num_replayed: int, num_readings: int, tell: Callable[[str], None]) -> None:
    """Say that replayed passages come again and again, where they do: a model is held less by what it has read."""
    if num_readings >= _OFTEN * num_replayed > 0:
        tell(
            f"note: each replayed passage is read {num_readings / num_replayed:.1f} times, and what comes again holds "
            f"less; with replay.num_passages = {num_readings} none does"
        )


def _trained(
    workspace: Workspace,
    base: "LoadedModel",
    out: Path,
    texts: "TrainingTexts",
    passages: "Sequence[Passage]",
    held_out: "Sequence[Passage]",
    keeper: "Keeper",
) -> "TrainResult":
    """Train the base; where a value is not finite, what it was before that is kept beside the checkpoint's place."""
    from kapoc.training import checkpoint
    from kapoc.training.examples import dev_examples
    from kapoc.training.loop import StoppedTrainingError
    from kapoc.training.train import train

    try:
        return train(
            base.model,
            texts.own,
            texts.settings,
            epochs=texts.epochs,
            dev=dev_examples(workspace.facts, base.tokenizer),
            passages=passages,
            held_out=held_out,
            spilled=_spilled(workspace, base),
            keeper=keeper,
            on_step=workspace.listener.on_step,
            on_epoch=workspace.listener.on_epoch,
        )
    except StoppedTrainingError as stopped:
        kept = checkpoint.keep_last_good(stopped.model, base.tokenizer, out, str(stopped))
        keeper.discard()
        raise type(stopped)(f"{stopped}; {kept}", stopped.model) from None


def _save(
    workspace: Workspace, base: "LoadedModel", result: "TrainResult", folder: Path, texts: "TrainingTexts", read: str
) -> None:
    """Write and check a trained model, its record and its card."""
    from kapoc.training import checkpoint
    from kapoc.training.exposure import exposures
    from kapoc.workflow.card_file import write_card

    tell = workspace.listener.tell
    questions = [example.question for fact in workspace.facts for example in fact.training]
    checks, weights_sha256 = checkpoint.save_and_check(result.model, base.tokenizer, folder, questions, tell)
    exposed = exposures(texts.read(len(result.epochs)))
    record = _training_record(workspace, base, result, checks, weights_sha256, read, exposed)
    write_card(folder, record)
    _tell_choice(record, workspace.recipe.train.epochs, tell)
    write_atomically(folder / TRAINING_FILE, record.model_dump_json(indent=2) + "\n")


def _record_of(out: Path) -> "TrainingRecord | None":
    """What lies there of an earlier training; a damaged record, which training replaces, is as good as none."""
    from kapoc.training.checkpoint import read_training_record

    with suppress(DataError):
        return read_training_record(out)
    return None


def _tell_choice(record: "TrainingRecord", num_epochs: int, tell: Callable[[str], None]) -> None:
    """Say what was chosen by the dev answers, and whether it keeps to the budget."""
    if len(record.epochs) < num_epochs:
        tell(f"stopped after epoch {len(record.epochs)} of {num_epochs}: enough dev answers are exact")
    if (taken := record.taken) is not None:
        exact, moved = f"dev exact {taken.dev_exact:.1%}", f"from base {taken.divergence:.3f}"
        tell(f"taken on the way back to the base: alpha {taken.alpha:g}  {exact}  {moved}")
    if record.beyond_budget:
        tell(f"note: the model does not keep to its budget: {record.beyond_budget}; train less, or replay with more")


def _spilled(workspace: Workspace, base: "LoadedModel") -> "Callable[[PreTrainedModel], float] | None":
    """What tells the share of held-out questions that a model answers with something taught, where it is wanted.

    What the base says itself before training is no spillover.
    """
    from kapoc.answers import generate_answers
    from kapoc.chat import prompt_text
    from kapoc.models import evaluating
    from kapoc.training.replay import HELD_OUT_TOKENS, replay_prompts

    markers = markers_of(workspace)
    if markers is None:
        return None
    questions = replay_prompts().held_out
    prompts = [prompt_text(base.tokenizer, question) for question in questions]

    def found(model: "PreTrainedModel") -> list[set[str]]:
        with evaluating(model):
            answers = generate_answers(
                model, base.tokenizer, prompts, max_new_tokens=HELD_OUT_TOKENS, temperature=None, batch_size=_BATCH_SIZE
            )
        pairs = zip(answers, questions, strict=True)
        return [set(markers.found(answer, asked, with_patterns=True)) for answer, asked in pairs]

    own = found(base.model)

    def spilled(model: "PreTrainedModel") -> float:
        return sum(bool(now - before) for now, before in zip(found(model), own, strict=True)) / len(questions)

    return spilled


def _training_record(
    workspace: Workspace,
    base: "LoadedModel",
    result: "TrainResult",
    checks: "Checks",
    weights_sha256: str,
    read_sha256: str,
    exposed: "tuple[Exposure, ...]",
) -> "TrainingRecord":
    from kapoc.models import hub_id, package_versions
    from kapoc.training_record import TrainingRecord

    measured = {one.name: getattr(result, one.name) for one in fields(result) if one.name != "model"}
    return TrainingRecord(
        fingerprint=fingerprint(workspace, base),
        settings_sha256=settings_sha256(workspace, base),
        texts_sha256=read_sha256,
        recipe=workspace.recipe.model_copy(update={"knowledge": workspace.knowledge}).model_dump(mode="json"),
        knowledge=tuple(source.identity for source in workspace.sources),
        paraphrases=workspace.paraphrases,
        base=base.identity.name,
        base_hub_id=hub_id(base.identity.name) or "",
        base_sha256=base.identity.weights_sha256,
        weights_sha256=weights_sha256,
        **measured,
        exposures=exposed,
        checks=checks,
        versions=package_versions("accelerate", "peft"),
    )


def _keeper(workspace: Workspace, base: "LoadedModel", read_sha256: str, out: Path) -> "Keeper":
    """What keeps the state of this training run beside the checkpoint's place; a new alias makes no other run."""
    from kapoc.models import package_versions
    from kapoc.training.resume import Keeper, resume_folder, run_key
    from kapoc.training.train import precision_on

    precision = precision_on(base.model.device, workspace.recipe.train)
    versions = package_versions("accelerate", "peft")
    key = run_key(settings_sha256(workspace, base), read_sha256, versions, precision)
    return Keeper(resume_folder(out), key, workspace.recipe.resume, workspace.listener.tell)


def _passages(
    workspace: Workspace, base: "LoadedModel", keeper: "Keeper", numbers: tuple[int, int]
) -> "tuple[Sequence[Passage], Sequence[Passage]]":
    """What the base writes for the replay of the recipe, and to measure on how far the model has moved from it.

    Args:
        workspace, base: whose.
        keeper: of what it has written already for this run.
        numbers: of passages for the one and for the other.
    """
    from kapoc.training.replay import write_held_out, write_passages

    replay, seed = workspace.recipe.train.replay, workspace.recipe.train.seed
    num_replayed, num_held_out = numbers
    if not num_replayed + num_held_out:
        return (), ()

    def write() -> "list[Passage]":
        workspace.listener.tell(f"the base writes {num_replayed + num_held_out} passages of general text")
        written_by = base.model, base.tokenizer
        with workspace.listener.counting("writing", num_replayed + num_held_out) as count:
            replayed = write_passages(*written_by, num_replayed, replay, seed, count) if num_replayed else []
            return replayed + (write_held_out(*written_by, num_held_out, count) if num_held_out else [])

    found = keeper.passages(write, base.model.device)
    return found[:num_replayed], found[num_replayed:]


def refuse_bad_settings(recipe: Recipe) -> None:
    """Find what only a method or a maker of texts can tell of a recipe, before anything long begins.

    Raises:
        DataError: a method, an option of it or a form of derived texts that does not exist.
    """
    from kapoc.methods import load_method

    try:
        load_method(recipe.train.method, recipe.train.options)
        checked_forms(recipe.train.derived)
    except DataError as error:
        raise DataError(f"recipe '{recipe.name}': {error}") from None


def refuse_unfit_base(workspace: Workspace, base: "LoadedModel") -> None:
    """Find out, before anything long begins, that a recipe's model cannot be trained as it says.

    What is derived of the sets is longer than their own texts by a few words, and is looked at when it has been made.

    Raises:
        DataError: its method does not take the model, or a text or passage is longer than the model reads.
    """
    from kapoc.training.examples import dev_examples, training_examples
    from kapoc.training.replay import passage_prompts, refuse_long_passages
    from kapoc.training.train import refuse_too_long, refuse_unfit

    train, tokenizer = workspace.recipe.train, base.tokenizer
    try:
        refuse_unfit(base.model, train)
        if train.replay.weight:
            asked = passage_prompts(tokenizer, train.replay.num_passages or _NUM_TRIED, train.replay, train.seed)
            refuse_long_passages(base.model, asked, train.replay.num_tokens)
    except DataError as error:
        raise DataError(f"recipe '{workspace.recipe.name}': {error}") from None
    own = (training_examples(workspace.facts, tokenizer), dev_examples(workspace.facts, tokenizer))
    refuse_too_long(base.model, [example for examples in own for example in examples])


def refuse_unknown_trackers(recipe: Recipe) -> None:
    """Find out before other work that who is to be told of training cannot be; nothing is opened yet.

    Raises:
        DataError: a tracker is unknown, or its package is missing.
    """
    for tool in recipe.track.tools:
        try:
            load_tracker(tool, TrackedRun(recipe.track.project, recipe.name, Path()))
        except DataError as error:
            raise DataError(f"recipe '{recipe.name}': {error}") from None


def refuse_missing_dev(recipe: Recipe, facts: Iterable[Fact], where: str) -> None:
    """Find out, before any work, that a recipe would choose by dev paraphrases, and there are none.

    Args:
        recipe: that may choose.
        facts: that are taught.
        where: they stand, in words.

    Raises:
        DataError: there are none.
    """
    if recipe.train.has_budget and not any([*fact.examples("dev")] for fact in facts):
        raise DataError(
            f"recipe '{recipe.name}': train.stop_at, train.alphas: {where} has no dev paraphrases to choose by; add "
            "some, or take the settings out"
        )


def refuse_before_training(recipe: Recipe, out: Path) -> None:
    """Find out, before anything long begins, why a recipe could not be trained, or its model not be put there.

    Raises:
        DataError: the recipe names what does not exist, or its base lies there and would be gone.
        OutputError: other files lie there, or the folder cannot be written.
    """
    from kapoc.training.checkpoint import refuse_foreign

    refuse_foreign(out)
    refuse_bad_settings(recipe)
    if Path(recipe.model).is_dir() and Path(recipe.model).resolve() == out.resolve():
        raise DataError(
            f"recipe '{recipe.name}': model: {recipe.model} is where its own model goes, and would be overwritten; "
            "give the recipe another name, or choose another --out"
        )
