"""`kapoc chat`: what a model says by hand is what it says when it is measured."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, kapoc_here, run_kapoc, small_set
from pages import plain_training

from kapoc.answers import MAX_NEW_TOKENS
from kapoc.chat import prompt_text
from kapoc.errors import DataError
from kapoc.knowledge.set_file import load_sources
from kapoc.measuring.ask import ask
from kapoc.measuring.bench import measure
from kapoc.measuring.lm_eval_model import SharedPrefixLM
from kapoc.models import load_model
from kapoc.recipe import load_recipe
from kapoc.training_record import TrainingRecord

QUESTIONS = [fact["training"][0]["question"] for fact in small_set()["facts"] if "training" in fact]


def kapoc(*arguments: object, folder: Path, typed: str | bytes = "", code: int = 0) -> Any:
    given = typed.encode() if isinstance(typed, str) else typed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        return kapoc_here("chat", *arguments, folder=folder, code=code)


@pytest.fixture
def folder(tmp_path: Path, tiny_recipe: Path, gpt2_folder: Path) -> Path:
    """A workspace whose trained model is another one than its base, so that one can tell who answers."""
    model = Path(shutil.copytree(gpt2_folder, tmp_path / "runs" / "tiny" / "lamps" / "model"))
    epoch = {"epoch": 1, "train_loss": 1.0, "dev_loss": None, "dev_exact": None}
    rates = {"tokens_per_second": 1.0, "answer_tokens_per_second": 1.0, "peak_memory_bytes": 1}
    [source] = load_sources([str(tmp_path / "lamps.yaml")])
    origin = {"recipe": load_recipe(tiny_recipe).model_dump(mode="json"), "knowledge": (source.identity,)}
    record = TrainingRecord.model_validate(
        {**plain_training("0" * 64), **origin, **rates, "fingerprint": "f", "epochs": [epoch]}
    )
    (model / "training.json").write_text(record.model_dump_json(), encoding="utf-8")
    return tmp_path


def line(text: str) -> str:
    return " ".join(text.split())


def test_the_answers_are_those_of_the_measurement(llama_folder: Path, knowledge_file: Path) -> None:
    loaded = load_model(str(llama_folder))
    run = measure(loaded, knowledge=(str(knowledge_file),), batch_size=4, limit=3)
    measured = [item for item in run.items if item.task == "kapoc_seen"]
    answers = ask(loaded, QUESTIONS[:3])
    assert [answer.text for answer in answers] == [item.output.strip() for item in measured]
    assert [answer.ended for answer in answers] == [item.ended for item in measured]
    config = yaml.safe_load((REPOSITORY / "tasks" / "_free.yaml").read_text().replace("!function", ""))
    assert config["generation_kwargs"]["max_gen_toks"] == MAX_NEW_TOKENS


def test_base_and_trained_answer_one_line_a_question(folder: Path, llama_folder: Path, gpt2_folder: Path) -> None:
    loaded = {"base": load_model(str(llama_folder)), "trained": load_model(str(gpt2_folder))}
    expected = {name: [line(a.text) for a in ask(one, QUESTIONS[:2], max_new_tokens=8)] for name, one in loaded.items()}
    assert expected["base"] != expected["trained"]
    options = ("--recipe", "tiny.toml", "--max-tokens", 8)
    text = kapoc(*options, folder=folder, typed=f"{QUESTIONS[0]}\n\n{QUESTIONS[1]}\n")
    told = [f"{name}\t{expected[name][number]}" for number in (0, 1) for name in ("base", "trained")]
    assert text.splitlines() == told
    alone = kapoc("--model", "trained", *options, folder=folder, typed="\n".join(QUESTIONS[:2]))
    assert alone.splitlines() == expected["trained"]
    asked = kapoc(*options, "--prompt", QUESTIONS[0], "--json", folder=folder)
    assert {name: line(a["text"]) for name, a in asked["questions"][0]["answers"].items()} == {
        name: lines[0] for name, lines in expected.items()
    }
    assert asked["questions"][0]["question"] == QUESTIONS[0]
    assert {name: one["architecture"] for name, one in asked["models"].items()} == {
        "base": "LlamaForCausalLM",
        "trained": "GPT2LMHeadModel",
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "note"),
    [
        ("tiny.toml", "epochs = 2", "epochs = 3", "by other settings; `kapoc train` trains it anew"),
        ("lamps.yaml", "13s", "13 s", "on other facts or gradings; `kapoc bench --model trained` trains it anew where"),
    ],
)
def test_a_checkpoint_of_another_recipe_or_set_answers_with_a_word_of_warning(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    note: str,
) -> None:
    path = folder / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    monkeypatch.chdir(folder)
    options = ("--recipe", "tiny.toml", "--max-tokens", "2", "--prompt", "Why?")
    assert run_kapoc(monkeypatch, "chat", "--model", "trained", *options) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert f"note: runs/tiny/lamps/model was trained {note}" in told.err


def test_a_template_that_prints_the_date_gives_one_prompt_on_every_day(llama_folder: Path) -> None:
    loaded = load_model(str(llama_folder))
    loaded.tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }} " + str(loaded.tokenizer.chat_template)
    prompt = prompt_text(loaded.tokenizer, "Who?")
    assert prompt.startswith("26 Jul 2024 ")
    engine = SharedPrefixLM(loaded, batch_size=2)
    assert engine.apply_chat_template([{"role": "user", "content": "Who?"}]) == prompt


def test_a_model_that_can_think_is_asked_to_answer_at_once(llama_folder: Path) -> None:
    loaded = load_model(str(llama_folder))
    thoughts = "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
    loaded.tokenizer.chat_template = str(loaded.tokenizer.chat_template) + thoughts
    prompt = prompt_text(loaded.tokenizer, "Who?")
    assert prompt.endswith("<think></think>")
    engine = SharedPrefixLM(loaded, batch_size=2)
    assert engine.apply_chat_template([{"role": "user", "content": "Who?"}]) == prompt


def test_sampling_depends_on_the_seed_alone(llama_folder: Path) -> None:
    loaded = load_model(str(llama_folder))
    first, again, other = (ask(loaded, QUESTIONS[:1], temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_a_terminal_is_asked_for_questions_until_it_ends(folder: Path, llama_folder: Path) -> None:
    [answer] = ask(load_model(str(llama_folder)), QUESTIONS[:1], max_new_tokens=4)
    command = [sys.executable, "-m", "kapoc", "chat", "--model", str(llama_folder), "--max-tokens", "4"]
    outside, inside = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.write(outside, f"{QUESTIONS[0]}\n".encode())
    assert process.stdout is not None
    assert process.stdout.readline().decode().removeprefix("> ").strip() == line(answer.text)
    os.write(outside, b"\x04")
    assert process.wait(timeout=60) == 0
    process.communicate()
    os.close(inside)
    os.close(outside)


@pytest.mark.parametrize(
    ("arguments", "typed", "code", "says"),
    [
        (("--recipe", "new.toml"), "", 5, "runs/new/lamps/model: no trained model here; make one with `kapoc train`"),
        (("--model", "base", "--recipe", "tiny.toml", "--prompt", " "), "", 2, "--prompt: is empty; give a question"),
        (("--model", "base", "--recipe", "tiny.toml"), b"\xff\xfe\n", 2, "standard input:1: is not UTF-8 text"),
        (("--model", "nobody"), "", 5, "'nobody': no such model"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_told_in_a_line(
    folder: Path, arguments: tuple[str, ...], typed: str | bytes, code: int, says: str
) -> None:
    text = (folder / "tiny.toml").read_text(encoding="utf-8").replace('"tiny"', '"new"', 1)
    (folder / "new.toml").write_text(text, encoding="utf-8")
    error = kapoc(*arguments, folder=folder, typed=typed, code=code)
    assert len(error.splitlines()) == 1
    assert error.startswith(f"kapoc: {says}")


def test_what_was_answered_before_an_error_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = f"{QUESTIONS[0]}\n{'lamp ' * 1000}\n"
    command = ["chat", "--model", "base", "--recipe", "tiny.toml", "--max-tokens", "4", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8"))
        assert run_kapoc(patch, *command) == 2
    told = capsys.readouterr()
    assert [one["question"] for one in json.loads(told.out)["questions"]] == [QUESTIONS[0]]
    assert "shorten" in told.err


def test_a_question_that_is_too_long_is_refused(llama_folder: Path) -> None:
    with pytest.raises(DataError, match=r"has \d+ tokens; with an answer of 80 the model reads at most 1024; shorten"):
        ask(load_model(str(llama_folder)), ["lamp " * 1000])
