"""What a set of items could have shown."""

import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence

from scipy.special import betaincinv

from kapoc.stats.evidence import ShareEvidence, evidence_of
from kapoc.stats.sample import paired_sample
from kapoc.stats.score import cautious, crossing, quantile, restricted_loss, wilson_score

ALPHA, POWER = 0.05, 0.8


def detectable_difference(
    effective_items: float,
    discordant_share: float,
    *,
    margin: float = 0.0,
    alpha: float = ALPHA,
    power: float = POWER,
    degrees: float = math.inf,
) -> float:
    """The smallest true gain (or loss) that a one-sided test against a margin shows with the given power.

    Args:
        effective_items: number of independent items that the set is worth.
        discordant_share: of items that change either way; never taken as less than the difference itself, so that
            with 0 the answer is that of changes in one direction only.
        margin: that the difference is to be shown to exceed; 0 for any change, below 1.
        alpha: one-sided level.
        power: wanted chance of showing it.
        degrees: of freedom of the number of independent items.

    Returns:
        A difference of shares; 1 where no difference could be shown.

    Raises:
        ValueError: no items, a share that is not between 0 and 1, or a margin of 1 or more.

    Sources:
        Miettinen (1968), Biometrics 24:339-352; Connor (1987), Biometrics 43:207-211; above a margin Nam (1997),
        Biometrics 53:1422-1430.
    """
    _check(effective_items, discordant_share)
    if not 0 <= margin < 1:
        raise ValueError(f"need a margin of 0 to 1: {margin}")

    def lacking(difference: float) -> float:
        share = max(discordant_share, difference)
        loss = restricted_loss(margin, (share + difference) / 2, (share - difference) / 2, 1.0)
        supposed = 2 * loss + margin - margin**2
        return _lacking(difference - margin, effective_items, supposed, share - difference**2, alpha, power, degrees)

    return crossing(lacking, 0.0, margin, 1.0)


def detectable_level(effective_items: float, floor: float, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """The largest true share that is shown to lie below a floor with the given power.

    Args:
        effective_items, alpha, power: as in `detectable_difference`.
        floor: 0 to 1.

    Returns:
        A share; below 0 where none is shown to lie below the floor.

    Raises:
        ValueError: no items, or a floor that is not between 0 and 1.

    Sources:
        The fewest items below it by which `share_below` shows it; at least so many come with a chance that is an
        incomplete beta function, as in Clopper and Pearson (1934), Biometrika 26:404-413.
    """
    _check(effective_items, floor, "floor")
    limit = quantile(math.inf, alpha)

    def shows(missing: int) -> bool:
        return cautious(*wilson_score(floor, 1 - missing / effective_items, effective_items)) < limit

    most = math.floor(effective_items)
    fewest = 1 + bisect_left(range(1, most + 1), True, key=shows)
    return -1.0 if fewest > most else 1 - float(betaincinv(fewest, effective_items - fewest + 1, power))


def detectable_margin(
    effective_items: float, discordant_share: float, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest margin whose non-inferiority is shown with the given power if truly nothing is gained or lost.

    Args:
        effective_items, alpha, power: as in `detectable_difference`.
        discordant_share: of items that change, half of them each way; with 0 the answer is the bound that zero
            discordant items prove.

    Raises:
        ValueError: as `detectable_difference`.

    Sources:
        Nam (1997), Biometrics 53:1422-1430: the variance under the margin is that of the restricted estimate.
    """
    _check(effective_items, discordant_share)

    def lacking(margin: float) -> float:
        loss = restricted_loss(-margin, discordant_share / 2, discordant_share / 2, 1.0)
        supposed = 2 * loss - margin - margin**2
        return _lacking(margin, effective_items, supposed, discordant_share, alpha, power)

    return crossing(lacking, 0.0, 0.0, 1.0)


def smallest_difference(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    *,
    shares: bool | None = None,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """The smallest difference that these items could have shown, from their clusters and how they varied.

    Of shares, about as many items as came and went are taken to do so whatever training does; the rest changes one way.

    Args:
        before, after, clusters, weights, shares: as in `paired_sample`. The correlation within clusters is estimated,
            and is assumed where nothing changed.
        alpha: one-sided level.
        power: wanted chance of showing it.

    Returns:
        A difference in the unit of the outcomes, 0 where continuous ones did not change; infinite for continuous items
        of one cluster, 1 where no difference of shares could have been shown.

    Raises:
        ValueError: as `paired_sample`.
    """
    found = evidence_of(paired_sample(before, after, clusters, weights, shares=shares))
    if isinstance(found, ShareEvidence):
        discordant = min(_churn(found.gained, found.lost) / found.num_items, 1.0)
        return detectable_difference(found.num_items, discordant, alpha=alpha, power=power, degrees=found.degrees)
    return found.error * (quantile(found.degrees, 1 - alpha) + quantile(found.degrees, power))


def _churn(gained: float, lost: float) -> float:
    """How many items change either way without any true difference.

    Twice the fewer of gained and lost would be too few: of m items that fall either way by chance, the fewer are half
    of them less sqrt(m / 2 pi) on average.
    """
    changed = gained + lost
    return min(changed, 2 * min(gained, lost) + math.sqrt(2 * changed / math.pi))


def _lacking(
    difference: float,
    items: float,
    supposed: float,
    actual: float,
    alpha: float,
    power: float,
    degrees: float = math.inf,
) -> float:
    """By how many standard errors a difference falls short of being shown: decreasing in the difference.

    The quantiles of level and power, each times the standard deviation where it applies, less the difference.
    """
    level, reach = quantile(degrees, 1 - alpha), quantile(degrees, power)
    required = level * math.sqrt(max(supposed, 0.0)) + reach * math.sqrt(max(actual, 0.0))
    return required - difference * math.sqrt(items)


def _check(items: float, share: float, what: str = "discordant share") -> None:
    if items <= 0 or not 0 <= share <= 1:
        raise ValueError(f"need items and a {what} of 0 to 1: {items}, {share}")
