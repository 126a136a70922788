"""Every quantity of two paired runs that a report shows or a gate judges, item by item and summed up. Pure."""

import math
from collections.abc import Callable, Sequence

from kapoc.judging.comparison import PairedScores, Result, finite
from kapoc.judging.pairing import Pair
from kapoc.record import TIERS, Item, Run
from kapoc.stats import paired_difference, smallest_difference

_HEADLINE = {"free", "completion"}
SPILLOVER: dict[str, Callable[[Item], bool]] = {
    "control": lambda item: item.tier == "control" and item.form == "free",
    "off_topic": lambda item: item.form == "off_topic",
}
"""The groups of items in whose answers taught wordings are searched."""


def is_headline(item: Item) -> bool:
    """Whether an item counts in its tier's headline: free answers for knowledge, every graded item for general."""
    return item.form in _HEADLINE or (item.tier == "general" and item.form == "choice")


def is_prose(item: Item) -> bool:
    """Whether an item is of kapoc's own prose, by which it is judged how far a model has moved; not a user's text."""
    return item.form == "text" and item.kind == "text"


def quantities(earlier: Run, later: Run, pairs: Sequence[Pair], headline: Sequence[Pair]) -> dict[str, PairedScores]:
    """Everything that can be judged, item by item: `gate_file.Check.quantity` names one of these."""
    found: dict[str, PairedScores] = {}
    for key in ("tier", "kind", "set"):
        groups: dict[str, list[Pair]] = {}
        for pair in headline:
            item = pair[0]
            names = {"tier": item.tier, "kind": f"{item.tier}/{item.kind}", "set": f"{item.knowledge}/{item.tier}"}
            if key != "set" or item.knowledge:
                groups.setdefault(names[key], []).append(pair)
        found |= {name: paired_scores(group, lambda item: item.score) for name, group in groups.items()}
    for name, belongs in SPILLOVER.items():
        if group := [pair for pair in pairs if belongs(pair[0])]:
            found[f"spillover/{name}"] = _spilled(group)
            for of_set in dict.fromkeys(pair[0].knowledge for pair in group if name == "control"):
                found[f"{of_set}/spillover/{name}"] = _spilled([pair for pair in group if pair[0].knowledge == of_set])
            for kind in dict.fromkeys(pair[0].kind for pair in group):
                found[f"spillover/{name}/{kind}"] = _spilled([pair for pair in group if pair[0].kind == kind])
    texts = [pair for pair in pairs if pair[0].form == "text"]
    for kind in dict.fromkeys(pair[0].kind for pair in texts if not is_prose(pair[0])):
        found[f"text/{kind}"] = _bits_per_byte([pair for pair in texts if pair[0].kind == kind])
    if text := [pair for pair in texts if is_prose(pair[0])]:
        found["text"] = _bits_per_byte(text)
        if _diverge_from_one_base(earlier, later, text):
            found["divergence"] = paired_scores(
                text, lambda item: item.divergence or 0.0, lower_is_better=True, is_share=False
            )
    if ending := [pair for pair in pairs if all(item.ended is not None for item in pair)]:
        found["ended"] = paired_scores(ending, lambda item: float(bool(item.ended)))
    known = [pair for pair in headline if all(item.gold_logprob is not None for item in pair)]
    for tier in TIERS:
        if group := [pair for pair in known if pair[0].tier == tier]:
            found[f"gold/{tier}"] = _gold(group)
    general = [pair for pair in known if pair[0].tier == "general"]
    for kind in dict.fromkeys(pair[0].kind for pair in general):  # apart: words to copy get rarer while options gain
        found[f"gold/general/{kind}"] = _gold([pair for pair in general if pair[0].kind == kind])
    return found


def _gold(group: Sequence[Pair]) -> PairedScores:
    return paired_scores(group, lambda item: item.gold_logprob or 0.0, is_share=False)


def _bits_per_byte(group: Sequence[Pair]) -> PairedScores:
    sizes = [float(before.num_bytes) for before, _ in group]
    return paired_scores(group, lambda item: item.score, sizes, lower_is_better=True, is_share=False)


def _spilled(group: Sequence[Pair]) -> PairedScores:
    return paired_scores(group, lambda item: float(bool(item.spillover)), lower_is_better=True)


def _diverge_from_one_base(before: Run, after: Run, text: Sequence[Pair]) -> bool:
    """Whether both runs say how far they are from one and the same model; the base itself is at no distance."""
    if any(item.divergence is None for _, item in text):
        return False
    if before.settings.base_sha256:
        return before.settings.base_sha256 == after.settings.base_sha256
    return before.model.weights_sha256 == after.settings.base_sha256


def paired_scores(
    pairs: Sequence[Pair],
    value: Callable[[Item], float],
    weights: Sequence[float] | None = None,
    *,
    lower_is_better: bool = False,
    is_share: bool = True,
) -> PairedScores:
    """One number an item of each pair, before and after, with what the items belong to and count."""
    first, second = tuple(value(before) for before, _ in pairs), tuple(value(after) for _, after in pairs)
    return PairedScores(
        before=first,
        after=second,
        clusters=tuple(before.cluster for before, _ in pairs),
        weights=None if weights is None else tuple(weights),
        lower_is_better=lower_is_better,
        is_share=is_share,
    )


def result_of(scores: PairedScores) -> Result:
    """The summary of one quantity."""
    before, after, clusters, weights = scores.before, scores.after, scores.clusters, scores.weights
    found = paired_difference(before, after, clusters, weights, shares=scores.is_share)
    sizes = weights or (1.0,) * len(before)
    return Result(
        n=len(before),
        clusters=len(set(clusters)),
        before=sum(b * size for b, size in zip(before, sizes, strict=True)) / sum(sizes),
        after=sum(a * size for a, size in zip(after, sizes, strict=True)) / sum(sizes),
        difference=found.mean,
        interval=finite((found.low, found.high)),
        p_value=found.p_value,
        gained=sum(a > b for b, a in zip(before, after, strict=True)),
        lost=sum(a < b for b, a in zip(before, after, strict=True)),
        detectable=_detectable(scores),
    )


def _detectable(scores: PairedScores) -> float | None:
    """The smallest change that these items could have shown; none where they could have shown none."""
    smallest = smallest_difference(scores.before, scores.after, scores.clusters, scores.weights, shares=scores.is_share)
    return smallest if smallest < (1 if scores.is_share else math.inf) else None
