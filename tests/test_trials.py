"""Trials summed up: which recipes no other beats, and the page and the plot that say so."""

from pathlib import Path

import pytest
from results import make_items, make_run, nothing

from kapoc.judging.compare import compare
from kapoc.judging.pareto import Point, pareto_front, scores_of
from kapoc.judging.trials import SweepResults, TrialFailure, TrialResult, summarise
from kapoc.report.plot import front_line, pareto_plot
from kapoc.report.sweep import render_sweep
from kapoc.workflow.sweep_run import write_results


def test_pareto_front_of_known_points() -> None:
    best, cheap, worse, same = Point(0.9, 0.5, 100), Point(0.5, 0.5, 10), Point(0.8, 0.5, 100), Point(0.9, 0.5, 100)
    gentle = Point(0.2, 0.01, 200)
    assert pareto_front([best, cheap, worse, same, gentle]) == [True, True, False, True, True]
    assert pareto_front([Point(0.9, 0.1, 5), best, cheap]) == [True, False, False]
    assert pareto_front([]) == []
    assert front_line([best, cheap, worse, gentle]) == [(0.01, 0.2), (0.5, 0.9)]


def trial(recipe: str, seed: int, recall: float, kl: float | None, seconds: float) -> TrialResult:
    scores = {"recall": recall, "unseen": recall, "unseen/reverse": recall, "bits_per_byte_difference": 0.1}
    if kl is not None:
        scores["divergence"] = kl
    return TrialResult(
        name=f"{recipe}-seed-{seed}", recipe=recipe, model="m", seed=seed, seconds=seconds, scores=scores, settings={}
    )


def made_up() -> SweepResults:
    trials = [
        trial("plain", 0, 0.5, 0.7, 100), trial("plain", 1, 0.7, 0.9, 120),
        trial("kl", 0, 0.55, 0.2, 100), trial("slow", 0, 0.5, 0.3, 300),
    ]  # fmt: skip
    return summarise("first", "lamps", trials, [TrialFailure(name="x-seed-0", recipe="x", error="no | memory")])


def test_recipes_are_means_over_their_seeds() -> None:
    plain, kl, slow = made_up().recipes
    assert plain.scores["recall"].mean == pytest.approx(0.6)
    assert plain.scores["recall"].sd == pytest.approx(0.02**0.5)
    assert (plain.seeds, kl.scores["recall"].sd) == ((0, 1), None)
    assert [row.is_optimal for row in (plain, kl, slow)] == [True, True, False]
    assert made_up().forgetting == "divergence"
    assert summarise("s", "k", [trial("a", 0, 0.5, None, 1)]).forgetting == "bits_per_byte_difference"


def test_what_only_some_trials_have_stands_for_no_recipe() -> None:
    found = summarise("s", "k", [trial("a", 0, 0.5, 0.7, 1), trial("a", 1, 0.5, None, 1), trial("b", 0, 0.5, 0.1, 1)])
    assert found.forgetting == "bits_per_byte_difference"
    assert ["divergence" in recipe.scores for recipe in found.recipes] == [False, True]
    assert [recipe.is_optimal for recipe in found.recipes] == [True, True]


def test_a_recipe_of_which_a_seed_is_still_to_come_is_not_called_best() -> None:
    trials = [trial("whole", 0, 0.5, 0.5, 100), trial("lucky", 0, 0.7, 0.2, 90)]
    found = summarise("s", "k", trials, planned={"whole": 1, "lucky": 2})
    assert [(row.recipe, row.is_optimal) for row in found.recipes] == [("whole", True), ("lucky", False)]
    found = summarise("s", "k", [*trials, trial("lucky", 1, 0.7, 0.2, 90)], planned={"whole": 1, "lucky": 2})
    assert [(row.recipe, row.is_optimal) for row in found.recipes] == [("whole", False), ("lucky", True)]


def test_a_trial_is_summed_up_from_its_comparison() -> None:
    base = make_run(make_items(nothing))
    items = make_items(lambda tier, n: float(tier in {"seen", "paraphrased"}), 1.1, 60, divergence=0.25)
    scores = scores_of(compare(base, make_run(items, weights="1" * 64, base_sha256="0" * 64)))
    assert (scores["seen"], scores["paraphrased"], scores["unseen"], scores["recall"]) == (1.0, 1.0, 0.0, 0.5)
    assert scores["unseen/meaning"] == 0.0
    assert (scores["spillover/control"], scores["spillover/off_topic"]) == (0.5, 0.0)
    assert scores["general_difference"] == -0.5
    assert scores["bits_per_byte_difference"] == pytest.approx(0.1)
    assert scores["divergence"] == 0.25


def test_the_page_and_the_plot_say_what_was_found(tmp_path: Path) -> None:
    page = render_sweep(made_up())
    assert "| * | plain | 2 | 60.0% ± 14.1 | 60.0% ± 14.1 | +0.1000 ± 0.0000 | 0.8000 ± 0.1414 | 110 ± 14 |" in page
    assert "| * | kl | 1 | 55.0% |" in page
    assert "|  | slow | 1 |" in page
    assert "| x-seed-0 | no \\| memory |" in page
    assert "evidence" not in page
    plot = pareto_plot(made_up())
    assert plot == pareto_plot(made_up())
    for part in (">plain<", ">kl<", ">slow<", "KL(base || trained)", "recall"):
        assert part in plot
    assert r">$\frac<" in pareto_plot(summarise("s", "k", [trial(r"$\frac", 0, 0.5, 0.7, 100)]))
    write_results(made_up(), tmp_path / "a" / "b")
    written = SweepResults.model_validate_json((tmp_path / "a" / "b" / "sweep.json").read_text(encoding="utf-8"))
    assert written == made_up()


def test_nothing_finished_is_a_page_and_a_plot_as_well() -> None:
    failed = summarise("first", "lamps", [], [TrialFailure(name="x-seed-0", recipe="x", error="broken")], 2)
    assert "| x-seed-0 | broken |" in render_sweep(failed)
    assert pareto_plot(failed).endswith("</svg>\n")
