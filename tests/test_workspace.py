"""Where models and runs are found, and what is told while they are made."""

import copy
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import run_kapoc, small_set, tiny_llama, tiny_tokenizer, write_set
from results import make_items, make_run, nothing
from rich.console import Console

from kapoc.errors import ModelError
from kapoc.knowledge.set_file import load_knowledge, load_source
from kapoc.measuring.task_list import load_tasks
from kapoc.models import decoding_sha256, load_model
from kapoc.recipe import Recipe, load_recipe
from kapoc.record import Run, load_run, save_run
from kapoc.training.loop import StepReport
from kapoc.training.resume import resume_folder
from kapoc.training_record import TRAINING_FILE
from kapoc.workflow import calibrate
from kapoc.workflow.bench_run import bench_once
from kapoc.workflow.current import (
    context_runs,
    current_run,
    fingerprint,
    has_current_model,
    markers_of,
    run_for_another_recipe,
    settings_sha256,
    texts_of,
    texts_sha256,
)
from kapoc.workflow.progress import TrainingProgress
from kapoc.workflow.train_run import train_once
from kapoc.workflow.workspace import Listener, Rehearsal, Workspace, open_workspace


def test_base_and_trained_are_names_everywhere(tmp_path: Path, tiny_recipe: Path) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    assert workspace.place_of("base") == workspace.recipe.model
    assert workspace.place_of("some/folder") == "some/folder"
    with pytest.raises(ModelError, match="no trained model here; make one with `kapoc train`"):
        workspace.place_of("trained")
    workspace.model.mkdir(parents=True)
    (workspace.model / TRAINING_FILE).touch()
    assert workspace.place_of("trained") == str(workspace.model)


def test_trained_has_one_base(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = run_kapoc(monkeypatch, "bench", "--model", "trained", "--base", "base", "--recipe", str(tiny_recipe))
    assert code == 2
    assert "--base: `trained` is held against its recipe's model" in capsys.readouterr().err


def test_the_base_of_a_model_may_be_called_base(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for model in (tiny_llama(1), tiny_tokenizer()):
        model.save_pretrained(tmp_path / "tuned")
    asked = ("bench", "--model", "tuned", "--base", "base", "--recipe", str(tiny_recipe), "--limit", "1")
    assert run_kapoc(monkeypatch, *asked) == 0
    [place] = (tmp_path / "runs").rglob("run.json")
    run = load_run(place.parent)
    assert run.settings.base_sha256 == load_model(load_recipe(tiny_recipe).model).identity.weights_sha256
    assert all(item.divergence > 1e-4 for item in run.items if item.divergence is not None)
    assert any(item.divergence is not None for item in run.items)


def test_a_run_that_cannot_be_read_is_told_and_measured_again(tmp_path: Path, tiny_recipe: Path) -> None:
    told: list[str] = []
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe), listener=Listener(tell=told.append))
    folder = workspace.run("base")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{", encoding="utf-8")
    assert current_run(workspace, load_model(workspace.recipe.model), folder) is None
    [line] = told
    assert line.startswith(str(folder / "run.json"))
    assert line.endswith("; measured again")


def test_the_base_is_measured_once_for_all_recipes_and_seeds(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("bench", "--model", "trained", "--recipe", str(tiny_recipe), "--epochs", "1", "--limit", "1")

    def told(*more: str) -> tuple[bool, bool]:
        """Whether the base was said to be measured, and to have been."""
        assert run_kapoc(monkeypatch, *asked, *more) == 0
        model, text = load_recipe(tiny_recipe).model, capsys.readouterr().err
        return f"measuring {model} on" in text, f"{model} was measured already, and is not again: runs/" in text

    assert told() == (True, False)
    assert told("--seed", "1") == (False, True)
    assert told("--seed", "1", "--limit", "1") == (False, False)  # its own is there now
    assert told("--seed", "2", "--limit", "2") == (True, False)
    runs = [load_run(place.parent) for place in (tmp_path / "runs").rglob("base-limit1/run.json")]
    assert len(runs) == 2
    assert runs[0] == runs[1]


def test_only_what_would_be_measured_here_is_taken_from_another_recipe(tmp_path: Path, tiny_recipe: Path) -> None:
    told: list[str] = []
    recipe = load_recipe(tiny_recipe)
    first = open_workspace(tmp_path, recipe, limit=1)
    loaded, run = load_model(recipe.model), bench_once(first, recipe.model, first.run("base"))
    other = recipe.model_copy(update={"name": "other"})
    second = open_workspace(tmp_path, other, limit=1, listener=Listener(tell=told.append))
    assert run_for_another_recipe(second, loaded) == (run, first.run("base"))
    assert run_for_another_recipe(first, loaded) is None
    assert run_for_another_recipe(replace(second, batch_size=3), loaded) is None
    slow = other.model_copy(update={"bench": other.bench.model_copy(update={"batch_size": 3})})
    assert run_for_another_recipe(replace(second, recipe=slow), loaded) is None
    (first.run("base") / "run.json").write_text("{", encoding="utf-8")
    assert run_for_another_recipe(second, loaded) is None
    assert told == []


def test_a_run_is_current_only_while_nothing_of_it_has_changed(tmp_path: Path, tiny_recipe: Path) -> None:
    prompts = tmp_path / "near.txt"
    prompts.write_text("What is a lamp for?\n", encoding="utf-8")
    own, facts = tmp_path / "prose.jsonl", tmp_path / "lamps.yaml"
    own.write_text('{"text": "A lantern stood there."}\n', encoding="utf-8")

    def opened() -> Workspace:
        asked: dict[str, Any] = {"general": [str(own)], "off_topic": [str(prompts)], "context": "oracle"}
        return open_workspace(tmp_path, load_recipe(tiny_recipe), **asked, batch_size=64, limit=1)

    workspace = opened()
    loaded, folder = load_model(workspace.recipe.model), workspace.run("base")
    run = bench_once(workspace, workspace.recipe.model, folder)
    assert current_run(workspace, loaded, folder) == run

    def changed(**settings: Any) -> Run:
        return run.model_copy(update={"settings": run.settings.model_copy(update=settings)})

    model = run.model.model_copy(update={"dtype": "float16"}), run.model.model_copy(update={"weights_sha256": "9" * 64})
    tasks = run.data.model_copy(update={"tasks": run.data.tasks | {"kapoc_seen": 0.5}})
    for other in (
        *(run.model_copy(update={"model": one}) for one in model),
        run.model_copy(update={"versions": run.versions | {"torch": "1.0"}}),
        run.model_copy(update={"data": tasks}),
        changed(chat_template_sha256="9" * 64),
        changed(batch_size=1),
        changed(limit=None),
        changed(device="cuda"),
        changed(base_sha256="9" * 64),
        changed(decoding_sha256="9" * 64),
    ):
        save_run(other, folder)
        assert current_run(workspace, loaded, folder) is None
    save_run(run, folder)
    assert current_run(workspace, loaded, folder) is not None
    prompts.write_text("What is a lamp shade for?\n", encoding="utf-8")
    assert current_run(workspace, loaded, folder) is None
    prompts.write_text("What is a lamp for?\n", encoding="utf-8")
    text = facts.read_text(encoding="utf-8")
    for newer in (f"# a comment\n{text}", text.replace("amber lane", "amber row")):
        facts.write_text(newer, encoding="utf-8")
        assert current_run(opened(), loaded, folder) is None


def test_a_checkpoint_is_current_only_for_these_facts_this_base_and_these_settings(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    facts, recipe = tmp_path / "lamps.yaml", load_recipe(tiny_recipe)
    text = facts.read_text(encoding="utf-8")
    workspace = open_workspace(tmp_path, recipe)
    base = load_model(recipe.model)
    train_once(workspace, workspace.model)
    assert has_current_model(workspace, base, workspace.model)
    facts.write_text(text.replace("set it to 13 seconds", "put it to 13 seconds"), encoding="utf-8")
    assert not has_current_model(open_workspace(tmp_path, recipe), base, workspace.model)
    facts.write_text(text, encoding="utf-8")
    assert has_current_model(open_workspace(tmp_path, recipe), base, workspace.model)
    weights = base.identity.model_copy(update={"weights_sha256": "9" * 64})
    assert not has_current_model(workspace, replace(base, identity=weights), workspace.model)
    assert not has_current_model(replace(workspace, recipe=recipe.with_train(epochs=3)), base, workspace.model)
    template = base.tokenizer.chat_template
    base.tokenizer.chat_template += " "
    assert not has_current_model(workspace, base, workspace.model)
    base.tokenizer.chat_template = template
    assert has_current_model(workspace, base, workspace.model)
    base.tokenizer.add_tokens(["amber lane"])
    assert not has_current_model(workspace, base, workspace.model)


def test_a_checkpoint_depends_on_what_is_rehearsed_and_on_what_names_are_not_to_be_invented(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    recipe = load_recipe(tiny_recipe)
    base, workspace = load_model(recipe.model), open_workspace(tmp_path, recipe)
    text = yaml.safe_dump({**small_set(), "name": "doors"}).replace("ZX-", "QX-")

    def beside(text: str) -> Any:
        (tmp_path / "doors.yaml").write_text(text, encoding="utf-8")
        return load_source(tmp_path / "doors.yaml")

    doors, said = beside(text), beside(text.replace("set it to 13", "unlike ZX-12, set it to 13"))

    def made(one: Workspace) -> str:
        return fingerprint(one, base)

    plain = made(workspace)
    rehearsing = [(doors, 0), (doors, 1), (doors, 2), (said, 1)]
    prints = [made(replace(workspace, rehearsal=Rehearsal((source,), number))) for source, number in rehearsing]
    assert prints[0] == plain
    assert len(set(prints)) == 4
    assert made(replace(workspace, elsewhere=(doors,))) == plain
    inventing = replace(workspace, recipe=recipe.with_train(contrast=1.0))
    assert len({made(inventing), *(made(replace(inventing, elsewhere=(source,))) for source in (doors, said))}) == 3
    before = settings_sha256(workspace, base)
    torch.nn.Module.to(base.model, "meta")
    assert settings_sha256(workspace, base) != before


def test_training_is_told_of_the_sets_beside_it(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = load_source(write_set(tmp_path / "doors.yaml", {**small_set(), "name": "doors"}))
    recipe = load_recipe(tiny_recipe).with_train(budget={"spillover": 0.5})
    workspace = replace(open_workspace(tmp_path, recipe), elsewhere=(doors,), rehearsal=Rehearsal((doors,), 1))
    given: dict[str, Any] = {}
    monkeypatch.setattr("kapoc.training.texts.training_texts", lambda *_, **options: given.update(options))
    texts_of(workspace, load_model(recipe.model).tokenizer)
    assert given["beside"] == [doors.knowledge]
    assert [len(epoch) for epoch in given["rehearsed"]["doors"]] == [5, 5]
    for number, sets in ((1, {"lamps", "doors"}), (0, {"ZX-11.colour"})):
        markers = markers_of(replace(workspace, rehearsal=Rehearsal((doors,), number)))
        assert markers is not None
        assert {label.split("/")[0] for label in markers.labels["amber lane"]} == sets


def test_what_training_reads_is_known_by_all_that_it_does_with_it(tmp_path: Path, tiny_recipe: Path) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe).with_train(contrast=1.0))
    tokenizer = load_model(workspace.recipe.model).tokenizer
    texts = texts_of(workspace, tokenizer)
    first, *others = texts.epochs[0]
    [contrast] = first.contrasts
    other = [
        replace(first, untrained=(0,)),
        replace(first, fact="ZX-24"),
        replace(first, form="slot"),
        replace(first, question="?"),
        replace(first, contrasts=()),
        replace(first, contrasts=(replace(contrast, answer=(2,)),)),
    ]
    epochs = [[one, *others] for one in (first, *other)] + [[*others, first]]
    prints = {texts_sha256(workspace, tokenizer, replace(texts, epochs=[epoch])) for epoch in epochs}
    assert len(prints) == len(epochs) == 8


def test_a_checkpoint_is_current_where_only_the_grading_or_a_comment_has_changed(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    facts, recipe = tmp_path / "lamps.yaml", load_recipe(tiny_recipe)
    base = load_model(recipe.model)
    workspace = open_workspace(tmp_path, recipe)
    train_once(workspace, workspace.model)
    text = facts.read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    data["description"] = "Another one."
    data["facts"][0]["slots"]["value"] = {"text": "13 seconds", "aliases": ["13s", "thirteen seconds"]}
    facts.write_text("# a comment\n" + yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    assert has_current_model(open_workspace(tmp_path, recipe), base, workspace.model)
    assert not has_current_model(open_workspace(tmp_path, recipe.with_train(seed=7)), base, workspace.model)
    for part, field in (("training", "question"), ("training", "answer"), ("probes", "question")):
        changed = copy.deepcopy(data)
        example = next(one for one in changed["facts"][0][part] if one.get("tier", "dev") == "dev")
        example[field] += " Really?"
        facts.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
        assert not has_current_model(open_workspace(tmp_path, recipe), base, workspace.model)


def test_an_alias_counts_where_training_keeps_to_a_budget_of_spillover(tmp_path: Path, tiny_recipe: Path) -> None:
    facts, recipe = tmp_path / "lamps.yaml", load_recipe(tiny_recipe)
    tokenizer = load_model(recipe.model).tokenizer
    budgeted = recipe.with_train(budget={"divergence": 1.0, "spillover": 0.5})
    data = yaml.safe_load(facts.read_text(encoding="utf-8"))

    def made(of: Recipe) -> str:
        return texts_sha256(open_workspace(tmp_path, of), tokenizer)

    before = made(recipe), made(budgeted)
    data["facts"][0]["slots"]["colour"] = {"text": data["facts"][0]["slots"]["colour"], "aliases": ["the amber stripe"]}
    facts.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    assert made(recipe) == before[0]
    later = made(budgeted)
    assert later != before[1]
    data["spillover_patterns"] = ["ZX-[0-9]+"]
    facts.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    assert made(recipe) == before[0]
    assert made(budgeted) not in {later, before[1]}


def test_models_of_like_names_have_results_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yard" / "m").mkdir(parents=True)
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path / "yard")
    workspace = open_workspace(Path("runs"), load_recipe("smollm2-135m"))
    names = ("m", "./m", "../yard/m", str(tmp_path / "yard" / "m"), "../m", str(tmp_path / "m"), "org/m")
    found = [workspace.run_of(name).parent.name for name in names]
    elsewhere = "--".join(("", *(tmp_path / "m").parts[1:]))
    assert found == ["m", "m", "m", "m", elsewhere, elsewhere, "org--m"]


def test_a_stale_run_with_knowledge_in_its_prompts_is_left_out(tmp_path: Path, tiny_recipe: Path) -> None:
    told: list[str] = []
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe), listener=Listener(tell=told.append))
    before = make_run(make_items(nothing))
    newer = before.data.model_copy(update={"tasks": dict.fromkeys(before.data.tasks, 99.0)})
    context = before.settings.model_copy(update={"context": "oracle"})
    folder = replace(workspace, context="oracle").run("base")
    save_run(before.model_copy(update={"settings": context}), folder)
    assert context_runs(workspace, before).keys() == {"oracle"}
    assert context_runs(workspace, before.model_copy(update={"data": newer})) == {}
    [line] = told
    assert line.startswith(f"{folder}: the runs differ in task versions")
    assert line.endswith("; left out")
    other = before.model.model_copy(update={"weights_sha256": "9" * 64})
    for one in ({"model": other}, {"settings": context}):
        assert context_runs(workspace, before.model_copy(update=one)) == {}


def test_the_same_sets_are_the_same_measurement_in_any_order(tmp_path: Path, tiny_recipe: Path) -> None:
    other = {**small_set(), "name": "doors"}
    paths = [str(tmp_path / "lamps.yaml"), str(write_set(tmp_path / "a.yaml", other))]
    one, two = (open_workspace(tmp_path, load_recipe(tiny_recipe), knowledge=order) for order in (paths, paths[::-1]))
    assert one.sources == two.sources
    assert (one.folder, one.name) == (two.folder, "doors+lamps")
    assert one.knowledge == tuple(reversed(paths))


def test_a_tokenizer_is_the_same_whatever_its_last_caller_set(tiny_recipe: Path) -> None:
    loaded = load_model(load_recipe(tiny_recipe).model)
    before = decoding_sha256(loaded.model, loaded.tokenizer)
    loaded.tokenizer(["a lamp", "the lamp of a lane"], padding=True, truncation=True, max_length=3)
    assert decoding_sha256(loaded.model, loaded.tokenizer) == before
    loaded.model.generation_config.repetition_penalty = 1.3
    assert decoding_sha256(loaded.model, loaded.tokenizer) != before


def test_a_checkpoint_of_other_packages_is_used_and_told(tmp_path: Path, tiny_recipe: Path) -> None:
    told: list[str] = []
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe), listener=Listener(tell=told.append))
    train_once(workspace, workspace.model)
    left = resume_folder(workspace.model)  # as a kill leaves it when the model is in its place already
    left.mkdir()
    (left / "state.pt").touch()
    train_once(workspace, workspace.model)
    assert not left.exists()
    assert not [line for line in told if "other packages" in line]
    path = workspace.model / TRAINING_FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'"torch": "{torch.__version__}"', '"torch": "1.0"'), encoding="utf-8")
    train_once(workspace, workspace.model)
    [line] = [line for line in told if "other packages" in line]
    assert f"was trained with other packages (torch 1.0 and now {torch.__version__})" in line


def test_a_bar_goes_when_training_ends_early() -> None:
    screen = io.StringIO()
    progress = TrainingProgress(Console(file=screen, force_terminal=True, width=120))
    progress.on_step(StepReport(3, 10, 1, 0.5, None, 1e-4, 1.0, 100.0, 2**30, None))
    assert progress._bar is not None
    progress.tell("sampling answers")
    assert progress._bar is None
    assert "sampling answers" in screen.getvalue()


def test_a_plan_is_made_for_a_model_that_shares_nothing(
    llama_folder: Path, tiny_recipe: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TypeError

    monkeypatch.setattr(calibrate, "continue_prompts", refuse)
    monkeypatch.setattr(calibrate, "packing_is_exact", lambda *_: False)
    knowledge = load_knowledge(knowledge_file)[0]
    recipe, tasks = load_recipe(tiny_recipe), load_tasks([str(knowledge_file)])
    cost = calibrate.calibrate(load_model(str(llama_folder)), recipe, [knowledge], tasks)
    assert min(cost.read_tokens_per_second, cost.write_tokens_per_second, cost.train_tokens_per_second) > 0
