"""A finished run -> the same answers, graded anew: after an alias was added to a set, or kapoc's grading has changed.

No model is asked. What was asked must be what would be asked today; else the model must be measured again.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kapoc.bundled import bundled_sets
from kapoc.data.audit import count_leaks
from kapoc.errors import DataError, IncomparableError
from kapoc.judging.baseline import SEAL
from kapoc.judging.retention import Retention
from kapoc.judging.trials import SweepResults
from kapoc.knowledge.set_file import load_sources
from kapoc.measuring import harness
from kapoc.measuring.context import CONTEXTS
from kapoc.measuring.general import general_sha256, kind_of
from kapoc.measuring.task_list import GENERAL_PREFIX, load_tasks
from kapoc.record import Item, Run, load_run, save_run
from kapoc.report.formats import is_report
from kapoc.source import Record, load_json
from kapoc.workflow.card_file import CARD


@dataclass(frozen=True, slots=True)
class Regraded:
    """What became of a run.

    Attributes:
        now_right, now_wrong: the items whose score went up and down.
        other_spillover: the items in which other taught answers are found.
        run: as it is now.
    """

    now_right: tuple[str, ...]
    now_wrong: tuple[str, ...]
    other_spillover: tuple[str, ...]
    run: Run


def regrade_on_disk(
    folders: Sequence[Path],
    *,
    knowledge: Sequence[str] = (),
    general: Sequence[str] = (),
    off_topic: Sequence[str] = (),
) -> dict[Path, Regraded]:
    """Grade the runs of these folders anew, and replace them: all of them, or none where one of them cannot be.

    Raises:
        DataError: a folder holds no sound run, or a baseline, which only blessing changes; or as `regrade`.
        IncomparableError: as `regrade`.
        OutputError: a folder cannot be written.
    """
    found = {}
    for folder in folders:
        before = load_run(folder)
        if (folder / SEAL).is_file():
            raise DataError(f"{folder}: is a blessed baseline; regrade the run that it was made of, and bless that")
        try:
            after = regrade(before, knowledge=knowledge, general=general, off_topic=off_topic)
        except IncomparableError as error:
            raise IncomparableError(f"{folder}: {error}") from None
        found[folder] = _changes(before, after)
    for folder, regraded in found.items():
        save_run(regraded.run, folder)
    return found


def outdated(folder: Path) -> list[tuple[Path, str]]:
    """What was made of a run that is graded anew: each file with the command that writes it again.

    Args:
        folder: of the run; reports and a model's card are looked for beside it, the pages of `kapoc retain` and `kapoc
            sweep` also where those put them.
    """
    found = []
    for page in sorted(folder.parent.glob("*.md")):
        if page.name != CARD and is_report(".md", page.read_text(encoding="utf-8", errors="replace")):
            suffix = page.stem.removeprefix("report")
            pair = [folder.parent / f"{alias}{suffix}" for alias in ("base", "trained")]
            runs = ["BASE", "TRAINED"]
            if all(map(_is_run, pair)):
                runs = [*map(str, pair), *_contexts(folder.parent, suffix)]
            found.append((page, shlex.join(["kapoc", "report", *runs, "--out", str(page)])))
    card = folder.parent / "model" / CARD
    if card.is_file() and "model-index" in card.read_text(encoding="utf-8", errors="replace"):
        words = "kapoc bench --model trained"
        trained = folder.parent / "trained"
        found.append((card, shlex.join(_command(trained, words)) if _is_run(trained) else words))
    return [*found, *_of_retain(folder), *_of_sweep(folder)]


def _is_run(folder: Path) -> bool:
    return (folder / "run.json").is_file()


def _contexts(place: Path, suffix: str) -> Iterator[str]:
    """Options for the runs of a base with knowledge in its prompts, where they lie beside its plain one."""
    for context in CONTEXTS[1:]:
        if _is_run(run := place / f"base-{context}{suffix}"):
            yield from (f"--{context}", str(run))


def _of_retain(folder: Path) -> Iterator[tuple[Path, str]]:
    """The pages that show a run of training in stages: beside the base's run, and one folder up from a stage's."""
    for place in filter(None, (_above(folder, 0), _above(folder, 1))):
        for page, retention in _pages(place, "retain", Retention):
            if folder.resolve() in {(place / row.run).resolve() for row in retention.measured}:
                last = place / retention.measured[-1].run
                words = _command(last if _is_run(last) else folder, "kapoc retain STAGES")
                if not retention.unrelated_steps:  # though its last stage's run may have been made with it
                    words = _without(words, "--unrelated")
                yield page, shlex.join(words)


def _without(words: Sequence[str], option: str) -> list[str]:
    """A command without an option and its value, in whichever of both ways they were typed."""
    before = ["", *words]
    return [
        word
        for word, previous in zip(words, before, strict=False)
        if option not in (word, previous) and not word.startswith(f"{option}=")
    ]


def _of_sweep(folder: Path) -> Iterator[tuple[Path, str]]:
    """The pages of a sweep that show a run of it, two folders up."""
    trial, place = _above(folder, 1), _above(folder, 2)
    if trial is None or place is None:
        return
    limit, name = load_json(folder / "run.json", Run).settings.limit, trial.resolve().name
    for page, results in _pages(place, "sweep", SweepResults):
        if results.limit == limit and (name in {trial.name for trial in results.trials} or name.startswith("base")):
            yield page, shlex.join(_command(folder, "kapoc sweep FILE"))


def _above(folder: Path, number: int) -> Path | None:
    """The folder so many above that of a run, as a user would name it from where the run was named; if there is one."""
    parents = folder.resolve().parents
    if number >= len(parents):
        return None
    place = parents[number]
    return place if folder.is_absolute() else Path(os.path.relpath(place))


def _pages(place: Path, stem: str, kind: type[Record]) -> Iterator[tuple[Path, Record]]:
    """Pages with the results that lie beside each, where they are such."""
    for page in sorted(place.glob(f"{stem}*.md")):
        with suppress(DataError):
            yield page, load_json(page.with_suffix(".json"), kind)


def _command(folder: Path, general: str) -> list[str]:
    """The command by which a run was made, or the general form of it where it was made by another."""
    words = shlex.split(load_json(folder / "run.json", Run).command)
    return words if words[:2] == general.split()[:2] else general.split()


def _changes(before: Run, after: Run) -> Regraded:
    pairs = list(zip(before.items, after.items, strict=True))
    return Regraded(
        now_right=tuple(new.id for old, new in pairs if new.score > old.score),
        now_wrong=tuple(new.id for old, new in pairs if new.score < old.score),
        other_spillover=tuple(new.id for old, new in pairs if new.spillover != old.spillover),
        run=after,
    )


def regrade(
    run: Run, *, knowledge: Sequence[str] = (), general: Sequence[str] = (), off_topic: Sequence[str] = ()
) -> Run:
    """Grade the answers of a run by the knowledge sets and the grading of today.

    Args:
        run: with its items.
        knowledge: the sets that it is about: shipped names or files. The shipped ones of these names by default.
        general, off_topic: the user's own tasks and files that it was measured with.

    Returns:
        The run with other scores, and with the identities of what graded it.

    Raises:
        DataError: a set or a task is malformed.
        IncomparableError: the run asked something else than would be asked today, or of a set that is not named.
    """
    sources = load_sources(tuple(knowledge) or _shipped(run))
    _refuse_others("--knowledge", [one.name for one in run.data.knowledge], [one.identity.name for one in sources])
    kinds = sorted(kind_of(Path(name)) for name in off_topic)
    _refuse_others("--off-topic", list(run.data.off_topic), kinds)
    if run.data.general_sha256 != general_sha256():
        raise IncomparableError("the bundled general items have changed since; measure the model again")
    tasks = load_tasks([source.name for source in sources], general, run.settings.context, off_topic)
    _refuse_others("--general", list(run.data.general), sorted(tasks.own))
    own_files = {task: loaded for task, loaded in tasks.own.items() if task.startswith(GENERAL_PREFIX)}
    asked = {**tasks.packaged, **own_files}
    documents = {task: {doc["id"]: doc for doc in loaded.eval_docs} for task, loaded in asked.items()}
    _refuse_other_questions(run, documents)
    _refuse_other_versions(run, {task: tasks.versions[task] for task in tasks.own.keys() - own_files.keys()})
    items = tuple(_regraded(item, documents[item.task]) if item.task in documents else item for item in run.items)
    graded_by = {
        "knowledge": tuple(source.identity for source in sources),
        "documents_sha256": tasks.documents_sha256(),
        "tasks": tasks.versions,
        "num_leaks": sum(count_leaks(source) for source in sources),
        "num_proposals": sum(source.knowledge.num_proposals for source in sources),
    }
    data = run.data.model_copy(update=graded_by)
    scores = {task: _scores(task, metrics, items) for task, metrics in run.scores.items()}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return run.model_copy(update={"items": items, "data": data, "scores": scores, "regraded": now})


def _shipped(run: Run) -> tuple[str, ...]:
    names = tuple(identity.name for identity in run.data.knowledge)
    if unknown := [name for name in names if name not in bundled_sets()]:
        raise IncomparableError(
            f"the run is about '{unknown[0]}', which is no shipped set; name its file with --knowledge"
        )
    return names


def _refuse_others(option: str, measured: list[str], given: list[str]) -> None:
    if measured != given:
        raise IncomparableError(
            f"the run was measured with {option} {', '.join(measured) or '(none)'}, and not with "
            f"{', '.join(given) or '(none)'}; name what it was measured with"
        )


def _refuse_other_questions(run: Run, documents: Mapping[str, Mapping[str, harness.Document]]) -> None:
    """Make sure that a run asked what would be asked today.

    Raises:
        IncomparableError: it did not.
    """
    asked: dict[str, set[str]] = {task: set() for task in documents}
    for item in run.items:
        if item.task in run.data.general and item.task not in documents:
            continue  # of lm-eval's own tasks, whose shape is not known
        document = documents.get(item.task, {}).get(item.id)
        if document is None:
            raise IncomparableError(f"{item.id}: nobody would ask this today; measure the model again")
        if document["prompt"].strip() not in item.prompt or _reference(item, document) != item.reference:
            raise IncomparableError(f"{item.id}: asked otherwise, or another answer is right today; measure it again")
        if item.form == "choice" and item.output not in document["choices"]:
            raise IncomparableError(f"{item.id}: the options are others today; measure the model again")
        asked[item.task].add(item.id)
    new = [name for task, found in documents.items() for name in found.keys() - asked[task]]
    if new and run.is_complete:
        raise IncomparableError(f"{min(new)}: is asked today and was not when the run was made; measure it again")


def _refuse_other_versions(run: Run, versions: Mapping[str, int | float | str]) -> None:
    """Make sure that lm-eval's own tasks are those that a run was measured with, as far as their versions say it."""
    for task, version in sorted(versions.items()):
        if (measured := run.data.tasks.get(task)) != version:
            raise IncomparableError(f"{task}: measured in version {measured}, {version} today; measure the model again")


def _reference(item: Item, document: harness.Document) -> str:
    if item.form == "choice":
        return str(document["choices"][document["answer"]])
    if item.form == "off_topic":
        return ""
    return str(document[{"free": "reference", "completion": "target", "text": "text"}[item.form]])


def _regraded(item: Item, documents: Mapping[str, harness.Document]) -> Item:
    if item.form in {"free", "off_topic"}:
        return item.model_copy(update=asdict(harness.judge(documents[item.id], item.output)))
    return item


def _scores(task: str, metrics: Mapping[str, float], items: Sequence[Item]) -> dict[str, float]:
    chosen = [item for item in items if item.task == task and item.form in {"free", "off_topic"}]
    if not chosen:
        return dict(metrics)
    values: dict[str, Any] = {
        "correct": [item.score for item in chosen],
        "spillover": [float(bool(item.spillover)) for item in chosen],
    }
    return {metric: sum(values[metric]) / len(chosen) for metric in metrics}
