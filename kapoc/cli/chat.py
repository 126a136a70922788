"""The command that asks models by hand: chat. Parse, call, print."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kapoc.cli import completion
from kapoc.cli.console import is_terminal, show, tell
from kapoc.cli.options import DEFAULT_RECIPE, RecipeOption, RunsOption
from kapoc.errors import DataError, KapocError

if TYPE_CHECKING:
    from kapoc.measuring.ask import Answer
    from kapoc.models import LoadedModel
    from kapoc.workflow.workspace import Workspace

chat_app = typer.Typer(rich_markup_mode=None)


@chat_app.command()
def chat(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="base, trained, default, a folder or a Hub id; may be given several times. base and trained if not.",
            autocompletion=completion.models,
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", help="Ask this and exit; may be given several times.")
    ] = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    knowledge: Annotated[
        list[str] | None,
        typer.Option(
            "--knowledge",
            help="The sets on which `trained` was trained; the recipe's by default.",
            autocompletion=completion.knowledge_sets,
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Where an answer is cut off; 80 in a measurement.")] = 80,
    temperature: Annotated[
        float | None, typer.Option(min=0.01, help="Sample at this temperature; the likeliest answer by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling; each question has the next one.")] = 0,
    runs: RunsOption = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, once all is answered.")] = False,
) -> None:
    """Ask models by hand, side by side, as the measurement asks them.

    Each question stands alone, in the model's chat template, and gets the greedy answer. On a terminal you are asked
    for questions until Ctrl-D; from a pipe each line is a question, and each answer comes as one line, behind the
    model's name and a tab where there are several models.
    """
    if prompt and not all(question.strip() for question in prompt):
        raise DataError("--prompt: is empty; give a question")
    from kapoc.measuring.ask import ask

    loaded = _load(list(dict.fromkeys(model or ("base", "trained"))), recipe, knowledge or (), runs)
    is_typed = not prompt and sys.stdin.isatty()
    asked: list[dict[str, Any]] = []
    questions = prompt or (_typed(on_stderr=as_json) if is_typed else _piped())
    try:
        for number, question in enumerate(questions):
            sampling: dict[str, Any] = {"temperature": temperature, "seed": seed + number}
            try:
                answers = {
                    name: ask(one, [question], max_new_tokens=max_tokens, **sampling)[0] for name, one in loaded.items()
                }
            except KapocError as error:
                if not is_typed:
                    raise
                tell(f"kapoc: {' '.join(error.lines)}")
                continue
            if as_json:
                plain = {name: _plain(answer) for name, answer in answers.items()}
                asked.append({"question": question, "answers": plain})
            else:
                _show(answers)
    finally:
        if as_json and (asked or sys.exc_info()[0] is None):  # what was answered before an error is not lost
            models = {name: one.identity.model_dump(mode="json") for name, one in loaded.items()}
            print(json.dumps({"models": models, "questions": asked}, indent=2))


def _load(names: Sequence[str], recipe: str, knowledge: Sequence[str], runs: Path) -> "dict[str, LoadedModel]":
    from kapoc.models import load_model
    from kapoc.recipe import load_recipe
    from kapoc.workflow.workspace import open_workspace

    workspace = open_workspace(runs, load_recipe(recipe), knowledge=knowledge)
    places = {name: workspace.place_of(name) for name in names}
    if "trained" in names:
        _note_changes(workspace)
    quiet = not sys.stderr.isatty()
    return {name: load_model(place, tell=_nobody if quiet else tell) for name, place in places.items()}


def _note_changes(workspace: "Workspace") -> None:
    """A word where the recipe or the facts have changed since the checkpoint was trained."""
    from kapoc.training.checkpoint import read_training_record

    record = read_training_record(workspace.model)
    if record is None or record.recipe.get("train") != workspace.recipe.train.model_dump(mode="json"):
        tell(f"note: {workspace.model} was trained by other settings; `kapoc train` trains it anew")
    elif record.knowledge != tuple(source.identity for source in workspace.sources):
        tell(
            f"note: {workspace.model} was trained on other facts or gradings; `kapoc bench --model trained` trains it "
            "anew where it would read other texts"
        )


def _nobody(line: str) -> None:
    """Listens to nothing."""


def _typed(*, on_stderr: bool) -> Iterator[str]:
    with suppress(ImportError):  # where there is one, `input` gets a line that can be edited
        import readline  # noqa: F401
    while True:
        if on_stderr:
            sys.stderr.write("> ")
            sys.stderr.flush()
        try:
            question = input("" if on_stderr else "> ").strip()
        except (EOFError, KeyboardInterrupt):
            sys.stderr.write("\n")
            return
        if question:
            yield question


def _piped() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            question = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise DataError(f"standard input:{number}: is not UTF-8 text; convert it") from None
        if question:
            yield question


def _show(answers: "Mapping[str, Answer]") -> None:
    from kapoc.report.terminal import answers_table

    if is_terminal():
        show(answers_table({name: (answer.text, answer.ended) for name, answer in answers.items()}))
        return
    lines = {name: " ".join(answer.text.split()) for name, answer in answers.items()}
    show(*(line if len(lines) == 1 else f"{name}\t{line}" for name, line in lines.items()))


def _plain(answer: "Answer") -> dict[str, Any]:
    return {"text": answer.text, "ended": answer.ended}
