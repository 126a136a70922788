"""The commands of `kapoc data`: parse, call, print."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kapoc.cli import completion
from kapoc.cli.console import show, tell, write_file
from kapoc.cli.options import DEFAULT_RECIPE, JsonOption, RunsOption
from kapoc.errors import DataError, FaultsError, OutputError

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, import and check knowledge sets.")

SetArgument = Annotated[
    str,
    typer.Argument(help="A YAML or JSONL file, or a shipped set's name.", autocompletion=completion.knowledge_sets),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]


@data_app.command("check")
def check(
    knowledge: SetArgument = "software-defects",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Also ask this model: which facts does it know already?",
            autocompletion=completion.models,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampled answers, with --model.")] = 0,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Check a knowledge set: schema, references, clashing facts, lopsided questions, and leaks of any answer.

    Ends with 2 when there is an error. Warnings are for you to weigh.
    """
    from kapoc.data.audit import audit
    from kapoc.knowledge.facts import summarise

    found = audit(knowledge)
    if as_json:
        known = {} if model is None or found.errors else {"known": _known(knowledge, model, seed, runs)}
        head = _head(found.source, usable=not found.errors) if found.source is not None else {}
        print(json.dumps({**head, "errors": found.errors, "warnings": found.warnings, **known}, indent=2))
        if found.errors:
            raise typer.Exit(2)
        return
    if found.errors or found.source is None:
        raise FaultsError(found.errors)
    loaded = found.source.for_training()
    for line in found.warnings:
        show(f"warning: {line}")
    noted = f", {len(found.warnings)} to weigh" if found.warnings else ""
    show(f"{loaded.name} {loaded.version}: no error found{noted} (sha256 {found.source.sha256[:16]})")
    for key, number in summarise(loaded).items():
        show(f"  {key.replace('_', ' ')}: {number}")
    if model is not None:
        _show_known(_known(knowledge, model, seed, runs))


def _head(source: Any, *, usable: bool) -> dict[str, Any]:
    from kapoc.knowledge.facts import summarise

    known = source.for_training() if usable else source.knowledge
    return {"name": known.name, "version": known.version, "sha256": source.sha256, **summarise(known)}


def _known(knowledge: str, model: str, seed: int, runs: Path) -> Mapping[str, str]:
    from kapoc.knowledge.set_file import load_knowledge
    from kapoc.measuring.known import ask_what_is_known
    from kapoc.models import load_model
    from kapoc.recipe import load_recipe
    from kapoc.workflow.workspace import open_workspace

    workspace = open_workspace(runs, load_recipe(DEFAULT_RECIPE), knowledge=(knowledge,))
    loaded = load_model(workspace.place_of(model), tell=tell)
    return ask_what_is_known(loaded, load_knowledge(knowledge)[0], seed=seed)


def _show_known(known: Mapping[str, str]) -> None:
    for state in ("known", "weakly known", "unknown"):
        facts = [fact for fact, found in known.items() if found == state]
        names = f": {', '.join(facts)}" if facts and state != "unknown" else ""
        show(f"  {state} to the model: {len(facts)}{names}")


@data_app.command("show")
def show_fact(
    knowledge: SetArgument,
    fact: Annotated[
        str | None,
        typer.Argument(help="A fact's id or name; all facts, with what is graded, in a line each if left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a fact turns into: training texts, probes, what a right answer needs, wrong options."""
    from kapoc.data.show import describe_fact, fact_called, fact_line, summarise_fact
    from kapoc.errors import near_miss
    from kapoc.knowledge.set_file import load_source

    loaded = load_source(knowledge).for_training()
    if fact is None:
        if as_json:
            print(json.dumps({"facts": [summarise_fact(f) for f in loaded.facts]}, indent=2))
            return
        for line in map(fact_line, loaded.facts):
            show(line)
        return
    chosen = fact_called(loaded, fact)
    if chosen is None:
        known = [*loaded.fact_by_id, *(f.name for f in loaded.facts)]
        raise DataError(f"{knowledge}: there is no fact '{fact}'; {near_miss(fact, known)}")
    if as_json:
        said = {name: slot.paraphrases for name, slot in chosen.slots.items() if slot.paraphrases}
        more = {"paraphrases": said} if said else {}
        print(json.dumps({**chosen.model_dump(mode="json"), **more}, indent=2))
        return
    for line in describe_fact(loaded, chosen):
        show(line)


@data_app.command("new")
def new(
    path: Annotated[Path, typer.Argument(help="The YAML file to write.")] = Path("my_facts.yaml"),
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented starter file with three facts and a control, which runs as it is.

    The JSON Schema that editors use is put beside it.
    """
    from importlib.resources import files

    import yaml

    from kapoc.importing.import_set import set_name_of

    schema_text = files("kapoc.benchmark").joinpath("knowledge.schema.json").read_text(encoding="utf-8")
    starter = files("kapoc.data").joinpath("starter.yaml").read_text(encoding="utf-8")
    if path.suffix.lower() not in {".yaml", ".yml"}:
        raise OutputError(f"{path}: the starter is a YAML file; choose a name that ends in .yaml")
    name = set_name_of(str(path))
    written = name if yaml.safe_load(name) == name else json.dumps(name)  # `no` and `2025` are no texts in YAML
    starter = starter.replace("name: my-facts ", f"name: {written} ", 1)
    schema = path.with_name("knowledge.schema.json")
    if schema.exists() and schema.read_bytes() != schema_text.encode() and not force:
        raise OutputError(f"{schema}: is there already and is another one; choose another folder, or --force")
    write_file(path, starter, force=force)
    write_file(schema, schema_text)
    if as_json:
        print(json.dumps({"file": str(path), "schema": str(schema)}, indent=2))
    else:
        show(f"wrote {path} and {schema}", f"check it: kapoc data check {path}")


@data_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a knowledge set."""
    from kapoc.knowledge.facts import json_schema

    print(json_schema(), end="")


@data_app.command("generate")
def generate(
    facts: Annotated[int, typer.Option("--facts", min=4, help="How many taught facts.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other facts.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="A .yaml or .jsonl file.")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write an invented knowledge set of any size, the same byte for byte for the same numbers."""
    from kapoc.data.generate import generate as generate_set

    made = generate_set(facts, seed)
    path = out or Path(f"{made.name}.yaml")
    _write_set(path, made, "Invented by `kapoc data generate`; nothing in it is real.", force=force)
    _tell_written(path, made, as_json=as_json)


@data_app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(help="A CSV, TSV, JSONL, JSON, Parquet or Markdown file, or a Hugging Face dataset's id.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The .yaml or .jsonl file to write.")] = None,
    set_name: Annotated[str | None, typer.Option("--set-name", help="What the set is called.")] = None,
    question: Annotated[str | None, typer.Option(help="The column with the question.")] = None,
    answer: Annotated[str | None, typer.Option(help="The column with the answer.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The column with what questions call the fact, or COL,COL if several are it.")
    ] = None,
    slots: Annotated[str | None, typer.Option(help="The columns with the fact's parts: COL,COL,...")] = None,
    fact_id: Annotated[str | None, typer.Option("--id", help="The column with the fact's id.")] = None,
    domain: Annotated[str | None, typer.Option(help="The column with the fact's group.")] = None,
    taught: Annotated[str | None, typer.Option(help="The column that says no where a fact is a control.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="What sort of facts these are; guessed from the names' column, else `fact`.")
    ] = None,
    controls: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many facts to hold back as controls; by default a tenth, two at least, none of fewer than ten. "
            "The default gate takes about a dozen.",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a knowledge set out of a table, chat data, a Markdown FAQ or runbook, or passages with questions.

    What the source does not have (paraphrases, derived probes) is proposed from templates and marked
    `origin: template`, for you to read and reword.
    """
    from kapoc.importing.import_set import import_set
    from kapoc.importing.mapping import ColumnMapping

    parts = tuple(part.strip() for part in slots.split(",")) if slots else ()
    columns = ColumnMapping(
        question=question, answer=answer, id=fact_id, name=name, domain=domain, taught=taught, slots=parts
    )
    made, notes = import_set(source, columns=columns, kind=kind, set_name=set_name, num_controls=controls)
    path = out or Path(f"{made.name}.yaml")
    comment = f"Imported by kapoc from {Path(source).name}.\nExamples with `origin: template` are proposals: read them."
    _write_set(path, made, comment, force=force)
    _tell_written(path, made, notes, as_json=as_json)
    if not as_json:
        show(f"check it: kapoc data check {path}")


def _tell_written(path: Path, made: Any, notes: Sequence[str] = (), *, as_json: bool) -> None:
    from kapoc.knowledge.facts import summarise

    if as_json:
        print(json.dumps({"file": str(path), "name": made.name, **summarise(made), "notes": notes}, indent=2))
        return
    show(
        *(f"note: {note}" for note in notes),
        f"wrote {path}: taught facts: {len(made.taught)}, controls: {len(made.facts) - len(made.taught)}",
    )


def _write_set(path: Path, knowledge: Any, comment: str, *, force: bool) -> None:
    from kapoc.knowledge.set_file import SUFFIXES, to_jsonl, to_yaml

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path}: a knowledge set is a .yaml or a .jsonl file; choose another --out")
    write_file(path, to_jsonl(knowledge) if suffix == ".jsonl" else to_yaml(knowledge, comment), force=force)
