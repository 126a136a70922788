"""Which items of two runs belong together, and whether the runs may be held against each other at all."""

from kapoc.errors import IncomparableError
from kapoc.record import Item, Run

Pair = tuple[Item, Item]
_SET_CONTENT = "knowledge set's sha256"


def pair_runs(before: Run, after: Run) -> list[Pair]:
    """Pair every item of two runs.

    Raises:
        IncomparableError: the runs asked other items, or of another version, or in another way, or none.
    """
    for what, first, second in (
        ("knowledge set", before.data.knowledge_name, after.data.knowledge_name),
        (_SET_CONTENT, _sha256s(before), _sha256s(after)),
        ("own off-topic prompts", before.data.off_topic, after.data.off_topic),
        ("general items' sha256", before.data.general_sha256, after.data.general_sha256),
        ("context", before.settings.context, after.settings.context),
        ("documents' sha256", before.data.documents_sha256, after.data.documents_sha256),
        ("--limit", before.settings.limit, after.settings.limit),
    ):
        if first != second:
            regrade = ", or grade both by one file with `kapoc regrade`" if what == _SET_CONTENT else ""
            raise IncomparableError(
                f"the runs differ in {what}: {_short(first)} and {_short(second)}; measure both alike{regrade}"
            )
    if odd := sorted(task for task, _ in set(before.data.tasks.items()) ^ set(after.data.tasks.items())):
        raise IncomparableError(
            f"the runs differ in task versions, {odd[0]} among them: kapoc graded otherwise when one of them was made; "
            "grade the older one anew with `kapoc regrade`, or measure both alike"
        )
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
        IncomparableError: the runs ask about different sets, or share no item.
    """
    if run.data.knowledge != other.data.knowledge or run.settings.limit != other.settings.limit:
        raise IncomparableError("the runs ask about different knowledge sets or numbers of items; measure both alike")
    known = {item.id for item in other.items}
    found = [item for item in run.items if item.id in known]
    if not found:
        raise IncomparableError("the runs share no item; measure both on the same knowledge set")
    return found


def _sha256s(run: Run) -> str:
    return " ".join(identity.sha256[:12] for identity in run.data.knowledge)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12]
