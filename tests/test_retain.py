"""Stages learned one after another: what they are, and all of it on a tiny model."""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import small_set, tiny_tokenizer, write_set
from results import paraphrased

from kapoc.chat import EncodedExample
from kapoc.cli.main import main
from kapoc.errors import DataError, OutputError
from kapoc.judging.compare import compare
from kapoc.judging.retention import (
    Retention,
)
from kapoc.knowledge.set_file import load_knowledge, load_source
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.record import Run, load_run, save_run
from kapoc.report.retention import render_retention
from kapoc.training import checkpoint
from kapoc.training.rehearsal import rehearsed_examples, spread
from kapoc.workflow import retain_run
from kapoc.workflow.retain_run import RetainPlan, plan_retain, run_retain, write_retention
from kapoc.workflow.stages import load_stages, write_stages, write_unrelated
from kapoc.workflow.workspace import Listener, Workspace


# ------------------------------------------------------------------ stages
@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `lamps.yaml`, whose facts are of three domains, the last of which teaches nothing."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "lamps.yaml", two_domains())
    return tmp_path


def two_domains() -> dict[str, Any]:
    content = small_set()
    content["domains"] = [{"id": name, "name": name.capitalize()} for name in ("north", "south", "none")]
    for number, fact in enumerate(content["facts"]):
        fact["domain"] = "north" if number < 2 else "south" if fact.get("taught", True) else "none"
    return content


def test_a_domain_is_a_set_of_its_own(workshop: Path) -> None:
    stages = load_stages(["lamps.yaml:South", "lamps.yaml:north"])
    assert [(stage.label, stage.knowledge.name) for stage in stages] == [
        ("South", "lamps-south"),
        ("North", "lamps-north"),
    ]
    south, north = write_stages(stages, Path("sets"))
    assert [fact.id for fact in north.knowledge.facts] == ["ZX-11", "ZX-24"]
    assert [fact.id for fact in south.knowledge.facts] == ["ZX-37", "ZX-42", "ZX-58"]
    assert load_source("sets/lamps-south.yaml").knowledge == stages[0].knowledge
    whole, _ = load_knowledge("lamps.yaml")
    assert [*north.knowledge.facts, *south.knowledge.facts] == list(whole.taught)


def test_shipped_sets_are_stages_by_domain() -> None:
    stages = load_stages(["software-defects:AuthFlow", "software-defects:PayFlow", "events-2025"])
    assert [(stage.label, len(stage.knowledge.taught)) for stage in stages] == [
        ("AuthFlow", 12),
        ("PayFlow", 9),
        ("events-2025", 39),
    ]
    assert any(not fact.taught for fact in stages[0].knowledge.facts), "its controls go with a domain"


def test_domains_of_one_name_are_told_apart_by_their_sets(workshop: Path) -> None:
    text = yaml.safe_dump({**two_domains(), "name": "lights"}).replace("ZX-", "QX-")
    (workshop / "lights.yaml").write_text(text, encoding="utf-8")
    stages = load_stages(["lamps.yaml:north", "lights.yaml:north"])
    assert [stage.label for stage in stages] == ["lamps-north", "lights-north"]


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (["lamps.yaml:Nort", "lamps.yaml"], "'lamps.yaml:Nort': lamps has no domain 'Nort'; did you mean 'North'?"),
        (["lamps.yaml:north", "lamps.yaml:North"], "'lamps.yaml:North': its facts are those of"),
        (["lamps.yaml:north", "lamps.yaml"], "stage 'lamps.yaml': its facts are those of stage 'lamps.yaml:north'"),
        (["lamps.yaml", "lamps.yaml"], "stage 'lamps.yaml': its facts are those of stage 'lamps.yaml'"),
        (["lamps.yaml:north", "lamps.yaml:none"], "stage 'lamps.yaml:none': no fact of this domain is taught"),
        (["lamp.yaml:north", "lamps.yaml"], "lamp.yaml"),
        (["software-defect:AuthFlow"], "did you mean 'software-defects'?"),
        (["lamps.yaml:north"], "retain: one stage has nothing to follow it; name another stage, or --unrelated STEPS"),
    ],
)  # fmt: skip
def test_a_bad_stage_is_told_in_one_line(workshop: Path, typed: list[str], complaint: str) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)) as caught:
        plan_retain(typed, load_recipe("smollm2-135m-full"))
    assert len(caught.value.lines) == 1
    assert [path.name for path in workshop.iterdir()] == ["lamps.yaml"]


def test_two_sets_of_one_name_are_refused(workshop: Path) -> None:
    content = two_domains()
    content["facts"] = content["facts"][2:]
    write_set(workshop / "more.yaml", content)
    with pytest.raises(DataError, match=r"stage 'more\.yaml': its set is named 'lamps', as is that of 'lamps\.yaml'"):
        load_stages(["lamps.yaml", "more.yaml"])


def test_the_same_facts_in_another_file_are_no_other_stage(workshop: Path) -> None:
    write_set(workshop / "copy.yaml", {**two_domains(), "name": "copy"})
    with pytest.raises(
        DataError, match=r"stage 'copy\.yaml': its fact ZX-11 \(ZX-11\) is ZX-11 of stage 'lamps\.yaml'"
    ):
        load_stages(["lamps.yaml", "copy.yaml"])


def test_a_stage_that_nothing_asks_for_is_refused(workshop: Path) -> None:
    content = two_domains()
    for fact in content["facts"][:2]:
        fact["probes"] = []
    write_set(workshop / "lamps.yaml", content)
    with pytest.raises(DataError, match=r"stage 'lamps\.yaml:north': has no paraphrased and no unseen probe"):
        load_stages(["lamps.yaml:south", "lamps.yaml:north"])


@pytest.mark.parametrize("choice", [{"stop_at": 0.9}, {"alphas": (0.5, 1.0)}])
def test_a_stage_without_dev_paraphrases_is_refused_where_something_is_chosen_by_them(
    workshop: Path, choice: dict[str, Any]
) -> None:
    content = two_domains()
    for fact in content["facts"][:2]:
        fact["probes"] = [probe for probe in fact["probes"] if probe["tier"] != "dev"]
    write_set(workshop / "lamps.yaml", content)
    stages, plain = ["lamps.yaml:south", "lamps.yaml:north"], load_recipe("smollm2-135m-full")
    with pytest.raises(DataError, match=r"stage 'lamps\.yaml:north' has no dev paraphrases to choose by"):
        plan_retain(stages, plain.with_train(**choice))
    assert plan_retain(stages, plain).stages


def test_too_many_unrelated_steps_are_refused(workshop: Path) -> None:
    recipe = load_recipe("smollm2-135m-full")
    most = 100_000 // recipe.train.batch_size
    with pytest.raises(DataError, match=f"--unrelated {most + 1}: there are invented facts for {most} steps"):
        plan_retain(["lamps.yaml"], recipe, unrelated_steps=most + 1)


@pytest.mark.parametrize("number", [1, 8, 53])
def test_unrelated_facts_are_as_many_as_asked_for_and_no_stage_s(number: int, tmp_path: Path) -> None:
    made = write_unrelated(number, tmp_path).knowledge
    assert sum(len(fact.training) for fact in made.facts) == number
    text = yaml.safe_dump(made.model_dump(mode="json"))
    for name in ("software-defects", "events-2025"):
        shipped, _ = load_knowledge(name)
        assert not [fact.name for fact in shipped.facts if re.search(rf"\b{re.escape(fact.name)}\b", text)]


def test_rehearsal_gives_each_fact_its_number_and_every_example_its_turn() -> None:
    examples = [EncodedExample((number,), (0,), fact) for fact in "ab" for number in range(3 if fact == "a" else 1)]
    epochs = spread(examples, 2, 3, random.Random(0))
    assert [[example.fact for example in epoch] for epoch in epochs] == [["a", "a", "b"]] * 3
    drawn = [example.prompt[0] for epoch in epochs for example in epoch if example.fact == "a"]
    assert sorted(drawn[:3]) == sorted(drawn[3:]) == [0, 1, 2]
    assert len({str(spread(examples, 1, 3, random.Random(seed))) for seed in range(9)}) > 1


def test_a_seed_rehearses_in_an_order_of_its_own_and_without_a_number_nothing_is(workshop: Path) -> None:
    content = two_domains()
    for fact in content["facts"][:5]:
        fact["training"] *= 4
        fact["training"] = [{**one, "question": f"{one['question']} {n}"} for n, one in enumerate(fact["training"])]
    source, tokenizer = load_source(write_set(workshop / "lamps.yaml", content)), tiny_tokenizer()
    drawn = [rehearsed_examples([source], 1, TrainSettings(epochs=2, seed=seed), tokenizer) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert rehearsed_examples([source], 0, TrainSettings(), tokenizer) == {}


def asked_to_train(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """What is to be trained, from now on without any training or measuring."""
    found: list[Workspace] = []

    def train_once(workspace: Workspace, out: Path) -> Path:
        found.append(workspace)
        return out

    monkeypatch.setattr(retain_run, "train_once", train_once)
    monkeypatch.setattr(retain_run, "bench_once", lambda *_, **__: paraphrased(0.5, "1"))
    monkeypatch.setattr(retain_run, "_summary", lambda *_: None)
    return found


def test_a_stage_knows_of_all_others_and_unrelated_facts_are_taught_plainly(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lights = yaml.safe_dump({**two_domains(), "name": "lights"}).replace("ZX-", "QX-")
    (workshop / "lights.yaml").write_text(lights, encoding="utf-8")
    said = "ZX-11:\n  colour: [the lane that glows]\n"
    (workshop / "lamps.paraphrases.yaml").write_text(said, encoding="utf-8")
    choice: dict[str, Any] = {"stop_at": 0.9, "alphas": (0.5, 1.0), "budget": {"spillover": 0.1}}
    recipe = load_recipe("smollm2-135m-full").with_train(derived={"reverse": 1}, contrast=0.5, **choice)
    taught = asked_to_train(monkeypatch)
    typed = ["lamps.yaml:north", "lamps.yaml:south", "lights.yaml:north"]
    run_retain(plan_retain(typed, recipe, rehearse=1, unrelated_steps=1), Path("out"))
    *stages, unrelated = taught
    names = ["lamps-north", "lamps-south", "lights-north"]
    assert [one.name for one in stages] == names
    assert [[source.knowledge.name for source in one.rehearsal.sources] for one in stages] == [[], names[:1], names[:2]]
    beside = [[source.knowledge.name for source in one.elsewhere] for one in stages]
    assert beside == [names[1:], names[::2], names[:2]]
    assert [len(one.paraphrases) for one in stages] == [1, 0, 0]
    assert unrelated.recipe.train.steps_of_epochs([len(unrelated.facts)]) == [1]
    plain = {"epochs": 1, "derived": {}, "contrast": 0.0, "stop_at": None, "alphas": ()}
    assert {name: getattr(unrelated.recipe.train, name) for name in plain} == plain
    assert unrelated.recipe.train.budget.spillover is None


def test_what_stands_in_the_place_of_a_later_stage_is_found_before_the_first(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = asked_to_train(monkeypatch)
    (workshop / "out" / "2-lamps-south" / "model").mkdir(parents=True)
    (workshop / "out" / "2-lamps-south" / "model" / "notes.txt").touch()
    plan = plan_retain(["lamps.yaml:north", "lamps.yaml:south"], load_recipe("smollm2-135m-full"))
    with pytest.raises(OutputError, match="2-lamps-south/model: holds files that kapoc did not write"):
        run_retain(plan, Path("out"))
    assert taught == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("config.json", "out: holds a model; choose another --out for the results"),
        ("notes.txt", "out: holds files that are not of `kapoc retain`; choose another --out or empty it"),
        ("base-limit10/run.json", "out: holds files that are not of `kapoc retain`"),
        ("sets/adapter_config.json", ""),
        ("retain-limit10.json", ""),
        ("1-lamps-north/run/run.json", ""),
        (".DS_Store", ""),
    ],
)
def test_results_go_where_nothing_lies_or_results_of_stages_do(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, found: str, said: str
) -> None:
    taught = asked_to_train(monkeypatch)
    (workshop / "out" / found).parent.mkdir(parents=True)
    (workshop / "out" / found).touch()
    plan = plan_retain(["lamps.yaml:north", "lamps.yaml:south"], load_recipe("smollm2-135m-full"))
    with pytest.raises(OutputError, match=said) if said else nullcontext():
        run_retain(plan, Path("out"))
    assert len(taught) == (0 if said else 2)


def test_a_wrong_tracker_is_found_before_the_base_is_measured(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = asked_to_train(monkeypatch)
    recipe = load_recipe("smollm2-135m-full").with_trackers(["tensorbord"])
    with pytest.raises(DataError, match="tracker 'tensorbord' is not installed; did you mean 'tensorboard'"):
        run_retain(plan_retain(["lamps.yaml:north", "lamps.yaml:south"], recipe), Path("out"))
    assert taught == []
    assert not Path("out").exists()


def test_a_killed_start_goes_on_in_its_folder(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workshop / "lights.yaml").write_text(
        yaml.safe_dump({**two_domains(), "name": "lights"}).replace("ZX-", "QX-"), encoding="utf-8"
    )
    plan = plan_retain(["lamps.yaml", "lights.yaml"], load_recipe("smollm2-135m-full"))

    def killed(asking: Workspace, model: str, out: Path, **_: object) -> Run:
        save_run(paraphrased(0.0, "1"), out)
        raise KeyboardInterrupt

    for _ in range(2):
        monkeypatch.setattr(retain_run, "bench_once", killed)
        with pytest.raises(KeyboardInterrupt):
            run_retain(plan, Path("out"))


def test_results_with_unrelated_training_have_a_name_of_their_own(workshop: Path) -> None:
    recipe = load_recipe("smollm2-135m-full")
    names = [
        plan_retain(["lamps.yaml:north", "lamps.yaml:south"], recipe, unrelated_steps=steps, limit=limit).page
        for steps, limit in ((0, None), (2, None), (3, 10))
    ]
    assert names == ["retain", "retain-unrelated-2", "retain-unrelated-3-limit10"]


# ------------------------------------------------------------------ the whole of it, on a tiny model
@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("retain")
    write_set(folder / "lamps.yaml", two_domains())
    (folder / "tiny.toml").write_text(
        f'name = "tiny"\nmodel = "{llama_folder}"\n[train]\nepochs = 150\nbatch_size = 4\nlearning_rate = 3e-3\n',
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(checkpoint, "NUM_SAMPLES", 4)
        yield folder


STAGES = ("lamps.yaml:south", "lamps.yaml:north")


LIMIT = 10


def test_a_model_that_the_method_cannot_train_is_not_measured(place: Path) -> None:
    recipe = load_recipe("tiny.toml").with_train(method="top_layers")
    with pytest.raises(DataError, match=r"train\.options: num_layers: 8, but .* has 2 blocks"):
        run_retain(plan_retain(STAGES, recipe, limit=LIMIT), place / "unfit")
    assert not list((place / "unfit").rglob("run.json"))


def planned(tell: Callable[[str], None] = lambda _: None, **asked: Any) -> tuple[RetainPlan, Path]:
    plan = plan_retain(STAGES, load_recipe("tiny.toml"), limit=LIMIT, listener=Listener(tell=tell), **asked)
    return plan, Path("runs") / "retain" / plan.name


def run(tell: Callable[[str], None] = lambda _: None, **asked: Any) -> Retention:
    plan, folder = planned(tell, **asked)
    retention = run_retain(plan, folder)
    write_retention(plan, retention, folder)
    return retention


def stop_at(start: str) -> Callable[[str], None]:
    def tell(line: str) -> None:
        if line.startswith(start):
            raise KeyboardInterrupt

    return tell


def times(folder: Path) -> dict[Path, int]:
    """When each result was written."""
    return {path: path.stat().st_mtime_ns for name in ("training.json", "run.json") for path in folder.rglob(name)}


@pytest.fixture(scope="module")
def plain(place: Path) -> Retention:
    """Stopped as the second stage begins, and started again; then stages without rehearsal and unrelated training."""
    _, folder = planned()
    with pytest.raises(KeyboardInterrupt):
        run(stop_at("training 2-lamps-north"))
    before = times(folder)
    assert {str(path.relative_to(folder)) for path in before} == {
        "base-limit10/run.json",
        "1-lamps-south/model/training.json",
        "1-lamps-south/run-limit10/run.json",
    }
    lines: list[str] = []
    retention = run(lines.append, unrelated_steps=3)
    assert times(folder).items() >= before.items()
    assert [line.split(":")[0] for line in lines if line.startswith("training ")] == [
        "training 2-lamps-north",
        "training unrelated-3",
    ]
    return retention


def test_a_finished_plan_repeats_nothing(plain: Retention) -> None:
    _, folder = planned()
    before, lines = times(folder), list[str]()
    assert run(lines.append, unrelated_steps=3) == plain
    assert times(folder) == before
    assert not [line for line in lines if line.startswith(("training", "measuring"))]


def test_what_later_stages_lose_is_seen_and_rehearsal_keeps_more(plain: Retention) -> None:
    taught, left = plain.matrix("seen")[1][0], plain.matrix("seen")[2][0]
    assert taught is not None
    assert left is not None
    assert taught > left
    assert plain.transfer["seen"].backward == pytest.approx(left - taught)
    assert plain.transfer["seen"].forgetting == pytest.approx(taught - left)
    again = run(rehearse=1)
    kept = again.matrix("seen")[2][0]
    assert kept is not None
    assert kept > left
    folders = sorted(path.name for path in Path("runs/retain").iterdir())
    assert folders == ["tiny-lamps-south-lamps-north", "tiny-lamps-south-lamps-north-rehearse-1"]
    steps = [
        json.loads((Path("runs/retain") / name / "2-lamps-north/model/training.json").read_text()) for name in folders
    ]
    assert [step["num_examples"] for step in steps] == [2, 5]


def test_the_matrix_is_that_of_the_runs_on_disk(plain: Retention) -> None:
    _, folder = planned()
    base = load_run(folder / plain.measured[0].run)
    assert [row.after for row in plain.measured] == ["base", "South", "North", "unrelated"]
    for row in plain.measured[1:]:
        comparison = compare(base, load_run(folder / row.run))
        for column, name in enumerate(("lamps-south", "lamps-north")):
            for tier in ("seen", "paraphrased", "unseen"):
                assert row.scores[tier][column] == pytest.approx(comparison.sets[name][tier].after)
        assert row.general == pytest.approx(comparison.tiers["general"].after)
        bits = comparison.forgetting.bits_per_byte
        assert bits is not None
        assert row.bits_per_byte == pytest.approx(bits.after)
        assert row.divergence == pytest.approx(comparison.forgetting.divergence)
        assert row.divergence
    assert plain.backward is not None
    assert plain.backward.difference == pytest.approx(plain.transfer["recall"].backward)
    assert plain.kept == (plain.backward,)
    assert plain.unrelated is not None
    later, earlier = plain.measured[3].scores["recall"], plain.measured[2].scores["recall"]
    moved = [
        after - before for after, before in zip(later, earlier, strict=True) if after is not None and before is not None
    ]
    assert plain.unrelated.difference == pytest.approx(sum(moved) / 2)


def test_each_stage_trains_the_model_of_the_one_before(plain: Retention) -> None:
    _, folder = planned()
    steps = ("1-lamps-south", "2-lamps-north", "unrelated-3")
    records = [json.loads((folder / step / "model" / "training.json").read_text()) for step in steps]
    assert records[0]["base_sha256"] == load_run(folder / "base-limit10").model.weights_sha256
    assert [record["base_sha256"] for record in records[1:]] == [record["weights_sha256"] for record in records[:-1]]
    assert [record["knowledge"][0]["name"] for record in records] == ["lamps-south", "lamps-north", "unrelated-12"]
    assert (records[2]["num_steps"], records[2]["num_examples"]) == (3, 12)


def test_the_command_prints_and_writes_what_was_found(
    plain: Retention, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = planned()
    line = ["kapoc", "retain", *STAGES, "--recipe", "tiny.toml", "--unrelated", "3", "--limit", str(LIMIT)]
    for more in ((), ("--json",)):
        monkeypatch.setattr("sys.argv", [*line, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        output = capsys.readouterr().out
        if more:
            assert Retention.model_validate_json(output) == plain
        else:
            for part in ("South, then North with tiny", "backward transfer", "all stages, 3 unrelated steps later"):
                assert part in output
    written = (folder / "retain-unrelated-3-limit10.json").read_text(encoding="utf-8")
    assert Retention.model_validate_json(written) == plain
    page = (folder / "retain-unrelated-3-limit10.md").read_text(encoding="utf-8")
    assert page == render_retention(plain)
    assert "nothing here is evidence" in page
    assert "| base | 0.0% | 0.0% |" in page
