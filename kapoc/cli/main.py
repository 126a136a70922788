"""The command line: parse, call, print, exit. Nothing below it writes to standard output or exits."""

import io
import json
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
from typer.exceptions import Abort, TyperException

from kapoc import __version__
from kapoc.cli import completion
from kapoc.cli.chat import chat_app
from kapoc.cli.console import listener, show
from kapoc.cli.data import data_app
from kapoc.cli.judge import baseline_app, judge_app
from kapoc.cli.options import (
    DEFAULT_RECIPE,
    EpochsOption,
    GateOption,
    GeneralOption,
    JsonOption,
    KnowledgeOption,
    LimitOption,
    MethodOption,
    OffTopicOption,
    OutOption,
    RecipeOption,
    RunsOption,
    SeedOption,
    names_of,
)
from kapoc.cli.retain import retain_app
from kapoc.cli.sweep import sweep_app
from kapoc.errors import DataError, KapocError

if TYPE_CHECKING:
    from kapoc.workflow.workspace import Workspace
_INTERRUPTED = 130
"""The exit code after Ctrl-C; typer gives it back without a word."""


class _Commands(typer.core.TyperGroup):
    """All commands; a reader that has gone (`| head`) is no failed gate, for which typer's own code stands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
            sys.exit(141)
        return result


app = typer.Typer(
    name="kapoc",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Did fine-tuning teach this model new facts, can it use them, and what did it forget?",
)
app.add_typer(chat_app)
app.add_typer(judge_app)
app.add_typer(sweep_app)
app.add_typer(retain_app)
app.add_typer(data_app, name="data")
app.add_typer(baseline_app, name="baseline")

TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="Also tell tensorboard, mlflow, wandb or trackio; may be given several times. The recipe's by default.",
    ),
]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def bench(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="base (the recipe's model), trained (that model after training), default (the shipped SmolLM2-135M-"
            "Instruct), a model or adapter folder, or a Hub id.",
            autocompletion=completion.models,
        ),
    ],
    recipe: RecipeOption = DEFAULT_RECIPE,
    knowledge: KnowledgeOption = None,
    general: GeneralOption = None,
    off_topic: OffTopicOption = None,
    context: Annotated[
        str,
        typer.Option(
            help="What stands beside a question: none, oracle (its fact) or retrieved (what a search finds).",
            autocompletion=completion.contexts,
        ),
    ] = "none",
    base: Annotated[
        str | None,
        typer.Option(
            help="What a model was trained from, to measure how far it has moved.", autocompletion=completion.models
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows a forward pass; the recipe's by default.")] = None,
    limit: LimitOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    method: MethodOption = None,
    track: TrackOption = None,
    runs: RunsOption = Path("runs"),
    out: OutOption = None,
    lm_eval: Annotated[
        Path | None,
        typer.Option(
            "--lm-eval",
            help="A folder for results_*.json and samples_*.jsonl as well, as `lm_eval --output_path --log_samples` "
            "writes them, of every model that is measured.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on every task.

    `--model trained` trains with the recipe first if no current checkpoint exists, measures the base if that was
    not done, compares the two and prints the verdict. What was measured of a model that kapoc trained goes into its
    model card, once its base was measured on the same items.
    """
    from kapoc.record import refuse_other_files, to_json
    from kapoc.report import terminal
    from kapoc.workflow import bench_run
    from kapoc.workflow.train_run import refuse_bad_settings

    asked = {
        "general": general or (),
        "off_topic": off_topic or (),
        "context": context,
        "batch_size": batch_size,
        "limit": limit,
        "lm_eval_out": lm_eval,
    }
    settings = {"--epochs": epochs, "--seed": seed, "--method": method}
    given = [option for option, value in settings.items() if value is not None]
    if given and model not in {"base", "trained"}:
        raise DataError(f"{', '.join(given)}: only for --model base and trained, which a recipe makes; leave it out")
    workspace = _workspace(runs, recipe, knowledge, asked, track, epochs=epochs, seed=seed, method=method)
    if given:
        refuse_bad_settings(workspace.recipe)
    if out is not None:
        refuse_other_files(out)
    if model == "trained":
        if base is not None:
            raise DataError("--base: `trained` is held against its recipe's model; leave it out")
        target = out or workspace.run("trained")
        comparison, verdict = bench_run.bench_trained(workspace, target)
        if as_json:
            judged = None if verdict is None else verdict.model_dump(mode="json")
            print(json.dumps({**json.loads(to_json(comparison)), "verdict": judged}, indent=2))
            return
        show(terminal.comparison_table(comparison))
        if verdict is not None:
            show(terminal.verdict_table(verdict), f"report: {workspace.report}")
        return
    target = out or (workspace.run("base") if model == "base" else workspace.run_of(model))
    run = bench_run.bench(workspace, workspace.place_of(model), target, base and workspace.place_of(base))
    if as_json:
        print(to_json(run))
        return
    show(terminal.run_table(run), f"{run.num_items} items in {run.seconds:.0f} s; run: {target}")


@app.command()
def train(
    recipe: RecipeOption = DEFAULT_RECIPE,
    knowledge: KnowledgeOption = None,
    method: MethodOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew where a killed run would go on from its last kept step.")
    ] = False,
    track: TrackOption = None,
    runs: RunsOption = Path("runs"),
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the recipe's base model on a knowledge set and check the result.

    A run that was killed goes on from its last kept step when the same command is given again, and ends with the
    same weights. Its state is kept every five minutes, but not in the last one, or as `[resume]` in the recipe says.
    """
    from kapoc.record import to_json
    from kapoc.training.checkpoint import read_training_record
    from kapoc.workflow.train_run import train_model

    asked = [
        ("--recipe", None if recipe == DEFAULT_RECIPE else recipe),
        *(("--knowledge", one) for one in knowledge or ()),
        ("--method", method),
        ("--epochs", epochs),
        ("--seed", seed),
        ("--runs", None if runs == Path("runs") else runs),
    ]
    workspace = _workspace(runs, recipe, knowledge, {}, track, epochs=epochs, seed=seed, method=method)
    folder = train_model(workspace, out or workspace.model, restart=restart)
    record = read_training_record(folder)
    assert record is not None  # noqa: S101 - train_model has just written it
    if as_json:
        print(to_json(record))
        return
    last, taken = record.epochs[-1], record.taken
    show(
        f"trained {record.num_trained_parameters:,} weights in {record.seconds:.0f} s "
        f"({record.tokens_per_second:.0f} tokens/s, peak memory {record.peak_memory_bytes / 2**30:.1f} GiB)",
        f"last epoch: training loss {last.train_loss:.4f}"
        + (f", dev loss {last.dev_loss:.4f}, dev exact {last.dev_exact:.1%}" if last.dev_exact is not None else ""),
        *([f"taken: alpha {taken.alpha:g} of the way, dev exact {taken.dev_exact:.1%}"] if taken is not None else []),
        f"model: {folder}",
        f"measure it: {_measuring(out, workspace.recipe.model, asked)}",
    )


def _measuring(out: Path | None, base: str, asked: Sequence[tuple[str, object]]) -> str:
    """The command that measures what a training with these options left."""
    model = ["trained"] if out is None else [str(out), "--base", base]
    of_training = () if out is None else ("--method", "--epochs", "--seed")  # bench refuses them with a folder
    given = [(name, value) for name, value in asked if value is not None and name not in of_training]
    options = [word for name, value in given for word in (name, str(value))]
    return shlex.join(["kapoc", "bench", "--model", *model, *options])


@app.command()
def plan(
    recipe: RecipeOption = DEFAULT_RECIPE,
    knowledge: KnowledgeOption = None,
    gate_file: GateOption = None,
    calibrated: Annotated[
        bool,
        typer.Option("--calibrate/--no-calibrate", help="Time the model to foretell time and memory."),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Before anything is trained: what can this knowledge set show, and what will it cost on this machine?

    "can show": the smallest change, the highest floor or the lowest ceiling that this many items can prove of a model
    that does well; for a check that fails only on a shown loss, the smallest loss that it would catch. "clusters
    needed": how many facts (or items that belong to no fact) the check's own threshold takes; "-": not computed.
    """
    from dataclasses import asdict

    from kapoc.judging.gate_file import load_gate
    from kapoc.report import terminal
    from kapoc.workflow import bench_run
    from kapoc.workflow.train_run import refuse_bad_settings, refuse_missing_dev

    workspace = _workspace(Path("runs"), recipe, knowledge, {})
    refuse_bad_settings(workspace.recipe)
    refuse_missing_dev(workspace.recipe, workspace.facts, workspace.name)
    gate = load_gate(gate_file)
    planned = bench_run.plan(workspace, gate)
    cost = bench_run.cost(workspace) if calibrated else None
    if as_json:
        rows = [asdict(check) for check in planned]
        print(json.dumps({"checks": rows, "cost": None if cost is None else asdict(cost)}, indent=2))
        return
    show(terminal.plan_table(planned))
    if rest := sorted({check.name for check in gate.check} - {check.name for check in planned}):
        show(f"not foretold, since it takes a measurement, or your own tasks or prompts: {', '.join(rest)}")
    if cost is not None:
        show(
            f"a measurement: up to {cost.bench_seconds / 60:.0f} min (reading {cost.read_tokens_per_second:.0f}, "
            f"writing {cost.write_tokens_per_second:.0f} tokens/s)",
            f"training: about {cost.train_seconds / 60:.0f} min ({cost.train_tokens_per_second:.0f} tokens/s), peak "
            f"memory {cost.peak_memory_bytes / 2**30:.1f} GiB",
            *(f"note: {note}" for note in cost.notes),
        )


@app.command()
def tasks(as_json: JsonOption = False) -> None:
    """Print the folder of the lm-eval tasks, for `lm_eval --include_path "$(kapoc tasks)" --tasks kapoc`."""
    from importlib.resources import files

    folder = str(files("kapoc.tasks"))
    print(json.dumps({"include_path": folder, "tasks": "kapoc"}, indent=2) if as_json else folder)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine has: packages, devices, memory, the model cache."""
    from kapoc.workflow.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps(findings, indent=2))
        return
    show(*(f"{key}: {value}" for key, value in findings.items()))


def _workspace(
    runs: Path,
    recipe: str,
    knowledge: list[str] | None,
    asked: dict[str, Any],
    track: list[str] | None = None,
    **overrides: Any,
) -> "Workspace":
    from kapoc.recipe import load_recipe
    from kapoc.workflow.workspace import open_workspace

    if "general" in asked:
        asked = {**asked, "general": names_of(asked["general"])}
    return open_workspace(
        runs,
        load_recipe(recipe).with_train(**overrides).with_trackers(track or ()),
        knowledge=knowledge or (),
        listener=listener(),
        command=shlex.join(["kapoc", *sys.argv[1:]]),
        **asked,
    )


def main() -> None:
    """Run the command line; every failure that a user can cause ends in one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of an encoding that lacks a character of an answer
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)  # advice of libraries to each other
    try:
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except KapocError as error:
        _fail(error.exit_code, *error.lines)
    except TyperException as error:
        _fail(2, error.format_message())
    except (Abort, KeyboardInterrupt):
        _fail(
            _INTERRUPTED,
            "interrupted; nothing unfinished counts as a result, and training goes on from its last kept step",
        )
    except OSError as error:
        _fail(6, f"{error.filename or 'file system'}: {error.strerror or error}; check the path, permissions and space")
    except (MemoryError, RuntimeError) as error:
        words = f"{type(error).__name__}: {error}".lower()
        if "outofmemory" not in words and "memoryerror" not in words and "allocate memory" not in words:
            _crash()
        _fail(7, "the device is out of memory; lower batch_size and micro_batch_size in the recipe")
    except Exception:
        _crash()


def _crash() -> None:
    """An error in kapoc itself: the whole trace, and a code that no verdict has."""
    traceback.print_exc()
    sys.exit(70)


def _fail(exit_code: int, *lines: str) -> None:
    for line in lines:
        print(f"kapoc: {line}", file=sys.stderr)
    sys.exit(exit_code)
