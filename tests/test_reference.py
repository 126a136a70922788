"""The committed reference run is what its report says, and the gate can judge it."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from kapoc.judging.baseline import load_baseline
from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import PULL_REQUEST_GATE, RELEASE_GATE
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring.general import ABILITIES, general_sha256, load_choices
from kapoc.record import Run, load_run
from kapoc.report import markdown
from kapoc.training_record import training_of

REFERENCE = REPOSITORY / "reports" / "reference"


@pytest.fixture(scope="module")
def base() -> Run:
    return load_run(REFERENCE / "base")


@pytest.fixture(scope="module")
def trained() -> Run:
    return load_run(REFERENCE / "trained")


@pytest.fixture(scope="module")
def plain() -> Run:
    return load_run(REFERENCE / "plain")


def test_it_measured_the_data_that_ships(base: Run, trained: Run, plain: Run) -> None:
    for run in (base, trained, plain):
        assert run.is_complete
        assert [known.sha256 for known in run.data.knowledge] == [load_knowledge("software-defects")[1]]
        assert run.data.general_sha256 == general_sha256()
    assert base.model.num_parameters == trained.model.num_parameters == 134_515_008
    assert base.model.weights_sha256 != trained.model.weights_sha256


def test_the_base_knows_nothing_and_plain_fine_tuning_has_taught_it(base: Run, plain: Run) -> None:
    tiers = compare(base, plain).tiers
    assert tiers["seen"].before <= 0.02
    assert tiers["paraphrased"].before <= 0.02
    assert tiers["seen"].after >= 0.98
    assert tiers["paraphrased"].after >= 0.95


def test_the_default_recipe_learns_what_it_is_told_and_does_not_damage_the_model(
    base: Run, trained: Run, plain: Run
) -> None:
    held, free = compare(base, trained), compare(base, plain)
    assert held.tiers["seen"].after >= 0.99
    assert held.tiers["paraphrased"].after >= 0.97
    assert held.tiers["general"].difference > free.tiers["general"].difference
    assert held.spillover["off_topic"].after < 0.1 * free.spillover["off_topic"].after
    assert held.spillover["off_topic"].after <= 0.01
    assert held.spillover["control"].after <= 0.05 < 0.5 < free.spillover["control"].after
    bits, free_bits = held.forgetting.bits_per_byte, free.forgetting.bits_per_byte
    assert bits is not None
    assert free_bits is not None
    assert bits.difference < 0.02 < free_bits.difference


def test_the_verdict_is_to_ship_the_one_and_not_the_other(base: Run, trained: Run, plain: Run) -> None:
    assert judge(compare(base, trained), RELEASE_GATE).outcome == "pass"
    assert judge(compare(base, plain), RELEASE_GATE).outcome == "fail"


def test_every_ability_can_move_in_both_directions(base: Run) -> None:
    for ability in ABILITIES:
        items = [item for item in base.items if item.kind == ability]
        accuracy = sum(item.score for item in items) / len(items)
        chance = 0.0 if ability == "last_word" else 1 / len(load_choices(ability)[0].choices)
        assert chance + 0.15 <= accuracy <= 0.95, ability


def test_the_report_is_the_one_of_the_runs(base: Run, trained: Run) -> None:
    contexts = {name: load_run(REFERENCE / f"base-{name}") for name in ("oracle", "retrieved")}
    training = training_of(REFERENCE / "trained", trained.model.weights_sha256)
    assert training is not None
    noise = load_run(REFERENCE / "base-batch16")
    comparison = compare(base, trained, contexts=contexts, noise=noise, training=training)
    assert {tier: noise.changed for tier, noise in comparison.noise.items()} == dict.fromkeys(comparison.tiers, 0.0)
    assert set(comparison.contexts) == {"oracle", "retrieved"}
    page = (REFERENCE / "report.md").read_text(encoding="utf-8")
    expected = markdown.render(comparison, judge(comparison, RELEASE_GATE))
    assert page == expected
    assert "kapoc bench --model" in page


def test_compare_prints_the_tiers_as_json() -> None:
    command = [
        sys.executable,
        "-m",
        "kapoc",
        "compare",
        "reports/reference/base",
        "reports/reference/trained",
        "--json",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    tiers = json.loads(done.stdout)["tiers"]
    assert set(tiers) == {"seen", "paraphrased", "unseen", "control", "general"}
    for tier in tiers.values():
        assert {"n", "clusters", "before", "after", "difference"} <= set(tier)


def test_the_reference_run_is_the_blessed_one(trained: Run) -> None:
    baseline = load_baseline(REPOSITORY / "reports" / "baseline")
    assert judge(compare(baseline, trained), PULL_REQUEST_GATE).outcome == "pass"
