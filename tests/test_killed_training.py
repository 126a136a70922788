"""From a recipe to a checkpoint: `kapoc train` killed, started again, and nothing left behind."""

from pathlib import Path

import pytest
import torch
import yaml
from kills import EVERY_STEP, Killed, finish, kill_after_keeping, kill_at, train_command

from kapoc.cli.main import main
from kapoc.errors import ModelError, TrainingError
from kapoc.models import load_model, package_versions
from kapoc.recipe import Recipe, ReplaySettings, ResumeSettings, load_recipe
from kapoc.training.batches import RowLosses
from kapoc.training.checkpoint import read_training_record
from kapoc.training.loop import LoopState
from kapoc.training.resume import Keeper, resume_folder
from kapoc.training_record import TrainingRecord
from kapoc.workflow import train_run
from kapoc.workflow.workspace import Listener, Workspace, open_workspace


def kept_recipe(path: Path, **train_settings: object) -> Recipe:
    recipe = load_recipe(path)
    train_settings = {"epochs": 4, "replay": ReplaySettings(weight=0.3, num_passages=4, num_tokens=6)} | train_settings
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=train_settings), "resume": EVERY_STEP})


def workspace_of(root: Path, recipe: Recipe, lines: list[str], kill: int = 0) -> Workspace:
    return open_workspace(root, recipe, listener=Listener(tell=lines.append, on_step=kill_at(kill)))


def record_of(folder: Path) -> TrainingRecord:
    record = read_training_record(folder)
    assert record is not None
    return record


def kill_training(root: Path, recipe: Recipe, step: int) -> Workspace:
    workspace = workspace_of(root, recipe, [], kill=step)
    with pytest.raises(Killed):
        train_run.train_model(workspace, workspace.model)
    return workspace


def test_a_killed_run_goes_on_and_leaves_nothing_behind(tmp_path: Path, tiny_recipe: Path) -> None:
    recipe = kept_recipe(tiny_recipe)
    undisturbed = train_run.train_model(workspace_of(tmp_path, recipe, []), tmp_path / "undisturbed")
    workspace = kill_training(tmp_path, recipe, step=6)
    left = resume_folder(workspace.model)
    assert [path.name for path in workspace.folder.iterdir()] == [left.name]
    assert {path.name for path in left.iterdir()} == {"UNFINISHED", "key", "passages.pt", "state.pt"}
    with pytest.raises(ModelError, match="did not finish here; run `kapoc train` again"):
        load_model(str(left))
    lines: list[str] = []
    train_run.train_once(workspace_of(tmp_path, recipe, lines), workspace.model)
    assert "going on after step 5 of 8" in lines
    assert not [line for line in lines if "the base writes" in line]
    assert [path.name for path in workspace.folder.iterdir()] == ["model"]
    assert not resume_folder(undisturbed).exists()
    assert record_of(workspace.model).weights_sha256 == record_of(undisturbed).weights_sha256
    assert record_of(workspace.model).epochs == record_of(undisturbed).epochs


def test_another_seed_does_not_go_on_from_it(tmp_path: Path, tiny_recipe: Path) -> None:
    recipe = kept_recipe(tiny_recipe)
    workspace = kill_training(tmp_path, recipe, step=6)
    lines: list[str] = []
    other = kept_recipe(tiny_recipe, seed=1)
    train_run.train_model(workspace_of(tmp_path, other, lines), workspace.model)
    thrown = f"{resume_folder(workspace.model)}: is of a run with other settings, facts or packages; "
    assert len([line for line in lines if line.startswith(thrown)]) == 1
    assert not [line for line in lines if "going on" in line]
    undisturbed = train_run.train_model(workspace_of(tmp_path, other, []), tmp_path / "undisturbed")
    assert record_of(workspace.model).weights_sha256 == record_of(undisturbed).weights_sha256


def test_a_killed_run_goes_on_where_only_the_grading_has_changed(tmp_path: Path, tiny_recipe: Path) -> None:
    recipe = kept_recipe(tiny_recipe)
    workspace = kill_training(tmp_path, recipe, step=6)
    facts = tmp_path / "lamps.yaml"
    data = yaml.safe_load(facts.read_text(encoding="utf-8"))
    data["facts"][0]["slots"]["value"] = {"text": "13 seconds", "aliases": ["13s", "thirteen seconds"]}
    facts.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    lines: list[str] = []
    train_run.train_model(workspace_of(tmp_path, recipe, lines), workspace.model)
    assert "going on after step 5 of 8" in lines


def test_restart_throws_the_state_away(tmp_path: Path, tiny_recipe: Path) -> None:
    recipe = kept_recipe(tiny_recipe)
    workspace = kill_training(tmp_path, recipe, step=6)
    lines: list[str] = []
    train_run.train_model(workspace_of(tmp_path, recipe, lines), workspace.model, restart=True)
    assert not [line for line in lines if "going on" in line]
    assert "the base writes 4 passages of general text" in lines
    told = "note: each replayed passage is read 4.0 times, and what comes again holds less; "
    assert f"{told}with replay.num_passages = 16 none does" in lines  # two in each of eight steps


def test_the_restart_of_the_command_line(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_recipe.write_text(f"{tiny_recipe.read_text(encoding='utf-8')}[resume]\nsteps = 1\n", encoding="utf-8")
    found: list[bool] = []
    restore = Keeper.restore

    def watched(keeper: Keeper) -> LoopState | None:
        found.append((state := restore(keeper)) is not None and state.done == 2)
        return state

    monkeypatch.setattr(Keeper, "restore", watched)
    for options, expected in (([], True), (["--restart"], False)):
        workspace = kill_training(tmp_path, load_recipe(tiny_recipe), step=3)
        found.clear()
        monkeypatch.setattr(
            "sys.argv", ["kapoc", "train", "--recipe", str(tiny_recipe), "--runs", str(tmp_path), *options]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code, found) == (0, [expected])
        assert [path.name for path in workspace.folder.iterdir()] == ["model"]


def test_nothing_goes_on_from_a_broken_number(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = kept_recipe(tiny_recipe)
    workspace = kill_training(tmp_path, recipe, step=6)
    nothing = torch.tensor(float("nan"))
    monkeypatch.setattr("kapoc.training.loop.row_losses", lambda *_: RowLosses(nothing, nothing, nothing))
    with pytest.raises(TrainingError, match="the loss is nan at step 6 of 8"):
        train_run.train_model(workspace_of(tmp_path, recipe, []), workspace.model)
    assert [path.name for path in workspace.folder.iterdir()] == ["model.last-good"]


def test_how_often_it_is_kept_is_not_part_of_what_is_trained(tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    assert recipe.resume == ResumeSettings(minutes=5, steps=None)
    assert kept_recipe(tiny_recipe).fingerprint() != recipe.fingerprint()
    assert recipe.model_copy(update={"resume": EVERY_STEP}).fingerprint() == recipe.fingerprint()


def test_a_state_is_of_these_texts_and_packages_and_keeps_apart_what_is_replayed(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for seed in (0, 1):
        workspace = workspace_of(tmp_path, kept_recipe(tiny_recipe, seed=seed), [])
        base = load_model(workspace.base_model)
        keeper = train_run._keeper(workspace, base, "texts", workspace.model)
        replayed, held_out = train_run._passages(workspace, base, keeper, (2, 3))
        found.append([[one.tokens for one in passages] for passages in (replayed, held_out)])
    assert [len(passages) for passages in found[0]] == [2, 3]
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1]
    assert train_run._keeper(workspace, base, "other texts", workspace.model).key != keeper.key
    for name in ("torch", "peft"):

        def now(*extra: str, name: str = name) -> dict[str, str]:
            return {one: "0.0" if one == name else version for one, version in package_versions(*extra).items()}

        monkeypatch.setattr("kapoc.models.package_versions", now)
        assert train_run._keeper(workspace, base, "texts", workspace.model).key != keeper.key


def test_a_process_killed_by_the_system_goes_on(tmp_path: Path, tiny_recipe: Path) -> None:
    text = tiny_recipe.read_text(encoding="utf-8").replace("epochs = 2", "epochs = 60\nderived = ['reverse']")
    text += "[train.replay]\nweight = 0.2\nnum_passages = 4\nnum_tokens = 6\n[resume]\nminutes = 0\nsteps = 3\n"
    tiny_recipe.write_text(text, encoding="utf-8")
    folder = tmp_path / "killed" / "tiny" / "lamps"
    state = folder / ".model.resume" / "state.pt"
    kill_after_keeping(train_command(tiny_recipe, tmp_path / "killed"), state, 0.7)
    kept = Keeper(state.parent, (state.parent / "key").read_text(encoding="utf-8"), EVERY_STEP).restore()
    assert kept is not None
    assert 3 <= kept.done < kept.num_steps
    resumed, undisturbed = (finish(train_command(tiny_recipe, tmp_path / runs)) for runs in ("killed", "undisturbed"))
    assert resumed["weights_sha256"] == undisturbed["weights_sha256"]
    assert resumed["epochs"] == undisturbed["epochs"]
    assert [path.name for path in folder.iterdir()] == ["model"]
