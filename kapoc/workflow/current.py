"""Which of a workspace's results on disk are current: what the same command would make again."""

import hashlib
import json
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from kapoc.errors import DataError, IncomparableError
from kapoc.judging.pairing import shared_items
from kapoc.measuring.context import CONTEXTS
from kapoc.record import Run, load_run
from kapoc.workflow.workspace import Listener, Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from kapoc.chat import EncodedExample
    from kapoc.measuring.spillover import SpilloverMarkers
    from kapoc.models import LoadedModel
    from kapoc.training.texts import TrainingTexts
    from kapoc.training_record import TrainingRecord


def fingerprint(workspace: Workspace, base: "LoadedModel") -> str:
    """What a checkpoint was made of, by its files: as long as it is the same, so is the training run."""
    rehearsal = workspace.rehearsal
    rehearsed = [str(rehearsal.per_fact), *(source.sha256 for source in rehearsal.sources)]
    return workspace.recipe.fingerprint(
        *(source.sha256 for source in workspace.sources),
        *workspace.paraphrases,
        *_of_base(base),
        *(rehearsed if rehearsal.per_fact and rehearsal.sources else ()),
        *(source.sha256 for source in (workspace.elsewhere if workspace.recipe.train.invents_names else ())),
    )


def settings_sha256(workspace: Workspace, base: "LoadedModel") -> str:
    """What a checkpoint was made of, but for the sets."""
    return workspace.recipe.fingerprint(*_of_base(base))


def _of_base(base: "LoadedModel") -> tuple[str, ...]:
    from kapoc.chat import template_sha256
    from kapoc.models import decoding_sha256

    return (
        base.identity.weights_sha256,
        template_sha256(base.tokenizer),
        decoding_sha256(base.model, base.tokenizer),
        base.model.device.type,
    )


def texts_of(workspace: Workspace, tokenizer: "PreTrainedTokenizerBase") -> "TrainingTexts":
    """All that training reads of the sets.

    Raises:
        DataError: there is no such form, or a text that the tokenizer cannot split into prompt and answer.
    """
    from kapoc.training.rehearsal import rehearsed_examples
    from kapoc.training.texts import training_texts

    rehearsal, settings = workspace.rehearsal, workspace.recipe.train
    return training_texts(
        workspace.for_training(),
        settings,
        tokenizer,
        beside=[source.knowledge for source in workspace.elsewhere],
        rehearsed=rehearsed_examples(rehearsal.sources, rehearsal.per_fact, settings, tokenizer),
    )


def markers_of(workspace: Workspace) -> "SpilloverMarkers | None":
    """By what training knows a taught answer to a held-out question, where its budget is for such, too."""
    from kapoc.measuring.spillover import spillover_markers

    if workspace.recipe.train.budget.spillover is None:
        return None
    earlier = workspace.rehearsal.sources if workspace.rehearsal.per_fact else ()
    return spillover_markers((*workspace.knowledge, *(source.name for source in earlier)))


def texts_sha256(
    workspace: Workspace, tokenizer: "PreTrainedTokenizerBase", texts: "TrainingTexts | None" = None
) -> str:
    """The sha256 of all that a training run does with its sets: what it reads, is scored on and may not spill.

    Args:
        workspace: recipe and knowledge sets.
        tokenizer: of the base.
        texts: `texts_of` these, where they were made already.
    """
    from kapoc.training.examples import dev_examples

    texts = texts or texts_of(workspace, tokenizer)
    digest = hashlib.sha256()
    for part in (texts.own, *texts.epochs, dev_examples(workspace.facts, tokenizer)):
        digest.update(b"part\n")
        for example in part:
            _add(digest, example)
    if (markers := markers_of(workspace)) is not None:
        digest.update(json.dumps([sorted(markers.labels.items()), markers.patterns]).encode())
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", example: "EncodedExample") -> None:
    read = [example.prompt, example.answer, example.untrained, example.fact, example.form, example.question]
    digest.update(json.dumps([read, len(example.contrasts)]).encode())
    for contrast in example.contrasts:
        _add(digest, contrast)


def has_current_model(workspace: Workspace, base: "LoadedModel", folder: Path, read: str = "") -> bool:
    """Whether the checkpoint on disk, or one left beside its place by a kill, is what training this base would make.

    Another file of a set counts only where training reads something else in it: an alias, by which answers are
    graded, may change nothing of that.

    Args:
        workspace: recipe and knowledge sets.
        base: that would be trained.
        folder: of the checkpoint.
        read: `texts_sha256` of these, where it is known already.
    """
    from kapoc.training.checkpoint import finish_swap, read_training_record

    finish_swap(folder)
    try:
        record = read_training_record(folder)
    except DataError as error:
        workspace.listener.tell(f"{error}; trained again")
        return False
    return record is not None and is_record_of(workspace, base, record, read)


def is_record_of(workspace: Workspace, base: "LoadedModel", record: "TrainingRecord", read: str = "") -> bool:
    """Whether a training record is of what training this base would make; as `has_current_model`."""
    if record.fingerprint == fingerprint(workspace, base):
        return True
    if not record.texts_sha256 or record.settings_sha256 != settings_sha256(workspace, base):
        return False
    return record.texts_sha256 == (read or texts_sha256(workspace, base.tokenizer))


def current_run(workspace: Workspace, loaded: "LoadedModel", folder: Path, base_sha256: str = "") -> Run | None:
    """The run on disk, if it measured these weights on these documents in this way."""
    from kapoc.chat import template_sha256
    from kapoc.models import decoding_sha256, package_versions

    if not (folder / "run.json").is_file():
        return None
    try:
        run = load_run(folder)
    except DataError as error:
        workspace.listener.tell(f"{error}; measured again")
        return None
    same = (
        run.model.weights_sha256 == loaded.identity.weights_sha256
        and run.model.dtype == loaded.identity.dtype
        and run.versions == package_versions()
        and run.settings.chat_template_sha256 == template_sha256(loaded.tokenizer)
        and run.settings.decoding_sha256 in {"", decoding_sha256(loaded.model, loaded.tokenizer)}
        and run.settings.batch_size == (workspace.batch_size or workspace.recipe.bench.batch_size)
        and run.settings.limit == workspace.limit
        and run.settings.device == loaded.model.device.type
        and run.settings.base_sha256 == base_sha256
        and run.data.knowledge == tuple(source.identity for source in workspace.sources)
        and _asked_and_graded_alike(run, workspace)
    )
    return run if same else None


def run_for_another_recipe(workspace: Workspace, loaded: "LoadedModel") -> tuple[Run, Path] | None:
    """A run of the base under the same root that was made for another recipe and is what would be made here."""
    place = workspace.run("base")
    quiet = replace(workspace, listener=Listener())  # what is damaged elsewhere is not measured again
    for folder in sorted(workspace.root.glob(f"*/{escape(workspace.name)}/{escape(place.name)}")):
        if folder != place and (run := current_run(quiet, loaded, folder)) is not None:
            return run, folder
    return None


def _asked_and_graded_alike(run: Run, workspace: Workspace) -> bool:
    from kapoc.measuring.task_list import load_tasks

    tasks = load_tasks(workspace.knowledge, workspace.general, workspace.context, workspace.off_topic)
    return run.data.documents_sha256 == tasks.documents_sha256() and run.data.tasks == tasks.versions


def context_runs(workspace: Workspace, before: Run) -> dict[str, Run]:
    """The runs of the base with knowledge in its prompts that lie beside its plain one and fit it."""
    found = {}
    for context in CONTEXTS[1:]:
        folder = replace(workspace, context=context).run("base")
        if (folder / "run.json").is_file() and before.settings.context == "none":
            try:
                run = load_run(folder)
                if run.model.weights_sha256 == before.model.weights_sha256:
                    shared_items(run, before)
                    found[str(context)] = run
            except DataError as error:
                workspace.listener.tell(f"{error}; left out")
            except IncomparableError as error:
                workspace.listener.tell(f"{folder}: {error}; left out")
    return found
