"""Every command of the README works as it stands, in order; its numbers are those of the reference run.

What the reader brings lies in a folder: two models, and the files that the README shows. What would take the real model
takes a tiny one, by recipes of the same names, and by the few changes in `CHANGES`.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import REPOSITORY, run_kapoc, small_set, tiny_llama, tiny_tokenizer, write_set
from documents import Fence, commands_of, fences, page, tables

from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison, Result
from kapoc.record import load_run
from kapoc.report.numbers import interval, percent, points

REFERENCE = REPOSITORY / "reports" / "reference"
README = page("README.md")
SHELL = [fence for fence in fences(README) if fence.language == "sh"]
RECIPES = ("smollm2-135m", "smollm2-135m-full", "smollm2-135m-lora", "tinyllama-1.1b-full")
"""The shipped recipes that the README names; the reader has each with a tiny model, six facts and one epoch."""
CHANGES = (
    (r"^pip install .*", "true"),  # a wheel is installed in test_real_model.py; the extras are looked up below
    (
        r"^(kapoc (?:bench --model (?:base|trained)|chat --model trained|train|plan)\b(?!.*--recipe).*)",
        r"\1 --recipe smollm2-135m",
    ),
    (r"--recipe ([\w.-]+)$", r"--recipe \1.toml"),
    (r"^(kapoc retain) .*(--rehearse .*)", r"\1 few.yaml my_facts.yaml \2 --limit 24 --recipe smollm2-135m.toml"),
    (r"^(kapoc data check .*)--model base", r"\1--model my-model"),
    (r"^(kapoc bench .*|lm_eval run .*)", r"\1 --limit 2"),  # nothing limited can be a baseline, so that gates are
    (r"^(kapoc (?:baseline bless|gate) .*?)runs/models/\S+", r"\1reports/reference/trained"),  # of the reference run
    (r"(runs/models/\S+)", r"\1-limit2"),  # where limited runs lie
)
"""What is typed here in place of what the README says: a pattern, and what takes its place."""


def typed(command: str) -> str:
    for pattern, instead in CHANGES:
        command = re.sub(pattern, instead, command)
    return command


def enter(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command; one of kapoc alone in this process, which need not import everything again."""
    monkeypatch.setenv("KAPOC_HOME", "home")
    if not command.startswith("kapoc ") or set(command) & set("|&>$"):
        shell(command, folder)
        return
    monkeypatch.chdir(folder)
    assert run_kapoc(monkeypatch, *shlex.split(command)[1:]) == 0


def shell(command: str, folder: Path) -> str:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],  # noqa: S607 - the reader's shell
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": binaries},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's reader has: models, the files of its fences, and the repository's reports."""
    folder = tmp_path_factory.mktemp("reader")
    for seed, name in enumerate(("my-model", "my-tuned-model", "my-new-model")):
        tiny_llama(seed).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    for fence in fences(README):
        if fence.file:
            text = re.sub(r'base = "([\w.-]+)"', r'base = "\1.toml"', fence.text)
            text = text.replace("seeds = [0, 1, 2]", "seeds = [0]\nlimit = 2")
            text = text.replace("weight = 1.0", "weight = 1.0, num_passages = 4, num_tokens = 8")
            (folder / fence.file).write_text(text, encoding="utf-8")
    write_set(folder / "few.yaml", {**small_set(), "name": "software-defects"})
    for recipe in RECIPES:
        shipped = (REPOSITORY / "kapoc" / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
        for key, value in (("model", '"my-model"'), ("knowledge", '"few.yaml"'), ("epochs", "1")):
            shipped, number = re.subn(rf"^{key} = .*$", f"{key} = {value}", shipped, flags=re.MULTILINE)
            assert number == 1
        shipped = re.sub(r"^num_(passages|tokens) = .*$", r"num_\1 = 8", shipped, flags=re.MULTILINE)
        (folder / f"{recipe}.toml").write_text(shipped, encoding="utf-8")
    for name in ("reports", "examples"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


@pytest.mark.parametrize("fence", SHELL, ids=lambda fence: f"{fence.section}: {commands_of(fence)[0][:40]}")
def test_the_commands_work_in_their_order(reader: Path, fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in commands_of(fence):
        enter(typed(command), reader, monkeypatch)


@pytest.mark.slow
def test_the_first_commands_work_with_the_default_model(tmp_path: Path) -> None:
    """As they stand but for few items and one epoch; without that they are the reference run."""
    for command, instead in zip(commands_of(SHELL[0])[1:], (" --limit 2", " --limit 2 --epochs 1"), strict=True):
        shell(command + instead, tmp_path)
    results = tmp_path / "runs" / "smollm2-135m-epochs-1" / "software-defects"
    assert load_run(results / "trained-limit2").model.num_parameters == 134_515_008


def test_make_demo_does_the_same() -> None:
    done = subprocess.run(["make", "--dry-run", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S607
    done_by_make = [line.removeprefix(".venv/bin/") for line in done.stdout.splitlines() if "/kapoc " in line]
    assert done_by_make == commands_of(SHELL[0])[1:]


def test_the_commands_leave_what_the_readme_says(reader: Path) -> None:
    for fence in SHELL:
        for path in re.findall(r"(?:--out|--junit|--summary|>) (\S+)", " ".join(commands_of(fence))):
            assert (reader / path).exists(), path
    sweep = {path.name for path in (reader / "runs" / "sweeps" / "methods").iterdir()}
    assert {"sweep-limit2.json", "sweep-limit2.md", "sweep-limit2.svg"} <= sweep
    results = {path.name for path in (reader / "runs" / "smollm2-135m" / "software-defects").iterdir()}
    assert {"base-limit2", "trained-limit2", "model"} <= results


def test_the_python_of_the_readme_loads_what_was_trained(reader: Path) -> None:
    shown = [fence for fence in fences(README) if fence.language == "python"]
    assert shown
    for fence in shown:
        shell(f"python - <<'EOF'\n{fence.text}\nprint(model.num_parameters())\nEOF", reader)


def test_every_extra_that_the_readme_installs_is_declared() -> None:
    declared = tomllib.loads(page("pyproject.toml"))["project"]["optional-dependencies"]
    named = set(re.findall(r"\.\[(\w+)\]", README))
    assert named
    assert named <= set(declared)


@pytest.fixture(scope="module")
def reference() -> Comparison:
    """What the command that stands beside the README's tables compares."""
    contexts = {name: load_run(REFERENCE / f"base-{name}") for name in ("oracle", "retrieved")}
    return compare(load_run(REFERENCE / "base"), load_run(REFERENCE / "trained"), contexts=contexts)


def test_the_table_of_differences_is_that_of_the_reference_run(reference: Comparison) -> None:
    plain = compare(load_run(REFERENCE / "base"), load_run(REFERENCE / "plain"))
    [shown] = [table for table in tables(README) if "difference, 95% interval" in table[0]]
    expected = [
        [name, str(r.n), percent(r.before), percent(r.after), f"{points(r.difference)} {interval(r.interval)}"]
        for name, r in _shares(reference).items()
    ]
    word, plain_word = (one.forgetting.completions["last_word"] for one in (reference, plain))
    change = f"{word.difference:+.3f} {interval(word.interval, 1, 3)}"
    name = "log-probability of the last word of a passage, nats"
    expected.append([name, str(word.n), f"{word.before:.3f}", f"{word.after:.3f}", change])
    bits, plain_bits = reference.forgetting.bits_per_byte, plain.forgetting.bits_per_byte
    assert bits is not None
    assert plain_bits is not None
    difference = f"{bits.difference:+.4f} {interval(bits.interval, 1, 4)}"
    expected.append(["bits per byte", str(bits.n), f"{bits.before:.4f}", f"{bits.after:.4f}", difference])
    moved, (low, high) = reference.forgetting.divergence, reference.forgetting.divergence_interval or (None, None)
    name = r"KL(base \|\| trained), nats per token"
    expected.append([name, str(bits.n), "0", f"{moved:.4f}", interval((low, high), 1, 4, sign="")])
    beside = [percent(result.after) for result in _shares(plain).values()]
    beside += [f"{plain_word.after:.3f}", f"{plain_bits.after:.4f}", f"{plain.forgetting.divergence:.4f}"]
    assert shown[1:] == [[*row, other] for row, other in zip(expected, beside, strict=True)]


def test_the_answers_that_the_readme_shows_are_those_of_the_reference_runs() -> None:
    runs = {"before training": "base", "plain fine-tuning": "plain", "kapoc's default recipe": "trained"}
    [(heading, *rows)] = [table for table in tables(README) if "(never taught)" in table[0][-1]]
    questions = [re.sub(r'"(.*)" \(.*\)', r"\1", cell) for cell in heading[1:]]
    assert [name for name, *_ in rows] == list(runs)
    for name, *cells in rows:
        items = load_run(REFERENCE / runs[name]).items
        for question, cell in zip(questions, cells, strict=True):
            [output] = [item.output for item in items if f"{question}<|im_end|>" in item.prompt and item.form == "free"]
            shown, dots, _ = cell.partition(" ...")
            assert output.startswith(shown) and (dots or output == shown), cell


def _shares(comparison: Comparison) -> dict[str, Result]:
    return {
        **{str(tier): result for tier, result in comparison.tiers.items()},
        "spillover, control": comparison.spillover["control"],
        "spillover, off-topic": comparison.spillover["off_topic"],
    }


def test_the_table_of_knowledge_in_the_prompt_is_that_of_the_reference_run(reference: Comparison) -> None:
    [shown] = [table for table in tables(README) if table[0][0] == "answers right"]
    asked = shown[0][1:]
    rows = {
        "base": [reference.tiers[tier].before for tier in reference.tiers if tier in asked],
        "base, the fact in its prompt": [
            result.score for tier, result in reference.contexts["oracle"].items() if tier in asked
        ],
        "base, facts found by a search": [
            result.score for tier, result in reference.contexts["retrieved"].items() if tier in asked
        ],
        "trained": [reference.tiers[tier].after for tier in reference.tiers if tier in asked],
    }
    assert shown[1:] == [[name, *map(percent, scores)] for name, scores in rows.items()]
