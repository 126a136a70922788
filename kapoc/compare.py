"""Two runs, paired item by item -> a comparison. Pure: it reads records and gives a record."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from kapoc.errors import IncomparableError
from kapoc.record import (
    TIERS,
    Comparison,
    Item,
    LedgerEntry,
    LedgerLine,
    Run,
    Spillover,
    TextResult,
    Tier,
    TierResult,
)
from kapoc.stats import paired_difference

Pair = tuple[Item, Item]
Key = TypeVar("Key", bound=str)
_HEADLINE = {"free", "completion"}
_LEDGER: dict[tuple[bool, bool], LedgerEntry] = {
    (False, True): "learned",
    (True, True): "kept",
    (True, False): "lost",
    (False, False): "never",
}


def compare(before: Run, after: Run) -> Comparison:
    """Compare two runs on the same items.

    Raises:
        IncomparableError: the runs asked other items, or of another version, or in another way.
    """
    pairs = _paired(before, after)
    graded = [pair for pair in pairs if pair[0].form not in {"text", "off_topic"}]
    headline = [pair for pair in graded if is_headline(pair[0])]
    return Comparison(
        before=before.model,
        after=after.model,
        data=before.data,
        complete=before.is_complete and after.is_complete,
        tiers=_results(headline, lambda item: item.tier, TIERS),
        forms=_results(graded, lambda item: f"{item.tier}/{item.form}"),
        kinds=_results(headline, lambda item: f"{item.tier}/{item.kind}"),
        sets=_sets(before, headline),
        spillover=_spillover(pairs),
        text=_text([pair for pair in pairs if pair[0].form == "text"]),
        ledger=tuple(_ledger_line(*pair) for pair in headline if pair[0].form == "free"),
        commands=(before.command, after.command),
        warnings=tuple(_warnings(before, after)),
    )


def is_headline(item: Item) -> bool:
    """Whether an item counts in its tier's headline: free answers for knowledge, every graded item for general."""
    return item.form in _HEADLINE or (item.tier == "general" and item.form == "choice")


def _paired(before: Run, after: Run) -> list[Pair]:
    for what, first, second in (
        ("knowledge set", before.data.knowledge_name, after.data.knowledge_name),
        ("knowledge set's sha256", _sha256s(before), _sha256s(after)),
        ("general items' sha256", before.data.general_sha256, after.data.general_sha256),
        ("task versions", before.data.tasks, after.data.tasks),
        ("documents' sha256", before.data.documents_sha256, after.data.documents_sha256),
        ("--limit", before.settings.limit, after.settings.limit),
    ):
        if first != second:
            raise IncomparableError(
                f"the runs differ in {what}: {_short(first)} and {_short(second)}; measure both alike"
            )
    later = {item.id: item for item in after.items}
    earlier = {item.id for item in before.items}
    if earlier != later.keys():
        odd = sorted(earlier ^ later.keys())
        raise IncomparableError(f"the runs asked different items, {odd[0]} among {len(odd)}; measure both alike")
    if not earlier:
        raise IncomparableError("the runs hold no items; measure again")
    return [(item, later[item.id]) for item in before.items]


def _sha256s(run: Run) -> str:
    return " ".join(identity.sha256[:12] for identity in run.data.knowledge)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12]


def _results(pairs: Sequence[Pair], key: Callable[[Item], Key], order: Iterable[Key] = ()) -> dict[Key, TierResult]:
    groups: dict[Key, list[Pair]] = {name: [] for name in order}
    for pair in pairs:
        groups.setdefault(key(pair[0]), []).append(pair)
    return {name: _result(group) for name, group in groups.items() if group}


def _sets(run: Run, headline: Sequence[Pair]) -> dict[str, dict[Tier, TierResult]]:
    names = [identity.name for identity in run.data.knowledge]
    if len(names) == 1:
        return {}
    return {
        name: _results([pair for pair in headline if pair[0].knowledge == name], lambda item: item.tier, TIERS)
        for name in names
    }


def _result(pairs: Sequence[Pair]) -> TierResult:
    before, after = [first.score for first, _ in pairs], [second.score for _, second in pairs]
    clusters = [first.cluster for first, _ in pairs]
    difference = paired_difference(before, after, clusters)
    return TierResult(
        n=len(pairs),
        facts=len(set(clusters)),
        before=sum(before) / len(pairs),
        after=sum(after) / len(pairs),
        difference=difference.mean,
        interval=(difference.low, difference.high),
        p_value=difference.p_value,
        gained=sum(b < a for b, a in zip(before, after, strict=True)),
        lost=sum(b > a for b, a in zip(before, after, strict=True)),
    )


def _spillover(pairs: Sequence[Pair]) -> dict[str, Spillover]:
    """The share of outputs that hold a taught answer, for control questions and for off-topic prompts."""
    groups = {
        "control": [p for p in pairs if p[0].tier == "control" and p[0].form == "free"],
        "off_topic": [p for p in pairs if p[0].form == "off_topic"],
    }
    found = {}
    for name, group in groups.items():
        if not group:
            continue
        before, after = (
            [float(bool(b.spillover)) for b, _ in group],
            [float(bool(a.spillover)) for _, a in group],
        )
        difference = paired_difference(before, after, [b.cluster for b, _ in group])
        found[name] = Spillover(
            n=len(group),
            before=sum(before) / len(group),
            after=sum(after) / len(group),
            difference=difference.mean,
            interval=(difference.low, difference.high),
        )
    return found


def _text(pairs: Sequence[Pair]) -> TextResult | None:
    """Bits per byte over all paragraphs: every byte counts the same."""
    if not pairs:
        return None
    sizes = [float(b.num_bytes) for b, _ in pairs]
    before, after = [b.score for b, _ in pairs], [a.score for _, a in pairs]
    difference = paired_difference(before, after, [b.cluster for b, _ in pairs], sizes)
    total = sum(sizes)
    return TextResult(
        n=len(pairs),
        before=sum(score * size for score, size in zip(before, sizes, strict=True)) / total,
        after=sum(score * size for score, size in zip(after, sizes, strict=True)) / total,
        difference=difference.mean,
        interval=(difference.low, difference.high),
    )


def _ledger_line(before: Item, after: Item) -> LedgerLine:
    return LedgerLine(
        id=before.id,
        tier=before.tier,
        form=before.form,
        kind=before.kind,
        prompt=before.prompt,
        reference=before.reference,
        entry=_LEDGER[before.score == 1, after.score == 1],
        before=before.output,
        after=after.output,
    )


def _warnings(before: Run, after: Run) -> Iterable[str]:
    if not before.is_complete:
        yield f"only {before.settings.limit} items a task were asked (--limit): nothing here is evidence"
    if before.model.weights_sha256 == after.model.weights_sha256:
        yield "both runs measured the same weights"
    for what, first, second in (
        ("batch size", before.settings.batch_size, after.settings.batch_size),
        ("device", before.settings.device, after.settings.device),
        ("dtype", before.model.dtype, after.model.dtype),
        (
            "chat template",
            before.settings.chat_template_sha256[:12],
            after.settings.chat_template_sha256[:12],
        ),
        ("package versions", before.versions, after.versions),
    ):
        if first != second:
            yield f"the runs differ in {what}: {first} and {second}"


def missing_tiers(comparison: Comparison) -> tuple[Tier, ...]:
    """The tiers that a comparison lacks and a verdict needs."""
    return tuple(tier for tier in TIERS if tier not in comparison.tiers)
