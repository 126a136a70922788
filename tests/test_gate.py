"""The gate catches what is planted, passes what is good, and judges nothing that it cannot."""

import re
from pathlib import Path

import pytest
from results import BASE, GOOD, RUNS, everything, make_item, make_items, make_run, nothing

from kapoc.errors import DataError, IncomparableError
from kapoc.judging.baseline import bless, load_baseline
from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison
from kapoc.judging.evidence import worst
from kapoc.judging.gate import Verdict, judge, judged
from kapoc.judging.gate_file import PULL_REQUEST_GATE, RELEASE_GATE, Check, Gate
from kapoc.record import Run, save_run
from kapoc.report import markdown
from kapoc.report.junit import render_annotations, render_junit
from kapoc.stats import difference_above, difference_below


def _outcomes(verdict: Verdict, outcome: str) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome == outcome}


def test_a_good_model_passes_a_release() -> None:
    verdict = judge(compare(BASE, GOOD), RELEASE_GATE)
    assert verdict.outcome == "pass"
    assert verdict.exit_code == 0
    assert _outcomes(verdict, "pass") == {check.name for check in RELEASE_GATE.check}


@pytest.mark.parametrize(
    ("after", "caught"),
    [
        (BASE, {"seen learned", "paraphrased learned"}),
        (make_run(make_items(lambda t, n: 0.0 if t == "general" else everything(t, n))), {"general ability kept"}),
        (make_run(make_items(everything, bits=1.05)), {"text kept"}),
        (make_run(make_items(everything, spilled=90)), {"control spillover"}),
        (make_run(make_items(everything, ended=False)), {"answers end"}),
        (make_run(make_items(lambda t, n: everything(t, n) * (t != "seen" or n > 60))), {"seen learned"}),
    ],
)
def test_planted_damage_fails_a_release(after: Run, caught: set[str]) -> None:
    verdict = judge(compare(BASE, after), RELEASE_GATE)
    assert (verdict.outcome, verdict.exit_code) == ("fail", 1)
    assert _outcomes(verdict, "fail") == caught


def test_what_is_not_shown_either_way_is_inconclusive() -> None:
    slightly = make_run(make_items(lambda t, n: everything(t, n) * (t != "general" or n % 32 != 0)))
    verdict = judge(compare(BASE, slightly), RELEASE_GATE)
    assert _outcomes(verdict, "inconclusive") == {"general ability kept"}
    assert (verdict.outcome, verdict.exit_code) == ("inconclusive", 4)
    lenient = RELEASE_GATE.model_copy(update={"inconclusive_fails": False})
    assert judge(compare(BASE, slightly), lenient).exit_code == 0


def test_a_pull_request_passes_unless_a_regression_is_shown() -> None:
    assert judge(compare(GOOD, GOOD), PULL_REQUEST_GATE).outcome == "pass"
    one_worse = make_run(make_items(lambda t, n: everything(t, n) * (n > 0)))
    assert judge(compare(GOOD, one_worse), PULL_REQUEST_GATE).outcome == "pass"
    worse = make_run(make_items(lambda t, n: everything(t, n) * (t != "paraphrased" or n > 40)))
    assert _outcomes(judge(compare(GOOD, worse), PULL_REQUEST_GATE), "fail") == {"paraphrased"}


def test_a_check_that_does_not_gate_fails_nothing() -> None:
    checks = (
        Check(name="seen", kind="floor", quantity="seen", at_least=0.5),
        Check(name="text", kind="no_regression", quantity="text", gating=False),
    )
    verdict = judge(compare(BASE, make_run(make_items(everything, bits=1.3))), Gate(check=checks))
    assert _outcomes(verdict, "fail") == {"text"}
    assert verdict.outcome == "pass"


def test_words_to_copy_that_got_rarer_are_told_and_do_not_gate() -> None:
    rarer = make_run(make_items(everything, last_word=-2.5), weights="1" * 64)
    verdict = judge(compare(BASE, rarer), RELEASE_GATE)
    assert _outcomes(verdict, "fail") == {"last words kept"}
    assert verdict.sentence == "PASS: every gating check holds; not gating: last words kept (fail)"


def test_every_kind_of_check_says_its_part() -> None:
    half = make_run(make_items(lambda t, n: float(t == "seen" and n % 2 == 0) or nothing(t, n)))

    def outcome(**fields: object) -> str:
        return (
            judge(compare(BASE, half), Gate(check=(Check.model_validate({"name": "x", **fields}),))).checks[0].outcome
        )

    assert outcome(kind="superiority", quantity="seen", margin=0.2) == "pass"
    assert outcome(kind="superiority", quantity="unseen") == "inconclusive"
    assert outcome(kind="equivalence", quantity="general", margin=0.02) == "pass"
    assert outcome(kind="equivalence", quantity="seen", margin=0.2) == "fail"
    assert outcome(kind="floor", quantity="seen", at_least=0.9) == "fail"
    assert outcome(kind="floor", quantity="seen", at_most=0.9) == "pass"
    assert outcome(kind="floor", quantity="text", at_most=10) == "pass"
    assert outcome(kind="floor", quantity="text", at_most=1) == "fail"
    assert outcome(kind="non_inferiority", quantity="spillover/off_topic", margin=0.05) == "pass"


def _own_comparison(before: list[float], after: list[float]) -> Comparison:
    def run(scores: list[float], weights: str) -> Run:
        items = [make_item("general", "completion", f"g{n}", n, s, kind="squad_f1") for n, s in enumerate(scores)]
        return make_run(tuple(items), weights=weights * 64)

    return compare(run(before, "0"), run(after, "1"))


def _own_task(before: list[float], after: list[float], **check: object) -> str:
    gate = Gate(check=(Check.model_validate({"name": "f1", "quantity": "general/squad_f1", **check}),))
    return judge(_own_comparison(before, after), gate).outcome


@pytest.mark.parametrize("scores", [[0.4, 0.5, 1.0], [0.4, 0.4, 0.4], [0.0, 0.0, 1.0]])
def test_three_unchanged_items_show_no_small_margin_whatever_their_scores(scores: list[float]) -> None:
    assert _own_task(scores, scores, kind="non_inferiority", margin=0.001) == "inconclusive"


def test_two_items_that_gain_alike_are_not_shown_to_be_better() -> None:
    assert _own_task([0.4, 0.5], [0.5, 0.6], kind="superiority", margin=0.05) == "inconclusive"
    assert _own_task([0.1] * 200, [0.9] * 200, kind="superiority", margin=0.05) == "pass"


@pytest.mark.parametrize(
    ("gained", "lost", "outcome"),
    [(12, 2, "inconclusive"), (2, 12, "inconclusive"), (3, 3, "pass"), (60, 0, "fail"), (0, 60, "fail")],
)
def test_equivalence_is_shown_at_both_ends_and_missed_at_either(gained: int, lost: int, outcome: str) -> None:
    """Both one-sided tests have to show it; either may show the opposite, so the smaller p-value counts twice."""
    before = [0.0] * gained + [1.0] * lost + [0.0] * (200 - gained - lost)
    after = [1.0] * gained + [0.0] * (200 - gained)
    within = difference_above(before, after, range(200), -0.08), difference_below(before, after, range(200), 0.08)
    beyond = difference_above(before, after, range(200), 0.08), difference_below(before, after, range(200), -0.08)
    check = Check(name="same", kind="equivalence", quantity="general/squad_f1", margin=0.08)
    [found] = judge(_own_comparison(before, after), Gate(check=(check,))).checks
    assert found.outcome == outcome
    assert found.p_claim == pytest.approx(max(claim.p_value for claim in within))
    assert found.p_opposite == pytest.approx(min(2 * min(claim.p_value for claim in beyond), 1.0))


def test_what_no_release_has_to_show_takes_nothing_from_its_claims() -> None:
    worse = make_run(make_items(lambda t, n: nothing(t, n) * (t != "general" or n % 100 != 0)), weights="1" * 64)
    claim = Check(name="general", kind="non_inferiority", quantity="general", margin=0.03)
    quantities = ("spillover/control", "spillover/off_topic", "ended", "control", "text")
    beside = tuple(Check(name=q, kind="no_regression", quantity=q) for q in quantities)
    alone, among = (judge(compare(BASE, worse), Gate(check=(claim, *more))) for more in ((), beside))
    assert alone.checks[0].p_claim == among.checks[0].p_claim
    assert (alone.outcome, among.outcome) == ("pass", "pass")
    assert alone.sentence == "PASS: every check holds"
    assert among.sentence == "PASS: no gating check is shown to be missed"


def test_a_pull_request_does_not_say_that_a_claim_holds() -> None:
    checks = (
        Check(name="seen", kind="floor", quantity="seen", at_least=0.85),
        Check(name="unseen", kind="superiority", quantity="unseen", margin=0.1),
    )
    short = make_run(make_items(lambda t, n: float(t == "seen" and n % 5 > 0) or nothing(t, n)), weights="1" * 64)
    verdict = judge(compare(BASE, short), Gate(mode="pull_request", check=checks))
    assert verdict.sentence == "PASS: no gating check is shown to be missed"


def test_holm_is_over_the_gating_checks() -> None:
    worse = make_run(make_items(lambda t, n: nothing(t, n) * (t != "general" or n % 50 != 0)))
    comparison = compare(BASE, worse)
    alone = Gate(check=(Check(name="general", kind="no_regression", quantity="general"),))
    p = judge(comparison, alone).checks[0].p_opposite
    padding = tuple(Check(name=f"pad {n}", kind="no_regression", quantity="seen") for n in range(9))
    together = judge(comparison, Gate(check=(*alone.check, *padding))).checks[0].p_opposite
    assert together == pytest.approx(min(10 * p, 1.0))


def test_limited_runs_and_missing_tiers_cannot_be_judged() -> None:
    limited = compare(make_run(make_items(nothing), limit=3), make_run(make_items(everything), limit=3))
    with pytest.raises(IncomparableError, match="--limit"):
        judge(limited, RELEASE_GATE)
    few = [make_run(tuple(item for item in run.items if item.tier != "general")) for run in (BASE, GOOD)]
    with pytest.raises(IncomparableError, match="have no 'general'; measure all tiers"):
        judge(compare(*few), RELEASE_GATE)
    unruled = [make_run(tuple(item for item in run.items if item.tier != "control")) for run in (BASE, GOOD)]
    with pytest.raises(IncomparableError, match="have no 'spillover/control'; add control facts"):
        judge(compare(*unruled), RELEASE_GATE)


def test_a_gate_without_a_check_on_controls_judges_a_set_without_them() -> None:
    unruled = [make_run(tuple(item for item in run.items if item.tier != "control")) for run in (BASE, GOOD)]
    gate = Gate(check=(Check(name="seen", kind="floor", quantity="seen", at_least=0.8),))
    assert judge(compare(*unruled), gate).outcome == "pass"


def test_what_does_not_gate_and_was_not_measured_is_left_out_and_said() -> None:
    old = [
        make_run(
            tuple(item.model_copy(update={"gold_logprob": None}) for item in run.items),
            weights=run.model.weights_sha256,
        )
        for run in (BASE, GOOD)
    ]
    verdict = judge(compare(*old), RELEASE_GATE)
    assert verdict.outcome == "pass" and len(verdict.checks) == len(RELEASE_GATE.check) - 1
    assert verdict.warnings[-1].startswith("left out, not gating: check 'last words kept': the runs have no")


def test_without_a_verdict_the_comparison_says_why() -> None:
    silent = [make_run(tuple(item.model_copy(update={"ended": None}) for item in run.items)) for run in (BASE, GOOD)]
    comparison, verdict = judged(compare(*silent), RELEASE_GATE)
    assert verdict is None
    assert comparison.warnings[-1].startswith("no verdict: check 'answers end': the runs have no 'ended'; measure both")


def with_one_control(run: Run) -> Run:
    """The same run with the four answers about one control."""
    kept = tuple(i for i in run.items if i.tier != "control" or i.form != "free" or i.cluster == "F0")
    return make_run(kept, weights=run.model.weights_sha256)


def test_a_pull_request_that_could_not_have_failed_is_told() -> None:
    spilled = make_run(make_items(everything, spilled=120), weights="2" * 64)
    one, ruined = with_one_control(GOOD), with_one_control(spilled)
    verdict = judge(compare(one, ruined), PULL_REQUEST_GATE)
    [control] = [check for check in verdict.checks if check.name == "control spillover"]
    assert (control.value, control.clusters, control.outcome) == (1.0, 1, "pass")
    [told] = [warning for warning in verdict.warnings if "could not have failed" in warning]
    assert told == "check 'control spillover' could not have failed: 4 items in 1 cluster show no loss, however large"
    assert f"<system-out>{told}" in render_junit(verdict, RUNS).replace("&gt;", ">")
    assert f"::warning title=kapoc gate::{told}" in list(render_annotations(verdict, RUNS))
    assert "could not have failed" in markdown.render(compare(one, ruined), verdict)


def test_a_check_that_only_the_others_let_pass_is_told() -> None:
    """Of 30 facts 6 are wrong as wholes in one tier: shown by itself, and not with eight checks."""
    worse = make_run(make_items(lambda t, n: everything(t, n) * (t != "seen" or n >= 24)), weights="2" * 64)
    verdict = judge(compare(GOOD, worse), PULL_REQUEST_GATE)
    alone = Gate(mode="pull_request", check=tuple(c for c in PULL_REQUEST_GATE.check if c.quantity == "seen"))
    [seen] = judge(compare(GOOD, worse), alone).checks
    assert verdict.outcome == "pass" and seen.outcome == "fail"
    [told] = verdict.warnings
    assert told.startswith(f"check 'seen' alone is shown to be missed (p = {seen.p_opposite:.2g}), and is not among 8")
    assert judge(compare(GOOD, worse), alone).warnings == ()


@pytest.mark.parametrize(("number", "blind"), [(1, False), (8, True)])
def test_what_many_checks_take_from_a_loss_that_could_be_shown_is_counted(number: int, *, blind: bool) -> None:
    checks = tuple(Check(name=f"c{n}", kind="no_regression", quantity="general") for n in range(number))
    warnings = judge(_own_comparison([1.0] * 5, [1.0] * 5), Gate(mode="pull_request", check=checks)).warnings
    told = "check 'c0' could have failed only beside others: 5 items in 5 clusters show no loss, however large, among 8"
    assert any(warning.startswith(told) for warning in warnings) is blind
    assert not any("could not have failed" in warning for warning in warnings)


def test_of_a_check_that_failed_it_is_not_said_that_it_could_hardly() -> None:
    checks = [Check(name=f"c{number}", kind="no_regression", quantity="general") for number in range(3)]
    checks.append(Check(name="few", kind="no_regression", quantity="seen"))
    comparison = _own_comparison([1.0] * 60, [0.0] * 60)
    few = _own_comparison([1.0] * 4, [0.0] * 4).scores["general"]
    comparison = comparison.model_copy(update={"scores": {**comparison.scores, "seen": few}})
    verdict = judge(comparison, Gate(mode="pull_request", check=tuple(checks)))
    result = verdict.checks[-1]
    assert result.outcome == "fail"
    assert result.p_opposite * len(checks) > verdict.alpha  # by itself it would not have
    assert not any("have failed" in warning for warning in verdict.warnings)


def test_the_worst_of_what_should_stay_below_a_floor_is_one() -> None:
    scores = compare(BASE, GOOD).scores["seen"]
    assert (set(worst(scores).after), set(worst(scores, 0.5).after)) == ({0.0}, {1.0})
    assert set(worst(compare(BASE, GOOD).scores["spillover/control"]).after) == {1.0}


def test_a_baseline_with_nothing_to_lose_is_told() -> None:
    verdict = judge(compare(make_run(make_items(nothing, spilled=120), weights="3" * 64), GOOD), PULL_REQUEST_GATE)
    items, asked = "of 120 items in 30 clusters the baseline has none", "is it the last model that shipped?"
    assert verdict.warnings == (
        *(
            f"check '{name}' could not have failed: {items} right that could be lost; {asked}"
            for name in ("seen", "paraphrased", "unseen")
        ),
        f"check 'control spillover' could not have failed: {items} that could get worse; {asked}",
    )
    kept = Check(name="x", kind="no_regression", quantity="seen")
    floor = Check(name="y", kind="floor", quantity="seen", at_least=0.5)
    [told] = judge(compare(BASE, GOOD), Gate(check=(kept, floor))).warnings  # a release is held against its base
    assert told == f"check 'x' could not have failed: {items} right that could be lost"
    same = Check(name="z", kind="equivalence", quantity="seen", margin=0.1)
    [seen] = judge(compare(BASE, GOOD), gate := Gate(mode="pull_request", check=(same,))).checks
    assert seen.outcome == "fail" and not judge(compare(BASE, GOOD), gate).warnings


@pytest.mark.parametrize(("number", "says"), [(1, ["1 item in 1 cluster: there is no interval"]), (2, [])])
def test_a_quantity_without_an_interval_is_told(number: int, says: list[str]) -> None:
    def few(run: Run, bits: float) -> Run:
        texts = [item for item in run.items if item.form == "text"][:number]
        later = tuple(item.model_copy(update={"score": item.score + bits}) for item in texts)
        others = tuple(item for item in run.items if item.form != "text")
        return make_run(others + later, weights=f"{bits:g}" * 64)

    text = Gate(mode="pull_request", check=(Check(name="text", kind="no_regression", quantity="text"),))
    verdict = judge(compare(few(GOOD, 0), few(GOOD, 5)), text)
    assert list(verdict.warnings) == [f"check 'text' could not have failed: {why}" for why in says]


def test_where_every_loss_could_be_shown_nothing_is_told() -> None:
    verdict = judge(compare(GOOD, make_run(make_items(everything), weights="2" * 64)), PULL_REQUEST_GATE)
    assert verdict.warnings == ()


def test_a_release_of_leaking_sets_shows_nothing() -> None:
    leaking = [make_run(run.items, weights=run.model.weights_sha256, num_leaks=3) for run in (BASE, GOOD)]
    verdict = judge(compare(*leaking), RELEASE_GATE)
    assert judge(compare(leaking[0], GOOD), RELEASE_GATE).outcome == "inconclusive"
    assert judge(compare(BASE, leaking[1]), RELEASE_GATE).outcome == "inconclusive"
    assert (verdict.outcome, verdict.exit_code) == ("inconclusive", 4)
    assert verdict.sentence == "INCONCLUSIVE: the knowledge sets leak (3 found), so right answers show little"
    assert judge(compare(*leaking[::-1]), RELEASE_GATE).outcome == "fail"
    assert judge(compare(*leaking), PULL_REQUEST_GATE).outcome == "pass"


def test_an_unknown_quantity_names_the_near_one() -> None:
    gate = Gate(check=(Check(name="typo", kind="floor", quantity="paraphrase", at_least=0.5),))
    with pytest.raises(DataError, match="did you mean 'paraphrased'"):
        judge(compare(BASE, GOOD), gate)


@pytest.mark.parametrize(
    ("quantity", "remedy"),
    [
        ("unseen/meanin", "measure both on a set that has this kind of question; did you mean 'meaning'?"),
        ("spillover/control/x", "measure both on a set that has this kind of question; known: meaning"),
        ("general/mmlu", "measure both with that task (--general); known: last_word, world"),
        ("gold/general/x", "measure both with that task (--general); known: last_word"),
        ("gold/seen", "measure both again with this version of kapoc"),
        ("events-2025/spillover/control", "measure both on the set events-2025, too; known: lamps"),
        ("lamp/seen", "measure both on the set lamp, too; did you mean 'lamps'?"),
        ("spillover/off_topic/near", "measure both with its file of prompts (--off-topic)"),
    ],
)
def test_a_quantity_that_runs_can_have_is_left_out_or_not_comparable(quantity: str, remedy: str) -> None:
    checks = [Check(name=q, kind="floor", quantity=q, at_least=0.5, gating=q != quantity) for q in ("seen", quantity)]
    verdict = judge(compare(BASE, GOOD), Gate(check=tuple(checks)))
    said = f"check '{quantity}': the runs have no '{quantity}'; {remedy}"
    assert verdict.outcome == "pass" and verdict.warnings[-1].startswith(f"left out, not gating: {said}")
    with pytest.raises(IncomparableError, match=re.escape(said)):
        judge(compare(BASE, GOOD), Gate(check=(Check(name=quantity, kind="floor", quantity=quantity, at_least=0.5),)))


@pytest.mark.parametrize("quantity", ["lamps/control", "lamps/spillover/control", "control/fix", "spillover/control/x"])
def test_where_controls_are_lacking_the_remedy_is_to_add_some(quantity: str) -> None:
    unruled = [make_run(tuple(item for item in run.items if item.tier != "control")) for run in (BASE, GOOD)]
    with pytest.raises(IncomparableError, match="add control facts to the knowledge set"):
        judge(compare(*unruled), Gate(check=(Check(name="x", kind="floor", quantity=quantity, at_most=0.5),)))


@pytest.mark.parametrize(
    "quantity",
    ["unsen/meaning", "unseen/", "/seen", "lamps/general", "spillover/seen", "gold/see", "ended/x", "unseen x"],
)
def test_a_name_that_no_quantity_has_is_an_error_even_where_it_does_not_gate(quantity: str) -> None:
    checks = [Check(name=q, kind="floor", quantity=q, at_least=0.5, gating=q == "seen") for q in ("seen", quantity)]
    with pytest.raises(DataError, match=f"there is no quantity '{quantity}' in these runs; did you mean"):
        judge(compare(BASE, GOOD), Gate(check=tuple(checks)))


def test_a_baseline_is_sealed_and_a_swapped_one_is_refused(tmp_path: Path) -> None:
    save_run(GOOD, tmp_path / "good")
    save_run(BASE, tmp_path / "other")
    bless(tmp_path / "good", tmp_path / "baseline", "the first one")
    assert load_baseline(tmp_path / "baseline").model.weights_sha256 == "1" * 64
    for name in ("run.json", "items.jsonl"):
        (tmp_path / "baseline" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(DataError, match=r"baseline: the run is not the one that was blessed on .*kapoc baseline bless"):
        load_baseline(tmp_path / "baseline")
    save_run(make_run(make_items(nothing), limit=2), tmp_path / "limited")
    with pytest.raises(IncomparableError, match="--limit run cannot be a baseline"):
        bless(tmp_path / "limited", tmp_path / "baseline", "the second one")


def test_what_the_runs_lack_is_not_comparable_and_the_remedy_is_named() -> None:
    gate = Gate(check=(Check(name="near", kind="floor", quantity="divergence", at_most=0.02),))
    with pytest.raises(IncomparableError, match="have no 'divergence'; measure both to one base"):
        judge(compare(BASE, GOOD), gate)


def test_an_unmoved_model_has_a_divergence_of_zero_and_not_a_share() -> None:
    gate = Gate(check=(Check(name="near", kind="floor", quantity="divergence", at_most=0.02),))
    unmoved = make_run(make_items(everything, divergence=0.0), weights="1" * 64, base_sha256="0" * 64)
    assert judge(compare(BASE, unmoved), gate).outcome == "pass"


@pytest.mark.parametrize(("order", "outcome"), [(1, "fail"), (-1, "pass")])
def test_a_model_further_from_its_base_is_worse_and_a_nearer_one_is_not(order: int, outcome: str) -> None:
    near, far = (
        make_run(make_items(nothing, divergence=divergence), weights=weights * 64, base_sha256="9" * 64)
        for divergence, weights in ((0.0, "1"), (0.5, "2"))
    )
    check = Check(name="near", kind="non_inferiority", quantity="divergence", margin=0.1)
    assert judge(compare(*[near, far][::order]), Gate(check=(check,))).outcome == outcome


def test_a_verdict_carries_the_notes_of_its_comparison() -> None:
    assert "both runs measured the same weights" in judge(compare(BASE, BASE), PULL_REQUEST_GATE).warnings
