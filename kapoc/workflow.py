"""From a recipe to files on disk: base run, checkpoint, trained run, comparison, report.

Everything after a measurement starts again from those files.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kapoc.compare import compare, missing_tiers
from kapoc.comparison import Comparison
from kapoc.context import CONTEXTS
from kapoc.data.derive import checked_forms
from kapoc.errors import DataError, refuse_unwritable
from kapoc.gate import RELEASE_GATE, Gate, Verdict, verdict_of
from kapoc.general import ABILITIES, load_general, load_off_topic
from kapoc.pairing import pair_runs
from kapoc.plan import Planned, plan_gate, sizes_of
from kapoc.recipe import Recipe
from kapoc.record import Run, load_run, save_run, write_atomically
from kapoc.report.formats import beside, render_report
from kapoc.training_record import TRAINING_FILE
from kapoc.workspace import Workspace

if TYPE_CHECKING:
    from kapoc.calibrate import Cost
    from kapoc.chat import EncodedExample
    from kapoc.divergence import Passage
    from kapoc.models import LoadedModel
    from kapoc.resume import Keeper
    from kapoc.train import TrainResult
    from kapoc.training_record import Checks, Exposure, TrainingRecord


def bench(workspace: Workspace, name: str, out: Path, base: str | None = None) -> Run:
    """Measure one model and write its run.

    Args:
        workspace: recipe, knowledge set and limit.
        name: a model folder, an adapter folder, a Hub id or `default`.
        out: the run's folder.
        base: the model that it was trained from, to measure how far it has moved from it.
    """
    from kapoc.card_file import put_into_card
    from kapoc.models import load_model
    from kapoc.tracking import scores_of_run, tracked

    _refuse_unwritable(workspace, out)
    tell = workspace.listener.tell
    with tracked(workspace, out, f"{out.name} of {name}") as workspace:
        tell(f"loading {name}")
        origin = load_model(base, tell=tell) if base is not None else None
        run = _measure(workspace, load_model(name, tell=tell), out, origin)
        if workspace.context == "none" and put_into_card(Path(name), run, workspace.run("base")):
            tell(f"what was measured stands in {name}/README.md")
        workspace.listener.on_scores(scores_of_run(run))
    return run


def _measure(workspace: Workspace, loaded: "LoadedModel", out: Path, base: "LoadedModel | None" = None) -> Run:
    from kapoc.bench import measure

    workspace.listener.tell(f"measuring {loaded.identity.name} on {workspace.name}")
    run = measure(
        loaded,
        knowledge=workspace.knowledge,
        general=workspace.general,
        context=workspace.context,
        base=base,
        batch_size=workspace.batch_size or workspace.recipe.bench.batch_size,
        limit=workspace.limit,
        command=workspace.command,
        show_progress=workspace.listener.show_progress,
        lm_eval_out=workspace.lm_eval_out,
    )
    save_run(run, out)
    return load_run(out)


def train_model(workspace: Workspace, out: Path, *, restart: bool = False) -> Path:
    """Train the recipe's base model, check the result and put it in its place.

    A run that was killed goes on from the state that it last kept, to the same weights.

    Args:
        workspace: recipe and knowledge sets.
        out: the checkpoint's folder.
        restart: throw away what a killed run kept, and begin anew.

    Returns:
        The checkpoint's folder.

    Raises:
        TrainingError: a value was not finite, or the saved model fails a check; the last good weights are kept
            beside the checkpoint's place, in `<name>.last-good`.
    """
    from kapoc.checkpoint import refuse_foreign
    from kapoc.models import load_model
    from kapoc.tracking import tracked

    refuse_foreign(out)
    refuse_bad_settings(workspace.recipe)
    with tracked(workspace, workspace.folder, f"{workspace.recipe.name} on {workspace.name}") as workspace:
        workspace.listener.tell(f"loading {workspace.recipe.model}")
        return _train(workspace, load_model(workspace.recipe.model, tell=workspace.listener.tell), out, restart)


def _train(workspace: Workspace, base: "LoadedModel", out: Path, restart: bool = False) -> Path:
    from kapoc import checkpoint
    from kapoc.card_file import write_card
    from kapoc.exposure import exposures, faint_facts
    from kapoc.loop import StoppedTrainingError
    from kapoc.rehearsal import rehearsed_examples
    from kapoc.train import derived_training_examples, dev_examples, train, training_examples

    recipe, listener = workspace.recipe, workspace.listener
    examples = training_examples(workspace.facts, base.tokenizer)
    parts = [derived_training_examples(source.knowledge, recipe.train, base.tokenizer) for source in workspace.sources]
    parts += rehearsed_examples(workspace.rehearsal.sources, workspace.rehearsal.per_fact, recipe.train, base.tokenizer)
    derived = [[example for examples in epoch for example in examples] for epoch in zip(*parts, strict=True)]
    whole = [*examples * recipe.train.epochs, *(example for epoch in derived for example in epoch)]
    keeper = _keeper(workspace, base, whole, out)
    if restart:
        keeper.discard()
    passages, held_out = _passages(workspace, base, keeper)
    listener.tell(f"training {recipe.name}: {len(whole)} examples in {recipe.train.epochs} epochs")
    exposed = exposures(whole)
    if faint := faint_facts(exposed, [fact.id for fact in workspace.facts if fact.taught]):
        listener.tell(f"hardly taught: {', '.join(faint)}; give these facts more or longer training answers")
    with checkpoint.writing(out) as folder:
        try:
            result = train(
                base.model,
                examples,
                recipe.train,
                derived=derived,
                dev=dev_examples(workspace.facts, base.tokenizer),
                passages=passages,
                held_out=held_out,
                keeper=keeper,
                on_step=listener.on_step,
                on_epoch=listener.on_epoch,
            )
        except StoppedTrainingError as stopped:
            keeper.discard()
            kept = checkpoint.keep_last_good(stopped.model, base.tokenizer, out, str(stopped))
            raise type(stopped)(f"{stopped}; the last good weights are in {kept}", stopped.model) from None
        questions = [example.question for fact in workspace.facts for example in fact.training]
        checks, weights_sha256 = checkpoint.save_and_check(
            result.model, base.tokenizer, folder, questions, listener.tell
        )
        record = _training_record(workspace, base, result, checks, weights_sha256, exposed)
        write_card(folder, record)
        write_atomically(folder / TRAINING_FILE, record.model_dump_json(indent=2) + "\n")
    keeper.discard()
    return out


def _training_record(
    workspace: Workspace,
    base: "LoadedModel",
    result: "TrainResult",
    checks: "Checks",
    weights_sha256: str,
    exposed: "tuple[Exposure, ...]",
) -> "TrainingRecord":
    from kapoc.models import package_versions
    from kapoc.training_record import EpochLine, TrainingRecord

    measured = {one.name: getattr(result, one.name) for one in fields(result) if one.name not in {"model", "epochs"}}
    return TrainingRecord(
        fingerprint=_fingerprint(workspace, base),
        recipe=workspace.recipe.model_dump(mode="json"),
        knowledge=tuple(source.identity for source in workspace.sources),
        base=base.identity.name,
        base_sha256=base.identity.weights_sha256,
        weights_sha256=weights_sha256,
        **measured,
        epochs=tuple(EpochLine(**asdict(epoch)) for epoch in result.epochs),
        exposures=exposed,
        checks=checks,
        versions=package_versions("accelerate", "peft"),
    )


def _keeper(workspace: Workspace, base: "LoadedModel", examples: "Sequence[EncodedExample]", out: Path) -> "Keeper":
    """What keeps the state of this training run beside the checkpoint's place."""
    from kapoc.models import package_versions
    from kapoc.resume import Keeper, resume_folder, run_key

    key = run_key(_fingerprint(workspace, base), package_versions("accelerate", "peft"), examples)
    return Keeper(resume_folder(out), key, workspace.recipe.resume, workspace.listener.tell)


def _passages(
    workspace: Workspace, base: "LoadedModel", keeper: "Keeper"
) -> "tuple[Sequence[Passage], Sequence[Passage]]":
    """What the base writes for the replay of the recipe, and to measure on how far the model has moved from it."""
    from kapoc.replay import write_passages

    settings, seed = workspace.recipe.train, workspace.recipe.train.seed
    num_replayed, num_held_out = settings.num_passages
    if not num_replayed + num_held_out:
        return (), ()

    def write() -> "list[Passage]":
        workspace.listener.tell(f"the base writes {num_replayed + num_held_out} passages of general text")
        sizes = ((num_replayed, seed), (num_held_out, seed + 1))
        written = [
            write_passages(base.model, base.tokenizer, number, settings.replay.num_tokens, its_seed)
            for number, its_seed in sizes
            if number
        ]
        return [passage for part in written for passage in part]

    found = keeper.passages(write, base.model.device)
    return found[:num_replayed], found[num_replayed:]


def _refuse_unwritable(workspace: Workspace, out: Path) -> None:
    refuse_unwritable(out)
    if workspace.lm_eval_out is not None:
        refuse_unwritable(workspace.lm_eval_out, "--lm-eval")


def refuse_bad_settings(recipe: Recipe) -> None:
    """Find what only a method or a maker of texts can tell of a recipe, before anything long begins.

    Raises:
        DataError: a method, an option of it or a form of derived texts that does not exist.
    """
    from kapoc.methods import load_method

    load_method(recipe.train.method, recipe.train.options)
    checked_forms(recipe.train.derived)


def bench_base(workspace: Workspace) -> Run:
    """The base's run: the one on disk where it is current, a new one where not."""
    return bench_once(workspace, workspace.recipe.model, workspace.run("base"))


def bench_once(workspace: Workspace, name: str, out: Path, base: Run | None = None) -> Run:
    """A model's run: the one on disk where it is current, a new one where not.

    Args:
        workspace: recipe and knowledge sets.
        name: of the model.
        out: the run's folder.
        base: the run of the recipe's model, where the divergence from that is to be measured.
    """
    from kapoc.models import load_model

    refuse_unwritable(out)
    tell = workspace.listener.tell
    tell(f"loading {name}")
    loaded = load_model(name, tell=tell)
    run = _current_run(workspace, loaded, out, base.model.weights_sha256 if base is not None else "")
    if run is not None:
        return run
    return _measure(workspace, loaded, out, load_model(workspace.recipe.model, tell=tell) if base is not None else None)


def train_once(workspace: Workspace, out: Path) -> Path:
    """As `train_model`, unless the checkpoint that it would make lies there already."""
    from kapoc.models import load_model

    if not _has_current_model(workspace, load_model(workspace.recipe.model, tell=workspace.listener.tell), out):
        train_model(workspace, out)
    return out


def bench_trained(workspace: Workspace, out: Path) -> tuple[Comparison, Verdict | None]:
    """Train if there is no current checkpoint, measure what is missing, compare, report.

    Returns:
        The comparison with the base, and the default gate's verdict; none for a `--limit` run.
    """
    from kapoc.checkpoint import refuse_foreign
    from kapoc.tracking import scores_of_comparison, tracked

    _refuse_unwritable(workspace, out)
    refuse_foreign(workspace.model)
    refuse_bad_settings(workspace.recipe)
    with tracked(workspace, workspace.folder, f"{workspace.recipe.name} on {workspace.name}") as workspace:
        comparison, verdict = _bench_trained(workspace, out)
        workspace.listener.on_scores(scores_of_comparison(comparison))
    return comparison, verdict


def _bench_trained(workspace: Workspace, out: Path) -> tuple[Comparison, Verdict | None]:
    from kapoc.card_file import write_card
    from kapoc.checkpoint import read_training_record
    from kapoc.models import load_model

    workspace.listener.tell(f"loading {workspace.recipe.model}")
    base = load_model(workspace.recipe.model, tell=workspace.listener.tell)
    before = _current_run(workspace, base, workspace.run("base")) or _measure(workspace, base, workspace.run("base"))
    if not _has_current_model(workspace, base, workspace.model):
        _train(workspace, base, workspace.model)
        base = load_model(workspace.recipe.model, tell=workspace.listener.tell)  # training changed the one in memory
    workspace.listener.tell(f"loading {workspace.model}")
    after = _measure(workspace, load_model(str(workspace.model), tell=workspace.listener.tell), out, base)
    trained = read_training_record(workspace.model)
    if trained is None or trained.weights_sha256 != after.model.weights_sha256:
        raise DataError(f"{workspace.model}: these are not the weights that were trained; remove the folder")
    comparison = compare(before, after, contexts=_context_runs(workspace, before), training=trained)
    missing = missing_tiers(comparison)
    if missing:
        workspace.listener.tell(f"no verdict: {workspace.name} has nothing to ask in {', '.join(missing)}")
    verdict = verdict_of(comparison, RELEASE_GATE)
    if workspace.limit is None:
        for ending, text in render_report(comparison, verdict, pair_runs(before, after)).items():
            write_atomically(beside(workspace.report, ending), text)
        if workspace.context == "none":
            write_card(workspace.model, trained, comparison, verdict)
    return comparison, verdict


def plan(workspace: Workspace, gate: Gate) -> list[Planned]:
    """What the checks of a gate can show on these knowledge sets and the bundled items."""
    num_general = sum(len(load_general(ability)) for ability in ABILITIES)
    sizes = sizes_of([source.knowledge for source in workspace.sources], num_general, len(load_off_topic()))
    return plan_gate(sizes, gate)


def cost(workspace: Workspace) -> "Cost":
    """What training and measuring will take on this machine, from a short calibration with the recipe's model."""
    from kapoc.calibrate import calibrate
    from kapoc.models import load_model
    from kapoc.task_list import load_tasks

    loaded = load_model(workspace.recipe.model, tell=workspace.listener.tell)
    knowledge = [source.knowledge for source in workspace.sources]
    return calibrate(loaded, workspace.recipe, knowledge, load_tasks(workspace.knowledge))


def _fingerprint(workspace: Workspace, base: "LoadedModel") -> str:
    """What a checkpoint was made of: another fingerprint means another training run."""
    from kapoc.chat import template_sha256

    rehearsal = workspace.rehearsal
    rehearsed = [str(rehearsal.per_fact), *(source.sha256 for source in rehearsal.sources)]
    return workspace.recipe.fingerprint(
        *(source.sha256 for source in workspace.sources),
        base.identity.weights_sha256,
        template_sha256(base.tokenizer),
        base.model.device.type,
        *(rehearsed if rehearsal.per_fact and rehearsal.sources else ()),
    )


def _has_current_model(workspace: Workspace, base: "LoadedModel", folder: Path) -> bool:
    """Whether the checkpoint on disk is what training this base would make."""
    from kapoc.checkpoint import read_training_record

    record = read_training_record(folder)
    return record is not None and record.fingerprint == _fingerprint(workspace, base)


def _current_run(workspace: Workspace, loaded: "LoadedModel", folder: Path, base_sha256: str = "") -> Run | None:
    """The run on disk, if it measured these weights on these documents in this way."""
    from kapoc.chat import template_sha256
    from kapoc.models import package_versions
    from kapoc.task_list import load_tasks

    if not (folder / "run.json").is_file():
        return None
    run = load_run(folder)
    same = (
        run.model.weights_sha256 == loaded.identity.weights_sha256
        and run.model.dtype == loaded.identity.dtype
        and run.versions == package_versions()
        and run.settings.chat_template_sha256 == template_sha256(loaded.tokenizer)
        and run.settings.batch_size == (workspace.batch_size or workspace.recipe.bench.batch_size)
        and run.settings.limit == workspace.limit
        and run.settings.device == loaded.model.device.type
        and run.settings.base_sha256 == base_sha256
        and run.data.knowledge == tuple(source.identity for source in workspace.sources)
        and run.data.documents_sha256
        == load_tasks(workspace.knowledge, workspace.general, workspace.context).documents_sha256()
    )
    return run if same else None


def _context_runs(workspace: Workspace, before: Run) -> dict[str, Run]:
    """The runs of the base with knowledge in its prompts that lie beside its plain one and fit it."""
    found = {}
    for context in CONTEXTS[1:]:
        folder = replace(workspace, context=context).run("base")
        if (folder / "run.json").is_file():
            run = load_run(folder)
            if run.model.weights_sha256 == before.model.weights_sha256 and run.data.knowledge == before.data.knowledge:
                found[str(context)] = run
    return found
