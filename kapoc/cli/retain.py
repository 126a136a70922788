"""The command that teaches stage after stage: retain. Parse, call, print."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kapoc.cli import completion
from kapoc.cli.console import listener, show
from kapoc.cli.options import (
    DEFAULT_RECIPE,
    EpochsOption,
    JsonOption,
    LimitOption,
    MethodOption,
    OutOption,
    RecipeOption,
    RunsOption,
    SeedOption,
)

retain_app = typer.Typer(rich_markup_mode=None)


@retain_app.command()
def retain(
    stages: Annotated[
        list[str],
        typer.Argument(
            help="Knowledge sets in the order of training: a shipped set's name or a file, or SET:DOMAIN for one "
            "domain of it.",
            autocompletion=completion.knowledge_sets,
        ),
    ],
    recipe: RecipeOption = DEFAULT_RECIPE,
    rehearse: Annotated[
        int,
        typer.Option(
            "--rehearse", min=0, help="Training examples of each earlier fact in every epoch of later stages."
        ),
    ] = 0,
    unrelated: Annotated[
        int,
        typer.Option("--unrelated", min=0, help="Optimizer steps on invented facts of no stage, after the last one."),
    ] = 0,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    method: MethodOption = None,
    limit: LimitOption = None,
    runs: RunsOption = Path("runs"),
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach knowledge sets one after another, and show what is left of each.

    Each stage trains the model of the one before with the recipe, and then all stages are asked about: recall of every
    stage after every stage, backward and forward transfer, forgetting, and general ability. The results lie in
    RUNS/retain/RECIPE-STAGES/: `base` and `<number>-<stage>/run` are ordinary runs, `<number>-<stage>/model` is a
    checkpoint, `sets` holds domains as sets of their own. With --rehearse the folder is another one. The same command
    given again does not repeat what has finished. It ends in retain.json and retain.md, or with --unrelated in
    retain-unrelated-STEPS.json and .md.

    Where the recipe has a budget, that of each stage is counted from the model before it, not from the base: a model
    may move so far in every stage. How far it is from the base stands in the results.

    Unrelated training is an epoch of the recipe on the training examples of an invented set, the same in every folder.
    """
    from kapoc.recipe import load_recipe
    from kapoc.record import to_json
    from kapoc.report import terminal
    from kapoc.workflow.retain_run import plan_retain, run_retain, write_retention

    plan = plan_retain(
        stages,
        load_recipe(recipe).with_train(epochs=epochs, seed=seed, method=method),
        rehearse=rehearse,
        unrelated_steps=unrelated,
        limit=limit,
        command=shlex.join(["kapoc", *sys.argv[1:]]),
        listener=listener(),
    )
    folder = out or runs / "retain" / plan.name
    retention = run_retain(plan, folder)
    page = write_retention(plan, retention, folder)
    if as_json:
        print(to_json(retention))
        return
    show(terminal.retention_table(retention), f"report: {page}")
