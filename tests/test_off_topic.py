"""Off-topic prompts of the user's own join kapoc's, and spillover is told apart by kind of question."""

from pathlib import Path

import pytest
from conftest import write_set
from results import everything, make_items, make_run, nothing

from kapoc.errors import DataError, IncomparableError
from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import Check, Gate
from kapoc.judging.pairing import pair_runs
from kapoc.measuring.bench import measure
from kapoc.measuring.general import load_off_topic
from kapoc.measuring.harness import documents_of, find_spillover
from kapoc.models import load_model
from kapoc.recipe import load_recipe
from kapoc.report.markdown import render
from kapoc.workflow.workspace import open_workspace


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_own_prompts_stand_before_those_of_kapoc_by_name(tmp_path: Path) -> None:
    lines = write(tmp_path / "Our web-shop.txt", "# asked by mail\n\n#SPILL! in a cell, why?\n  Where is my parcel?\n")
    rows = write(tmp_path / "mail.JSONL", '{"question": "Dear all,\\nwho has my stapler?", "from": "Ann"}\n')
    numbered = write(tmp_path / "2024.txt", "Who won?\n")
    shipped, found = load_off_topic(), load_off_topic([lines, rows, numbered])
    assert found[4:] == shipped
    assert [(item.id, item.kind, item.question) for item in found[:4]] == [
        ("off_topic.2024/1", "2024", "Who won?"),
        ("off_topic.mail/1", "mail", "Dear all,\nwho has my stapler?"),
        ("off_topic.our_web_shop/1", "our_web_shop", "#SPILL! in a cell, why?"),
        ("off_topic.our_web_shop/2", "our_web_shop", "Where is my parcel?"),
    ]
    assert load_off_topic([numbered, rows, lines]) == found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("near.txt", "# nothing\n\n", r"near\.txt: holds no prompt; write one a line"),
        ("everyday.txt", "Hello?\n", r"everyday\.txt: there are off-topic prompts of the kind 'everyday' already"),
        ("near.jsonl", '{"question": "Why?"}\n{"prompt": "Why?"}\n', r"near\.jsonl:2: question: "),
        ("near.jsonl", '{"question": "Why?"\n', r"near\.jsonl:1: not valid JSON"),
        ("near.json", '[{"question": "Why?"}]', r"near\.json: prompts are lines of a text file, or JSONL"),
        ("near.txt", "Why?\nWho?\nWhy?\n", r"near\.txt: prompt 3 \('Why\?'\) stands in .*near\.txt, too"),
        ("near.txt", "Good morning! How are you today?\n", r"near\.txt: prompt 1 .* stands among kapoc's own, too"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, name: str, text: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        load_off_topic([write(tmp_path / name, text)])


def test_a_file_that_is_not_there_is_refused_before_anything_long_begins(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"near\.txt"):
        open_workspace(tmp_path, load_recipe("smollm2-135m"), off_topic=[str(tmp_path / "near.txt")])


@pytest.mark.parametrize("prompt", ["Which lamp stands in the amber lane?", "What is ZX-11?"])
def test_a_prompt_about_what_is_taught_is_not_off_topic(tmp_path: Path, prompt: str) -> None:
    knowledge = str(write_set(tmp_path / "lamps.yaml"))
    near = write(tmp_path / "near.txt", f"What is a lantern?\n{prompt}\n")
    with pytest.raises(DataError, match=r"off-topic prompt off_topic\.near/2 .*speaks of what is taught"):
        documents_of("off_topic", knowledge, off_topic=[near])


def test_what_only_looks_like_a_taught_text_may_be_asked(tmp_path: Path) -> None:
    knowledge = str(write_set(tmp_path / "lamps.yaml"))
    near = write(tmp_path / "near.txt", "My kettle shows ZX-98. What is that?\n")
    [document] = [one for one in documents_of("off_topic", knowledge, off_topic=near) if one["kind"] == "near"]
    assert not find_spillover(document, "ZX-98 is nothing that I know.")
    assert find_spillover(document, "ZX-11 is meant.")


def test_they_are_measured_with_the_others_and_change_what_is_comparable(tmp_path: Path, llama_folder: Path) -> None:
    knowledge, near = str(write_set(tmp_path / "lamps.yaml")), write(tmp_path / "near.txt", "What is a lantern?\n")
    tiny = load_model(str(llama_folder))
    plain = measure(tiny, knowledge=[knowledge], batch_size=8, limit=3)
    run = measure(tiny, knowledge=[knowledge], off_topic=[near], batch_size=8, limit=3)
    added = [item for item in run.items if item.id not in {other.id for other in plain.items}]
    assert [(item.id, item.task, item.kind, item.form) for item in added] == [
        ("off_topic.near/1", "kapoc_off_topic", "near", "off_topic")
    ]
    assert run.data.off_topic == ("near",)
    assert "| off-topic/near | 1 | 0.0% | 0.0% |" in render(compare(run, run), None)
    with pytest.raises(IncomparableError, match="own off-topic prompts"):
        pair_runs(plain, run)


def test_own_items_of_one_name_in_both_tiers_do_not_clash(tmp_path: Path, llama_folder: Path) -> None:
    prompts = "".join(f"Prompt {n}?\n" for n in range(130))
    general = write(tmp_path / "off_topic.jsonl", '{"text": "The lake was quiet."}\n')
    own = [write(tmp_path / "off_topic.txt", prompts)]
    knowledge = [str(write_set(tmp_path / "lamps.yaml"))]
    tiny = load_model(str(llama_folder))
    run = measure(tiny, knowledge=knowledge, general=[general], off_topic=own, batch_size=64, limit=131)
    assert len({item.id for item in run.items}) == len(run.items)


def test_such_runs_lie_apart(tmp_path: Path) -> None:
    near = write(tmp_path / "near.txt", "What is a lantern?\n")
    own = write(tmp_path / "near.jsonl", '{"text": "A lantern stood there."}\n')
    recipe = load_recipe("smollm2-135m")
    workspace = open_workspace(tmp_path, recipe, general=[own], off_topic=[near], batch_size=recipe.bench.batch_size)
    assert workspace.run("base").name == "base+near+off-near"
    asked = open_workspace(tmp_path, recipe, general=[own], context="oracle", batch_size=3, limit=2)
    assert asked.run("base").name == "base+near-oracle-batch3-limit2"
    write(tmp_path / "near.jsonl", "{}\n")
    with pytest.raises(DataError, match=r"near\.jsonl"):
        open_workspace(tmp_path, recipe, general=[own])


def test_planted_spillover_is_found_in_its_kind(tmp_path: Path) -> None:
    def items(*, leaks: bool) -> tuple:  # type: ignore[type-arg]
        found = []
        for number, item in enumerate(make_items(everything if leaks else nothing)):
            if item.form == "off_topic" and number % 2:
                spillover = ("F1.colour",) if leaks else ()
                item = item.model_copy(update={"kind": "near", "spillover": spillover})
            found.append(item)
        return tuple(found)

    comparison = compare(make_run(items(leaks=False)), make_run(items(leaks=True), weights="1" * 64))
    kinds = {name: (result.n, result.after) for name, result in comparison.spillover_kinds.items()}
    assert kinds == {"control/meaning": (120, 0.0), "off_topic/everyday": (50, 0.0), "off_topic/near": (50, 1.0)}
    assert comparison.spillover["off_topic"].after == 0.5
    page = render(comparison, None)
    assert "| off-topic/near | 50 | 0.0% | 100.0% | +100.0 |" in page
    assert "Where it spilled" not in render(compare(make_run(items(leaks=False)), make_run(items(leaks=False))), None)

    def outcome(quantity: str) -> str:
        check = Check(name="near", kind="non_inferiority", quantity=quantity, margin=0.1)
        return judge(comparison, Gate(check=(check,))).checks[0].outcome

    assert (outcome("spillover/off_topic/near"), outcome("spillover/off_topic/everyday")) == ("fail", "pass")
    with pytest.raises(IncomparableError, match=r"no 'spillover/off_topic/mine'; measure both with its file"):
        outcome("spillover/off_topic/mine")
