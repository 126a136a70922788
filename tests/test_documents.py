"""What the documentation says exists, and what exists is documented: commands, options, exit codes, files, links."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from conftest import REPOSITORY
from documents import PAGES, fences, named_commands, page, source_texts, tables

from kapoc import errors
from kapoc.cli.main import app
from kapoc.errors import KapocError
from kapoc.importing.import_set import import_set
from kapoc.judging.gate_file import load_gate
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.workflow.sweep_file import load_sweep


def _walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*path, name))


COMMANDS = dict(_walk(typer.main.get_command(app)))


def options_of(command: Any) -> set[str]:
    return {"--help", *(option for param in command.params for option in (*param.opts, *param.secondary_opts))}


def fault(words: list[str]) -> str | None:
    """What is wrong with a command that a page names: an unknown word or an unknown option."""
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path, words = (*path, words[0]), words[1:]
    if getattr(COMMANDS[path], "commands", None) and words and re.fullmatch(r"[a-z]+", words[0]):
        return f"kapoc {' '.join(path)}: no command '{words[0]}'"
    unknown = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)} - options_of(COMMANDS[path])
    return f"kapoc {' '.join(path)}: no option {', '.join(sorted(unknown))}" if unknown else None


@pytest.mark.parametrize(
    ("file", "facts"),
    [
        ("ferries.csv", {"Abel": "Altavik", "Bruna": "Otto Brandt"}),
        ("pairs.csv", {"What does error LX-204 mean?": "lowest step", "Who keeps the keys of hall 3?": "porter"}),
        ("chats.jsonl", {"Who keeps the keys of hall 3?": "porter", "When is hall 3 open?": "7:30"}),
        ("faq.md", {"Who keeps the keys of hall 3?": "porter", "When is hall 3 open?": "7:30"}),
        ("runbook.md", {"LX-204": "the reset pin", "LX-311": "two lamps answer to one address"}),
        ("passages.jsonl", {"Who built hall 3?": "Mira Teldon"}),
    ],
)
def test_every_documented_form_is_imported(file: str, facts: dict[str, str], tmp_path: Path) -> None:
    [text] = [fence.text for fence in fences(page("docs/files.md")) if fence.file == file]
    (tmp_path / file).write_text(text, encoding="utf-8")
    knowledge, _ = import_set(str(tmp_path / file), num_controls=0)
    assert {fact.name for fact in knowledge.facts} == facts.keys()
    for fact in knowledge.facts:
        assert facts[fact.name] in " ".join(slot.text for slot in fact.slots.values())


def test_the_house_has_every_module_in_its_room() -> None:
    drawn: set[str] = set()
    for fence in (fence for fence in fences(page("CONTRIBUTING.md")) if fence.section == "The house"):
        room = ""
        for line in fence.text.splitlines():
            heading = re.match(r"(\w+/) ", line)
            room = heading[1] if heading else room if line.startswith(" ") else ""
            drawn.update(room + name for name in re.findall(r"\w+\.py", line))
    package = REPOSITORY / "kapoc"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert drawn - modules == set()
    missing = {name for name in modules - drawn if not re.search(r"__\w+__\.py|^(trackers|report/html)/", name)}
    assert missing == set()


def test_what_a_docstring_names_in_another_module_is_there() -> None:
    """`kapoc.room.module.name` and `module.Class` between backticks, in the code's texts and in CONTRIBUTING."""
    defined: dict[str, set[str]] = {"kapoc.benchmark": set(), "kapoc.tasks": set()}
    for path, source in source_texts().items():
        dotted = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        names = set(re.findall(r"^(?:(?:def|class) )?(\w+)", source, re.MULTILINE))
        for known in (dotted, path.stem):
            defined.setdefault(known, set()).update(names)
    lost = []
    for text in (*source_texts().values(), page("CONTRIBUTING.md")):
        for named in re.findall(r"`(kapoc\.[\w.]+|[a-z_]+\.[A-Z]\w+)`", text):
            module = named
            while module not in defined and "." in module:
                module = module.rpartition(".")[0]
            rest = named.removeprefix(module).lstrip(".").partition(".")[0]
            if rest and (module.startswith("kapoc") or module in defined) and rest not in defined.get(module, set()):
                lost.append(named)
    assert lost == []


def test_the_reference_of_commands_is_what_help_says(tmp_path: Path) -> None:
    made = tmp_path / "commands.md"
    command = [
        sys.executable,
        "-m",
        "typer",
        "kapoc.cli.main",
        "utils",
        "docs",
        "--name",
        "kapoc",
        "--output",
        str(made),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    assert page("docs/commands.md") == made.read_text(encoding="utf-8"), "run `make docs`"


def test_every_setting_of_training_stands_in_the_reference_with_its_default() -> None:
    [rows] = [table[1:] for table in tables(page("docs/files.md")) if table[0][:2] == ["setting", "default"]]
    named = [re.findall(r"`(\w+)`", cell) for cell, _, _ in rows]
    assert sorted(name for names in named for name in names) == sorted(TrainSettings.model_fields)
    defaults = TrainSettings()
    for names, (_, told, _) in zip(named, rows, strict=True):
        if names in (["replay"], ["budget"]):
            for name, value in re.findall(r"(\w+)`? ([\d.]+)", told):
                assert getattr(getattr(defaults, names[0]), name) == float(value), name
        elif names not in (["derived_tokens"], ["stop_at"]):
            dumped = defaults.model_dump(mode="json")
            assert json.loads(f"[{told.replace('`', '')}]") == [dumped[name] for name in names], names
    assert defaults.derived_tokens is None
    assert defaults.stop_at is None


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_every_command_and_option_says_what_it_does_and_stands_in_the_reference(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    heading = f"## `{' '.join(['kapoc', *path])}`\n"
    reference = re.split(r"^(?=#{2,3} `)", page("docs/commands.md"), flags=re.MULTILINE)
    section = next(part for part in reference if heading.removeprefix("## ") in part.splitlines(keepends=True)[0])
    for param in command.params:
        assert param.help, param.name
        assert " ".join(param.help.split()) in " ".join(section.split())
        assert (max(param.opts, key=len) if param.param_type_name == "option" else param.name) in section


def test_every_command_stands_in_the_readme() -> None:
    named = {tuple(words[:depth]) for words in named_commands(page("README.md")) for depth in (1, 2)}
    leaves = {path for path, command in COMMANDS.items() if path and not getattr(command, "commands", None)}
    assert leaves <= named


@pytest.mark.parametrize("name", [*PAGES, "CHANGELOG.md"])
def test_commands_and_options_that_a_page_names_exist(name: str) -> None:
    found = [fault(words) for words in named_commands(page(name))]
    assert found
    assert [line for line in found if line] == []


def test_commands_that_help_and_error_lines_name_exist() -> None:
    found = {path: [fault(words) for words in named_commands(text)] for path, text in source_texts().items()}
    assert sum(map(len, found.values())) > 10
    assert {path: lines for path, lines in found.items() if any(lines)} == {}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("see `kapoc compare A B --jsn`", "kapoc compare: no option --jsn"),
        ("see `kapoc data chek`", "kapoc data: no command 'chek'"),
        ("```sh\nkapoc bench --model x \\\n  --limt 2   # few\n```\n", "kapoc bench: no option --limt"),
        ("see `kapoc gate --baseline RUN` and `kapoc`", None),
    ],
)
def test_a_name_that_does_not_exist_is_found(line: str, complaint: str | None) -> None:
    assert [fault(words) for words in named_commands(f"# page\n\n{line}")] == [complaint]


def test_every_exit_code_is_documented() -> None:
    [table] = [table for table in tables(page("docs/files.md")) if table[0] == ["exit code", "meaning"]]
    documented = {int(row[0]) for row in table[1:]}
    raised = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, KapocError)
    }
    assert documented == raised | {0, 1, 4} | {
        70,
        130,
        141,
    }  # the gate's verdicts; a fault, an interrupt, a closed pipe


@pytest.mark.parametrize(
    ("file", "load"), [("my_recipe.toml", load_recipe), ("my_sweep.toml", load_sweep), ("my_gate.toml", load_gate)]
)
def test_the_files_that_the_documentation_shows_are_accepted(file: str, load: Any, tmp_path: Path) -> None:
    [text] = [fence.text for fence in fences(page("docs/files.md")) if fence.file == file]
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert load(tmp_path / file)


def test_what_the_shown_recipe_says_is_read(tmp_path: Path) -> None:
    [text] = [fence.text for fence in fences(page("docs/files.md")) if fence.file == "my_recipe.toml"]
    (tmp_path / "my_recipe.toml").write_text(text, encoding="utf-8")
    recipe = load_recipe(tmp_path / "my_recipe.toml")
    assert recipe.train.derived == {"reverse": 3, "yes_no": 4, "unknown": 2}
    assert recipe.train.has_budget
    assert recipe.train.replay.weight == 1
    assert recipe.track.tools == ("tensorboard",)


def test_every_link_leads_somewhere() -> None:
    for name in (*PAGES, "docs/commands.md"):
        place = (REPOSITORY / name).parent
        for target in re.findall(r"\]\(([^)\s]+)\)", page(name)):
            file, _, anchor = target.partition("#")
            if re.match(r"https?:", target):
                continue
            path = (place / file).resolve() if file else REPOSITORY / name
            assert path.exists(), f"{name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}, target
