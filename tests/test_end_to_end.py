"""The whole story on a tiny model, as a user types it; and plain lm-eval gives the same scores."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import complaints, kapoc_here
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from kapoc.record import load_run


def kapoc(*arguments: object, folder: Path, code: int = 0) -> Any:
    """Run a command in a process of its own; its JSON, or its text."""
    command = [sys.executable, "-m", "kapoc", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert complaints(done.stderr) == []
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Path:
    """Base measured, model trained and measured on the shipped knowledge set."""
    folder = tmp_path_factory.mktemp("story")
    (folder / "tiny.toml").write_text(
        f'name = "tiny"\nmodel = "{llama_folder}"\n[bench]\nbatch_size = 128\n'
        "[train]\nepochs = 3\nlearning_rate = 3e-3\n",
        encoding="utf-8",
    )
    base = kapoc_here("bench", "--model", "base", "--recipe", "tiny.toml", folder=folder)
    assert "kapoc_paraphrased_choice" in base
    trained = kapoc("bench", "--model", "trained", "--recipe", "tiny.toml", folder=folder)
    assert "verdict: FAIL" in trained
    assert "report.html" in trained
    return folder


def test_files_are_where_they_belong(story: Path) -> None:
    results = story / "runs" / "tiny" / "software-defects"
    assert {path.name for path in results.iterdir()} == {
        "base",
        "trained",
        "model",
        "report.html",
        "report.md",
        "report.json",
    }
    base, trained = load_run(results / "base"), load_run(results / "trained")
    assert base.num_items == trained.num_items == 1890
    assert base.model.weights_sha256 != trained.model.weights_sha256
    for item in base.items:
        assert item.prompt or item.kind in {"grammar", "text"}
        assert (item.gold_logprob is None) == (item.form == "off_topic"), item.id
    moved = [item.divergence for item in trained.items if item.form == "text"]
    assert len(moved) > 20
    assert min(divergence or 0.0 for divergence in moved) > 1e-4, "measured against itself, not against the base"
    report = (results / "report.md").read_text(encoding="utf-8")
    assert "**Verdict: FAIL: " in report
    assert "| general |" in report
    assert "## Measured" in (results / "model" / "README.md").read_text(encoding="utf-8")
    assert "Not measured yet" not in (results / "model" / "README.md").read_text(encoding="utf-8")


def test_chance_is_chance(story: Path) -> None:
    """A random model finds the right one of four or two options as often as a coin would, and says nothing right."""
    run = load_run(story / "runs" / "tiny" / "software-defects" / "base")
    assert run.scores["kapoc_seen"]["correct"] == 0
    assert run.scores["kapoc_off_topic"]["spillover"] == 0
    four = [item.score for item in run.items if item.form == "choice" and item.tier != "general"]
    assert len(four) > 400
    assert 0.15 < sum(four) / len(four) < 0.35
    assert 0.3 < run.scores["kapoc_general_common_sense"]["acc"] < 0.7


def test_nothing_is_done_twice(story: Path) -> None:
    results = story / "runs" / "tiny" / "software-defects"
    once = [results / "model" / "training.json", results / "base" / "run.json"]
    before = [path.stat().st_mtime_ns for path in once]
    comparison = kapoc_here("bench", "--model", "trained", "--recipe", "tiny.toml", "--json", folder=story)
    assert set(comparison["tiers"]) == {"seen", "paraphrased", "unseen", "control", "general"}
    assert [path.stat().st_mtime_ns for path in once] == before


def test_other_weights_in_a_checkpoint_are_refused_and_its_run_is_kept(story: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(story, tmp_path / "copy"))
    results = folder / "runs" / "tiny" / "software-defects"
    kept = (results / "trained" / "run.json").read_bytes()
    weights = load_file(results / "model" / "model.safetensors")
    weights["model.norm.weight"] *= 2
    save_file(weights, results / "model" / "model.safetensors", {"format": "pt"})
    told = kapoc_here("bench", "--model", "trained", "--recipe", "tiny.toml", folder=folder, code=2)
    assert "runs/tiny/software-defects/model: these are not the weights that were trained; remove the folder" in told
    assert (results / "trained" / "run.json").read_bytes() == kept


def test_compare_gate_and_report_start_from_files(story: Path) -> None:
    base, trained = "runs/tiny/software-defects/base", "runs/tiny/software-defects/trained"
    comparison = kapoc("compare", base, trained, "--json", folder=story)
    for result in comparison["tiers"].values():
        assert {"n", "clusters", "before", "after", "difference"} <= set(result)
        assert result["difference"] == pytest.approx(result["after"] - result["before"], abs=1e-9)
    verdict = kapoc("gate", "--baseline", base, "--run", trained, "--json", folder=story, code=1)
    assert verdict["outcome"] == "fail"
    kapoc("report", base, trained, "--out", "page.md", folder=story)
    page = (story / "page.md").read_text(encoding="utf-8")
    assert f"Knowledge set {comparison['data']['knowledge'][0]['name']} " in page
    assert "## Learning curve" in page
    assert json.loads((story / "page.json").read_text(encoding="utf-8"))["comparison"]["training"]["epochs"]
    assert "Learning curve" in (story / "page.html").read_text(encoding="utf-8")
    assert "kapoc bench --model trained --recipe tiny.toml" in page


def test_training_options_make_their_own_folder(story: Path) -> None:
    record = kapoc_here("train", "--recipe", "tiny.toml", "--epochs", 1, "--seed", 3, "--json", folder=story)
    assert (record["recipe"]["train"]["epochs"], record["recipe"]["train"]["seed"]) == (1, 3)
    folder = story / "runs" / "tiny-epochs-1-seed-3" / "software-defects" / "model"
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() == record["num_trained_parameters"]


def test_limited_runs_lie_apart_and_get_no_verdict(story: Path) -> None:
    text = kapoc_here("bench", "--model", "trained", "--recipe", "tiny.toml", "--limit", 2, folder=story)
    assert "nothing here is evidence" in text
    assert "no verdict: a --limit run cannot pass a gate" in text
    assert not {"PASS", "FAIL", "INCONCLUSIVE"} & set(text.replace(":", " ").split())
    results = story / "runs" / "tiny" / "software-defects"
    assert (results / "base-limit2" / "run.json").is_file()
    assert load_run(results / "base").is_complete


def lm_eval(folder: Path, out: str, *arguments: str) -> Any:
    """The results of plain lm-eval on the tiny trained model, with the flags that the README gives."""
    tasks = kapoc("tasks", folder=folder).strip()
    model = folder / "runs" / "tiny" / "software-defects" / "model"
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
        "--include_path", tasks, "--tasks", "kapoc", "--apply_chat_template", "--batch_size", "128", "--device", "cpu",
        "--output_path", str(folder / out), *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    output = next((folder / out).rglob("results_*.json"))
    return json.loads(output.read_text(encoding="utf-8"))["results"]


def test_plain_lm_eval_runs_a_set_of_the_users_own(story: Path) -> None:
    kapoc("data", "new", "mine.yaml", folder=story)
    theirs = lm_eval(story, "own", "--metadata", json.dumps({"knowledge": str(story / "mine.yaml")}), "--limit", "12")
    run = kapoc_here(
        "bench", "--model", "runs/tiny/software-defects/model", "--knowledge", "mine.yaml", "--limit", 12,
        "--recipe", "tiny.toml", "--json", folder=story,
    )  # fmt: skip
    for task, metrics in run["scores"].items():
        for metric, value in metrics.items():
            assert theirs[task][f"{metric},none"] == pytest.approx(value, abs=1e-6), (task, metric)
    assert run["data"]["knowledge"][0]["name"] == "mine"


def test_plain_lm_eval_gives_the_same_scores(story: Path) -> None:
    theirs = lm_eval(story, "lm_eval")
    ours = load_run(story / "runs" / "tiny" / "software-defects" / "trained").scores
    for task, metrics in ours.items():
        for metric, value in metrics.items():
            assert theirs[task][f"{metric},none"] == pytest.approx(value, abs=1e-6), (task, metric)


def test_an_adapter_folder_is_measured_merged(story: Path, llama_folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    adapter = get_peft_model(AutoModelForCausalLM.from_pretrained(llama_folder), LoraConfig(r=2, task_type="CAUSAL_LM"))
    adapter.save_pretrained(story / "adapter")
    run = kapoc_here("bench", "--model", "adapter", "--recipe", "tiny.toml", "--limit", 1, "--json", folder=story)
    assert run["model"]["source"] == "adapter"
    assert run["num_items"] == 16


def test_a_base_model_without_a_chat_template_works(story: Path, gpt2_folder: Path, tmp_path: Path) -> None:
    import shutil

    plain = Path(shutil.copytree(gpt2_folder, tmp_path / "plain"))
    (plain / "chat_template.jinja").unlink()
    recipe = f'name = "plain"\nmodel = "{plain}"\n[train]\nepochs = 1\n'
    (story / "plain.toml").write_text(recipe, encoding="utf-8")
    asked = ("--recipe", "plain.toml", "--limit", 1, "--json")
    comparison = kapoc_here("bench", "--model", "trained", *asked, folder=story)
    assert comparison["after"]["architecture"] == "GPT2LMHeadModel"


def test_the_ceiling_the_rival_and_the_noise_floor_are_measured_and_compared(story: Path) -> None:
    runs = story / "runs" / "tiny" / "software-defects"
    tiny = ("--recipe", "tiny.toml", "--limit", 2)
    for flags in (("--context", "oracle"), ("--context", "retrieved"), ("--batch-size", 5), ()):
        kapoc_here("bench", "--model", "base", *flags, *tiny, folder=story)
    trained = runs / "again"
    kapoc_here("bench", "--model", runs / "model", "--base", runs / "model", "--out", trained, *tiny, folder=story)
    assert not any(item.tier == "general" for item in load_run(runs / "base-oracle-limit2").items)
    texts = [item for item in load_run(trained).items if item.form == "text"]
    assert [item.divergence for item in texts] == pytest.approx([0.0, 0.0], abs=1e-6)  # to itself
    comparison = kapoc(
        "compare", runs / "base-limit2", trained, "--oracle", runs / "base-oracle-limit2",
        "--retrieved", runs / "base-retrieved-limit2", "--noise", runs / "base-batch5-limit2", "--json", folder=story,
    )  # fmt: skip
    assert set(comparison["contexts"]) == {"oracle", "retrieved"}
    assert comparison["noise"]["seen"]["n"] == 2
    other = runs / "other-seed"
    shutil.copytree(trained, other)
    assert "Between seeds" not in kapoc("compare", runs / "base-limit2", trained, other, folder=story)  # one training
    weights, record = load_run(trained).model.weights_sha256, other / "run.json"
    record.write_text(record.read_text(encoding="utf-8").replace(weights, "1" * 64), encoding="utf-8")
    again = ("compare", runs / "base-limit2", trained, other)
    assert "Between seeds" not in kapoc(*again, folder=story)  # nobody knows how the other was trained
    training = json.loads((runs / "model" / "training.json").read_text(encoding="utf-8"))
    for seed, is_other in ((training["recipe"]["train"]["seed"], False), (77, True)):
        training["recipe"]["train"]["seed"] = seed
        (other / "training.json").write_text(json.dumps({**training, "weights_sha256": "1" * 64}), encoding="utf-8")
        assert ("Between seeds" in kapoc(*again, folder=story)) is is_other


def test_a_plan_tells_what_it_will_cost(story: Path) -> None:
    plan = kapoc_here("plan", "--recipe", "tiny.toml", "--json", folder=story)
    assert plan["cost"]["bench_seconds"] > 0
    assert plan["cost"]["train_seconds"] > 0
    assert plan["cost"]["peak_memory_bytes"] > 2**20
    assert {check["quantity"] for check in plan["checks"]} >= {"seen", "general"}
    assert "a measurement: up to" in kapoc_here("plan", "--recipe", "tiny.toml", folder=story)


def test_help_is_quick_and_names_every_command(story: Path) -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        text = kapoc("--help", folder=story)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0
    for command in (
        "bench", "train", "chat", "compare", "gate", "report", "baseline", "plan", "data", "sweep", "tasks", "doctor",
    ):  # fmt: skip
        assert command in text
    assert "kapoc" in kapoc("doctor", "--json", folder=story)
    assert kapoc("data", "check", "--json", folder=story)["training_examples"] == 145


def test_bfloat16_training_ends_in_a_checked_model(story: Path) -> None:
    text = (story / "tiny.toml").read_text(encoding="utf-8").replace('"tiny"', '"half"', 1)
    (story / "half.toml").write_text(text + 'precision = "bfloat16"\n', encoding="utf-8")
    record = kapoc_here("train", "--recipe", "half.toml", "--epochs", 1, "--json", folder=story)
    assert record["checks"]["reload_max_difference"] == 0.0
    assert record["recipe"]["train"]["precision"] == "bfloat16"
