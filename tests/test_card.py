"""The model card: what the Hub reads of it is what was measured."""

from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from pages import plain_training, training_record
from results import LAMPS, everything, make_items, make_run, nothing

from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import RELEASE_GATE
from kapoc.record import Run, load_run, save_run
from kapoc.report.card import render_card
from kapoc.report.limits import limits
from kapoc.training.checkpoint import read_training_record
from kapoc.training_record import TrainingRecord
from kapoc.workflow.card_file import put_into_card, write_card

REFERENCE = REPOSITORY / "reports" / "reference"
COMPARISON = compare(load_run(REFERENCE / "base"), load_run(REFERENCE / "plain"))
VERDICT = judge(COMPARISON, RELEASE_GATE)
SHA256 = COMPARISON.data.knowledge[0].sha256
TRAINING = plain_training(SHA256)


def read(path: Path) -> ModelCard:
    card: ModelCard = ModelCard.load(path)
    return card


def results_of(card: ModelCard) -> list[EvalResult]:
    assert isinstance(card.data, ModelCardData)
    return card.data.eval_results or []


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    """Read back by the Hub's own reader, which refuses metadata that it cannot parse."""
    path = tmp_path / "README.md"
    text = render_card(TRAINING, COMPARISON, VERDICT, "HuggingFaceTB/SmolLM2-135M-Instruct")
    path.write_text(text, encoding="utf-8")
    return read(path)


def test_the_hub_reads_every_headline_score(card: ModelCard) -> None:
    found = {(r.dataset_type, r.dataset_split, r.metric_type): r for r in results_of(card)}
    expected = {
        **{
            ("software-defects", tier, "accuracy"): COMPARISON.tiers[tier].after
            for tier in ("seen", "paraphrased", "unseen", "control")
        },
        ("software-defects", "control", "spillover"): COMPARISON.spillover["control"].after,
        ("software-defects", "off-topic", "spillover"): COMPARISON.spillover["off_topic"].after,
        ("kapoc-general", "general", "accuracy"): COMPARISON.tiers["general"].after,
        ("kapoc-general", "text", "bits_per_byte"): 1.3630,
        ("kapoc-general", "text", "kl_divergence"): 0.7429,
    }
    assert {key: result.metric_value for key, result in found.items()} == pytest.approx(expected, abs=1e-4)
    unseen = found["software-defects", "unseen", "accuracy"]
    assert (unseen.dataset_name, unseen.dataset_revision) == ("software-defects 1.1.0", SHA256)
    assert unseen.metric_args == {
        "n": 203, "clusters": 29, "before": 0.0985, "difference": 0.2512, "difference_interval": [0.1645, 0.3357],
    }  # fmt: skip


def test_the_metadata_has_what_the_hub_requires(card: ModelCard) -> None:
    """The keys that hub-docs' modelcard.md marks as required in a `model-index`, and none without a value."""
    metadata = yaml.safe_load(card.content.split("---\n")[1])
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "text-generation"
    assert metadata["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert metadata["tags"] == ["kapoc", "full", "software-defects"]
    [model] = metadata["model-index"]
    assert model["name"] == "plain"
    for result in model["results"]:
        assert result["task"]["type"] == "text-generation"
        assert result["dataset"]["type"]
        assert result["dataset"]["name"]
        for metric in result["metrics"]:
            assert metric["type"]
            assert 0 <= metric["value"] < 2
    assert model_index_to_eval_results(metadata["model-index"])[1] == results_of(card)


def test_the_text_has_dataset_recipe_and_verdict(card: ModelCard) -> None:
    assert f"| software-defects | 1.1.0 | {SHA256} |" in card.text
    assert "| epochs | 6 |" in card.text
    assert "| computed in | bfloat16 |" in card.text
    assert "| seen | 145 | 29 | 0.0% | 100.0% |" in card.text
    assert "Verdict of the gate: **FAIL:" in card.text
    assert "Not measured yet" not in card.text


def test_before_it_is_measured_a_card_has_no_results(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(render_card(TRAINING, None, None), encoding="utf-8")
    card = read(tmp_path / "README.md")
    assert results_of(card) == []
    assert "model-index" not in card.content
    assert "base_model" not in card.content
    assert "Not measured yet: `kapoc bench --model trained`." in card.text
    assert "Limits" not in card.text


def test_what_a_recipe_says_of_itself_is_text_and_not_markup() -> None:
    said = TRAINING["recipe"] | {"description": "As *short* as <img src=x> can"}
    text = render_card(TRAINING | {"recipe": said}, None, None)
    assert r"As \*short\* as &lt;img src=x> can, trained with kapoc" in text


def test_the_limits_are_those_that_were_measured() -> None:
    found = list(limits(COMPARISON, VERDICT))
    assert "Of 116 paraphrased questions it answers 1 wrong; most in meaning (1 of 58)." in found
    assert not any("seen questions it answers 0 wrong" in limit for limit in found)
    assert any(limit.startswith("Of 203 unseen questions it answers 132 wrong; most in ") for limit in found)
    assert any("it gives a taught answer in 49 of 52 answers (+94.2 points" in limit for limit in found)
    assert "Plain prose costs 1.3630 bits per byte, 1.2115 before training." in found
    assert any('"text kept"' in limit and limit.endswith("is not met.") for limit in found)


def test_all_kinds_that_went_as_badly_as_the_worst_are_named() -> None:
    def unseen(run: Run, right: set[str]) -> Run:
        kinds = ("reverse", "two_hop", "yes_no")
        named = [(item, kinds[number % 3]) for number, item in enumerate(run.items) if item.tier == "unseen"]
        items = [item.model_copy(update={"kind": kind, "score": float(kind in right)}) for item, kind in named]
        return run.model_copy(update={"items": tuple(items), "num_items": len(items)})

    def told(right: set[str]) -> list[str]:
        compared = compare(unseen(BEFORE, set()), unseen(AFTER, right))
        return [limit for limit in limits(compared, None) if "questions it answers" in limit]

    both = "Of 120 unseen questions it answers 80 wrong; most in reverse (40 of 40) and two hop (40 of 40)."
    assert told({"yes_no"}) == [both]
    assert told(set()) == ["Of 120 unseen questions it answers 120 wrong."]


def test_the_notes_of_the_gate_are_limits() -> None:
    warned = VERDICT.model_copy(update={"warnings": (*COMPARISON.warnings, "a note of the gate")})
    assert list(limits(COMPARISON, warned))[: len(warned.warnings)] == list(warned.warnings)


def test_words_to_copy_that_got_rarer_are_a_limit() -> None:
    rarer = compare(make_run(make_items(nothing)), make_run(make_items(everything, last_word=-2.25)))
    words = "The words that go on with the 100 passages of last_word have a log-probability of -1.952 nats, -1.702 "
    assert any(limit.startswith(words) for limit in limits(rarer, None))


def test_what_is_perfect_has_no_limit() -> None:
    perfect = compare(make_run(make_items(nothing)), make_run(make_items(everything), weights="1" * 64))
    assert [limit for limit in limits(perfect, None) if limit not in perfect.warnings] == []
    moved = perfect.model_copy(update={"training": training_record(alphas=())})
    [told] = [limit for limit in limits(moved, None) if limit not in perfect.warnings]
    assert told == (
        "It does not keep to the forgetting budget of its recipe: 0.200 nats per token from its base, where 0.05 are "
        "allowed."
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as training leaves it, all but the weights, and the run of its base beside it."""
    epoch = {"epoch": 1, "train_loss": 1.0, "dev_loss": None, "dev_exact": None}
    rates = {"tokens_per_second": 1.0, "answer_tokens_per_second": 1.0, "peak_memory_bytes": 1}
    record = TrainingRecord.model_validate(
        {**TRAINING, **rates, "fingerprint": "f", "epochs": [epoch], "knowledge": (LAMPS,)}
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "training.json").write_text(record.model_dump_json(), encoding="utf-8")
    write_card(folder, record)
    save_run(BEFORE, tmp_path / "base")
    return folder


BEFORE = make_run(make_items(nothing))
AFTER = make_run(make_items(everything), weights="1" * 64)
OTHER_SET = LAMPS.model_copy(update={"name": "others"})


def test_a_measurement_of_a_trained_folder_comes_into_its_card(model: Path, tmp_path: Path) -> None:
    assert results_of(read(model / "README.md")) == []
    assert put_into_card(model, AFTER, tmp_path / "base")
    card = read(model / "README.md")
    [seen] = [r for r in results_of(card) if r.dataset_split == "seen"]
    assert (seen.dataset_type, seen.metric_value) == ("lamps", 1.0)
    assert yaml.safe_load(card.content.split("---\n")[1])["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_another_tools_training_record_is_left_alone(model: Path, tmp_path: Path) -> None:
    (model / "training.json").write_text('{"lr": 1}', encoding="utf-8")
    assert not put_into_card(model, AFTER, tmp_path / "base")


def test_a_measurement_without_the_base_takes_no_divergence_out_of_the_card(model: Path, tmp_path: Path) -> None:
    moved = make_items(everything, divergence=0.2)
    with_base = make_run(moved, weights="1" * 64, base_sha256=BEFORE.model.weights_sha256)
    assert put_into_card(model, with_base, tmp_path / "base")
    told = (model / "README.md").read_bytes()
    assert b"kl_divergence" in told
    assert not put_into_card(model, AFTER, tmp_path / "base")
    assert (model / "README.md").read_bytes() == told


@pytest.mark.parametrize(("known", "expected"), [("", None), ("org/base-model", "org/base-model"), (None, "org/base")])
def test_a_base_in_a_folder_is_none_of_the_hub_wherever_the_card_is_written(
    model: Path, known: str | None, expected: str | None
) -> None:
    record = read_training_record(model)
    assert record is not None
    write_card(model, record.model_copy(update={"base": "org/base", "base_hub_id": known}))
    assert yaml.safe_load(read(model / "README.md").content.split("---\n")[1]).get("base_model") == expected


@pytest.mark.parametrize(
    ("run", "base"),
    [
        (make_run(make_items(everything), weights="2" * 64), "base"),  # other weights than were trained
        (make_run(make_items(everything), weights="1" * 64, limit=3), "base"),
        (make_run(make_items(everything), weights="1" * 64, documents_sha256="d" * 64), "base"),  # other items
        (make_run(make_items(everything), weights="1" * 64, knowledge=(OTHER_SET,)), "base"),  # never taught
        (AFTER, "damaged"),
        (AFTER, "nowhere"),
        (AFTER, "other"),
    ],
)
def test_what_does_not_belong_to_the_model_stays_out_of_its_card(
    model: Path, tmp_path: Path, run: Run, base: str
) -> None:
    save_run(make_run(make_items(nothing), weights="3" * 64), tmp_path / "other")
    save_run(BEFORE, tmp_path / "damaged")
    (tmp_path / "damaged" / "items.jsonl").write_text("{", encoding="utf-8")
    before = (model / "README.md").read_bytes()
    assert not put_into_card(model, run, tmp_path / base)
    assert (model / "README.md").read_bytes() == before
