"""What a set can show is known before it is measured."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import binom

from kapoc.errors import DataError
from kapoc.judging.comparison import PairedScores
from kapoc.judging.evidence import CheckKind, Evidence, weigh
from kapoc.judging.gate_file import RELEASE_GATE, Check, Gate
from kapoc.judging.plan import Sizes, plan_gate, sizes_of
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring.task_list import load_tasks
from kapoc.models import load_model
from kapoc.recipe import MOST_PASSAGES, BudgetSettings, ReplaySettings, TrainSettings, load_recipe
from kapoc.stats import detectable_difference, detectable_level, difference_above, share_above, share_below
from kapoc.training.batches import PackedRow
from kapoc.training.loop import Loop, StepReport
from kapoc.training.muon import Muon
from kapoc.workflow.calibrate import Cost, calibrate, held_out_tokens, replayed_tokens

SIZES = sizes_of([load_knowledge("software-defects")[0]], {"grammar": 735}, ["any"] * 120)


def test_sizes_are_those_of_a_measurement() -> None:
    assert SIZES["seen"] == (5,) * 29
    assert SIZES["unseen/yes_no"] == (2,) * 29
    assert SIZES["control"] == SIZES["spillover/control"] == (4,) * 13
    assert SIZES["control/fix"] == SIZES["spillover/control/fix"] == (2,) * 13
    assert SIZES["spillover/off_topic/any"] == SIZES["spillover/off_topic"] == (1,) * 120
    assert sorted(SIZES["ended"]) == [1] * 120 + [4] * 13 + [16] * 29
    assert SIZES["software-defects/spillover/control"] == SIZES["software-defects/control"] == (4,) * 13
    assert SIZES["general/grammar"] == SIZES["general"] == (1,) * 735
    knowledge = [load_knowledge(name)[0] for name in ("software-defects", "events-2025")]
    both = sizes_of(knowledge, {"grammar": 735}, ["any"] * 120)
    assert both["seen"] == (5,) * (29 + 39)


@pytest.mark.parametrize(
    ("change", "share", "is_checkpointed", "num_rows"),
    [
        ({"batch_size": 8, "micro_batch_size": 8}, 1.0, False, 1),
        ({"batch_size": 32, "micro_batch_size": 8, "method": "lora", "options": {"rank": 2}}, 0.2, False, 2),
        (
            {"batch_size": 8, "micro_batch_size": 4, "method": "feed_forward", "gradient_checkpointing": True},
            0.6,
            True,
            2,
        ),
    ],
)
def test_what_is_timed_is_a_step_of_the_recipe(
    tiny_recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    share: float,
    num_rows: int,
    *,
    is_checkpointed: bool,
) -> None:
    loop, found = _timed(tiny_recipe, monkeypatch, change)
    assert 0 < loop.num_trained <= share * sum(weight.numel() for weight in loop.model.parameters())
    assert loop.sizes == [num_rows, num_rows]
    assert loop.model.is_gradient_checkpointing is is_checkpointed
    assert min(found.bench_seconds, found.train_seconds, found.train_tokens_per_second) > 0


@pytest.mark.parametrize(("weight", "whitening"), [(0.5, 0.0), (0.0, 8.0), (0.5, 8.0)])
def test_a_timed_step_of_muon_is_measured_by_inputs_where_the_recipe_asks_for_that(
    tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch, weight: float, whitening: float
) -> None:
    replay = ReplaySettings(weight=weight, whitening=whitening)
    roots: dict[torch.Tensor, torch.Tensor | None] = {}

    class Told(Muon):
        def __init__(
            self, given: Mapping[torch.Tensor, torch.Tensor | None], rate: float, precision: torch.dtype
        ) -> None:
            super().__init__(given, rate, precision)
            roots.update(given)

    monkeypatch.setattr("kapoc.training.loop.Muon", Told)
    _timed(tiny_recipe, monkeypatch, {"method": "feed_forward", "optimizer": "muon", "replay": replay})
    assert {None if root is None else root.shape[1] == trained.shape[1] for trained, root in roots.items()} == (
        {True} if weight and whitening else {None}
    )


class _Watched(Loop):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sizes: list[int] = []

    def step(self, rows: Sequence[PackedRow], epoch: int) -> StepReport:
        self.sizes.append(len(rows))
        return super().step(rows, epoch)


def _timed(recipe_file: Path, monkeypatch: pytest.MonkeyPatch, change: Mapping[str, Any]) -> tuple[_Watched, Cost]:
    """What was timed to reckon what a recipe takes, and what was reckoned."""
    loops = []

    def watched(*arguments: Any) -> _Watched:
        loops.append(_Watched(*arguments))
        return loops[-1]

    monkeypatch.setattr("kapoc.workflow.calibrate.Loop", watched)
    recipe = load_recipe(recipe_file)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=change)})
    loaded, name = load_model(recipe.model), recipe.knowledge[0]
    found = calibrate(loaded, recipe, [load_knowledge(name)[0]], load_tasks([name]))
    [loop] = loops
    return loop, found


def _one(check: Check, sizes: dict[str, Sizes]) -> tuple[bool, int | None]:
    (planned,) = plan_gate(sizes, Gate(check=(check,)))
    return planned.is_enough, planned.needed_clusters


def test_own_off_topic_prompts_are_not_foretold_and_missing_controls_are_named() -> None:
    gate = Gate(check=(Check(name="x", kind="non_inferiority", quantity="spillover/off_topic/near", margin=0.05),))
    assert plan_gate(SIZES, gate) == []
    gate = Gate(check=(Check(name="x", kind="non_inferiority", quantity="spillover/control/why", margin=0.05),))
    with pytest.raises(DataError, match="add control facts"):
        plan_gate({"seen": (2, 2)}, gate)


def test_a_margin_of_three_points_needs_about_400_items() -> None:
    check = Check(name="x", kind="non_inferiority", quantity="general", margin=0.03)
    enough, needed = _one(check, {"general": (1,) * 400})
    assert needed == pytest.approx(400, abs=15)
    assert not _one(check, {"general": (1,) * 200})[0]
    assert _one(check, {"general": (1,) * 450})[0]
    assert enough is (needed is not None and needed <= 400)


def test_the_fewest_facts_for_a_floor_show_it_and_one_fewer_does_not() -> None:
    check = Check(name="x", kind="floor", quantity="seen", at_least=0.9)
    _, needed = _one(check, {"seen": (4,) * 5})
    assert needed is not None

    def shown(clusters: int) -> bool:
        return share_above([1.0] * (4 * clusters), [n % clusters for n in range(4 * clusters)], 0.9).low >= 0.9

    assert shown(needed)
    assert not shown(needed - 1)


UNEVEN: tuple[Sizes, ...] = (
    (16,) * 29 + (4,) * 13 + (1,) * 120,
    (20, 20) + (1,) * 27,
    (9,) * 5 + (1,) * 24,
    (1, 2, 3, 4, 5, 6, 7, 8) * 4,
    (4,) * 29,
    (7,) * 3,
)


def _items(sizes: Sizes) -> tuple[str, ...]:
    return tuple(f"F{cluster}" for cluster, size in enumerate(sizes) for _ in range(size))


def _weighed(sizes: Sizes, check: Check, after: float, alpha: float) -> Evidence:
    clusters = _items(sizes)
    same = (after,) * len(clusters)
    scores = PairedScores(before=same, after=same, clusters=clusters, lower_is_better="spill" in check.quantity)
    return weigh(scores, check.kind, check.margin, check.at_least, check.at_most, alpha)


@pytest.mark.parametrize("sizes", UNEVEN, ids=lambda sizes: f"{sum(sizes)} in {len(sizes)}")
@pytest.mark.parametrize("quantity", ["ended", "spillover/control", "seen"])
def test_what_is_planned_for_uneven_facts_is_the_bound_that_the_gate_finds(quantity: str, sizes: Sizes) -> None:
    """With nothing changed, or every item right."""
    alpha, right = 0.00625, 0.0 if "spill" in quantity else 1.0
    fields = {"kind": "floor", "at_least": 0.5} if quantity == "seen" else {"kind": "non_inferiority", "margin": 0.5}
    check = Check.model_validate({"name": "x", "quantity": quantity, **fields})
    [planned] = plan_gate({quantity: sizes}, Gate(alpha=alpha, check=(check,)))
    low, high = _weighed(sizes, check, right, alpha).bounds
    told = float(re.findall(r"[\d.]+", planned.can_show)[0])
    if quantity == "seen":
        assert told == pytest.approx(100 * low - 0.05, abs=0.051)  # a tenth of a percent that is not above it
    else:
        assert told == pytest.approx(100 * (high if "spill" in quantity else -low) + 0.05, abs=0.051)


@pytest.mark.parametrize("name", ["seen learned", "paraphrased learned", "control spillover", "answers end"])
def test_what_is_planned_for_the_default_set_is_what_the_gate_finds(name: str) -> None:
    [check] = [check for check in RELEASE_GATE.check if check.name == name]
    [planned] = plan_gate(SIZES, Gate(check=(check,)))
    right = 0.0 if "spill" in check.quantity else 1.0
    found = _weighed(SIZES[check.quantity], check, right, 0.05)
    assert planned.is_enough == (found.p_claim <= 0.05)
    told = float(re.findall(r"[\d.]+", planned.can_show)[0])
    bounds = [100 * abs(bound) for bound in found.bounds]
    assert min(abs(told - bound) for bound in bounds) <= 0.101


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.85, 0.9])
@pytest.mark.parametrize("sizes", UNEVEN, ids=lambda sizes: f"{sum(sizes)} in {len(sizes)}")
def test_a_floor_is_provable_exactly_where_a_perfect_run_passes(sizes: Sizes, threshold: float) -> None:
    check = Check(name="x", kind="floor", quantity="seen", at_least=threshold)
    [planned] = plan_gate({"seen": sizes}, Gate(check=(check,)))
    assert planned.is_enough == (_weighed(sizes, check, 1.0, 0.05).p_claim <= 0.05)
    assert planned.needed_clusters is not None
    assert planned.is_enough == (planned.needed_clusters <= len(sizes))


def test_the_loss_of_ended_answers_that_is_foretold_counts_facts_and_not_prompts() -> None:
    """29 facts x 16, 13 controls x 4 and 120 prompts are 82.5 items at a correlation of 0.6."""
    check = Check(name="x", kind="no_regression", quantity="ended", margin=0.01)
    [planned] = plan_gate(SIZES, Gate(mode="pull_request", check=(check,)))
    items = 636**2 / (0.4 * 636 + 0.6 * (29 * 16**2 + 13 * 4**2 + 120))
    assert items == pytest.approx(82.5, abs=0.1)
    assert (
        planned.can_show == f"a true loss of {100 * detectable_difference(items, 0.0, margin=0.01):.1f} points or more"
    )


@pytest.mark.parametrize("quantity", ["control", "spillover/control"])
def test_a_set_without_controls_is_told_to_have_some(quantity: str) -> None:
    sizes = {name: size for name, size in SIZES.items() if "control" not in name}
    gate = Gate(check=(Check(name="quiet", kind="floor", quantity=quantity, at_most=0.1),))
    with pytest.raises(DataError, match=f"^check 'quiet': these sets have no quantity '{quantity}'; add control facts"):
        plan_gate(sizes, gate)


def test_quantities_in_other_units_are_left_out() -> None:
    assert {planned.quantity for planned in plan_gate(SIZES, RELEASE_GATE)} == {
        check.quantity for check in RELEASE_GATE.check if check.quantity not in {"text", "gold/general/last_word"}
    }


def test_the_default_set_is_enough_for_the_default_gate() -> None:
    planned = {check.name: check for check in plan_gate(SIZES, RELEASE_GATE)}
    assert all(check.is_enough for check in planned.values())
    alone = Gate(check=tuple(check for check in RELEASE_GATE.check if check.name == "control spillover"))
    assert plan_gate(SIZES, alone)[0].can_show == "13.0 points, at no change"
    assert planned["control spillover"].can_show == "17.5 points, at no change"  # shares the level with `text kept`


def test_a_tier_of_one_set_is_foretold_as_the_tier_is() -> None:
    sizes = {"seen": (5,) * 29, "software-defects/seen": (5,) * 29}
    both = [Check(name=q, kind="non_inferiority", quantity=q, margin=0.1, gating=q == "seen") for q in sizes]
    one, other = plan_gate(sizes, Gate(check=tuple(both)))
    assert (one.can_show, one.needed_clusters) == (other.can_show, other.needed_clusters)


@pytest.mark.parametrize("margin", [0.05, 0.08, 0.12, 0.16, 0.24, 0.28, 0.33, 0.39])
def test_the_controls_that_are_asked_for_show_the_margin_and_one_fewer_does_not(margin: float) -> None:
    check = Check(name="x", kind="non_inferiority", quantity="spillover/control", margin=margin)
    _, needed = _one(check, {"spillover/control": (4,) * 13})
    assert needed is not None

    def p_value(clusters: int) -> float:
        nothing, names = [0.0] * (4 * clusters), [n % clusters for n in range(4 * clusters)]
        return difference_above(nothing, nothing, names, -margin).p_value

    assert p_value(needed) <= 0.05 < p_value(needed - 1)


def test_what_only_a_shown_regression_fails_is_told_what_it_would_catch() -> None:
    check = Check(name="seen", kind="no_regression", quantity="seen", margin=0.01)
    claim = Check(name="general", kind="non_inferiority", quantity="general", margin=0.03)
    of_pull_request = plan_gate(SIZES, Gate(mode="pull_request", check=(check, claim)))
    assert [planned.can_show.split(" of ")[0] for planned in of_pull_request] == ["a true loss"] * 2
    assert {planned.needed_clusters for planned in of_pull_request} == {None}
    caught, shown = plan_gate(SIZES, Gate(check=(check, claim)))
    alone = plan_gate(SIZES, Gate(check=(claim,)))
    assert caught.can_show.startswith("a true loss of")
    assert (shown.can_show, shown.needed_clusters) == (alone[0].can_show, alone[0].needed_clusters)


@pytest.mark.parametrize(("field", "floor"), [("at_least", 0.85), ("at_most", 0.15)])
def test_a_floor_of_a_pull_request_is_told_the_level_that_it_would_probably_catch(field: str, floor: float) -> None:
    check = Check.model_validate({"name": "x", "kind": "floor", "quantity": "general", field: floor})
    [planned] = plan_gate({"general": (1,) * 400}, Gate(mode="pull_request", check=(check,)))
    told = re.fullmatch(r"a true level of ([\d.]+)% or (less|more)", planned.can_show)
    assert told is not None and planned.is_enough and planned.needed_clusters is None
    assert told[2] == ("less" if field == "at_least" else "more")
    right = float(told[1]) / 100 if field == "at_least" else 1 - float(told[1]) / 100

    def is_caught(number: int) -> bool:
        return share_below([1.0] * number + [0.0] * (400 - number), range(400), 0.15 if right < 0.5 else 0.85).is_shown

    most = max(number for number in range(400) if is_caught(number))
    assert 0.8 <= binom.cdf(most, 400, right) < 0.83  # the level is told in tenths, rounded to the safe side


@pytest.mark.parametrize("number", [20, 120, 400])
def test_where_a_single_item_is_enough_the_level_is_that_at_which_one_will_probably_come(number: int) -> None:
    floor = detectable_level(number, 1.0)
    assert share_below([1.0] * (number - 1) + [0.0], range(number), 1.0).is_shown
    assert 1 - floor**number == pytest.approx(0.8)
    check = Check(name="x", kind="floor", quantity="spillover/off_topic", at_most=0.0)
    [planned] = plan_gate({"spillover/off_topic": (1,) * number}, Gate(mode="pull_request", check=(check,)))
    told = re.fullmatch(r"a true level of ([\d.]+)% or more", planned.can_show)
    assert told is not None and float(told[1]) == pytest.approx(100 * (1 - floor), abs=0.1)
    assert 1 - (1 - float(told[1]) / 100) ** number >= 0.8


def test_a_ceiling_is_told_from_its_own_side() -> None:
    check = Check(name="x", kind="floor", quantity="spillover/control", at_most=0.25)
    [planned] = plan_gate(SIZES, Gate(check=(check,)))
    assert (planned.can_show, planned.is_enough) == ("at most 13% if there is none", True)  # as 13 points at no change


def test_what_too_few_items_never_catch_is_told() -> None:
    check = Check(name="x", kind="floor", quantity="seen", at_least=0.3)
    [planned] = plan_gate({"seen": (2, 2)}, Gate(mode="pull_request", check=(check,)))
    assert (planned.can_show, planned.is_enough) == ("no level at all", False)


def test_a_superiority_of_a_pull_request_fails_from_any_loss_on() -> None:
    kinds: tuple[tuple[CheckKind, float], ...] = (("superiority", 0.2), ("no_regression", 0.0))
    superior, no_regression = (
        plan_gate(SIZES, Gate(mode="pull_request", check=(Check(name="x", kind=k, quantity="seen", margin=m),)))[0]
        for k, m in kinds
    )
    assert superior.can_show == no_regression.can_show
    assert superior.can_show.startswith("a true loss of ")


@pytest.mark.parametrize(
    ("quantity", "hint"),
    [
        ("doors/spillover/control", "add control facts"),
        ("doors/control", "add control facts"),
        ("software-defect/spillover/control", "did you mean 'software-defects/spillover/control'"),
        ("spillover/control/fixx", "did you mean 'spillover/control/fix'"),
    ],
)
def test_controls_are_asked_for_only_where_there_are_none(quantity: str, hint: str) -> None:
    check = Check(name="x", kind="non_inferiority", quantity=quantity, margin=0.2)
    with pytest.raises(DataError, match=re.escape(f"these sets have no quantity '{quantity}'; {hint}")):
        plan_gate({**SIZES, "doors/seen": (2, 2)}, Gate(check=(check,)))


def test_equivalence_takes_more_items_than_one_of_its_two_tests() -> None:
    sizes: dict[str, Sizes] = {"general": (1,) * 400}
    kinds: tuple[CheckKind, ...] = ("non_inferiority", "equivalence")
    one, both = (_one(Check(name="x", kind=kind, quantity="general", margin=0.0303), sizes) for kind in kinds)
    assert (one[0], both[0]) == (True, False)
    assert one[1] is not None
    assert both[1] is not None
    assert both[1] > one[1]


def test_two_facts_can_show_no_gain_by_ten_points() -> None:
    sizes = {**SIZES, "unseen": (2, 2)}
    [planned] = [check for check in plan_gate(sizes, RELEASE_GATE) if check.quantity == "unseen"]
    assert (planned.is_enough, planned.can_show) == (False, "no gain at all")


def test_a_quantity_that_the_sets_do_not_have_is_named_whatever_stands_before_it() -> None:
    own = Check(name="own", kind="non_inferiority", quantity="general/mmlu", margin=0.03)
    assert plan_gate(SIZES, Gate(check=(own,))) == []
    with pytest.raises(DataError, match=r"^check 'mistyped': .* did you mean 'unseen'"):
        plan_gate(SIZES, Gate(check=(own, Check(name="mistyped", kind="floor", quantity="unsen", at_least=0.5))))


def test_a_tier_that_the_sets_lack_and_a_misspelt_log_probability_are_told() -> None:
    without = {name: sizes for name, sizes in SIZES.items() if not name.startswith("unseen")}
    with pytest.raises(DataError, match=r"no quantity 'unseen'; add such probes, or judge by checks of your own"):
        plan_gate(without, RELEASE_GATE)
    for quantity in ("gold/seen", "gold/general", "gold/general/mmlu"):
        assert plan_gate(SIZES, Gate(check=(Check(name="x", kind="no_regression", quantity=quantity, margin=1),))) == []
    with pytest.raises(DataError, match=r"there is no quantity 'gold/sen'; did you mean 'gold/seen'"):
        plan_gate(SIZES, Gate(check=(Check(name="x", kind="no_regression", quantity="gold/sen", margin=1),)))


def test_the_cost_of_training_has_what_is_replayed_and_what_the_base_writes() -> None:
    replay = ReplaySettings(weight=1.0, num_passages=10, num_tokens=64, per_step=2)
    settings = TrainSettings(batch_size=4, replay=replay)
    assert replayed_tokens(settings, [10, 4], 32) == ((3 + 1) * 2 * (32 + 64), 10 * 64)
    assert replayed_tokens(TrainSettings(batch_size=4), [10, 4], 32) == (0, 0)
    each_once = TrainSettings(batch_size=4, replay=ReplaySettings(weight=1.0, num_tokens=64, per_step=2))
    assert replayed_tokens(each_once, [10, 4], 32) == ((3 + 1) * 2 * (32 + 64), (3 + 1) * 2 * 64)
    assert replayed_tokens(each_once, [10_000], 32)[1] == MOST_PASSAGES * 64
    held_out = TrainSettings(alphas=(0.5,), budget=BudgetSettings(num_passages=3), replay=ReplaySettings(num_tokens=7))
    assert replayed_tokens(held_out, [10], 32) == (0, 3 * 64)


def test_the_cost_of_training_has_the_answers_to_held_out_questions() -> None:
    limited = BudgetSettings(spillover=0.05)
    assert held_out_tokens(TrainSettings(epochs=3)) == 0
    assert held_out_tokens(TrainSettings(epochs=3, budget=limited)) == (1 + 3) * 80 * 48
    assert held_out_tokens(TrainSettings(epochs=3, alphas=(0.5, 1.0), budget=limited)) == (1 + 3 + 2) * 80 * 48
