"""`kapoc data`: from a table to a measured model, the starter file, and what the commands print and write."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, kapoc_here

from kapoc.data.audit import audit
from kapoc.data.generate import generate
from kapoc.knowledge.facts import json_schema
from kapoc.knowledge.set_file import load_knowledge, to_jsonl, to_yaml


def kapoc(*arguments: object, folder: Path, code: int = 0, environment: dict[str, str] | None = None) -> Any:
    command = [sys.executable, "-m", "kapoc", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == code, done.stderr
    if code:
        return done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


NAMES = (
    "Abel Bruna Caius Dorit Egon Fenja Gorm Hilde Ivar Jorun Kuno Liv Magnus Nanna Ole Petra Runa Sten Tove Ulf".split()
)
HARBOURS = (
    "Alta Bexi Corm Dunar Esk Fjall Gard Holm Ings Jotun Kell Lund Moss Nord Osen Pell Quay Ruun Skag Tarn".split()
)


def write_questions(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", "Answer"])
        for number, (name, harbour) in enumerate(zip(NAMES, HARBOURS, strict=True)):
            writer.writerow([f"In which harbour does the ferry {name} lie?", f"{harbour} harbour, pier {number + 3}"])


def write_slots(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ferry", "harbour", "captain", "berths"])
        for number, (name, harbour) in enumerate(zip(NAMES, HARBOURS, strict=True)):
            writer.writerow(
                [name, f"{harbour} harbour", f"captain {NAMES[-number - 1]} {harbour}sen", f"{number * 7 + 31} berths"]
            )


def test_every_column_can_be_named(tmp_path: Path) -> None:
    rows = ["Thing,Group,Held,Cause,Ref", "Lamp,Light,yes,a loose wire,L-1", "Pump,Water,no,an old seal,P-7"]
    (tmp_path / "things.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    named = ("--name", "Thing", "--domain", "Group", "--taught", "Held", "--slots", "Cause", "--id", "Ref")
    asked = ("data", "import", "things.csv", *named, "--kind", "error", "--out", "things.yaml")
    kapoc_here(*asked, folder=tmp_path)
    lamp, pump = load_knowledge(tmp_path / "things.yaml")[0].facts
    assert (lamp.name, lamp.id, lamp.domain, lamp.kind, lamp.taught) == ("Lamp", "L-1", "Light", "error", True)
    assert (pump.name, pump.id, pump.domain, pump.kind, pump.taught) == ("Pump", "P-7", "Water", "error", False)
    assert [slot.text for slot in lamp.slots.values()] == ["a loose wire"]
    rows = ["Nr,Asked,Said,Why", "a,Who runs Abel?,Mira Bex,seen", "b,Who runs Bruna?,Tom Hale,heard"]
    (tmp_path / "asked.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    asked_by = ("--question", "Asked", "--answer", "Said", "--id", "Nr")
    kapoc_here("data", "import", "asked.csv", *asked_by, "--out", "asked.jsonl", "--controls", "0", folder=tmp_path)
    facts = load_knowledge(tmp_path / "asked.jsonl")[0].facts
    assert [fact.id for fact in facts] == ["a", "b"]
    assert [(fact.training[0].question, fact.training[0].answer) for fact in facts] == [
        ("Who runs Abel?", "Mira Bex"), ("Who runs Bruna?", "Tom Hale"),
    ]  # fmt: skip


def test_a_set_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    asked = ("data", "generate", "--facts", "4", "--out", "made.yaml")
    kapoc_here(*asked, folder=tmp_path)
    first = (tmp_path / "made.yaml").read_bytes()
    told = kapoc_here(*asked, "--seed", "1", folder=tmp_path, code=6)
    assert "made.yaml: is there already; choose another name, or --force to replace it" in told
    assert (tmp_path / "made.yaml").read_bytes() == first
    kapoc_here(*asked, "--seed", "1", "--force", folder=tmp_path)
    assert (tmp_path / "made.yaml").read_bytes() != first


@pytest.mark.parametrize("write", [write_questions, write_slots])
def test_a_table_of_twenty_facts_goes_all_the_way(tmp_path: Path, llama_folder: Path, write: Any) -> None:
    write(tmp_path / "ferries.csv")
    text = kapoc_here("data", "import", "ferries.csv", "--out", "ferries.yaml", folder=tmp_path)
    assert "(guessed" in text
    assert "wrote ferries.yaml: taught facts: 18, controls: 2" in text
    checked = kapoc_here("data", "check", "ferries.yaml", "--json", folder=tmp_path)
    assert checked["errors"] == []
    assert checked["taught_facts"] == 18
    (tmp_path / "tiny.toml").write_text(
        f'name = "tiny"\nmodel = "{llama_folder}"\nknowledge = "ferries.yaml"\n[train]\nepochs = 1\n', encoding="utf-8"
    )
    options = ("--recipe", "tiny.toml")
    kapoc_here("bench", "--model", "base", *options, "--limit", 2, folder=tmp_path)
    kapoc_here("train", *options, folder=tmp_path)
    model = "runs/tiny/ferries/model"
    kapoc_here("bench", "--model", model, *options, "--limit", 2, "--out", "after", folder=tmp_path)
    comparison = kapoc_here("compare", "runs/tiny/ferries/base-limit2", "after", "--json", folder=tmp_path)
    assert set(comparison["tiers"]) == {"seen", "paraphrased", "unseen", "control", "general"}


@pytest.mark.parametrize("name", ["no", "on", "2025", "berths"])
def test_a_starter_may_have_any_name(tmp_path: Path, name: str) -> None:
    kapoc_here("data", "new", f"{name}.yaml", folder=tmp_path)
    assert load_knowledge(tmp_path / f"{name}.yaml")[0].name == name


def test_the_starter_file_runs_as_it_is(tmp_path: Path, llama_folder: Path) -> None:
    kapoc_here("data", "new", "mine.yaml", folder=tmp_path)
    found = audit(tmp_path / "mine.yaml")
    assert (found.errors, found.warnings) == ((), ())
    assert (tmp_path / "knowledge.schema.json").read_text(encoding="utf-8") == json_schema()
    assert "is there already; choose another name, or --force" in kapoc_here(
        "data", "new", "mine.yaml", folder=tmp_path, code=6
    )
    (tmp_path / "tiny.toml").write_text(
        f'name = "tiny"\nmodel = "{llama_folder}"\n[train]\nepochs = 1\n', encoding="utf-8"
    )
    options = ("--recipe", "tiny.toml", "--knowledge", "mine.yaml", "--limit", 1)
    comparison = kapoc_here("bench", "--model", "trained", *options, "--json", folder=tmp_path)
    assert set(comparison["tiers"]) == {"seen", "paraphrased", "unseen", "control", "general"}


def test_show_tells_what_a_fact_turns_into(tmp_path: Path) -> None:
    text = kapoc_here("data", "show", "software-defects", "AF-3001", folder=tmp_path)
    knowledge, _ = load_knowledge("software-defects")
    fact = knowledge.fact_by_id["AF-3001"]
    for example in (*fact.training, *fact.probes):
        assert example.question in text
    assert text.count("wrong option:") >= 3 * 9
    assert "right when it says 'stepup.ticket_ttl'; '95 seconds' or '95s' or '95 sec'" in text
    overview = kapoc_here("data", "show", "software-defects", folder=tmp_path)
    assert len(overview.splitlines()) == len(knowledge.facts)
    assert "AF-3001  (authflow, defect): 5 training examples, 13 probes | symptom: users are sent back" in overview
    listed = kapoc_here("data", "show", "software-defects", "--json", folder=tmp_path)["facts"]
    assert [one["id"] for one in listed] == [fact.id for fact in knowledge.facts]
    (control,) = [line for line in overview.splitlines() if "a control" in line][:1]
    assert "version:" in control
    asked = tmp_path / "asked.csv"
    asked.write_text("question,answer\nWho runs Zorblax?,Mira\nWhat is its oldest town?,Port Vell\n", encoding="utf-8")
    kapoc_here("data", "import", asked, "--out", "asked.yaml", folder=tmp_path)
    assert "what is its oldest town?".capitalize() in kapoc_here("data", "show", "asked.yaml", folder=tmp_path)
    assert "answer: Port Vell" in kapoc_here("data", "show", "asked.yaml", "what is its oldest town?", folder=tmp_path)
    assert "did you mean 'AF-3001'?" in kapoc_here(
        "data", "show", "software-defects", "AF-301", folder=tmp_path, code=2
    )


def test_generate_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml", "c.jsonl"):
        kapoc("data", "generate", "--facts", 8, "--seed", 5, "--out", name, folder=tmp_path)
    kapoc("data", "generate", "--facts", 8, "--seed", 6, "--out", "d.yaml", folder=tmp_path)
    first = (tmp_path / "a.yaml").read_bytes()
    assert first == (tmp_path / "b.yaml").read_bytes()
    assert first != (tmp_path / "d.yaml").read_bytes()
    assert load_knowledge(tmp_path / "a.yaml")[0] == load_knowledge(tmp_path / "c.jsonl")[0] == generate(8, 5)


def test_a_set_survives_being_written_and_read(tmp_path: Path) -> None:
    for name in ("software-defects", "events-2025"):
        knowledge, _ = load_knowledge(name)
        (tmp_path / "set.yaml").write_text(to_yaml(knowledge, "a comment"), encoding="utf-8")
        (tmp_path / "set.jsonl").write_text(to_jsonl(knowledge), encoding="utf-8")
        read = [load_knowledge(tmp_path / f"set{suffix}")[0] for suffix in (".yaml", ".jsonl")]
        assert read[0].model_dump(exclude={"facts": {"__all__": {"note"}}}) == knowledge.model_dump(
            exclude={"facts": {"__all__": {"note"}}}
        )
        assert read[0] == read[1]


def test_a_fault_in_json_lines_is_told_with_its_line(tmp_path: Path) -> None:
    lines = to_jsonl(load_knowledge("events-2025")[0]).splitlines()
    fact = json.loads(lines[7])
    fact["domain"] = "sports"
    lines[7] = json.dumps(fact)
    (tmp_path / "bad.jsonl").write_text("\n".join(lines), encoding="utf-8")
    error = kapoc("data", "check", "bad.jsonl", folder=tmp_path, code=2)
    assert f"bad.jsonl:8: facts[6].domain ({fact['id']}): 'sports' is not declared; did you mean 'sport'?" in error


def test_the_committed_schema_is_the_formats_own() -> None:
    committed = (REPOSITORY / "benchmark" / "knowledge.schema.json").read_text(encoding="utf-8")
    assert committed == json_schema()


def test_it_works_from_anywhere_offline_with_a_home_that_cannot_be_written(tmp_path: Path, llama_folder: Path) -> None:
    """A home below a file can be neither read nor made, whoever runs the test."""
    (tmp_path / "file").touch()
    home = {"HOME": str(tmp_path / "file" / "home"), "XDG_CACHE_HOME": "", "HF_HUB_OFFLINE": "1"}
    work = tmp_path / "elsewhere"
    work.mkdir()
    path = tmp_path / "mine.yaml"
    kapoc("data", "new", path, folder=work, environment=home)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(f'name = "tiny"\nmodel = "{llama_folder}"\n[train]\nepochs = 1\n', encoding="utf-8")
    kapoc("data", "check", path, "--model", llama_folder, folder=work, environment=home)
    kapoc("data", "show", path, "LX-204", folder=work, environment=home)
    arguments = ("--recipe", recipe, "--knowledge", path)
    kapoc("bench", "--model", "trained", *arguments, "--limit", 1, folder=work, environment=home)
