"""What later stages did to earlier ones: arithmetic on matrices and runs with known answers."""

import pytest
from results import make_run, paraphrased

from kapoc.judging.retention import (
    backward_transfer,
    forgetting,
    forward_transfer,
    measured_in,
    recall_change,
    transfers,
)

MATRIX = [
    [0.0, 0.1, 0.2],  # the base
    [0.8, 0.2, 0.2],
    [0.9, 0.7, 0.4],
    [0.5, 0.3, 0.6],
]


def test_transfer_of_a_known_matrix() -> None:
    assert backward_transfer(MATRIX) == pytest.approx(((0.5 - 0.8) + (0.3 - 0.7)) / 2)
    assert forgetting(MATRIX) == pytest.approx(((0.9 - 0.5) + (0.7 - 0.3)) / 2), "the best was after the second stage"
    assert forward_transfer(MATRIX) == pytest.approx(((0.2 - 0.1) + (0.4 - 0.2)) / 2)


def test_what_loses_nothing_forgets_nothing() -> None:
    kept = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    assert (backward_transfer(kept), forgetting(kept), forward_transfer(kept)) == (0, 0, 0)
    gained = [[0.0, 0.0], [0.5, 0.0], [0.75, 1.0]]
    assert (backward_transfer(gained), forgetting(gained)) == (0.25, -0.25)


def test_the_base_is_no_best_to_forget_from() -> None:
    assert forgetting([[1.0, 0.0], [0.5, 0.0], [0.5, 1.0]]) == 0


@pytest.mark.parametrize("matrix", [[[0.0], [1.0]], [[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0], [1.0, 1.0]]])
def test_a_matrix_of_another_shape_is_refused(matrix: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"need T \+ 1 rows"):
        backward_transfer(matrix)


def test_only_scores_that_every_stage_has_are_summed_up() -> None:
    found = transfers({"recall": MATRIX, "unseen": [[None, 0.1, 0.2], *MATRIX[1:]], "seen": [[0.0], [1.0]]})
    assert list(found) == ["recall"]
    assert found["recall"].backward == pytest.approx(-0.35)


def test_the_numbers_of_a_run() -> None:
    row = measured_in(paraphrased(0.5, "1"), "lamps", "1-lamps/run", ["lamps", "absent"])
    assert row.scores["recall"] == (0.25, None)
    assert row.scores["paraphrased"] == (0.5, None)
    assert row.scores["control"] == (0.0, None)
    assert (row.general, row.divergence) == (0.5, None)
    weights = [100 * (n + 1) for n in range(30)]
    bits = sum((1 + n / 10) * weight for n, weight in enumerate(weights)) / sum(weights)
    assert row.bits_per_byte == pytest.approx(bits)


def test_a_change_of_recall_is_paired_and_each_stage_counts_as_much() -> None:
    full, half, none = paraphrased(1.0, "1"), paraphrased(0.5, "2"), paraphrased(0.0, "3")
    one = recall_change([(full, half, "lamps")])
    assert one.before == pytest.approx(0.5)
    assert one.after == pytest.approx(0.25)
    assert (one.lost, one.gained, one.clusters) == (60, 0, 30)
    assert one.interval[0] is not None
    assert one.interval[1] is not None
    assert one.interval[0] < -0.25 < one.interval[1] < 0
    assert recall_change([(full, half, "lamps"), (full, none, "lamps")]).difference == pytest.approx(-0.375)


def test_recall_is_that_of_the_one_tier_where_there_is_no_other() -> None:
    full, half = (
        make_run(tuple(item for item in paraphrased(share, "1").items if item.tier != "unseen")) for share in (1.0, 0.5)
    )
    assert measured_in(half, "lamps", "run", ["lamps"]).scores["recall"] == (0.5,)
    change = recall_change([(full, half, "lamps")])
    assert (change.n, change.lost) == (120, 60)
    assert change.difference == pytest.approx(-0.5)


def test_stages_count_as_much_whatever_number_of_questions_and_tiers_they_have() -> None:
    """All of one stage's 120 paraphrases are lost, and of its unseen none; of another's four paraphrases one is."""
    few = tuple(item for item in paraphrased(1.0, "1").items if item.tier == "paraphrased")[:4]
    lost = tuple(item.model_copy(update={"score": float(number > 0)}) for number, item in enumerate(few))
    small, smaller = make_run(few, weights="1" * 64), make_run(lost, weights="2" * 64)
    change = recall_change([(paraphrased(1.0, "1"), paraphrased(0.0, "2"), "lamps"), (small, smaller, "lamps")])
    assert change.before == pytest.approx((0.5 + 1) / 2)
    assert change.difference == pytest.approx((-0.5 - 0.25) / 2)
