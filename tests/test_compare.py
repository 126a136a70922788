"""Comparisons of made-up runs whose answers are known."""

from typing import Any

import pytest
from results import BASE, LAMPS, everything, make_item, make_items, make_run, nothing

from kapoc.errors import IncomparableError
from kapoc.judging.compare import compare
from kapoc.judging.comparison import PairedScores
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import Check, Gate
from kapoc.judging.quantities import result_of
from kapoc.record import Item, Run, to_json
from kapoc.report import markdown
from kapoc.stats import detectable_difference, paired_difference

ORACLE = make_run(make_items(everything), weights="1" * 64)


def _holds(interval: tuple[float | None, float | None], value: float) -> bool:
    low, high = interval
    return low is not None and high is not None and low < value < high


def test_an_oracle_scores_one_and_the_base_zero() -> None:
    tiers = compare(BASE, ORACLE).tiers
    for tier in ("seen", "paraphrased", "unseen"):
        result = tiers[tier]
        assert (result.n, result.clusters, result.before, result.after, result.difference) == (120, 30, 0, 1, 1)
        assert (result.gained, result.lost) == (120, 0)
        assert _holds(result.interval, 0.9)
        assert result.interval[1] == 1
        assert result.p_value < 0.01
    assert (tiers["control"].before, tiers["control"].after) == (0, 0)
    assert (tiers["general"].n, tiers["general"].clusters, tiers["general"].difference) == (400, 400, 0)


def test_the_same_run_twice_shows_no_difference() -> None:
    comparison = compare(BASE, BASE)
    assert all(result.difference == 0 and result.p_value == 1 for result in comparison.tiers.values())
    assert "both runs measured the same weights" in comparison.warnings


def test_tiers_stand_in_their_order_whatever_the_order_of_the_file() -> None:
    def mixed(run: Run) -> Run:
        named = {True: "lamps", False: "lanterns"}
        items = [
            item.model_copy(update={"knowledge": named[number % 2 == 0]}) if item.knowledge else item
            for number, item in enumerate(run.items)
        ]
        return run.model_copy(update={"items": tuple(reversed(items))})

    sets = (LAMPS, LAMPS.model_copy(update={"name": "lanterns"}))
    base, trained = (run.model_copy(update={"data": make_run((), knowledge=sets).data}) for run in (BASE, ORACLE))
    comparison = compare(mixed(base), mixed(trained))
    asked = ["seen", "paraphrased", "unseen", "control"]
    assert {name: list(tiers) for name, tiers in comparison.sets.items()} == dict.fromkeys(("lamps", "lanterns"), asked)
    assert list(comparison.kinds)[:4] == [f"{tier}/meaning" for tier in asked]


def test_planted_forgetting_is_seen() -> None:
    damaged = make_run(make_items(lambda tier, number: 0.0 if tier == "general" else everything(tier, number)))
    general = compare(BASE, damaged).tiers["general"]
    assert (general.before, general.after, general.lost, general.gained) == (0.5, 0, 200, 0)
    assert general.interval[1] is not None
    assert general.interval[1] < 0


def test_the_difference_of_a_general_task_with_scores_between_0_and_1_is_one_of_shares() -> None:
    quarter, half = (
        make_run(make_items(lambda tier, _, score=score: score * (tier == "general")), weights=weights * 64)  # type: ignore[misc]
        for score, weights in ((0.25, "0"), (0.5, "1"))
    )
    general = compare(quarter, half).tiers["general"]
    assert (general.before, general.after, general.difference) == (0.25, 0.5, 0.25)
    expected = paired_difference([0.0] * 400, [1.0] * 100 + [0.0] * 300, range(400))
    assert general.interval == pytest.approx((expected.low, expected.high))


def test_planted_spillover_is_seen() -> None:
    leaking = make_run(make_items(everything, spilled=30))
    spillover = compare(BASE, leaking).spillover
    assert (spillover["control"].before, spillover["control"].after, spillover["control"].n) == (0, 0.25, 120)
    assert spillover["off_topic"].after == 0


def test_what_only_the_first_run_spilled_is_not_told_of_the_second() -> None:
    assert [line.id for line in compare(BASE, make_run(make_items(everything, spilled=1))).spilled] == [
        "control/free/F0/0"
    ]
    assert compare(make_run(make_items(nothing, spilled=3)), ORACLE).spilled == ()


def test_bits_per_byte_weigh_by_bytes() -> None:
    text = compare(BASE, make_run(make_items(everything, bits=1.25))).forgetting.bits_per_byte
    assert text is not None
    expected = sum((1 + n / 10) * (n + 1) for n in range(30)) / sum(range(31))
    assert text.before == pytest.approx(expected)
    assert text.difference == pytest.approx(0.25)


def test_texts_of_the_users_own_stand_apart_and_do_not_make_up_for_prose() -> None:
    def with_own(items: tuple[Item, ...], bits: float) -> tuple[Item, ...]:
        own = [make_item("general", "text", f"own{n}", n, bits, kind="notes", num_bytes=10_000) for n in range(20)]
        return (*items, *own)

    before = make_run(with_own(make_items(nothing, bits=1.0), 1.0))
    after = make_run(with_own(make_items(everything, bits=1.2), 0.2), weights="2" * 64)
    found = compare(before, after)
    text, own = found.forgetting.bits_per_byte, found.forgetting.own_texts["notes"]
    assert text is not None
    assert (text.n, own.n) == (30, 20)
    assert [text.difference, own.difference] == pytest.approx([0.2, -0.8])
    assert "| bits per byte, notes | 20 | 1.0000 | 0.2000 | -0.8000 |" in markdown.render(found, None)

    def outcome(quantity: str) -> str:
        check = Check(name="kept", kind="non_inferiority", quantity=quantity, margin=0.01)
        return judge(found, Gate(check=(check,))).outcome

    assert (outcome("text"), outcome("text/notes")) == ("fail", "pass")
    with pytest.raises(IncomparableError, match="it holds texts, which are judged as 'text/notes'"):
        outcome("general/notes")
    with pytest.raises(IncomparableError, match=r"measure both with that task \(--general\)"):
        outcome("text/other")


def test_the_ledger_holds_every_free_item_with_both_answers() -> None:
    half = make_run(make_items(lambda tier, number: float(tier == "seen" and number % 2 == 0)))
    ledger = compare(half, ORACLE).ledger
    assert len(ledger) == 480
    counts = {
        entry: sum(line.entry == entry for line in ledger if line.tier == "seen")
        for entry in ("learned", "kept", "lost", "never")
    }
    assert counts == {"learned": 60, "kept": 60, "lost": 0, "never": 0}
    back = compare(ORACLE, half).ledger
    assert sum(line.entry == "lost" for line in back if line.tier == "seen") == 60
    assert {line.entry for line in back if line.tier == "control"} == {"never"}
    assert (back[1].before, back[1].after) == ("right", "wrong | <b>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"knowledge": (LAMPS.model_copy(update={"sha256": "d" * 64}),)},
            "knowledge set lamps's sha256: aaaaaaaaaaaa and dddddddddddd",
        ),
        ({"general_sha256": "d" * 64}, "general items' sha256"),
        ({"knowledge": (LAMPS.model_copy(update={"name": "others"}),)}, "knowledge sets: lamps; and others"),
        ({"general": ("piqa",), "documents_sha256": "d" * 64}, "own general tasks: none and piqa"),
        ({"off_topic": ("near",)}, "own off-topic prompts: none and near"),
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
    with pytest.raises(IncomparableError, match="--limit: none and 2"):
        compare(BASE, make_run(make_items(everything), limit=2))
    with pytest.raises(IncomparableError, match="no items"):
        compare(make_run(()), make_run(()))


def test_limited_runs_compare_with_a_warning() -> None:
    comparison = compare(make_run(make_items(nothing), limit=2), make_run(make_items(everything), limit=2))
    assert not comparison.complete
    assert any("--limit" in warning for warning in comparison.warnings)


def test_what_the_base_knew_is_not_learned() -> None:
    half = make_run(make_items(lambda tier, number: float(tier == "seen" and number < 40)))
    after = make_run(make_items(lambda tier, number: float(tier == "seen" and number >= 20)))
    comparison = compare(half, after)
    seen = comparison.learning["seen"]
    assert (seen.num_known, seen.num_unknown) == (40, 80)
    assert (seen.kept, seen.learned) == (0.5, 1.0)
    assert seen.kept_interval is not None
    assert _holds(seen.kept_interval, 0.5)
    assert comparison.learning["unseen"].kept is None
    assert len(comparison.validity.known_before) == 40
    assert comparison.tiers["seen"].churn == pytest.approx(100 / 120)


def test_what_the_base_knew_of_controls_was_not_taught() -> None:
    knew = make_run(make_items(lambda tier, _: float(tier == "control")))
    assert compare(knew, ORACLE).tiers["control"].before == 1
    assert compare(knew, ORACLE).validity.known_before == ()


def test_forgetting_in_three_units() -> None:
    def forgets(tier: str, number: int) -> float:
        return float(tier == "general" and (number % 2 == 0) != (number % 20 == 0 or number % 40 == 1))

    after = make_run(make_items(forgets, bits=1.25, divergence=0.3), weights="1" * 64, base_sha256="0" * 64)
    found = compare(BASE, after).forgetting
    assert (found.num_lost, found.num_gained) == (20, 10)
    assert found.p_value == pytest.approx(0.0987, abs=1e-4)  # binomial, two-sided: 10 of 30
    assert found.bits_per_byte is not None
    assert found.bits_per_byte.difference == pytest.approx(0.25)
    assert found.divergence == pytest.approx(0.3)
    assert compare(BASE, ORACLE).forgetting.divergence is None


def test_a_collapsed_model_says_one_thing() -> None:
    variety = compare(BASE, make_run(make_items(everything))).variety
    assert (variety["after"].n, variety["after"].distinct) == (220, 2 / 220)
    assert variety["after"].most_frequent == "wrong | <b>"
    assert variety["after"].most_frequent_share == pytest.approx(120 / 220)


def test_knowledge_in_the_prompt_is_the_ceiling() -> None:
    oracle = make_run(make_items(lambda t, n: float(n % 4 != 0)), context="oracle", documents_sha256="9" * 64)
    trained = make_run(make_items(lambda t, n: float(n % 2 == 0 and t != "general")), weights="1" * 64)
    contexts = compare(BASE, trained, contexts={"oracle": oracle}).contexts
    seen = contexts["oracle"]["seen"]
    assert (seen.n, seen.clusters, seen.score) == (120, 30, 0.75)
    assert seen.normalised_gain == pytest.approx(0.5 / 0.75)
    assert _holds(seen.interval, 0.75)
    with pytest.raises(IncomparableError, match="measured other weights than the base"):
        compare(BASE, trained, contexts={"oracle": make_run(oracle.items, weights="2" * 64, context="oracle")})
    with pytest.raises(IncomparableError, match="measured with context 'none'"):
        compare(BASE, trained, contexts={"oracle": BASE})
    graded_otherwise = make_run(oracle.items, context="oracle", tasks={"kapoc_seen": 2})
    with pytest.raises(IncomparableError, match="task versions, kapoc_seen among them"):
        compare(BASE, trained, contexts={"oracle": graded_otherwise})


def test_a_side_run_that_lacks_questions_is_refused() -> None:
    fewer = make_run(make_items(everything)[1:], context="oracle")
    with pytest.raises(
        IncomparableError, match="the oracle run lacks questions of the base run, seen/free/F0/0 among 1"
    ):
        compare(BASE, ORACLE, contexts={"oracle": fewer})
    with pytest.raises(IncomparableError, match="the noise run: the runs asked different items"):
        compare(BASE, ORACLE, noise=make_run(make_items(nothing)[1:], batch_size=16))


def test_another_tokenizer_or_generation_config_is_told() -> None:
    def decoded(run: Run, sha256: str) -> Run:
        return run.model_copy(update={"settings": run.settings.model_copy(update={"decoding_sha256": sha256})})

    told = compare(decoded(BASE, "d" * 64), decoded(ORACLE, "e" * 64)).warnings
    assert told == ("the runs differ in tokenizer or generation config: dddddddddddd and eeeeeeeeeeee",)
    assert compare(decoded(BASE, "d" * 64), ORACLE).warnings == ()  # an older run


def test_a_side_run_that_was_made_otherwise_is_told() -> None:
    oracle = make_run(make_items(everything), context="oracle", batch_size=16)
    again = make_run(make_items(nothing), batch_size=16)
    again = again.model_copy(update={"versions": {"kapoc": "1"}})
    told = compare(BASE, ORACLE, contexts={"oracle": oracle}, noise=again).warnings
    assert told == (
        "the oracle run and the base's differ in batch size: 8 and 16",
        "the noise run and the base's differ in package versions: kapoc 0 and 1",
    )


def test_spillover_is_told_set_by_set_and_a_set_without_controls_is_named() -> None:
    def both(items: tuple[Item, ...]) -> Run:
        second = tuple(
            item.model_copy(update={"knowledge": "doors", "id": f"doors/{item.id}"})
            for item in make_items(nothing)
            if item.tier in {"seen", "paraphrased", "unseen"}
        )
        doors = LAMPS.model_copy(update={"name": "doors"})
        return make_run((*items, *second), knowledge=(LAMPS, doors))

    comparison = compare(both(make_items(nothing)), both(make_items(everything, spilled=60)))
    assert {name: found.after for name, found in comparison.set_spillover.items()} == {"lamps": 0.5}
    assert comparison.scores["lamps/spillover/control"] == comparison.scores["spillover/control"]
    assert any(told.startswith("doors has no questions in the tier control;") for told in comparison.warnings)
    assert "| spillover, control, lamps | 120 | 0.0% | 50.0% |" in markdown.render(comparison, None)


def test_runs_in_different_contexts_are_not_paired() -> None:
    with pytest.raises(IncomparableError, match="differ in context: none and oracle"):
        compare(BASE, make_run(make_items(everything), context="oracle"))


def test_the_noise_floor_is_what_changes_without_training() -> None:
    again = make_run(make_items(lambda t, n: nothing(t, n) if n else 1 - nothing(t, n)), batch_size=4)
    noise = compare(BASE, ORACLE, noise=again).noise
    assert (noise["general"].n, noise["general"].changed) == (400, 1 / 400)
    assert noise["seen"].changed == 1 / 120
    with pytest.raises(IncomparableError, match="measure the base twice"):
        compare(BASE, ORACLE, noise=ORACLE)
    with pytest.raises(IncomparableError, match="measured as the base run was, at batch size 8"):
        compare(BASE, ORACLE, noise=BASE)


def test_seeds_stand_apart() -> None:
    def run_of(wrong: int) -> Run:
        return make_run(make_items(lambda t, n: float(t == "seen" and n >= wrong)), weights="1" * 64)

    runs = [run_of(wrong) for wrong in (0, 12, 24)]
    comparison = compare(BASE, runs[0], other_seeds=runs[1:])
    seeds = comparison.seeds["seen"]
    assert list(seeds.values) == pytest.approx([1.0, 0.9, 0.8])
    assert [seeds.mean, seeds.sd] == pytest.approx([0.9, 0.1])
    assert comparison.tiers["seen"].after == 1


def test_leaks_and_proposals_are_told() -> None:
    leaky = make_run(make_items(nothing), num_leaks=3, num_proposals=7)
    warnings = compare(leaky, leaky).warnings
    assert any("3 leaks" in warning for warning in warnings)
    assert any("7 questions were proposed" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("before", "after", "found", "says"),
    [
        ({"num_leaks": 0}, {"num_leaks": 7}, 7, "7 leaks in the knowledge sets (in the first run 0, in the second 7)"),
        ({"num_leaks": 7}, {}, 7, "7 leaks in the knowledge sets (in the first run 7, in the second not audited)"),
        ({"num_leaks": 7}, {"num_leaks": 7}, 7, "7 leaks in the knowledge sets;"),
        ({"num_leaks": 0}, {}, 0, ""),
        ({}, {}, None, ""),
    ],
)
def test_leaks_of_either_run_count(before: Any, after: Any, found: int | None, says: str) -> None:
    runs = [make_run(make_items(nothing), num_proposals=n, **data) for n, data in ((2, before), (9, after))]
    comparison = compare(*runs)
    assert (comparison.validity.num_leaks, comparison.validity.num_proposals) == (found, 9)
    assert [says in told for told in comparison.warnings if " leaks " in told] == [True] * bool(says)
    assert any(told.endswith("read them yet (in the first run 2, in the second 9)") for told in comparison.warnings)


def test_runs_in_the_wrong_order_are_told() -> None:
    trained = _trained(0.1, BASE.model.weights_sha256, "1")
    assert any("are the two swapped?" in warning for warning in compare(trained, BASE).warnings)
    assert not any("swapped" in warning for warning in compare(BASE, trained).warnings)


def test_another_number_format_is_told() -> None:
    half = ORACLE.model_copy(update={"model": ORACLE.model.model_copy(update={"dtype": "bfloat16"})})
    assert compare(BASE, half).warnings == ("the runs differ in dtype: float32 and bfloat16",)


def test_only_the_packages_that_differ_are_told() -> None:
    first, second = ({"kapoc": "1", "torch": "2.13.0", **more} for more in ({"peft": "1"}, {"kapoc": "2"}))
    runs = [make_run(make_items(nothing)).model_copy(update={"versions": versions}) for versions in (first, second)]
    assert "the runs differ in package versions: kapoc 1 and 2, peft 1 and none" in compare(*runs).warnings


def test_a_quantity_that_could_not_have_been_shown_is_told() -> None:
    detectable = compare(BASE, BASE).tiers
    general, seen = detectable["general"].detectable, detectable["seen"].detectable
    assert general is not None
    assert seen is not None
    assert 0 < general < seen < 0.2


def test_what_could_have_been_shown_goes_by_the_weights_of_the_items() -> None:
    """Of four items that count ten times and 36 that count once: 76² / (4 * 10² + 36) items."""
    clusters = tuple(map(str, range(40)))
    same = PairedScores(before=(0.0,) * 40, after=(0.0,) * 40, clusters=clusters, weights=(10.0,) * 4 + (1.0,) * 36)
    assert result_of(same).detectable == pytest.approx(detectable_difference(76**2 / 436, 0.0))


@pytest.mark.parametrize("value", [1.0, 1.1])
def test_nats_that_happen_to_be_whole_are_no_shares(value: float) -> None:
    same = PairedScores(before=(value,) * 3, after=(value,) * 3, clusters=("a", "b", "c"), is_share=False)
    assert result_of(same).detectable == 0
    changed = PairedScores(before=(0.0, 0.0), after=(0.0, 1.0), clusters=("a", "a"), is_share=False)
    assert result_of(changed).detectable is None


def _trained(divergence: float | None, base: str, weights: str) -> Run:
    return make_run(make_items(everything, divergence=divergence), weights=weights * 64, base_sha256=base)


def test_divergences_are_compared_only_to_one_base() -> None:
    near, far = _trained(0.1, "0" * 64, "1"), _trained(0.3, "0" * 64, "2")
    again = compare(near, far)
    assert again.forgetting.divergence == pytest.approx(0.3)
    assert again.forgetting.divergence_before == pytest.approx(0.1)
    assert not [warning for warning in again.warnings if "divergence" in warning]
    for before, after in ((_trained(None, "", "1"), far), (_trained(0.1, "9" * 64, "1"), far), (near, BASE)):
        assert "divergence" not in compare(before, after).scores


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (("9" * 64, "1"), ("0" * 64, "2"), ["the divergences of the two runs are to different bases and are left out"]),
        (("", "1"), ("0" * 64, "2"), ["only one of the runs was measured with --base: the divergence is left out"]),
        (("0" * 64, "1"), ("", "2"), ["only one of the runs was measured with --base: the divergence is left out"]),
        (("", "0"), ("0" * 64, "2"), []),  # the base itself
        (("0" * 64, "1"), ("", "0"), []),
        (("", "1"), ("", "2"), []),
        (("0" * 64, "1"), ("0" * 64, "2"), []),
    ],
)
def test_why_a_divergence_is_left_out_is_told(before: tuple[str, str], after: tuple[str, str], says: list[str]) -> None:
    runs = [_trained(0.1 if base else None, base, weights) for base, weights in (before, after)]
    assert [warning for warning in compare(*runs).warnings if "divergence" in warning] == says


def test_the_divergence_of_an_unmoved_model_is_exactly_nothing() -> None:
    found = compare(BASE, _trained(0.0, "0" * 64, "1")).forgetting
    assert (found.divergence, found.divergence_interval) == (0, (0, 0))


@pytest.mark.parametrize(("first", "second"), [(None, True), (True, None)])
def test_whether_answers_end_is_told_only_where_both_runs_know(first: bool | None, second: bool | None) -> None:
    before = make_run(make_items(nothing, ended=first))
    after = make_run(make_items(everything, ended=second), weights="1" * 64)
    assert compare(before, after).ended is None


@pytest.mark.parametrize("blind", [0, 1])
def test_log_probabilities_are_told_only_where_both_runs_have_them(blind: int) -> None:
    runs = [BASE, ORACLE]
    bare = [item.model_copy(update={"gold_logprob": None}) for item in runs[blind].items]
    runs[blind] = runs[blind].model_copy(update={"items": tuple(bare)})
    assert "gold/general/last_word" in compare(BASE, ORACLE).scores
    assert not [name for name in compare(*runs).scores if name.startswith("gold/")]


def test_seeds_of_which_only_some_have_a_divergence() -> None:
    comparison = compare(BASE, _trained(0.1, "0" * 64, "1"), other_seeds=[_trained(None, "", "2")])
    assert "divergence" not in comparison.seeds
    assert comparison.seeds["seen"].sd == 0
    assert any("their divergence is left out" in warning for warning in comparison.warnings)


def test_a_missing_tier_is_told() -> None:
    runs = [make_run(tuple(item for item in run.items if item.tier != "control")) for run in (BASE, ORACLE)]
    assert any("nothing was asked in the tier control" in warning for warning in compare(*runs).warnings)


def test_the_log_probability_of_right_answers_is_told_for_each_general_ability() -> None:
    moved = {"grammar": 0.5, "last_word": -0.25}
    general = [item for item in BASE.items if item.tier == "general" and item.form == "choice"]
    kinds = [*moved] * len(general)
    earlier = tuple(
        item.model_copy(update={"gold_logprob": -1.0, "kind": kind}) for item, kind in zip(general, kinds, strict=False)
    )
    later = tuple(item.model_copy(update={"gold_logprob": -1.0 + moved[item.kind]}) for item in earlier)
    scores = compare(make_run(earlier), make_run(later)).scores
    found = {name: result_of(scores[name]).difference for name in scores if name.startswith("gold/general/")}
    assert found == pytest.approx({f"gold/general/{kind}": change for kind, change in moved.items()})


def test_an_interval_without_bounds_is_still_json() -> None:
    one = make_run(tuple(item for item in BASE.items if item.tier != "general"))
    items = tuple(i.model_copy(update={"gold_logprob": -1.0 - n, "cluster": "F1"}) for n, i in enumerate(one.items))
    later = tuple(i.model_copy(update={"gold_logprob": -2.0 * n}) for n, i in enumerate(items))
    comparison = compare(make_run(items), make_run(later))
    assert result_of(comparison.scores["gold/seen"]).interval == (None, None)
    assert "Infinity" not in to_json(comparison)
