"""The options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kapoc.cli import completion

DEFAULT_RECIPE = "smollm2-135m"
RecipeOption = Annotated[
    str,
    typer.Option("--recipe", help="A shipped recipe's name or a TOML file.", autocompletion=completion.recipes),
]
KnowledgeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--knowledge",
        help="A shipped set's name or a file; may be given several times. The recipe's by default.",
        autocompletion=completion.knowledge_sets,
    ),
]
GeneralOption = Annotated[
    list[str] | None,
    typer.Option(
        "--general",
        help="lm-eval tasks (NAME or NAME,NAME), the YAML file of one, or a JSONL file, to join the general tier.",
    ),
]
OffTopicOption = Annotated[
    list[str] | None,
    typer.Option(
        "--off-topic",
        help="A file of prompts, one a line (or JSONL with a question), in whose answers your facts have no business; "
        "lines that begin with '# ' are passed over. May be given several times.",
    ),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Where results are kept.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="A folder of your own for the result.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
GateOption = Annotated[Path | None, typer.Option("--gate", help="A TOML file of checks; kapoc's own by default.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Ask only so many items a task and set, to try things out.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training examples.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of all that training draws: orders, derived texts, replay.")
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="How weights are changed: full, feed_forward, lora or top_layers.",
        autocompletion=completion.methods,
    ),
]


def names_of(general: Sequence[str] | None) -> list[str]:
    """The tasks and files of `--general`, of which several may stand between commas."""
    return [name for names in general or () for name in names.split(",") if name]
