"""What a set of items can show before anything is measured, check by check, and how many facts it would take. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from kapoc.errors import DataError, near_miss
from kapoc.judging.gate import REMEDIES, remedy_for
from kapoc.judging.gate_file import Check, Gate, Mode, is_of_shares
from kapoc.knowledge.facts import KNOWLEDGE_TIERS, RESERVED_NAMES, KnowledgeSet
from kapoc.stats import (
    POWER,
    detectable_difference,
    detectable_level,
    detectable_margin,
    difference_above,
    estimate_design,
    paired_sample,
    share_above,
)

Sizes = tuple[int, ...]
"""How many items each cluster has."""
EXPECTED_CHURN = 0.05
"""Share of items taken to change either way without any true difference; of spillover and unended answers, which
start at none, no change is expected."""
_MAX_ITEMS = 100_000
_NO_CONTROLS = "add control facts (`taught: false`), or judge by checks of your own (--gate)"
_NO_TIER = "add such probes, or judge by checks of your own (--gate)"


@dataclass(frozen=True, slots=True)
class Planned:
    """What one check can be expected to show.

    Attributes:
        name, quantity, claim: of the check.
        n, clusters: items that it would rest on.
        can_show: in words: the smallest margin, or the largest floor, that these items can show in a good model; of
            what only a shown regression fails, the smallest loss, or the level, that would be caught.
        is_enough: whether that covers the check's own threshold; of such a check, whether any loss would be caught.
        needed_clusters: facts (or items) that would cover it, with as many questions as these have; none where no
            number does.
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
    knowledge: Sequence[KnowledgeSet], general: Mapping[str, int], off_topic: Sequence[str]
) -> dict[str, Sizes]:
    """Quantity -> how many items each of its clusters will have in a measurement of these sets.

    Args:
        knowledge: the sets.
        general: ability -> its items.
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
    found = {name: _sizes(clusters) for name, clusters in tiers.items()}
    found["general"] = (1,) * sum(general.values())
    found |= {f"general/{ability}": (1,) * number for ability, number in general.items()}
    for kind, number in Counter(off_topic).items():
        found[f"spillover/off_topic/{kind}"] = (1,) * number
    found["spillover/off_topic"] = (1,) * len(off_topic)
    found["ended"] = _sizes(asked) + (1,) * len(off_topic)
    found |= {f"spillover/{name}": size for name, size in found.items() if name.split("/")[0] == "control"}
    of_sets = {f"{known.name}/control": f"{known.name}/spillover/control" for known in knowledge}
    found |= {spilled: found[asked] for asked, spilled in of_sets.items() if asked in found}
    return found


def _sizes(clusters: Sequence[str]) -> Sizes:
    return tuple(Counter(clusters).values())


def plan_gate(sizes: Mapping[str, Sizes], gate: Gate) -> list[Planned]:
    """What each check of shares can show at the gate's level, corrected as the gate does for the gating checks.

    A check is first held to its share of the level (Bonferroni); once some can be shown, the others share what is left
    (Holm, 1979, Scandinavian Journal of Statistics 6:65-70). Checks that are not foretold count as not shown. What
    only a shown regression fails has its share of the level throughout.

    Args:
        sizes: quantity -> the items of each cluster. Quantities in other units than shares are left out: what they
            can show depends on how much they vary, which only a measurement tells. So are the user's own general tasks
            and off-topic prompts.
        gate: the checks.

    Raises:
        DataError: a check names a share that the sets do not have.
    """
    for check in gate.check:
        foretold = is_of_shares(check.quantity) and not check.quantity.startswith(("general/", "spillover/off_topic/"))
        if foretold and check.quantity not in sizes:
            missing = check.quantity
            hint = _NO_TIER if missing in KNOWLEDGE_TIERS else near_miss(missing, sizes)
            hint = _NO_CONTROLS if _lacks_controls(missing, sizes) else hint
            raise DataError(f"check '{check.name}': these sets have no quantity '{missing}'; {hint}")
        if check.quantity not in sizes and remedy_for(check.quantity, sizes) is None:
            hint = near_miss(check.quantity, {*sizes, *REMEDIES})
            raise DataError(f"check '{check.name}': there is no quantity '{check.quantity}'; {hint}")
    waiting = [check for check in gate.check if check.quantity in sizes]
    gating = [check for check in gate.check if check.gating]
    claims = [check for check in gating if check.is_claim and gate.mode == "release"]
    levels = {check.name: gate.alpha / len(gating) for check in gating}
    num_waiting = len(claims)
    found: dict[str, Planned] = {}
    while waiting:
        levels |= {check.name: gate.alpha / num_waiting for check in claims if check in waiting}
        planned = {c.name: _plan(c, sizes[c.quantity], levels.get(c.name, gate.alpha), gate.mode) for c in waiting}
        found |= planned
        shown = [check for check in claims if check in waiting and planned[check.name].is_enough]
        waiting = [check for check in claims if check in waiting and check not in shown] if shown else []
        num_waiting -= len(shown)
    return [found[check.name] for check in gate.check if check.name in found]


def _lacks_controls(quantity: str, sizes: Mapping[str, Sizes]) -> bool:
    """Whether a quantity is missing because there are no controls at all, or none in the set that it names."""
    first, *others = quantity.split("/")
    if first in RESERVED_NAMES:
        return "control" in (first, *others[:1]) and "control" not in sizes
    return others[-1:] == ["control"] and any(name.startswith(f"{first}/") for name in sizes)


def _plan(check: Check, sizes: Sizes, alpha: float, mode: Mode) -> Planned:
    foretold = partial(Planned, check.name, check.quantity, check.claim, sum(sizes), len(sizes))
    effective = _effective(sizes)
    if check.kind == "floor" and mode == "pull_request":
        return foretold(*_level_caught(check, effective, alpha), None)
    if check.kind == "floor":
        threshold = check.at_least if check.at_least is not None else 1 - (check.at_most or 0.0)
        shown = _floor_shown(sizes, threshold, alpha)
        tenths = _tenths_below(shown)  # never more than is shown
        words = f"at least {tenths:g}% with every item right"
        if check.at_least is None:
            words = f"at most {100 - tenths:.3g}% if there is none"
        needed = _fewest(sizes, lambda some: _floor_shown(some, threshold, alpha) >= threshold)
        return foretold(words, shown >= threshold, needed)
    churn = 0.0 if check.quantity == "ended" or check.quantity.startswith("spillover/") else EXPECTED_CHURN
    if check.kind == "superiority" and mode == "release":
        shown = detectable_difference(effective, churn, margin=check.margin, alpha=alpha)
        return foretold(
            f"a true gain of {100 * shown:.1f} points or more" if shown < 1 else "no gain at all", shown < 1, None
        )
    if not check.is_claim or mode == "pull_request":
        margin = 0.0 if check.kind == "superiority" else check.margin  # it fails where the run is shown to be worse
        level = alpha / 2 if check.kind == "equivalence" else alpha  # it fails on either side
        caught = detectable_difference(effective, churn, margin=margin, alpha=level)
        words = f"a true loss of {100 * caught:.1f} points or more" if caught < 1 else "no loss at all"
        return foretold(words, caught < 1, None)
    power = POWER if check.kind == "non_inferiority" else (1 + POWER) / 2  # equivalence takes two tests that both hold

    def margin_shown(some: Sizes) -> float:
        if churn:
            return detectable_margin(_effective(some), churn, alpha=alpha, power=power)
        return _unchanged(some, alpha)

    shown = margin_shown(sizes)
    needed = _fewest(sizes, lambda some: margin_shown(some) <= check.margin)
    words = f"{-_tenths_below(-shown):.1f} points, " + (
        f"with {100 * churn:.0f}% of the items changing" if churn else "at no change"
    )
    return foretold(words, shown <= check.margin, needed)


def _level_caught(check: Check, effective: float, alpha: float) -> tuple[str, bool]:
    """The level from which on a floor of a pull request would probably be shown to be missed; whether there is one."""
    share = check.at_least if check.at_least is not None else 1 - (check.at_most or 0.0)  # of what is as it should be
    caught = detectable_level(effective, share, alpha=alpha)
    if caught < 0:
        return "no level at all", False
    tenths = _tenths_below(caught)  # never more than is caught
    return (
        f"a true level of {tenths:g}% or less"
        if check.at_least is not None
        else f"a true level of {100 - tenths:.3g}% or more"
    ), True


def _tenths_below(share: float) -> float:
    """In percent, the largest tenth that is not above."""
    return math.floor(1000 * share + 1e-9) / 10


def _effective(sizes: Sizes) -> float:
    """How many independent items they are worth to the gate while nothing says how alike the items of a fact are."""
    nothing = [0.0] * sum(sizes)
    return estimate_design(paired_sample(nothing, nothing, _clusters_of(sizes))).effective_items


def _unchanged(sizes: Sizes, alpha: float) -> float:
    """The smallest margin that these items show if none of them changes."""
    nothing = [0.0] * sum(sizes)
    return -difference_above(nothing, nothing, _clusters_of(sizes), 0.0, alpha=alpha).low


def _floor_shown(sizes: Sizes, threshold: float, alpha: float) -> float:
    return share_above([1.0] * sum(sizes), _clusters_of(sizes), threshold, alpha=alpha).low


def _clusters_of(sizes: Sizes) -> list[int]:
    return [cluster for cluster, size in enumerate(sizes) for _ in range(size)]


def _scaled(sizes: Sizes, number: int) -> Sizes:
    """So many clusters, whose sizes are mixed as these are."""
    ordered = sorted(sizes)
    return tuple(ordered[(2 * place + 1) * len(ordered) // (2 * number)] for place in range(number))


def _fewest(sizes: Sizes, shows: Callable[[Sizes], bool]) -> int | None:
    """The fewest clusters, mixed as these are, that show something; by doubling and halving.

    Args:
        sizes: of the clusters that there are.
        shows: whether clusters of such sizes do.
    """
    low, high = (1, len(sizes)) if len(sizes) > 1 and shows(sizes) else (len(sizes), max(len(sizes) + 1, 2))
    while low >= len(sizes) and not shows(_scaled(sizes, high)):
        low, high = high, 2 * high
        if sum(_scaled(sizes, high)) > _MAX_ITEMS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(_scaled(sizes, middle)) else (middle, high)
    return high
