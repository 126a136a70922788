"""What the shell may complete: names that ship, and what lies in this folder. Nothing heavy is imported here.

Where nothing fits, the shell completes file names as it always does.
"""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import typer

MODES = ("release", "pull_request")
CONTEXTS = ("none", "oracle", "retrieved")


def recipes(incomplete: str) -> list[str]:
    """Shipped recipes, and TOML files of this folder."""
    shipped = (path.name.removesuffix(".toml") for path in files("kapoc.recipes").iterdir() if _is(path.name, ".toml"))
    return _fitting(incomplete, shipped, _files(".toml"))


def knowledge_sets(incomplete: str) -> list[str]:
    """Shipped knowledge sets, and YAML and JSON-lines files of this folder."""
    names = (path.name for path in files("kapoc.benchmark").iterdir() if _is(path.name, ".yaml"))
    shipped = (name.removesuffix(".yaml").replace("_", "-") for name in names if _is_set(name))
    return _fitting(incomplete, shipped, filter(_is_set, _files(".yaml", ".yml", ".jsonl")))


def models(context: typer.Context, incomplete: str) -> list[str]:
    """The aliases, and the trained models of the workspace."""
    trained = (path.parent for path in _workspace(context).glob("*/*/*/training.json"))
    return _fitting(incomplete, ("base", "trained", "default"), map(str, trained))


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """The runs of the workspace."""
    found = (path.parent for path in _workspace(context).glob("*/*/*/run.json"))
    return _fitting(incomplete, map(str, found))


def methods(incomplete: str) -> list[str]:
    """The installed training methods."""
    from importlib.metadata import entry_points

    return _fitting(incomplete, (entry.name for entry in entry_points(group="kapoc.methods")))


def modes(incomplete: str) -> list[str]:
    """The modes of a gate."""
    return _fitting(incomplete, MODES)


def contexts(incomplete: str) -> list[str]:
    """What can stand beside a question."""
    return _fitting(incomplete, CONTEXTS)


def _workspace(context: typer.Context) -> Path:
    return Path(context.params.get("runs") or "runs")


def _fitting(incomplete: str, *names: Iterable[str]) -> list[str]:
    return [name for group in names for name in sorted(group) if name.startswith(incomplete)]


def _files(*suffixes: str) -> Iterator[str]:
    return (path.name for path in Path().iterdir() if _is(path.name, *suffixes) and path.name != "pyproject.toml")


def _is_set(name: str) -> bool:
    return _is(name, ".yaml", ".yml", ".jsonl") and ".paraphrases." not in name


def _is(name: str, *suffixes: str) -> bool:
    return name.endswith(suffixes) and not name.startswith((".", "_"))
