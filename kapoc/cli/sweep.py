"""The command that compares recipes: sweep. Parse, call, print, exit."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kapoc.cli.console import show, tell
from kapoc.cli.options import JsonOption

sweep_app = typer.Typer(rich_markup_mode=None)


@sweep_app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A TOML file of recipes, seeds and models.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of sweeps.")] = Path("runs/sweeps"),
    address: Annotated[
        str | None, typer.Option("--address", help="A Ray cluster, such as auto or HOST:6379; this machine by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try recipes x seeds x models, and show which of them no other beats.

    Each trial is an ordinary run in OUT/NAME/TRIAL/. A sweep that was killed goes on where it was when it is started
    again. It writes sweep.json, sweep.md and sweep.svg: recall against forgetting against time, of the trials that have
    ended so far. The exit code is 1 where a trial failed.

    Choose between recipes by `dev`, the dev paraphrases that training never sees and no report counts: what the winner
    of many recalls on the probes that it won by is too high.

    FILE holds recipes, seeds and, if wanted, a grid:

    \b
        name = "first"
        seeds = [0, 1, 2]
        # knowledge, models: the recipes' own by default
        # keep_models = true, limit = 10, cpus_per_trial = 4, gpus_per_trial = 1
    \b
        [[recipes]]
        name = "plain"
        base = "smollm2-135m-full"     # a shipped recipe or a file
    \b
        [[recipes]]
        name = "kl"
        base = "smollm2-135m-full"
        train = { derived = ["statement"], replay = { weight = 1.0 } }
        seeds = [0]
    \b
        [grid]                         # every recipe with every combination
        learning_rate = [1e-4, 2e-4]
    """
    from kapoc.record import to_json
    from kapoc.report import terminal
    from kapoc.workflow.sweep_file import load_sweep
    from kapoc.workflow.sweep_ray import ray_runner
    from kapoc.workflow.sweep_run import page_of, run_sweep

    planned, trials = load_sweep(file)
    command = shlex.join(["kapoc", *sys.argv[1:]])
    try:
        with ray_runner(planned, address) as runner:
            results = run_sweep(planned, trials, out, runner, tell=tell if as_json else show, command=command)
    except KeyboardInterrupt:
        raise typer.Abort from None  # the command line says the rest
    page = page_of(results, out / planned.name)
    if as_json:
        print(to_json(results))
    else:
        show(terminal.sweep_table(results), f"report: {page}, plot: {page.with_suffix('.svg')}")
    raise typer.Exit(1 if results.failures else 0)
