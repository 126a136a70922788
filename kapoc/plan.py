"""What a set of items can show before anything is measured, check by check, and how many facts it would take. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kapoc.errors import DataError, near_miss
from kapoc.gate import Check, Gate, is_of_shares
from kapoc.knowledge import KNOWLEDGE_TIERS, KnowledgeSet
from kapoc.record import TIERS
from kapoc.stats import (
    DEFAULT_CORRELATION,
    detectable_difference,
    detectable_margin,
    needed_clusters_for_margin,
    share_above,
)

EXPECTED_CHURN = 0.05
"""Share of items taken to change either way without any true difference; of spillover and unended answers, which
start at none, no change is expected."""
_MAX_CLUSTERS = 100_000
_NO_CONTROLS = "add control facts (`taught: false`), or judge by checks of your own (--gate)"


@dataclass(frozen=True, slots=True)
class Planned:
    """What one check can be expected to show.

    Attributes:
        name, quantity, claim: of the check.
        n, clusters: items that it would rest on.
        can_show: in words: the smallest margin, or the largest floor, that these items can show in a good model.
        is_enough: whether that covers the check's own threshold.
        needed_clusters: facts (or items) that would cover it; none where no number does.
    """

    name: str
    quantity: str
    claim: str
    n: int
    clusters: int
    can_show: str
    is_enough: bool
    needed_clusters: int | None


def sizes_of(
    knowledge: Sequence[KnowledgeSet], num_general: int, off_topic: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Quantity -> how many items and clusters a measurement of these sets will have.

    Args:
        knowledge: the sets.
        num_general: general items.
        off_topic: the kind of each off-topic prompt.
    """
    tiers: dict[str, list[str]] = {}
    for known in knowledge:
        for fact in known.facts:
            for tier in KNOWLEDGE_TIERS:
                for _, example in fact.examples(tier) if tier != "dev" else ():
                    for name in (tier, f"{tier}/{example.kind}", f"{known.name}/{tier}"):
                        tiers.setdefault(name, []).append(f"{known.name}/{fact.id}")
    asked = [cluster for tier in KNOWLEDGE_TIERS for cluster in tiers.get(tier, ())]
    found = {name: (len(clusters), len(set(clusters))) for name, clusters in tiers.items()}
    found["general"] = (num_general, num_general)
    for kind, number in Counter(off_topic).items():
        found[f"spillover/off_topic/{kind}"] = (number, number)
    found["spillover/off_topic"] = (len(off_topic), len(off_topic))
    found["ended"] = (len(asked) + len(off_topic), len(set(asked)) + len(off_topic))
    found |= {f"spillover/{name}": size for name, size in found.items() if name.split("/")[0] == "control"}
    return found


def plan_gate(sizes: Mapping[str, tuple[int, int]], gate: Gate) -> list[Planned]:
    """What each check of shares can show at the gate's level, corrected as the gate does for the gating checks.

    A check is first held to its share of the level (Bonferroni); once some can be shown, the others share what is left
    (Holm, 1979, Scandinavian Journal of Statistics 6:65-70). Checks that are not foretold count as not shown.

    Args:
        sizes: quantity -> items and clusters. Quantities in other units than shares are left out: what they can show
            depends on how much they vary, which only a measurement tells. So are the user's own general tasks and
            off-topic prompts.
        gate: the checks.

    Raises:
        DataError: a check names a share that the sets do not have.
    """
    for check in gate.check:
        foretold = is_of_shares(check.quantity) and not check.quantity.startswith(("general/", "spillover/off_topic/"))
        if foretold and check.quantity not in sizes:
            missing = check.quantity
            hint = _NO_CONTROLS if "control" in missing.split("/") else near_miss(missing, sizes)
            raise DataError(f"check '{check.name}': these sets have no quantity '{missing}'; {hint}")
    waiting = [check for check in gate.check if check.quantity in sizes]
    num_gating = sum(check.gating for check in gate.check)
    found: dict[str, Planned] = {}
    while waiting:
        level = gate.alpha / max(1, num_gating)
        planned = {c.name: _plan(c, *sizes[c.quantity], level if c.gating else gate.alpha) for c in waiting}
        shown = [check for check in waiting if check.gating and planned[check.name].is_enough]
        found |= planned
        waiting = [check for check in waiting if check.gating and check not in shown] if shown else []
        num_gating -= len(shown)
    return [found[check.name] for check in gate.check if check.name in found]


def _plan(check: Check, n: int, clusters: int, alpha: float) -> Planned:
    if check.kind == "floor":
        threshold = check.at_least if check.at_least is not None else 1 - (check.at_most or 0.0)
        shown = _floor_shown(n, clusters, threshold, alpha)
        words = f"{'at least' if check.at_least is not None else 'all but'} {100 * shown:.0f}% with every item right"
        needed = _clusters_for_floor(n / clusters, threshold, alpha)
        return Planned(check.name, check.quantity, check.claim, n, clusters, words, shown >= threshold, needed)
    each = n / clusters
    effective = n / (1 + (each - 1) * DEFAULT_CORRELATION)
    if check.kind == "superiority":
        shown = check.margin + detectable_difference(effective, EXPECTED_CHURN, alpha=alpha)
        words = f"a true gain of {100 * shown:.1f} points or more" if shown < 1 else "no gain at all"
        return Planned(check.name, check.quantity, check.claim, n, clusters, words, shown < 1, None)
    churn = EXPECTED_CHURN if check.quantity.split("/")[0] in TIERS else 0.0
    shown = detectable_margin(effective, churn, alpha=alpha)
    needed = None
    if check.margin > 0:
        needed = needed_clusters_for_margin(check.margin, churn, items_per_cluster=each, alpha=alpha)
    words = f"{100 * shown:.1f} points, " + (
        f"with {100 * churn:.0f}% of the items changing" if churn else "at no change"
    )
    return Planned(check.name, check.quantity, check.claim, n, clusters, words, 0 < shown <= check.margin, needed)


def _floor_shown(n: int, clusters: int, threshold: float, alpha: float) -> float:
    names = [index % clusters for index in range(n)]
    return share_above([1.0] * n, names, threshold, alpha=alpha).low


def _clusters_for_floor(each: float, threshold: float, alpha: float) -> int | None:
    """The fewest clusters that, with every item right, show a floor; by doubling and halving."""
    size = max(1, round(each))

    def shows(clusters: int) -> bool:
        return _floor_shown(clusters * size, clusters, threshold, alpha) >= threshold

    high = 2
    while not shows(high):
        high *= 2
        if high * size > _MAX_CLUSTERS:
            return None
    low = high // 2
    while high - low > 1:
        middle = math.ceil((low + high) / 2)
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high
