"""Trackers are told what training and measuring say: TensorBoard read back from disk, the others by their clients."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from conftest import run_kapoc
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kapoc.errors import DataError
from kapoc.recipe import Recipe, load_recipe
from kapoc.trackers import TrackedRun, load_tracker
from kapoc.training.loop import StepReport
from kapoc.workflow.tracking import Tracking


def only(folder: Path) -> Path:
    """The folder of the one start that was told there."""
    [found] = folder.iterdir()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a folder of event files: step and value."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.fixture
def quiet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPOC_HOME", str(tmp_path / "home"))
    return tmp_path


def test_tensorboard_holds_what_training_and_measuring_say(
    quiet_home: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tiny_recipe.read_text(encoding="utf-8")
    replayed = "[train.replay]\nweight = 1.0\nnum_passages = 2\nnum_tokens = 8\nper_step = 1\n[bench]"
    budget = "stop_at = 1.0\n[train.budget]\nnum_passages = 2\ndivergence = 9.0\n"
    text = text.replace("[bench]", f"{budget}{replayed}")
    tiny_recipe.write_text(f'{text}[track]\nwith = ["tensorboard"]\n', encoding="utf-8")
    code = run_kapoc(monkeypatch, "bench", "--model", "trained", "--recipe", tiny_recipe, "--limit", 1, "--json")
    assert code == 0
    comparison = json.loads(capsys.readouterr().out)
    results = quiet_home / "runs" / "tiny" / "lamps"
    training = json.loads((results / "model" / "training.json").read_text(encoding="utf-8"))
    told = scalars(only(results / "tensorboard"))
    steps = [step for step, _ in told["train/loss"]]
    assert steps == list(range(1, training["num_steps"] + 1))
    assert [step for step, _ in told["train/learning_rate"]] == steps == [step for step, _ in told["train/divergence"]]
    assert max(rate for _, rate in told["train/learning_rate"]) <= training["recipe"]["train"]["learning_rate"]
    for name, key in (
        ("epoch/train_loss", "train_loss"), ("epoch/dev_loss", "dev_loss"), ("epoch/dev_exact", "dev_exact"),
        ("epoch/divergence", "divergence"),
    ):  # fmt: skip
        assert [value for _, value in told[name]] == pytest.approx([epoch[key] for epoch in training["epochs"]])
        assert told[name][-1][0] == training["num_steps"]
    for tier, result in comparison["tiers"].items():
        for when in ("before", "after"):
            [(step, value)] = told[f"{when}/{tier}"]
            assert step == training["num_steps"]
            assert value == pytest.approx(result[when])
    assert told["after/divergence"][0][1] == pytest.approx(comparison["forgetting"]["divergence"])
    assert run_kapoc(monkeypatch, "bench", "--model", "trained", "--recipe", tiny_recipe, "--limit", 1) == 0
    first, again = sorted((results / "tensorboard").iterdir())
    assert scalars(first) == told
    assert {name.partition("/")[0] for name in scalars(again)} == {"before", "after"}  # nothing was left to train
    assert scalars(again)["after/seen"][0][0] == training["num_steps"]


def test_a_measurement_alone_is_told_by_task(
    quiet_home: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("bench", "--model", llama_folder, "--limit", 1, "--out", "run", "--json")
    assert run_kapoc(monkeypatch, *asked, "--track", "tensorboard") == 0
    run = json.loads(capsys.readouterr().out)
    told = scalars(only(quiet_home / "run" / "tensorboard"))
    measured = {f"{task}/{name}": score for task, of in run["scores"].items() for name, score in of.items()}
    assert {name: value for name, [(_, value)] in told.items()} == pytest.approx(measured)
    assert {step for [(step, _)] in told.values()} == {0}


class Client:
    """Stands in for the module of a tool; keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.config = SimpleNamespace(update=lambda values, **_: self.calls.append(("config", values)))
        self.utils = SimpleNamespace(
            validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)
        )

    def __getattr__(self, name: str) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            self.calls.append((name, named or list(values)) if not (values and named) else (name, (*values, named)))
            return [] if name == "search_experiments" else self

        return call


STEP = StepReport(3, 8, 1, 0.5, None, 1e-4, 2.0, 10.0, 1, None)
EXPECTED = {"train/loss": 0.5, "train/learning_rate": 1e-4, "train/gradient_norm": 2.0}


@pytest.mark.parametrize(
    ("tool", "calls"),
    [
        (
            "wandb",
            [
                ("init", {"project": "lamps", "name": "a run", "dir": "here"}),
                ("config", {"train.epochs": 2}),
                ("log", (EXPECTED, {"step": 3})),
                ("finish", []),
            ],
        ),
        (
            "trackio",
            [
                ("init", {"project": "lamps", "name": "a run"}),
                ("config", {"train.epochs": 2}),
                ("log", (EXPECTED, {"step": 3})),
                ("finish", []),
            ],
        ),
        (
            "mlflow",
            [
                ("search_experiments", {"filter_string": "name = 'lamps'"}),
                ("create_experiment", {"name": "lamps", "artifact_location": None, "tags": None}),
                ("log_params", [{"train.epochs": 2}]),
                ("log_metrics", (EXPECTED, {"step": 3})),
                ("end_run", []),
            ],
        ),
    ],
)
def test_the_other_tools_are_told_the_same(
    tool: str, calls: Sequence[tuple[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # nothing has trained yet
    monkeypatch.chdir(tmp_path)
    client = Client()
    monkeypatch.setitem(sys.modules, tool, client)
    monkeypatch.setattr("kapoc.trackers.shipped.find_spec", lambda _: object())
    tracking = Tracking({tool: load_tracker(tool, TrackedRun("lamps", "a run", Path("here")))})
    tracking.start({"train.epochs": 2})
    tracking.on_step(STEP)
    tracking.finish()
    named = [call for call in client.calls if call[0] != "start_run"]
    assert named == list(calls)
    if tool == "mlflow":
        [started] = [given for name, given in client.calls if name == "start_run"]
        assert started["run_name"] == "a run"


class Failing:
    def start(self) -> None: ...
    def store_init_configuration(self, values: dict[str, Any]) -> None: ...
    def log(self, values: dict[str, float], step: int) -> None:
        raise ConnectionError("no route to host")

    def finish(self) -> None:
        raise AssertionError("it is told nothing more")


def test_a_tracker_that_fails_is_named_once_and_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tracking = Tracking({"wandb": Failing()})
    tracking.start({})
    tracking.on_step(STEP)
    tracking.on_step(STEP)
    tracking.finish()
    assert caplog.messages == ["tracker 'wandb' failed and is told nothing more: no route to host"]


class Locked(Failing):
    """Opens, and then refuses the settings."""

    def __init__(self) -> None:
        self.finished = 0

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        raise PermissionError("no API key\nrun login")

    def finish(self) -> None:
        self.finished += 1


def test_a_tracker_that_does_not_start_is_told_in_one_line_and_closed_again() -> None:
    locked = Locked()
    with pytest.raises(DataError, match=r"^tracker 'wandb' does not start: no API key; mend it or leave it out$"):
        Tracking({"wandb": locked}).start({})
    assert locked.finished == 1


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ("tensorbord", r"kapoc: tracker 'tensorbord' is not installed; did you mean 'tensorboard'\?"),
        ("trackio", r"kapoc: tracker 'trackio': its package is not installed; pip install 'kapoc\[trackio\]'"),
    ],
)
def test_what_is_not_there_is_told_in_one_line_before_anything_is_done(
    quiet_home: Path, tiny_recipe: Path, tool: str, says: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("kapoc.trackers.shipped.find_spec", lambda _: None)
    assert run_kapoc(monkeypatch, "train", "--recipe", tiny_recipe, "--track", tool) == 2
    output = capsys.readouterr()
    assert re.fullmatch(says, output.err.strip())
    assert not (quiet_home / "runs").exists()


def test_trackers_are_no_part_of_what_determines_a_training_run(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('name = "r"\n[track]\nwith = ["tensorboard"]\nproject = "lamps"\n', encoding="utf-8")
    tracked, plain = load_recipe(path), Recipe(name="r")
    assert tracked.track.tools == ("tensorboard",)
    assert tracked.model_dump(mode="json")["track"] == {"with": ["tensorboard"], "project": "lamps"}
    assert Recipe.model_validate(tracked.model_dump()) == tracked
    assert tracked.fingerprint("a") == plain.fingerprint("a")
    assert tracked.with_trackers(["wandb"]).track.project == "lamps"
    assert plain.with_trackers([]) == plain
