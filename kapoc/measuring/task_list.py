"""Which lm-eval tasks are measured: the packaged ones, and general ones that the user names.

A packaged task in which the knowledge sets have nothing to ask is left out.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from datasets.exceptions import DatasetsError
from lm_eval.tasks import TaskManager

from kapoc.errors import DataError, first_line, near_miss
from kapoc.measuring import harness
from kapoc.measuring.general import (
    ABILITIES,
    COMPLETION_ABILITIES,
    CompletionItem,
    TextItem,
    ability_name,
    load_general,
)
from kapoc.quiet import quiet_logger
from kapoc.record import Form, Tier

GROUP = "kapoc"
GENERAL_PREFIX = "kapoc_general_"
"""Of every task of general ability that kapoc makes, of a file of the user's own, too."""
FEWSHOT_SEED = 1234
"""By which lm-eval draws the examples that a task shows, as its own command does: all runs see the same."""
_TARGET = "{{ '' if context[-1:].isspace() else ' ' }}{{ target }}"
_ASKING = (
    "output_type", "num_fewshot", "fewshot_split", "fewshot_delimiter", "target_delimiter", "description",
    "doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix", "generation_kwargs", "process_docs", "repeats",
)  # fmt: skip
"""What of a task's settings changes how it asks."""
_TIERED: tuple[Tier, ...] = ("seen", "paraphrased", "unseen", "control")
TASKS = frozenset(
    [f"kapoc_{tier}{suffix}" for tier in _TIERED for suffix in ("", "_choice")]
    + [f"{GENERAL_PREFIX}{ability}" for ability in (*ABILITIES, "text")]
    + ["kapoc_off_topic"]
)
"""Exactly the tasks that must be found: lm-eval passes over a broken YAML file without a word."""


@dataclass(frozen=True, slots=True)
class TaskList:
    """Loaded tasks by name.

    Attributes:
        packaged: those of kapoc, asked with the model's chat template where they are about knowledge.
        own: the user's general ones, asked as plain text.
    """

    packaged: Mapping[str, Any]
    own: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, sorted."""
        return tuple(sorted(self._by_name))

    @property
    def has_texts(self) -> bool:
        """Whether any of them is about whole texts, on which the divergence from a base is measured."""
        return any(task.config.output_type == "loglikelihood_rolling" for task in self._by_name.values())

    @property
    def versions(self) -> dict[str, int | float | str]:
        """Of each task: it goes up whenever the same answer may get another score."""
        return {task: loaded.VERSION for task, loaded in self._by_name.items()}

    @property
    def _by_name(self) -> dict[str, Any]:
        return {**self.packaged, **self.own}

    def documents_sha256(self) -> str:
        """The sha256 over every document and how the user's own tasks ask: the questions, and their right answers."""
        digest = hashlib.sha256()
        for _, loaded in sorted(self.own.items()):
            digest.update(_how_it_asks(loaded).encode())
        for name in self.names:
            for document in self._by_name[name].eval_docs:
                content = {key: value for key, value in document.items() if key not in {"knowledge", "source"}}
                digest.update(json.dumps(content, sort_keys=True, default=str).encode())
        return digest.hexdigest()


def _how_it_asks(task: Any) -> str:
    """The settings of a task that change its prompts or scores; of a function its name, as it has no text."""
    found = {name: getattr(task.config, name, None) for name in _ASKING}
    return json.dumps(found, sort_keys=True, default=lambda value: getattr(value, "__qualname__", type(value).__name__))


def tasks_folder() -> str:
    """The folder of the task YAML, for `lm_eval --include_path`."""
    return str(files("kapoc.tasks"))


def tier_and_form(task: str) -> tuple[Tier, Form]:
    """Which tier and form the items of a packaged task have."""
    name = task.removeprefix("kapoc_")
    if name == "off_topic":
        return "control", "off_topic"
    if name.startswith("general_"):
        ability = name.removeprefix("general_")
        if ability == "text":
            return "general", "text"
        return "general", "completion" if ability in COMPLETION_ABILITIES else "choice"
    tier = next(t for t in _TIERED if name.startswith(t))
    return tier, "choice" if name.endswith("_choice") else "free"


def load_tasks(
    knowledge: Sequence[str], general: Sequence[str] = (), context: str = "none", off_topic: Sequence[str] = ()
) -> TaskList:
    """Load the packaged tasks and the general ones that the user names.

    Args:
        knowledge: shipped sets' names or files.
        general: lm-eval task names, paths of task YAML, or JSONL files of general items.
        context: what stands beside the questions of knowledge; with one, general tasks are left out, since they
            have none.
        off_topic: files of prompts that join the off-topic ones.

    Raises:
        DataError: a task did not load.
    """
    with quiet_logger("lm_eval"):
        metadata = {"knowledge": list(knowledge), "context": context, "off_topic": list(off_topic)}
        manager = TaskManager(include_path=tasks_folder(), include_defaults=False, metadata=metadata)
        found = set(manager.all_tasks) - {GROUP}
        if found != TASKS:
            raise DataError(f"{tasks_folder()}: tasks missing or unknown: {sorted(found ^ TASKS)}; reinstall kapoc")
        asked = [task for task in sorted(TASKS) if context == "none" or tier_and_form(task)[0] != "general"]
        packaged = manager.load([task for task in asked if _has_documents(task, knowledge)])["tasks"]
        own: dict[str, Any] = {}
        for name in general:
            for task, loaded in _general_tasks(name):
                if task in own or task in packaged:
                    raise DataError(f"--general {name}: the task '{task}' is there already; name it once")
                loaded.set_fewshot_seed(seed=FEWSHOT_SEED)
                own[task] = loaded
    _refuse_one_name(own)
    return TaskList(packaged, own)


def _refuse_one_name(own: Mapping[str, Any]) -> None:
    """A file of items and a task of one name would give their items the same ids."""
    names = [name.removeprefix(GENERAL_PREFIX) for name in own]
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise DataError(f"--general: a file and a task are both called '{twice[0]}'; rename the file")


def _has_documents(task: str, knowledge: Sequence[str]) -> bool:
    tier, form = tier_and_form(task)
    if tier == "general" or form == "off_topic":
        return True
    return next(harness.probe_documents(knowledge, tier, form), None) is not None


def _general_tasks(name: str) -> Iterator[tuple[str, Any]]:
    if name.lower().endswith(".jsonl"):
        task = _task_of_file(Path(name))
        yield task.task_name, task
        return
    path = _task_yaml(name)
    try:
        manager = TaskManager(include_path=str(path.parent), include_defaults=False)
        loaded = manager.load([_known_to_lm_eval(manager, name, path)])["tasks"]
    except (DatasetsError, OSError) as error:
        raise DataError(
            f"--general {name}: its data is neither in the local cache nor to be had from the Hub "
            f"({first_line(error)}); connect once, or give a JSONL file"
        ) from None
    except (yaml.YAMLError, ImportError, AttributeError, KeyError, TypeError, ValueError) as error:
        what, fix = ("task", "mend it") if not _is_group(path) else ("group", "name its tasks, each by itself")
        raise DataError(
            f"--general {name}: {path}: lm-eval cannot load the {what} ({first_line(error)}); {fix}"
        ) from None
    if not loaded:
        raise DataError(f"--general {name}: {path}: a group without a list of tasks; give it one, or name its tasks")
    yield from loaded.items()


def _known_to_lm_eval(manager: TaskManager, name: str, path: Path) -> str:
    """By what lm-eval finds a task: its name, or its file; a group by its name only."""
    if name in manager.all_tasks or path.stem == name:
        return name
    groups = (group for group in manager.all_groups if manager.task_index[group].yaml_path == path)
    return str(next(groups, path))


def _is_group(path: Path) -> bool:
    return re.search(r"^group:", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE) is not None


def _task_of_file(path: Path) -> Any:
    """A plain-text task over a JSONL file of general items."""
    first = load_general(str(path))[0]
    config: dict[str, Any] = {
        "task": f"{GENERAL_PREFIX}{ability_name(path)}",
        "custom_dataset": harness.load_documents,
        "dataset_kwargs": {"source": str(path)},
        "test_split": "test",
        "doc_to_text": "prompt",
        "num_fewshot": 0,
        "metadata": {"version": 1.0},
    }
    metric = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    if isinstance(first, CompletionItem):
        form = {"output_type": "loglikelihood", "doc_to_target": _TARGET, "target_delimiter": ""}
    elif isinstance(first, TextItem):
        metric = {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}
        form = {"output_type": "loglikelihood_rolling", "doc_to_target": "text"}
    else:
        form = {"output_type": "multiple_choice", "doc_to_target": "answer", "doc_to_choice": "choices"}
        form["target_delimiter"] = " " if first.question or first.passage else ""
    return harness.PlainTask({**config, **form, "metric_list": [metric]})


def _task_yaml(name: str) -> Path:
    """The YAML file of an lm-eval task, found by its name without building lm-eval's index."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise DataError(f"--general {name}: no such file; check the path")
        return Path(name)
    folder = Path(lm_eval.__file__).parent / "tasks"
    paths = sorted(folder.rglob("*.yaml"))
    if found := [path for path in paths if path.stem == name]:
        return found[0]
    declared = re.compile(rf"^(?:task|group): *[\"']?{re.escape(name)}[\"']? *$", re.MULTILINE)
    found = [path for path in paths if declared.search(path.read_text(encoding="utf-8", errors="replace"))]
    if not found:
        stems = {path.stem for path in paths if not path.stem.startswith("_")}
        near = near_miss(name, stems)
        if near.startswith("known:"):
            near = f"lm-eval has {len(stems):,}, and a file of items ends in .jsonl"
        raise DataError(f"--general {name}: no such lm-eval task or file; {near}")
    return found[0]
