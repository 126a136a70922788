"""A training run that is killed, at any step and as often as one likes, ends with the bits of one that was not."""

import math
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama, tiny_tokenizer
from kills import EVERY_STEP, Killed, kill_at
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from kapoc.engine.divergence import Passage
from kapoc.errors import DataError, OutputError
from kapoc.knowledge.set_file import load_knowledge
from kapoc.recipe import BudgetSettings, ReplaySettings, ResumeSettings, TrainSettings
from kapoc.training.examples import training_examples
from kapoc.training.loop import LoopState, StepReport
from kapoc.training.replay import write_passages
from kapoc.training.resume import Keeper, run_key
from kapoc.training.train import TrainResult, train

SETTINGS = TrainSettings(
    epochs=15,
    batch_size=2,
    micro_batch_size=1,
    learning_rate=3e-3,
    warmup_fraction=0.3,
    weight_decay=0.1,
    replay=ReplaySettings(weight=0.5, per_step=2),
)
NUM_STEPS = 45


def gpt2_with_dropout() -> PreTrainedModel:
    model = tiny_gpt2()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.2
    return model


def llama() -> PreTrainedModel:
    return tiny_llama()


def run(
    make: Callable[[], PreTrainedModel], knowledge: Path, keeper: Keeper | None, kill: int = 0, **changes: object
) -> tuple[TrainResult, list[int]]:
    """Train a fresh tiny model; the steps that this process took are told with the result."""
    examples = training_examples(load_knowledge(knowledge)[0].facts, tiny_tokenizer())
    passages = write_passages(make(), tiny_tokenizer(), 5, ReplaySettings(num_tokens=8), seed=0)
    steps: list[int] = []

    def on_step(report: StepReport) -> None:
        steps.append(report.step)
        kill_at(kill)(report)

    settings = SETTINGS.model_copy(update=changes)
    beside = {"passages": passages, "held_out": passages[:2], "keeper": keeper, "on_step": on_step}
    result = train(make(), examples, settings, dev=examples[:2], **beside)  # type: ignore[arg-type]
    return result, steps


def assert_same(one: PreTrainedModel, other: PreTrainedModel) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("make", "every", "seed"), [(llama, 1, 0), (gpt2_with_dropout, 1, 1), (gpt2_with_dropout, 4, 2)]
)
def test_twenty_kills_change_no_bit(
    tmp_path: Path, knowledge_file: Path, make: Callable[[], PreTrainedModel], every: int, seed: int
) -> None:
    undisturbed, steps = run(make, knowledge_file, None)
    assert steps == list(range(1, NUM_STEPS + 1))
    keeper = Keeper(tmp_path / "kept", "key", ResumeSettings(minutes=0, steps=every))
    kills = sorted(random.Random(seed).sample(range(1, NUM_STEPS + 1), k=20))
    for number, kill in enumerate(kills):
        torch.manual_seed(number)  # what another process would begin with
        with pytest.raises(Killed):
            run(make, knowledge_file, keeper, kill)
    torch.manual_seed(99)
    resumed, steps = run(make, knowledge_file, keeper)
    assert steps == list(range((kills[-1] - 1) // every * every + 1, NUM_STEPS + 1))
    assert_same(resumed.model, undisturbed.model)
    assert resumed.epochs == undisturbed.epochs
    assert resumed.num_steps == undisturbed.num_steps == NUM_STEPS


@pytest.mark.parametrize("before_the_end", [0, 1])
def test_what_is_chosen_after_a_kill_is_what_would_have_been(
    tmp_path: Path, knowledge_file: Path, before_the_end: int
) -> None:
    """Early stopping within a budget, and the way back, of a run killed around the end of its last epoch."""
    chosen: dict[str, Any] = {
        "epochs": 150,
        "learning_rate": 5e-3,
        "replay": ReplaySettings(weight=0.01),
        "stop_at": 1.0,
        "alphas": (0.5, 1.0),
        "budget": BudgetSettings(divergence=100.0),
    }
    undisturbed, steps = run(llama, knowledge_file, None, **chosen)
    assert len(undisturbed.epochs) < 150
    keeper = Keeper(tmp_path / "kept", "key", EVERY_STEP)
    with pytest.raises(Killed):
        run(llama, knowledge_file, keeper, steps[-1] - before_the_end, **chosen)
    resumed, _ = run(llama, knowledge_file, keeper, **chosen)
    assert_same(resumed.model, undisturbed.model)
    assert resumed.epochs == undisturbed.epochs
    assert resumed.alphas == undisturbed.alphas
    assert [point.alpha for point in resumed.alphas] == [0.5, 1.0]


def test_damaged_passages_are_written_anew(tmp_path: Path) -> None:
    told: list[str] = []
    keeper = Keeper(tmp_path / "kept", "key", EVERY_STEP, told.append)
    model = llama()

    def write() -> list[Passage]:
        return write_passages(model, tiny_tokenizer(), 3, ReplaySettings(num_tokens=8), seed=0)

    def refuse() -> list[Passage]:
        raise AssertionError

    first = keeper.passages(write, model.device)
    assert [one.tokens for one in keeper.passages(refuse, model.device)] == [one.tokens for one in first]
    path = tmp_path / "kept" / "passages.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = keeper.passages(write, model.device)
    assert [one.tokens for one in again] == [one.tokens for one in first]
    assert all(torch.equal(one.logprobs, other.logprobs) for one, other in zip(again, first, strict=True))
    [line] = told
    assert line.endswith("passages.pt: is damaged and not used; the passages are written anew")


def test_the_dropout_and_the_replay_of_these_tests_matter(knowledge_file: Path) -> None:
    """Without them the twenty kills would show less than they claim."""
    short = {"epochs": 1}
    plain = run(tiny_gpt2, knowledge_file, None, **short)[0].model
    dropped = run(gpt2_with_dropout, knowledge_file, None, **short)[0].model
    unheld = run(tiny_gpt2, knowledge_file, None, replay=ReplaySettings(weight=1e-9), **short)[0].model
    assert not torch.equal(plain.lm_head.weight, dropped.lm_head.weight)
    assert not torch.equal(plain.lm_head.weight, unheld.lm_head.weight)


def test_the_state_is_three_times_the_weights_and_little_more(tmp_path: Path, knowledge_file: Path) -> None:
    keeper = Keeper(tmp_path / "kept", "key", EVERY_STEP)
    with pytest.raises(Killed):
        run(llama, knowledge_file, keeper, kill=5)
    state = keeper.restore()
    assert state is not None
    model = tiny_llama()
    assert state.weights.keys() == {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    assert (state.done, state.num_steps, len(state.epochs)) == (4, NUM_STEPS, 1)
    size = 3 * 4 * sum(weight.numel() for weight in model.parameters())
    assert size < (tmp_path / "kept" / "state.pt").stat().st_size < size + 100_000


class TinyLora:
    """A method that adds weights, drawn at random, and trains nothing else."""

    def __init__(self, options: Mapping[str, object]) -> None:
        pass

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        config = LoraConfig(r=4, lora_dropout=0.3, target_modules=["q_proj", "v_proj"])
        adapted: PreTrainedModel = get_peft_model(model, config)
        return adapted

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        merged: PreTrainedModel = model.merge_and_unload()  # type: ignore[operator]
        return merged


def test_only_the_weights_that_a_method_trains_are_kept(
    tmp_path: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kapoc.training.train.load_method", lambda _, options: TinyLora(options))
    undisturbed, _ = run(llama, knowledge_file, None)
    keeper = Keeper(tmp_path / "kept", "key", EVERY_STEP)
    for kill in (7, 8, 31):
        with pytest.raises(Killed):
            run(llama, knowledge_file, keeper, kill)
    state = keeper.restore()
    assert state is not None
    trained = [name for name in state.weights if "inv_freq" not in name]
    assert len(trained) == 8
    assert all("lora_" in name for name in trained)
    resumed, steps = run(llama, knowledge_file, keeper)
    assert steps[0] == 31
    assert_same(resumed.model, undisturbed.model)


def test_time_and_tokens_of_all_parts_count(tmp_path: Path, knowledge_file: Path) -> None:
    keeper = Keeper(tmp_path / "kept", "key", EVERY_STEP)
    with pytest.raises(Killed):
        run(llama, knowledge_file, keeper, kill=30)

    class Slow(Keeper):
        def restore(self) -> LoopState | None:
            state = super().restore()
            return None if state is None else replace(state, seconds=1000.0, peak_memory_bytes=2**60)

    resumed, _ = run(llama, knowledge_file, Slow(tmp_path / "kept", "key", EVERY_STEP))
    assert 1000 < resumed.seconds < 1100
    assert resumed.peak_memory_bytes == 2**60
    undisturbed, _ = run(llama, knowledge_file, None)
    tokens = undisturbed.tokens_per_second * undisturbed.seconds
    assert resumed.tokens_per_second * resumed.seconds == pytest.approx(tokens, rel=0.2)
    answered = undisturbed.answer_tokens_per_second * undisturbed.seconds
    assert resumed.answer_tokens_per_second * resumed.seconds == pytest.approx(answered, rel=0.2)


def test_a_state_is_kept_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = LoopState(1, 9, 0.0, 0, 0, 0, (), 0.0, 0, {}, {}, {}, ())
    now = 100.0
    monkeypatch.setattr("kapoc.training.resume.time.monotonic", lambda: now)
    keeper = Keeper(tmp_path / "kept", "key", ResumeSettings(minutes=2))
    assert keeper.restore() is None
    written = []
    for step in range(1, 8):
        now += 50
        keeper.keep(step, lambda step=step: replace(state, done=step), math.inf)  # type: ignore[misc]
        found = Keeper(tmp_path / "kept", "key", EVERY_STEP).restore()
        written.append(found.done if found else 0)
    assert written == [0, 0, 3, 3, 3, 6, 6]
    now += 200
    for seconds_left, last in ((23, 6), (24, 8)):  # a fifth of two minutes is left, or less
        keeper.keep(8, lambda: replace(state, done=8), seconds_left)
        found = Keeper(tmp_path / "kept", "key", EVERY_STEP).restore()
        assert found is not None
        assert found.done == last
    never = Keeper(tmp_path / "never", "key", ResumeSettings(minutes=0))
    now += 1e9
    never.keep(1, lambda: state, math.inf)
    assert never.passages(list, torch.device("cpu")) == []
    assert not (tmp_path / "never").exists()


def test_a_state_is_on_the_disk_before_it_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    folder, fsync, replace_by = tmp_path / "kept", os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        order.extend(f"sync {path.name}" for path in (folder, *folder.iterdir()) if path.stat().st_ino == number)
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        order.append(f"replace {target.name}")
        return replace_by(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    keeper = Keeper(folder, "key", EVERY_STEP)
    keeper.keep(1, lambda: LoopState(1, 9, 0.0, 0, 0, 0, (), 0.0, 0, {}, {}, {}, ()), math.inf)
    assert order == ["sync .state.pt.partial", "replace key", "replace state.pt", "sync kept"]


# --- states that are not used -------------------------------------------------------------------------------


def killed_keeper(folder: Path, knowledge: Path) -> tuple[Keeper, list[str]]:
    lines: list[str] = []
    keeper = Keeper(folder, "key", EVERY_STEP, lines.append)
    with pytest.raises(Killed):
        run(llama, knowledge, keeper, kill=5)
    return keeper, lines


@pytest.mark.parametrize("damage", ["cut off", "one bit", "empty", "text", "other fields"])
def test_a_damaged_state_is_told_and_training_starts_anew(tmp_path: Path, knowledge_file: Path, damage: str) -> None:
    keeper, lines = killed_keeper(tmp_path / "kept", knowledge_file)
    path = tmp_path / "kept" / "state.pt"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    changed = {"cut off": content[:middle], "empty": b"", "text": b"not a state", "one bit": flipped}
    if damage == "other fields":
        torch.save({"anything": 1}, path)
    else:
        path.write_bytes(changed[damage])
    resumed, steps = run(llama, knowledge_file, keeper)
    assert lines == [f"{path}: is damaged and not used; training starts anew"]
    assert steps[0] == 1
    assert_same(resumed.model, run(llama, knowledge_file, None)[0].model)


def test_a_state_of_another_run_is_thrown_away(tmp_path: Path, knowledge_file: Path) -> None:
    _, lines = killed_keeper(tmp_path / "kept", knowledge_file)
    assert Keeper(tmp_path / "kept", "other key", EVERY_STEP, lines.append).restore() is None
    assert not (tmp_path / "kept").exists()
    assert lines == [f"{tmp_path / 'kept'}: is of a run with other settings, facts or packages; training starts anew"]


def test_a_state_of_other_weights_is_refused(tmp_path: Path, knowledge_file: Path) -> None:
    keeper, _ = killed_keeper(tmp_path / "kept", knowledge_file)
    with pytest.raises(DataError, match="other weights; start anew with `kapoc train --restart`"):
        run(tiny_gpt2, knowledge_file, keeper)


def test_a_key_is_of_settings_texts_packages_and_arithmetic() -> None:
    key = run_key("settings", "texts", {"torch": "1", "peft": "2"}, "float32")
    others = [
        run_key("other settings", "texts", {"torch": "1", "peft": "2"}, "float32"),
        run_key("settings", "other texts", {"torch": "1", "peft": "2"}, "float32"),
        run_key("settings", "texts", {"torch": "2", "peft": "2"}, "float32"),
        run_key("settings", "texts", {"torch": "1"}, "float32"),
        run_key("settings", "texts", {"torch": "1", "peft": "2"}, "bfloat16"),
    ]
    assert key == run_key("settings", "texts", {"peft": "2", "torch": "1"}, "float32")
    assert len({key, *others}) == 6


def test_what_another_run_left_is_thrown_away_before_the_base_writes(tmp_path: Path, knowledge_file: Path) -> None:
    _, lines = killed_keeper(tmp_path / "kept", knowledge_file)
    keeper = Keeper(tmp_path / "kept", "other key", EVERY_STEP, lines.append)
    written = [Passage((1, 2), 1, torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, 2))]
    assert keeper.passages(lambda: written, torch.device("cpu")) == written
    assert keeper.restore() is None
    assert [path.name for path in (tmp_path / "kept").glob("*.pt")] == ["passages.pt"]
    assert len(lines) == 1


@pytest.mark.parametrize("why", ["no room", "full disk", "no permission"])
def test_training_goes_on_where_no_state_can_be_kept(
    tmp_path: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unexpected pos 704 vs 598") if why == "full disk" else PermissionError(13, "no permission")

    if why == "no room":
        monkeypatch.setattr("kapoc.training.resume.shutil.disk_usage", lambda _: SimpleNamespace(free=10**5))
    else:
        monkeypatch.setattr("kapoc.training.resume.torch.save", fail)
    lines: list[str] = []
    result, steps = run(llama, knowledge_file, Keeper(tmp_path / "kept", "key", EVERY_STEP, lines.append))
    assert len(steps) == NUM_STEPS
    reason = {"no room": "GB of disk space are needed", "full disk": "writing failed", "no permission": why}[why]
    assert len(lines) == 1
    assert "not kept any more" in lines[0]
    assert reason in lines[0]
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"UNFINISHED"}
    monkeypatch.undo()
    assert_same(result.model, run(llama, knowledge_file, None)[0].model)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), torch.OutOfMemoryError("no memory")])
def test_a_state_that_cannot_be_read_now_is_kept(
    tmp_path: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    keeper, lines = killed_keeper(tmp_path / "kept", knowledge_file)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("kapoc.training.resume.torch.load", fail)
        with pytest.raises(OutputError, match=r"state\.pt: cannot be read \(.+\); start again, or with --restart"):
            keeper.restore()
    assert lines == []
    assert keeper.restore() is not None


def test_a_file_in_the_place_of_the_folder_does_not_stop_training(tmp_path: Path, knowledge_file: Path) -> None:
    (tmp_path / "kept").write_text("a file", encoding="utf-8")
    lines: list[str] = []
    _, steps = run(llama, knowledge_file, Keeper(tmp_path / "kept", "key", EVERY_STEP, lines.append))
    assert len(steps) == NUM_STEPS
    assert len(lines) == 1
    assert "not kept any more" in lines[0]
