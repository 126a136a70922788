"""The commands that need no model: compare, gate, report, regrade, baseline. Parse, call, print, exit."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kapoc.cli import completion
from kapoc.cli.console import refuse_unwritable_file, show, tell, write_file
from kapoc.cli.options import GateOption, GeneralOption, JsonOption, OffTopicOption, names_of

if TYPE_CHECKING:
    from kapoc.judging.comparison import Comparison
    from kapoc.judging.from_disk import Compared
    from kapoc.judging.gate import Verdict
    from kapoc.judging.gate_file import Mode

judge_app = typer.Typer(rich_markup_mode=None)
baseline_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The run that new models are held against."
)

RunArgument = Annotated[Path, typer.Argument(help="The folder of a run.", autocompletion=completion.runs)]
OracleOption = Annotated[
    Path | None,
    typer.Option("--oracle", help="The base measured with `--context oracle`.", autocompletion=completion.runs),
]
RetrievedOption = Annotated[
    Path | None,
    typer.Option("--retrieved", help="The base measured with `--context retrieved`.", autocompletion=completion.runs),
]
NoiseOption = Annotated[
    Path | None,
    typer.Option("--noise", help="The base measured again at another --batch-size.", autocompletion=completion.runs),
]
TrainingOption = Annotated[
    Path | None,
    typer.Option("--training", help="The training.json of the trained model; looked for beside its run by default."),
]
ModeOption = Annotated[
    str | None,
    typer.Option(
        "--mode",
        help="release (must show its claims) or pull_request (fails on a regression); the gate file's, or release.",
        autocompletion=completion.modes,
    ),
]
SeedRuns = Annotated[
    list[Path],
    typer.Argument(
        help="The trained run, and others of the same recipe and other seeds.", autocompletion=completion.runs
    ),
]


@judge_app.command()
def compare(
    before: RunArgument,
    after: SeedRuns,
    oracle: OracleOption = None,
    retrieved: RetrievedOption = None,
    noise: NoiseOption = None,
    training: TrainingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs item by item. Never fails a build: that is the gate's task."""
    from kapoc.record import to_json
    from kapoc.report import terminal

    comparison = _compared(before, after, oracle, retrieved, noise, training, seeds=True).comparison
    if as_json:
        print(to_json(comparison))
    else:
        show(terminal.comparison_table(comparison))


@judge_app.command()
def gate(
    baseline: Annotated[
        Path,
        typer.Option("--baseline", help="The run to compare with, blessed or not.", autocompletion=completion.runs),
    ],
    run: Annotated[Path, typer.Option("--run", help="The run to judge.", autocompletion=completion.runs)],
    gate_file: GateOption = None,
    mode: ModeOption = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Append a Markdown summary here ($GITHUB_STEP_SUMMARY).")] = None,
    annotate: Annotated[bool, typer.Option("--annotate", help="Print annotations of GitHub Actions.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge a run against a baseline; the exit code is the verdict.

    0 pass, 1 a gating check failed, 2 usage or configuration, 3 the runs cannot be compared, 4 inconclusive (0 where a
    gate file has `inconclusive_fails = false`).
    """
    from kapoc.errors import DataError, KapocError, OutputError
    from kapoc.record import to_json
    from kapoc.report import markdown, terminal
    from kapoc.report.junit import render_annotations, render_error, render_error_annotation, render_junit
    from kapoc.report.leaderboard import title_of
    from kapoc.source import read_text

    if as_json and annotate:
        raise DataError("--json and --annotate both print on standard output; choose one")
    if junit is not None and summary is not None and junit.resolve() == summary.resolve():
        raise DataError(f"--junit and --summary are both {junit}; name two files")
    above = read_text(summary) if summary is not None and summary.is_file() else ""
    try:
        for path, option in ((junit, "--junit"), (summary, "--summary")):
            if path is not None:
                refuse_unwritable_file(path, option)
        _refuse_foreign(junit)
        comparison, verdict = _judged(baseline, run, gate_file, mode)
    except KapocError as error:
        if annotate:
            print(render_error_annotation(error.lines))
        if not isinstance(error, OutputError):
            _write(junit, render_error(error.lines), summary, above, markdown.render_no_verdict(error.lines))
        raise
    title = title_of(comparison, None)
    _write(junit, render_junit(verdict, title), summary, above, markdown.render_summary(comparison, verdict))
    if as_json:
        print(to_json(verdict))
    else:
        show(terminal.verdict_table(verdict))
    if annotate:
        print("\n".join(render_annotations(verdict, title)))
    raise typer.Exit(verdict.exit_code)


def _refuse_foreign(junit: Path | None) -> None:
    """Refuse to replace what is no earlier JUnit file.

    Raises:
        OutputError: there is such a file.
    """
    from kapoc.errors import OutputError

    if junit is not None and junit.is_file() and (old := junit.read_bytes()) and b"<testsuite" not in old:
        raise OutputError(f"{junit}: is there already and is no JUnit file; choose another --junit")


def _write(junit: Path | None, document: str, summary: Path | None, above: str, page: str) -> None:
    """Write the files for a CI that are wanted; the summary goes behind what stands there."""
    if junit is not None:
        write_file(junit, document)
    if summary is not None:
        write_file(summary, above + "\n" * bool(above and not above.endswith("\n")) + page)


def _judged(baseline: Path, run: Path, gate_file: Path | None, mode: str | None) -> "tuple[Comparison, Verdict]":
    from kapoc.judging.baseline import load_baseline
    from kapoc.judging.compare import compare as compare_runs
    from kapoc.judging.gate import judge
    from kapoc.judging.gate_file import load_gate
    from kapoc.record import load_run

    checks = load_gate(gate_file, _mode(mode))
    comparison = compare_runs(load_baseline(baseline), load_run(run))
    with _of(gate_file):
        return comparison, judge(comparison, checks)


@contextlib.contextmanager
def _of(gate_file: Path | None) -> Iterator[None]:
    """Name the gate file in what is wrong with its checks."""
    from kapoc.errors import DataError

    try:
        yield
    except DataError as error:
        raise error if gate_file is None else DataError(f"{gate_file}: {error}") from None


@judge_app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="The base's run, then one or several trained runs.")],
    base: Annotated[Path | None, typer.Option("--base", help="The base's run, where it is not the first.")] = None,
    oracle: OracleOption = None,
    retrieved: RetrievedOption = None,
    noise: NoiseOption = None,
    training: TrainingOption = None,
    gate_file: GateOption = None,
    mode: ModeOption = None,
    out: Annotated[
        Path, typer.Option("--out", help="OUT.html, OUT.md and OUT.json are written beside each other.")
    ] = Path("report"),
    as_json: JsonOption = False,
) -> None:
    """Write the comparison of runs as a page for the browser, as Markdown and as JSON: the same facts three times.

    The first run is the base. With several trained runs the report begins with a leaderboard of all of them: what
    each recalls, what it forgot, its verdict, and which no other beats. All the rest is about the first of them.

    The page is one file that opens from disk and fetches nothing.
    """
    from kapoc.judging.gate_file import load_gate
    from kapoc.judging.pairing import pair_runs
    from kapoc.report import terminal
    from kapoc.report.formats import beside, render_report

    checks = load_gate(gate_file, _mode(mode))
    before, *after = runs if base is None else [base, *runs]
    compared = _compared(before, after, oracle, retrieved, noise, training)
    with _of(gate_file):
        comparison, verdict = compared.judged(checks)
        board = compared.leaderboard(checks)
    pairs = pair_runs(compared.before, compared.first)
    files = render_report(comparison, verdict, pairs, board, name=beside(out, "").name)
    _refuse_other_files(out, files)
    for ending, text in files.items():
        write_file(beside(out, ending), text)
    if as_json:
        print(json.dumps({"report": str(beside(out, ".md")), **json.loads(files[".json"])}, indent=2))
    else:
        if board is not None:
            show(terminal.leaderboard_table(board))
        show(*(f"report: {beside(out, ending)}" for ending in files))


def _refuse_other_files(out: Path, endings: Iterable[str]) -> None:
    """Look at every place of a report's files before the first is written: only a report is replaced."""
    from kapoc.errors import DataError, OutputError
    from kapoc.report.formats import beside, is_report
    from kapoc.source import read_text

    for ending in endings:
        path = beside(out, ending)
        refuse_unwritable_file(path, "--out")
        with contextlib.suppress(DataError):
            if not path.exists() or is_report(ending, read_text(path)):
                continue
        raise OutputError(f"{path}: is there already and is no report; choose another --out")


@judge_app.command()
def regrade(
    runs: Annotated[list[Path], typer.Argument(help="The folders of runs.", autocompletion=completion.runs)],
    knowledge: Annotated[
        list[str] | None,
        typer.Option(
            "--knowledge",
            help="The sets that the runs are about, where they are no shipped ones; may be given several times.",
            autocompletion=completion.knowledge_sets,
        ),
    ] = None,
    general: GeneralOption = None,
    off_topic: OffTopicOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grade the answers of finished runs anew, without the model, and replace the runs.

    For when a right answer was counted as wrong and you have added an alias to its slot, or when a newer kapoc grades
    otherwise. Give the same --general and --off-topic as when it was measured. A run is refused where a question, an
    option or a reference answer is another one now: that takes a new measurement.
    """
    from kapoc.workflow.regrade import outdated, regrade_on_disk

    found = regrade_on_disk(runs, knowledge=knowledge or (), general=names_of(general), off_topic=off_topic or ())
    changes = {
        folder: {"now right": one.now_right, "now wrong": one.now_wrong, "other spillover": one.other_spillover}
        for folder, one in found.items()
    }
    stale = dict(pair for folder, lists in changes.items() if any(lists.values()) for pair in outdated(folder))
    for path, command in stale.items():
        tell(f"note: {path} has the numbers of before; `{command}` writes it anew")
    if as_json:
        print(json.dumps({str(folder): lists for folder, lists in changes.items()}, indent=2))
        return
    for folder, lists in changes.items():
        counts = ", ".join(f"{len(names)} {change}" for change, names in lists.items())
        show(f"{folder}: {found[folder].run.num_items} items, {counts}")
        show(*(f"  {change}: {name}" for change, names in lists.items() for name in names))


@baseline_app.command("bless")
def bless(
    run: RunArgument,
    reason: Annotated[str, typer.Option(help="Why this run is the new baseline.")],
    out: Annotated[Path, typer.Option("--out", help="The baseline's folder.")] = Path("baseline"),
    as_json: JsonOption = False,
) -> None:
    """Make a run the baseline that new models are held against: copy it to its place and seal it.

    Commit the folder: a baseline changes only by this command, with a reason that a reviewer can read.
    """
    from kapoc.judging.baseline import bless as bless_run
    from kapoc.record import to_json

    seal = bless_run(run, out, reason)
    if as_json:
        print(to_json(seal))
        return
    show(f"blessed {run} as {out}: weights {seal.weights_sha256[:16]}, items {seal.items_sha256[:16]}")


def _compared(
    before: Path,
    after: list[Path],
    oracle: Path | None,
    retrieved: Path | None,
    noise: Path | None,
    training: Path | None,
    *,
    seeds: bool = False,
) -> "Compared":
    from kapoc.judging.from_disk import compare_on_disk

    contexts = {name: path for name, path in (("oracle", oracle), ("retrieved", retrieved)) if path}
    return compare_on_disk(before, after, contexts=contexts, noise=noise, training=training, seeds=seeds)


def _mode(name: str | None) -> "Mode | None":
    from typing import get_args

    from kapoc.errors import DataError, near_miss
    from kapoc.judging.gate_file import Mode

    if name is None:
        return None
    chosen: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}
    if name.replace("-", "_") not in chosen:
        raise DataError(f"--mode {name}: there is none; {near_miss(name, chosen)}")
    return chosen[name.replace("-", "_")]
