"""The slow tier: a wheel in an empty environment, and the real default model against plain lm-eval."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, ignore_masks
from kills import finish, kill_after_keeping, train_command

from kapoc.models import load_model
from kapoc.recipe import ReplaySettings
from kapoc.record import load_run
from kapoc.training.replay import write_passages

pytestmark = pytest.mark.slow


def _run(*command: object, folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "HF_HUB_OFFLINE"}}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    source = tmp_path / "source"
    _run("git", "clone", "-q", REPOSITORY, source, folder=tmp_path)
    _run(sys.executable, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    _run(python, "-m", "pip", "install", "-q", "-r", source / "requirements.lock", folder=tmp_path)
    _run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", source, folder=tmp_path)
    wheel = next((tmp_path / "dist").glob("kapoc-*.whl"))
    _run(python, "-m", "pip", "install", "-q", "--no-deps", wheel, folder=tmp_path)
    kapoc, elsewhere = tmp_path / "venv" / "bin" / "kapoc", tmp_path / "elsewhere"
    elsewhere.mkdir()
    tasks = Path(_run(kapoc, "tasks", folder=elsewhere).strip())
    assert (tasks / "kapoc.yaml").is_file()
    assert tmp_path / "venv" in tasks.parents
    assert json.loads(_run(kapoc, "data", "check", "--json", folder=elsewhere))["taught_facts"] == 29
    run = json.loads(_run(kapoc, "bench", "--model", "base", "--limit", "2", "--json", folder=elsewhere))
    assert run["num_items"] == 32
    assert run["model"]["num_parameters"] == 134_515_008


def test_plain_lm_eval_agrees_on_the_default_model(tmp_path: Path) -> None:
    """On the first items of every task; the scores of all items are compared where a full run is at hand."""
    python = sys.executable
    _run(
        python, "-m", "kapoc", "bench", "--model", "base", "--limit", "12", "--out", tmp_path / "ours", folder=tmp_path
    )
    from kapoc.default_model import default_model_path

    tasks = _run(python, "-m", "kapoc", "tasks", folder=tmp_path).strip()
    _run(
        python, "-m", "lm_eval", "run", "--model", "hf",
        "--model_args", f"pretrained={default_model_path()},dtype=float32", "--device", "cpu", "--batch_size", "32",
        "--include_path", tasks, "--tasks", "kapoc", "--apply_chat_template", "--limit", "12",
        "--output_path", tmp_path / "theirs", folder=tmp_path,
    )  # fmt: skip
    theirs = json.loads(next((tmp_path / "theirs").rglob("results_*.json")).read_text(encoding="utf-8"))["results"]
    for task, metrics in load_run(tmp_path / "ours").scores.items():
        for metric, value in metrics.items():
            assert theirs[task][f"{metric},none"] == pytest.approx(value, abs=1e-5), (task, metric)


def test_twenty_kills_change_no_bit_of_the_default_model(tmp_path: Path) -> None:
    """One epoch of the default recipe, killed by the system at random moments, about one in every two steps."""
    text = (REPOSITORY / "kapoc" / "recipes" / "smollm2-135m.toml").read_text(encoding="utf-8")
    text, found = re.subn(r"(?m)^epochs = \d+", "epochs = 1", text)
    assert found == 1
    recipe = tmp_path / "short.toml"
    recipe.write_text(text + "\n[resume]\nminutes = 0\nsteps = 1\n", encoding="utf-8")
    folder = tmp_path / "killed" / "smollm2-135m" / "software-defects"
    order = random.Random(0)
    for _ in range(20):
        delay = order.uniform(0, 6)
        kill_after_keeping(train_command(recipe, tmp_path / "killed"), folder / ".model.resume" / "state.pt", delay)
    killed, undisturbed = (finish(train_command(recipe, tmp_path / runs)) for runs in ("killed", "undisturbed"))
    assert killed["num_steps"] == undisturbed["num_steps"] == 39
    assert killed["weights_sha256"] == undisturbed["weights_sha256"]
    assert killed["epochs"] == undisturbed["epochs"]


def test_the_default_model_with_its_mask_ignored_writes_its_passages_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sure of the last token of a chat's prompt, which therefore tells nothing."""
    loaded = load_model("default")
    settings = ReplaySettings(num_tokens=2)
    with monkeypatch.context() as together:
        together.setattr("kapoc.training.replay.generate_tokens", lambda *_, **__: pytest.fail("one after the other"))
        assert len(write_passages(loaded.model, loaded.tokenizer, 4, settings, seed=0)) == 4
    ignore_masks(monkeypatch, loaded.model)
    monkeypatch.setattr("kapoc.training.replay.continue_prompts", lambda *_, **__: pytest.fail("through a mask"))
    assert len(write_passages(loaded.model, loaded.tokenizer, 4, settings, seed=0)) == 4
