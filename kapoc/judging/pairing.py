"""Which items of two runs belong together, and whether the runs may be held against each other at all."""

import re
from collections.abc import Iterable

from kapoc.errors import IncomparableError
from kapoc.record import Item, Run

Pair = tuple[Item, Item]
_SHA256 = re.compile("[0-9a-f]{64}")


def pair_runs(before: Run, after: Run) -> list[Pair]:
    """Pair every item of two runs.

    Raises:
        IncomparableError: the runs asked other items, or of another version, or in another way, or none.
    """
    _check_sets(before, after)
    for what, first, second in (
        ("own general tasks", before.data.general, after.data.general),
        ("own off-topic prompts", before.data.off_topic, after.data.off_topic),
        ("general items' sha256", before.data.general_sha256, after.data.general_sha256),
        ("context", before.settings.context, after.settings.context),
        ("documents' sha256", before.data.documents_sha256, after.data.documents_sha256),
        ("--limit", before.settings.limit, after.settings.limit),
    ):
        if first != second:
            raise IncomparableError(
                f"the runs differ in {what}: {_said(first)} and {_said(second)}; measure both alike"
            )
    _check_versions(before, after, {*before.data.tasks, *after.data.tasks})
    later = {item.id: item for item in after.items}
    earlier = {item.id for item in before.items}
    if earlier != later.keys():
        odd = sorted(earlier ^ later.keys())
        raise IncomparableError(f"the runs asked different items, {odd[0]} among {len(odd)}; measure both alike")
    if not earlier:
        raise IncomparableError("the runs hold no items; measure again")
    return [(item, later[item.id]) for item in before.items]


def shared_items(run: Run, other: Run) -> list[Item]:
    """The items of a run whose questions another run asked, too, if in another context.

    Raises:
        IncomparableError: the runs ask about different sets, are graded in two ways, or share no item.
    """
    if run.data.knowledge != other.data.knowledge or run.settings.limit != other.settings.limit:
        raise IncomparableError("the runs ask about different knowledge sets or numbers of items; measure both alike")
    _check_versions(run, other, run.data.tasks.keys() & other.data.tasks.keys())
    known = {item.id for item in other.items}
    found = [item for item in run.items if item.id in known]
    if not found:
        raise IncomparableError("the runs share no item; measure both on the same knowledge set")
    return found


def _check_sets(before: Run, after: Run) -> None:
    names = [[identity.name for identity in run.data.knowledge] for run in (before, after)]
    if names[0] != names[1]:
        first, second = (", ".join(found) for found in names)
        raise IncomparableError(f"the runs differ in knowledge sets: {first}; and {second}; measure both alike")
    for one, other in zip(before.data.knowledge, after.data.knowledge, strict=True):
        if one.sha256 != other.sha256:
            raise IncomparableError(
                f"the runs differ in the knowledge set {one.name}'s sha256: {one.sha256[:12]} and {other.sha256[:12]}; "
                "measure both alike, or grade both by one file with `kapoc regrade`"
            )


def _check_versions(run: Run, other: Run, tasks: Iterable[str]) -> None:
    if odd := sorted(task for task in tasks if run.data.tasks.get(task) != other.data.tasks.get(task)):
        raise IncomparableError(
            f"the runs differ in task versions, {odd[0]} among them: kapoc graded otherwise when one of them was made; "
            "grade the older one anew with `kapoc regrade`, or measure both alike"
        )


def _said(value: object) -> str:
    """A setting in a message: a sha256 by its beginning, names one by one, nothing as none."""
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    text = "none" if value is None else str(value)
    return text[:12] if _SHA256.fullmatch(text) else text
