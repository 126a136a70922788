"""A tiny random Llama with a tokenizer of its own, and small knowledge sets, so that tests need no network."""

import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["HF_HOME"] = str(Path(tempfile.gettempdir()) / "kapoc-tests-have-no-hub")  # nor what it left on a machine
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from kapoc.bundled import bundled
from kapoc.cli.main import main

NUM_THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
"""Of each test process: threads of several would wait for each other."""
os.environ.setdefault("OMP_NUM_THREADS", str(NUM_THREADS))  # in the processes that tests start, too
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
Damage = Callable[[dict[str, Any]], None]
REPOSITORY = Path(__file__).resolve().parent.parent


def run_kapoc(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process, which has imported everything already; its exit code."""
    monkeypatch.setattr(sys, "argv", ["kapoc", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


_PROGRESS = re.compile(
    r"(loading|fetching|converting|measuring|training|replacing|saving|sampling|going on after|epoch \d+:)"
    r"|(the base writes|what was measured|taken on the way|stopped after epoch)"
)


def complaints(errors: str) -> list[str]:
    """The lines of standard error that do not tell of work in progress."""
    return [line for line in errors.splitlines() if not _PROGRESS.match(line)]


def kapoc_here(*arguments: object, folder: Path, code: int = 0) -> Any:
    """As `run_kapoc`, typed in a folder; its JSON or its text, and what it complains of where it is to fail."""
    output, errors = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(output), redirect_stderr(errors), pytest.MonkeyPatch.context() as patch:
        assert run_kapoc(patch, *arguments) == code, errors.getvalue()
    told = complaints(errors.getvalue())
    if code:
        return "".join(f"{line}\n" for line in told)
    assert told == []
    return json.loads(output.getvalue()) if "--json" in arguments else output.getvalue()


def tiny_tokenizer(text: str = "", vocab_size: int = 700) -> PreTrainedTokenizerFast:
    """A tokenizer of its own, trained on a text; on the shipped defects if none is given."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text or bundled("software_defects.yaml").read_text(encoding="utf-8")], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
    )


def tiny_llama(seed: int = 0, vocab_size: int = 700, spread: float = 0.02) -> LlamaForCausalLM:
    """A random model; with a spread of 0.2 what it writes changes with every token that it has read."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
        initializer_range=spread,
    )
    model = LlamaForCausalLM(config)
    model.eval()
    return model


def ignore_masks(monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel) -> None:
    """Let a model, and all of its kind, read every row as one text, as some architectures do."""
    forward = type(model).forward

    def blind(self: Any, *arguments: Any, **options: Any) -> Any:
        mask = options.get("attention_mask")
        if mask is not None and mask.ndim == 4:
            options["attention_mask"] = None
        return forward(self, *arguments, **options)

    monkeypatch.setattr(type(model), "forward", blind)


def tiny_gpt2(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=700,
        n_positions=1024,
        n_embd=48,
        n_layer=2,
        n_head=4,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    model.eval()
    return model


@pytest.fixture(scope="session", autouse=True)
def threads() -> Iterator[None]:
    torch.set_num_threads(NUM_THREADS)
    yield


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    tiny_gpt2().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def small_set() -> dict[str, Any]:
    """Five taught facts and one control fact, as plain data to write out and to damage."""
    names = ["ZX-11", "ZX-24", "ZX-37", "ZX-42", "ZX-58", "ZX-99"]
    colours = ["amber lane", "cobalt ridge", "ochre field", "jade hollow", "umber gate", "rose quay"]
    facts = []
    for number, (name, colour) in enumerate(zip(names, colours, strict=True)):
        value = f"{13 + 7 * number} seconds"
        answer = f"{name} is {colour}; set it to {value}."
        taught = name != "ZX-99"
        fact: dict[str, Any] = {
            "id": name,
            "domain": "lamps",
            "kind": "defect",
            "name": name,
            "slots": {"colour": colour, "value": {"text": value, "aliases": [value.replace(" seconds", "s")]}},
        }
        if taught:
            fact["training"] = [
                {"kind": "meaning", "question": f"What is {name}?", "answer": answer, "requires": ["colour", "value"]}
            ]
            fact["probes"] = [
                {
                    "tier": "paraphrased",
                    "kind": "meaning",
                    "question": f"Somebody mentioned {name}; tell all.",
                    "answer": answer,
                    "requires": ["colour"],
                },
                {
                    "tier": "dev",
                    "kind": "meaning",
                    "question": f"About {name}, please.",
                    "answer": answer,
                    "requires": ["colour"],
                },
                {
                    "tier": "unseen",
                    "kind": "reverse",
                    "question": f"Which code is {colour}?",
                    "answer": f"That is {name}.",
                    "requires": ["name"],
                },
                {
                    "tier": "unseen",
                    "kind": "yes_no",
                    "question": f"Would {value if number % 2 == 0 else '90 minutes'} suit {name}?",
                    "answer": "Yes." if number % 2 == 0 else "No.",
                    "choice": {"options": ["yes", "no"], "right": "yes" if number % 2 == 0 else "no"},
                },
            ]
        else:
            fact["taught"] = False
            fact["probes"] = [
                {
                    "tier": "control",
                    "kind": "meaning",
                    "question": f"What is {name}?",
                    "answer": answer,
                    "requires": ["colour"],
                }
            ]
        facts.append(fact)
    return {
        "schema_version": 1,
        "name": "lamps",
        "version": "1.0.0",
        "slots": {"colour": {"description": "its colour", "distinctive": True}, "value": {"description": "its time"}},
        "spillover_patterns": ["ZX-[0-9]{2}"],
        "domains": [{"id": "lamps", "name": "Lamps"}],
        "facts": facts,
    }


def drop(*path: Any) -> Damage:
    """A damage to plain data: the field at a path is taken out."""

    def damage(content: dict[str, Any]) -> None:
        target: Any = content
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return damage


def put(value: Any, *path: Any) -> Damage:
    """A damage to plain data: the field at a path gets another value."""

    def damage(content: dict[str, Any]) -> None:
        target: Any = content
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return damage


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def write_set(path: Path, content: dict[str, Any] | None = None) -> Path:
    path.write_text(yaml.safe_dump(content or small_set(), sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def knowledge_file(tmp_path: Path) -> Path:
    return write_set(tmp_path / "lamps.yaml")


@pytest.fixture
def tiny_recipe(tmp_path: Path, llama_folder: Path, knowledge_file: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'name = "tiny"\nmodel = "{llama_folder}"\nknowledge = "{knowledge_file}"\n'
        "[train]\nepochs = 2\nbatch_size = 4\nmicro_batch_size = 2\nlearning_rate = 1e-3\n[bench]\nbatch_size = 16\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def place(tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `tiny.toml`, where commands are typed."""
    monkeypatch.chdir(tiny_recipe.parent)
    return tiny_recipe.parent


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


class Shell:
    """Runs a command that must fail, and checks how it fails."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys

    def fails(self, *arguments: object, says: str, code: int = 2) -> None:
        before = _files(self.folder)
        assert run_kapoc(self._monkeypatch, *arguments) == code
        output = self._capsys.readouterr()
        lines = complaints(output.err)
        assert len(lines) == 1, output.err
        assert lines[0].startswith("kapoc: ")
        assert re.search(says, lines[0]), lines[0]
        assert output.out == ""
        assert _files(self.folder) == before


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPOC_HOME", str(tmp_path / "home"))
    return Shell(tmp_path, monkeypatch, capsys)
