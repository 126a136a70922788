"""Comparisons of made-up runs whose answers are known."""

from typing import Any

import pytest
from results import LAMPS, everything, make_items, make_run, nothing

from kapoc.compare import compare
from kapoc.errors import IncomparableError

BASE = make_run(make_items(nothing))
ORACLE = make_run(make_items(everything), weights="1" * 64)


def test_an_oracle_scores_one_and_the_base_zero() -> None:
    tiers = compare(BASE, ORACLE).tiers
    for tier in ("seen", "paraphrased", "unseen"):
        result = tiers[tier]
        assert (result.n, result.facts, result.before, result.after, result.difference) == (40, 10, 0, 1, 1)
        assert (result.gained, result.lost, result.interval) == (40, 0, (1, 1))
        assert result.p_value < 0.01
    assert (tiers["control"].before, tiers["control"].after) == (0, 0)
    assert (tiers["general"].n, tiers["general"].facts, tiers["general"].difference) == (20, 20, 0)


def test_the_same_run_twice_shows_no_difference() -> None:
    comparison = compare(BASE, BASE)
    assert all(result.difference == 0 and result.p_value == 1 for result in comparison.tiers.values())
    assert "both runs measured the same weights" in comparison.warnings


def test_planted_forgetting_is_seen() -> None:
    damaged = make_run(make_items(lambda tier, number: 0.0 if tier == "general" else everything(tier, number)))
    general = compare(BASE, damaged).tiers["general"]
    assert (general.before, general.after, general.lost, general.gained) == (0.5, 0, 10, 0)
    assert general.interval[1] < 0


def test_planted_spillover_is_seen() -> None:
    leaking = make_run(make_items(everything, spilled=10))
    spillover = compare(BASE, leaking).spillover
    assert (spillover["control"].before, spillover["control"].after, spillover["control"].n) == (0, 0.25, 40)
    assert spillover["off_topic"].after == 0


def test_bits_per_byte_weigh_by_bytes() -> None:
    text = compare(BASE, make_run(make_items(everything, bits=1.25))).text
    assert text is not None
    expected = sum((1 + n / 10) * (n + 1) for n in range(5)) / 15
    assert text.before == pytest.approx(expected)
    assert text.difference == pytest.approx(0.25)


def test_the_ledger_holds_every_free_item_with_both_answers() -> None:
    half = make_run(make_items(lambda tier, number: float(tier == "seen" and number % 2 == 0)))
    ledger = compare(half, ORACLE).ledger
    assert len(ledger) == 160
    counts = {
        entry: sum(line.entry == entry for line in ledger if line.tier == "seen")
        for entry in ("learned", "kept", "lost", "never")
    }
    assert counts == {"learned": 20, "kept": 20, "lost": 0, "never": 0}
    back = compare(ORACLE, half).ledger
    assert sum(line.entry == "lost" for line in back if line.tier == "seen") == 20
    assert {line.entry for line in back if line.tier == "control"} == {"never"}
    assert (back[1].before, back[1].after) == ("right", "wrong | <b>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knowledge": (LAMPS.model_copy(update={"sha256": "d" * 64}),)}, "knowledge set's sha256"),
        ({"general_sha256": "d" * 64}, "general items' sha256"),
        ({"knowledge": (LAMPS.model_copy(update={"name": "others"}),)}, "knowledge set: lamps and others"),
        ({"tasks": {"kapoc_seen": 2}}, "task versions"),
        ({"documents_sha256": "d" * 64}, "documents' sha256"),
    ],
)
def test_runs_on_other_data_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(IncomparableError, match=message):
        compare(BASE, make_run(make_items(everything), **change))


def test_runs_with_other_items_are_refused() -> None:
    with pytest.raises(IncomparableError, match="different items"):
        compare(BASE, make_run(make_items(everything)[1:]))
    with pytest.raises(IncomparableError, match="--limit: None and 2"):
        compare(BASE, make_run(make_items(everything), limit=2))
    with pytest.raises(IncomparableError, match="no items"):
        compare(make_run(()), make_run(()))


def test_limited_runs_compare_with_a_warning() -> None:
    comparison = compare(make_run(make_items(nothing), limit=2), make_run(make_items(everything), limit=2))
    assert not comparison.complete
    assert any("--limit" in warning for warning in comparison.warnings)
