"""The ledger as a table: how many items of each tier were learned, kept, lost or never known. Pure."""

from typing import get_args

from kapoc.judging.comparison import Comparison, LedgerEntry
from kapoc.record import TIERS, Tier
from kapoc.report.section import Section

LEDGER = "Ledger"
ENTRIES: tuple[LedgerEntry, ...] = get_args(LedgerEntry)


def ledger_counts(comparison: Comparison) -> dict[Tier, dict[LedgerEntry, int]]:
    """Of each tier, the number of items of each entry."""
    asked = {line.tier for line in comparison.ledger}
    counts = {tier: dict.fromkeys(ENTRIES, 0) for tier in TIERS if tier in asked}
    for line in comparison.ledger:
        counts[line.tier][line.entry] += 1
    return counts


def ledger_section(comparison: Comparison) -> Section:
    """The counts, tier by tier."""
    return Section(
        LEDGER,
        "Learned: wrong before, right after. Kept: right both times. Lost: right before only. Never: wrong both times.",
        ["tier", *ENTRIES],
        [[tier, *map(str, counts.values())] for tier, counts in ledger_counts(comparison).items()],
    )
