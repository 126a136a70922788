"""Every kind of bad run, gate file and baseline ends in one line that names the place and the fix."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import Shell, small_set, write_set
from results import LAMPS, everything, make_items, make_run, nothing

from kapoc.record import save_run


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
