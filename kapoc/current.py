"""Which of a workspace's results on disk are current: what the same command would make again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kapoc.context import CONTEXTS
from kapoc.errors import DataError, IncomparableError
from kapoc.knowledge_file import Source
from kapoc.pairing import shared_items
from kapoc.record import Run, load_run
from kapoc.workspace import Workspace

if TYPE_CHECKING:
    from kapoc.models import LoadedModel


def fingerprint(workspace: Workspace, base: "LoadedModel") -> str:
    """What a checkpoint was made of: another fingerprint means another training run."""
    from kapoc.chat import template_sha256
    from kapoc.models import decoding_sha256

    rehearsal = workspace.rehearsal
    rehearsed = [str(rehearsal.per_fact), *(source.sha256 for source in rehearsal.sources)]
    return workspace.recipe.fingerprint(
        *(source.sha256 for source in workspace.sources),
        *workspace.paraphrases,
        base.identity.weights_sha256,
        template_sha256(base.tokenizer),
        decoding_sha256(base.model, base.tokenizer),
        base.model.device.type,
        *(rehearsed if rehearsal.per_fact and rehearsal.sources else ()),
        *(_names_of(source) for source in (workspace.elsewhere if workspace.recipe.train.invents_names else ())),
    )


def _names_of(source: Source) -> str:
    """What texts about invented names depend on of a set that is not trained on."""
    return json.dumps([[fact.name, fact.taught] for fact in source.knowledge.facts])


def has_current_model(workspace: Workspace, base: "LoadedModel", folder: Path) -> bool:
    """Whether the checkpoint on disk, or one left beside its place by a kill, is what training this base would make."""
    from kapoc.checkpoint import finish_swap, read_training_record

    finish_swap(folder)
    try:
        record = read_training_record(folder)
    except DataError as error:
        workspace.listener.tell(f"{error}; trained again")
        return False
    return record is not None and record.fingerprint == fingerprint(workspace, base)


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


def _asked_and_graded_alike(run: Run, workspace: Workspace) -> bool:
    from kapoc.task_list import load_tasks

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
