"""From a recipe to files on disk: base run, checkpoint, trained run, comparison, report.

Everything after a measurement starts again from those files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kapoc.errors import DataError
from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict, judged
from kapoc.judging.gate_file import RELEASE_GATE, Gate
from kapoc.judging.pairing import pair_runs
from kapoc.judging.plan import Planned, plan_gate, sizes_of
from kapoc.measuring.general import ABILITIES, load_general, load_off_topic
from kapoc.record import Run, load_run, save_run
from kapoc.report.formats import beside, render_report
from kapoc.source import load_json
from kapoc.training_record import TRAINING_FILE, TrainingRecord
from kapoc.workflow.current import (
    context_runs,
    current_run,
    has_current_model,
    is_record_of,
    run_for_another_recipe,
)
from kapoc.workflow.train_run import (
    refuse_before_training,
    refuse_missing_dev,
    refuse_unfit_base,
    tell_other_packages,
    train_loaded,
    trained_weights,
)
from kapoc.workflow.workspace import Workspace
from kapoc.writing import refuse_unwritable, write_atomically

if TYPE_CHECKING:
    from kapoc.models import LoadedModel
    from kapoc.workflow.calibrate import Cost


def bench(workspace: Workspace, name: str, out: Path, base: str | None = None) -> Run:
    """Measure one model and write its run.

    Args:
        workspace: recipe, knowledge set and limit.
        name: a model folder, an adapter folder, a Hub id or `default`.
        out: the run's folder.
        base: the model that it was trained from, to measure how far it has moved from it.

    Raises:
        DataError: a base, and no text on which the distance from it could be measured.
    """
    from kapoc.models import load_model
    from kapoc.workflow.card_file import put_into_card
    from kapoc.workflow.tracking import scores_of_run, tracked

    _refuse_unwritable(workspace, out)
    if base is not None:
        _refuse_without_texts(workspace)
    tell = workspace.listener.tell
    with tracked(workspace, out, f"{out.name} of {name}") as workspace:
        tell(f"loading {name}")
        origin = load_model(base, tell=tell) if base is not None else None
        run = _measure(workspace, load_model(name, tell=tell), out, origin)
        if workspace.context == "none" and put_into_card(Path(name), run, workspace.run("base")):
            tell(f"what was measured stands in {name}/README.md")
        workspace.listener.on_scores(scores_of_run(run), 0)
    return run


def _measure(workspace: Workspace, loaded: "LoadedModel", out: Path, base: "LoadedModel | None" = None) -> Run:
    from kapoc.measuring.bench import measure

    workspace.listener.tell(f"measuring {loaded.identity.name} on {workspace.name}")
    run = measure(
        loaded,
        knowledge=workspace.knowledge,
        general=workspace.general,
        off_topic=workspace.off_topic,
        context=workspace.context,
        base=base,
        batch_size=workspace.batch_size or workspace.recipe.bench.batch_size,
        limit=workspace.limit,
        command=workspace.command,
        counting=workspace.listener.counting,
        lm_eval_out=workspace.lm_eval_out,
    )
    save_run(run, out)
    return load_run(out)


def _refuse_unwritable(workspace: Workspace, out: Path) -> None:
    refuse_unwritable(out)
    if workspace.lm_eval_out is not None:
        refuse_unwritable(workspace.lm_eval_out, "--lm-eval")


def _refuse_without_texts(workspace: Workspace) -> None:
    from kapoc.measuring.task_list import load_tasks

    if workspace.context == "none":
        return  # the texts that ship are asked
    if not load_tasks(workspace.knowledge, workspace.general, workspace.context, workspace.off_topic).has_texts:
        raise DataError(
            f"--base: the distance from it is measured on texts, and with --context {workspace.context} none is read; "
            "leave out one of the two, or give texts of your own by --general"
        )


def bench_base(workspace: Workspace) -> Run:
    """The base's run: the one on disk where it is current, a new one where not."""
    return bench_once(workspace, workspace.recipe.model, workspace.run("base"))


def bench_once(
    workspace: Workspace,
    name: str,
    out: Path,
    base: Run | None = None,
    on_loaded: Callable[["LoadedModel"], object] = lambda _: None,
) -> Run:
    """A model's run: the one on disk where it is current, a new one where not.

    Args:
        workspace: recipe and knowledge sets.
        name: of the model.
        out: the run's folder.
        base: the run of the recipe's model, where the divergence from that is to be measured.
        on_loaded: is given the model before it is measured, and may refuse it.
    """
    from kapoc.models import load_model

    refuse_unwritable(out)
    tell = workspace.listener.tell
    tell(f"loading {name}")
    loaded = load_model(name, tell=tell)
    run = current_run(workspace, loaded, out, base.model.weights_sha256 if base is not None else "")
    if run is not None:
        return run
    on_loaded(loaded)
    return _measure(workspace, loaded, out, load_model(workspace.base_model, tell=tell) if base is not None else None)


def bench_trained(workspace: Workspace, out: Path) -> tuple[Comparison, Verdict | None]:
    """Train if there is no current checkpoint, measure what is missing, compare, report.

    Returns:
        The comparison with the base, and the default gate's verdict; none for a `--limit` run.
    """
    from kapoc.workflow.tracking import scores_of_comparison, tracked

    _refuse_unwritable(workspace, out)
    refuse_before_training(workspace.recipe, workspace.model)
    refuse_missing_dev(workspace.recipe, workspace.facts, workspace.name)
    with tracked(workspace, workspace.folder, f"{workspace.recipe.name} on {workspace.name}") as workspace:
        comparison, verdict = _bench_trained(workspace, out)
        num_steps = comparison.training.num_steps if comparison.training is not None else 0
        workspace.listener.on_scores(scores_of_comparison(comparison), num_steps)
    return comparison, verdict


def _bench_trained(workspace: Workspace, out: Path) -> tuple[Comparison, Verdict | None]:
    from kapoc.models import load_model
    from kapoc.training.resume import drop_state

    workspace.listener.tell(f"loading {workspace.recipe.model}")
    base = load_model(workspace.base_model, tell=workspace.listener.tell)
    is_trained = has_current_model(workspace, base, workspace.model)
    if not is_trained:
        refuse_unfit_base(workspace, base)
    before = _base_run(workspace, base)
    if is_trained:
        tell_other_packages(workspace, workspace.model)
    else:
        train_loaded(workspace, base, workspace.model)
        base = load_model(workspace.base_model, tell=workspace.listener.tell)  # training changed the one in memory
    drop_state(workspace.model)
    workspace.listener.tell(f"loading {workspace.model}")
    loaded = load_model(str(workspace.model), tell=workspace.listener.tell)
    trained = trained_weights(workspace.model, loaded)
    after = _measure(workspace, loaded, out, base)
    return _reported(workspace, before, after, trained)


def _base_run(workspace: Workspace, base: "LoadedModel") -> Run:
    """The run of the base: the current one on disk, be it made for another recipe; a new one where there is none."""
    place = workspace.run("base")
    if (run := current_run(workspace, base, place)) is not None:
        return run
    if (found := run_for_another_recipe(workspace, base)) is None:
        return _measure(workspace, base, place)
    run, folder = found
    workspace.listener.tell(f"{workspace.recipe.model} was measured already, and is not again: {folder}")
    save_run(run, place)
    return load_run(place)


def compare_again(workspace: Workspace) -> tuple[Comparison, TrainingRecord] | None:
    """Compare and report anew without training, where that would make the model again that was measured.

    So it is when an alias was added, by which no training text changes, and the run was graded anew since.

    Returns:
        The comparison and the record of the training; none where the run, or its training, is another than today's, or
        where the model still lies there and can be measured.
    """
    from kapoc.models import load_model, package_versions

    if (workspace.model / TRAINING_FILE).is_file():
        return None
    try:
        trained = load_json(workspace.folder / TRAINING_FILE, TrainingRecord)
        before, after = load_run(workspace.run("base")), load_run(workspace.run("trained"))
    except DataError:
        return None
    own = {"base_sha256", "decoding_sha256"}
    alike = (
        after.model.weights_sha256 == trained.weights_sha256
        and after.model.dtype == before.model.dtype
        and after.data == before.data
        and after.versions == before.versions == package_versions()
        and after.settings.model_dump(exclude=own) == before.settings.model_dump(exclude=own)
        and after.settings.base_sha256 == before.model.weights_sha256 == trained.base_sha256
    )
    if not alike:
        return None
    base = load_model(workspace.base_model, tell=workspace.listener.tell)
    if base.identity.weights_sha256 != trained.base_sha256 or not is_record_of(workspace, base, trained):
        return None
    comparison, _ = _reported(workspace, before, after, trained)
    return comparison, trained


def _reported(
    workspace: Workspace, before: Run, after: Run, trained: TrainingRecord
) -> tuple[Comparison, Verdict | None]:
    """Compare two runs, and write the report and, where it is still there, the model's card."""
    from kapoc.workflow.card_file import write_card

    comparison = compare(before, after, contexts=context_runs(workspace, before), training=trained)
    comparison, verdict = judged(comparison, RELEASE_GATE)
    if workspace.limit is None:
        for ending, text in render_report(comparison, verdict, pair_runs(before, after)).items():
            write_atomically(beside(workspace.report, ending), text)
        if workspace.context == "none" and (workspace.model / TRAINING_FILE).is_file():
            write_card(workspace.model, trained, comparison, verdict)
    return comparison, verdict


def plan(workspace: Workspace, gate: Gate) -> list[Planned]:
    """What the checks of a gate can show on these knowledge sets and the bundled items."""
    general = {ability: len(load_general(ability)) for ability in ABILITIES}
    sizes = sizes_of([source.knowledge for source in workspace.sources], general, [p.kind for p in load_off_topic()])
    return plan_gate(sizes, gate)


def cost(workspace: Workspace) -> "Cost":
    """What training and measuring will take on this machine, from a short calibration with the recipe's model."""
    from kapoc.measuring.task_list import load_tasks
    from kapoc.models import load_model
    from kapoc.workflow.calibrate import calibrate

    loaded = load_model(workspace.base_model, tell=workspace.listener.tell)
    refuse_unfit_base(workspace, loaded)
    return calibrate(loaded, workspace.recipe, workspace.for_training(), load_tasks(workspace.knowledge))
