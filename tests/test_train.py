"""Training teaches, stops at broken numbers, and leaves nothing half-written."""

import contextlib
import dataclasses
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import kapoc_here, tiny_llama, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from kapoc.chat import EncodedExample
from kapoc.derived.beginnings import Beginnings
from kapoc.derived.notes import nameless_note
from kapoc.errors import DataError, OutputError, TrainingError
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.set_file import load_knowledge
from kapoc.methods import load_method
from kapoc.models import load_model
from kapoc.recipe import ReplaySettings, TrainSettings, load_recipe
from kapoc.training import checkpoint
from kapoc.training.batches import PackedRow, RowLosses, pack, row_losses
from kapoc.training.checkpoint import finish_swap, read_training_record, writing
from kapoc.training.examples import derived_training_examples, training_examples
from kapoc.training.loop import StepReport, StoppedTrainingError
from kapoc.training.replay import write_passages
from kapoc.training.train import precision_on, score_examples, train
from kapoc.training_record import TRAINING_FILE
from kapoc.workflow import bench_run, train_run
from kapoc.workflow.workspace import open_workspace

FAST = TrainSettings(epochs=40, batch_size=5, micro_batch_size=2, learning_rate=5e-3, precision="float32")


def test_a_tiny_model_learns_its_facts(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    reports: list[StepReport] = []
    settings = FAST.model_copy(update={"epochs": 150})
    result = train(tiny_llama(), examples, settings, dev=examples, on_step=reports.append)
    assert result.epochs[-1].dev_exact == 1.0
    assert result.epochs[-1].train_loss < 0.1 < result.epochs[0].train_loss
    assert result.num_steps == len(reports) == 150
    assert result.num_trained_parameters == result.model.num_parameters()
    assert max(report.learning_rate for report in reports) == pytest.approx(5e-3, rel=0.05)
    assert reports[-1].learning_rate < 1e-4
    assert reports[-1].peak_memory_bytes > 0


def test_the_rate_rises_linearly_and_falls_as_a_half_cosine_to_its_end(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    reports: list[StepReport] = []
    settings = TrainSettings(epochs=8, batch_size=5, learning_rate=2e-3, warmup_fraction=0.5, final_rate_fraction=0.2)
    train(tiny_llama(), examples, settings, on_step=reports.append)
    shares = [0.2, 0.4, 0.6, 0.8, 1.0, 0.8828, 0.6, 0.3172]
    assert [report.learning_rate / 2e-3 for report in reports] == pytest.approx(shares, abs=1e-4)


@pytest.mark.parametrize("max_norm", [1e-2, 1e3])
def test_a_step_is_that_of_adamw_on_the_mean_loss_of_all_answer_tokens(knowledge_file: Path, max_norm: float) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    settings = TrainSettings(
        epochs=1, batch_size=5, micro_batch_size=2, learning_rate=1e-2, warmup_fraction=0.0, weight_decay=0.1,
        betas=(0.5, 0.6), epsilon=1e-3, max_gradient_norm=max_norm, precision="float32",
    )  # fmt: skip
    reports: list[StepReport] = []
    trained = train(tiny_llama(), examples, settings, on_step=reports.append).model
    [report] = reports
    plain = tiny_llama()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, betas=(0.5, 0.6), eps=1e-3, weight_decay=0.1)
    losses = []
    for example in examples:
        logits = plain(torch.tensor([[*example.prompt, *example.answer]])).logits[0, len(example.prompt) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(example.answer), reduction="none"))
    loss = torch.cat(losses).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
    optimizer.step()
    assert report.loss == pytest.approx(loss.item(), abs=1e-5)
    assert report.gradient_norm == pytest.approx(float(norm), rel=1e-4)
    for ours, theirs in zip(trained.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-6)


def test_the_loss_of_an_epoch_is_the_mean_over_its_answer_tokens_and_not_over_its_steps(knowledge_file: Path) -> None:
    """Of a model that hardly moves, in steps of two, two and one example, the first of which has a longer answer."""
    first, *others = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    examples = [dataclasses.replace(first, answer=first.answer * 9), *others]
    settings = TrainSettings(epochs=2, batch_size=2, micro_batch_size=2, learning_rate=1e-9, precision="float32")
    row = pack(examples)
    expected = float(row_losses(tiny_llama(), row).answers.detach()) / row.num_loss_tokens
    epochs = train(tiny_llama(), examples, settings).epochs
    assert [epoch.train_loss for epoch in epochs] == pytest.approx([expected] * 2, rel=1e-5)


def test_micro_batches_do_not_change_the_result(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    settings = FAST.model_copy(update={"epochs": 2, "batch_size": 5})
    one = train(tiny_llama(), examples, settings.model_copy(update={"micro_batch_size": 5})).model
    other = train(tiny_llama(), examples, settings.model_copy(update={"micro_batch_size": 1})).model
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(first, second, atol=2e-4)


def test_one_seed_gives_one_result_and_another_seed_another(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    settings = FAST.model_copy(update={"epochs": 1, "batch_size": 2})
    weights = [
        train(tiny_llama(), examples, settings.model_copy(update={"seed": seed})).model.lm_head.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_more_passages_a_step_than_there_are_come_again_in_the_step(
    knowledge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    passages = write_passages(tiny_llama(), tiny_tokenizer(), 1, ReplaySettings(num_tokens=4), seed=0)
    read: list[int] = []

    def recording(model: PreTrainedModel, row: PackedRow) -> RowLosses:
        read.append(row.num_written_tokens)
        return row_losses(model, row)

    monkeypatch.setattr("kapoc.training.loop.row_losses", recording)
    replay = ReplaySettings(weight=1.0, num_passages=1, num_tokens=4, per_step=5)
    settings = FAST.model_copy(update={"epochs": 1, "batch_size": len(examples), "replay": replay})
    train(tiny_llama(), examples, settings, passages=passages)
    assert sum(read) == 5 * passages[0].num_written


def test_dev_answers_are_scored_one_by_one_where_rows_of_several_would_be_read_wrongly(
    knowledge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    expected = score_examples(tiny_llama(), examples)
    sizes: list[int] = []

    def recording(row: Sequence[EncodedExample]) -> PackedRow:
        sizes.append(len(row))
        return pack(row)

    monkeypatch.setattr("kapoc.training.train.pack", recording)
    monkeypatch.setattr("kapoc.training.train.packing_is_exact", lambda *_: False)
    assert score_examples(tiny_llama(), examples) == pytest.approx(expected, abs=1e-4)
    assert sizes == [1] * len(examples)


@pytest.mark.parametrize("make", [train_run.train_model, bench_run.bench_trained])
def test_nothing_to_choose_by_is_told_before_the_base_is_loaded(
    tmp_path: Path, tiny_recipe: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]
) -> None:
    text = knowledge_file.read_text(encoding="utf-8")
    knowledge_file.write_text(text.replace("tier: dev", "tier: paraphrased"), encoding="utf-8")
    monkeypatch.setattr("kapoc.models.load_model", lambda *_, **__: pytest.fail("the base is loaded"))
    workspace = open_workspace(tmp_path / "runs", load_recipe(tiny_recipe).with_train(stop_at=1.0))
    says = "recipe 'tiny.*': train.stop_at, train.alphas: lamps has no dev paraphrases to choose by; add some, or take"
    with pytest.raises(DataError, match=says):
        make(workspace, workspace.model)


def test_a_base_in_memory_is_not_trained_into_its_own_folder(tmp_path: Path, tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    folder = Path(shutil.copytree(recipe.model, tmp_path / "base"))
    (folder / TRAINING_FILE).touch()
    workspace = open_workspace(tmp_path / "runs", recipe.model_copy(update={"model": str(folder)}))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(DataError, match="is where its own model goes, and would be overwritten"):
        train_run.train_loaded(workspace, load_model(str(folder)), folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_gradient_checkpointing_changes_memory_not_results(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    settings = FAST.model_copy(update={"epochs": 1})
    plain = train(tiny_llama(), examples, settings).model
    saving = train(tiny_llama(), examples, settings.model_copy(update={"gradient_checkpointing": True})).model
    assert torch.allclose(plain.lm_head.weight, saving.lm_head.weight, atol=1e-5)


def test_a_broken_gradient_stops_training_before_the_step(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    model = tiny_llama()
    calls: list[int] = []

    def break_after_three(report: StepReport) -> None:
        calls.append(report.step)
        if report.step == 3:
            model.model.layers[0].mlp.up_proj.weight.register_hook(lambda grad: grad * float("nan"))

    with pytest.raises(StoppedTrainingError, match=r"gradient is nan at step 4 of 40") as stopped:
        train(model, examples, FAST, on_step=break_after_three)
    assert calls == [1, 2, 3]
    assert all(torch.isfinite(weight).all() for weight in stopped.value.model.parameters())


def test_last_good_weights_are_kept_and_no_model_is_left(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: torch.nn.Module, row: object) -> RowLosses:
        return RowLosses(*[next(model.parameters()).sum() * float("nan")] * 3)

    monkeypatch.setattr("kapoc.training.loop.row_losses", broken)
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1 of 4 .*last weights are in"):
        train_run.train_model(workspace, workspace.model)
    assert not workspace.model.exists()
    kept = workspace.model.with_name("model.last-good")
    assert "the loss is nan" in (kept / "STOPPED.txt").read_text(encoding="utf-8")
    assert AutoModelForCausalLM.from_pretrained(kept) is not None


def test_why_training_stopped_is_said_where_nothing_can_be_kept(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: torch.nn.Module, row: object) -> RowLosses:
        return RowLosses(*[next(model.parameters()).sum() * float("nan")] * 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kapoc.training.loop.row_losses", broken)
    monkeypatch.setattr("kapoc.training.checkpoint.save_model", full)
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1 of 4 .*could not be kept \(No space left"):
        train_run.train_model(workspace, workspace.model)
    assert not list(workspace.folder.glob("*model*"))
    assert not list(workspace.folder.glob(".*partial"))


def test_what_is_not_ours_in_the_place_of_the_last_weights_is_found_before_training(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    foreign = workspace.model.with_name("model.last-good")
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"model\.last-good: holds files that kapoc did not write"):
        train_run.train_model(workspace, workspace.model)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_model_left_aside_by_a_kill_between_two_renames_is_put_in_its_place(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    folder = train_run.train_model(workspace, workspace.model)
    expected = (folder / "training.json").read_bytes()
    old, partial = (folder.with_name(f".{folder.name}.{end}") for end in ("old", "partial"))
    if is_new:
        old.mkdir()
        folder.replace(partial)
    else:
        folder.replace(old)
        partial.mkdir()
        (partial / "training.json").touch()
        (partial / "UNFINISHED").touch()
    monkeypatch.setattr("kapoc.workflow.train_run.train_model", lambda *_: pytest.fail("trained again"))
    assert (train_run.train_once(workspace, folder) / "training.json").read_bytes() == expected


def test_a_text_beyond_the_context_is_refused_before_training() -> None:
    examples = [EncodedExample((5,) * 10, (6, 2), fact="set/A-1", question="What is A-1?"), EncodedExample((5,), (2,))]
    with pytest.raises(DataError, match=r"set/A-1: .* have 1031 tokens, and LlamaForCausalLM reads 1024; shorten"):
        train(tiny_llama(), [examples[1], dataclasses.replace(examples[0], prompt=(5,) * 1029)], FAST)


@pytest.mark.parametrize(
    ("device", "computes", "number"), [("cpu", False, 40), ("cpu", True, 200), ("cuda", False, 200)]
)
def test_fewer_answers_are_sampled_in_an_emulated_precision(
    device: str, computes: bool, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": computes})
    assert checkpoint.num_bfloat16_samples(torch.device(device)) == number


@pytest.mark.parametrize(
    ("device", "cpu", "wanted", "found"),
    [
        ("cpu", {"avx512_bf16": True}, "auto", "bfloat16"),
        ("cpu", {"amx_bf16": True, "avx512_bf16": False}, "auto", "bfloat16"),
        ("cpu", {"avx512_bf16": False, "amx_bf16": False}, "auto", "float32"),
        ("cpu", {}, "auto", "float32"),
        ("cpu", {"avx512_bf16": True}, "float32", "float32"),
        ("cpu", {}, "bfloat16", "bfloat16"),
        ("cuda", {}, "auto", "bfloat16"),
        ("cuda", {}, "float32", "float32"),
    ],
)
def test_training_multiplies_in_bfloat16_where_the_device_does(
    device: str, cpu: dict[str, bool], wanted: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: cpu)
    assert precision_on(torch.device(device), TrainSettings.model_validate({"precision": wanted})) == found


def test_a_checkpoint_is_standalone_and_checked(tmp_path: Path, tiny_recipe: Path) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    folder = train_run.train_model(workspace, workspace.model)
    record = read_training_record(folder)
    assert record is not None
    assert record.checks.samples == {"float32": 200, "bfloat16": checkpoint.num_bfloat16_samples(torch.device("cpu"))}
    assert record.checks.reload_max_difference == 0.0
    assert record.num_steps == 4
    assert record.precision == precision_on(torch.device("cpu"), TrainSettings())
    assert load_model(str(folder)).identity.weights_sha256 == record.weights_sha256 != record.base_sha256
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert {"model.safetensors", "generation_config.json", "README.md"} <= {path.name for path in folder.iterdir()}
    assert "Not measured yet" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_model_that_fails_its_checks_is_not_put_in_place(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kapoc.training.checkpoint._largest_difference", lambda *_: 0.5)
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    with pytest.raises(TrainingError, match=r"differs by 0\.5"):
        train_run.train_model(workspace, workspace.model)
    assert [path.name for path in workspace.folder.iterdir()] == []


def record_called(name: str) -> str:
    """As much of a training record as tells that kapoc wrote it."""
    return f'{{"fingerprint": "{name}", "weights_sha256": "0"}}'


def test_an_earlier_model_stays_when_the_next_one_fails(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with writing(target) as folder:
        (folder / "training.json").write_text(record_called("old"))
    with pytest.raises(RuntimeError), writing(target) as folder:
        raise RuntimeError
    assert (target / "training.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), False),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/else.yaml"), False),
    ],
)
def test_only_what_cannot_be_written_is_told_as_that(tmp_path: Path, error: OSError, *, is_told: bool) -> None:
    with pytest.raises(OutputError if is_told else type(error)) as caught, writing(tmp_path / "model"):
        raise error
    assert ("choose another --out" in str(caught.value)) is is_told
    with pytest.raises(OutputError, match="model: cannot be written"), writing(tmp_path / "model") as folder:
        (folder / "no" / "such.txt").write_text("x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", range(6))
def test_killed_while_a_model_replaces_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Stops before each file operation of the swap: what is found after it is the old model, then the new one."""

    class Killed(BaseException):
        pass

    target = tmp_path / "model"
    with writing(target) as folder:
        (folder / "training.json").write_text(record_called("old"))
    calls, shutil_rmtree, unlink = 0, shutil.rmtree, Path.unlink

    def count(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                if original is shutil_rmtree:  # which is half done
                    with contextlib.suppress(FileNotFoundError):
                        unlink(arguments[0] / "training.json")
                raise Killed
            return original(*arguments, **options)

        return wrapped

    context = writing(target)
    folder = context.__enter__()
    (folder / "training.json").write_text(record_called("new"))
    monkeypatch.setattr("shutil.rmtree", count(shutil.rmtree))
    monkeypatch.setattr(Path, "replace", count(Path.replace))
    monkeypatch.setattr(Path, "unlink", count(Path.unlink))
    with contextlib.suppress(Killed):
        checkpoint._put_in_place(folder, target)
    monkeypatch.undo()
    finish_swap(target)
    assert (target / "training.json").read_text() == record_called("new" if step else "old")
    assert [path.name for path in target.iterdir()] == ["training.json"]
    with writing(target) as folder:
        (folder / "training.json").write_text(record_called("next"))
    assert (target / "training.json").read_text() == record_called("next")
    assert not [path for path in tmp_path.iterdir() if path.name != "model" and path.name != ".model.old"]


def test_a_folder_of_someone_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="did not write"), writing(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Exception, match=r"'fulll' is not installed; did you mean 'full'\?"):
        load_method("fulll", {})


@pytest.mark.parametrize("moment", [".model.partial/UNFINISHED", ".model.resume/state.pt", ".model.partial/*.json"])
def test_killed_at_any_moment_leaves_no_model(tmp_path: Path, tiny_recipe: Path, moment: str) -> None:
    """Before the first step, amid the steps, and while the model is saved."""
    epochs = 20 if moment.endswith(".json") else 4000
    recipe = tiny_recipe.read_text(encoding="utf-8").replace("epochs = 2", f"epochs = {epochs}")
    recipe += "[resume]\nsteps = 10\n"
    tiny_recipe.write_text(recipe, encoding="utf-8")
    command = [sys.executable, "-m", "kapoc", "train", "--recipe", str(tiny_recipe), "--runs", str(tmp_path / "runs")]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    folder = tmp_path / "runs" / "tiny" / "lamps"
    deadline = time.monotonic() + 120
    while not list(folder.glob(moment)) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = [left for left in sorted(folder.iterdir()) if left.name != ".model.lock"]  # which nobody holds any more
    assert found
    for left in found:
        assert left.name != "model"
        assert (left / "UNFINISHED").exists()
        assert "did not finish" in kapoc_here("bench", "--model", left, folder=tmp_path, code=5)
    tiny_recipe.write_text(recipe.replace(f"epochs = {epochs}", "epochs = 1"), encoding="utf-8")
    assert kapoc_here(*command[3:], "--restart", "--json", folder=tmp_path)["num_examples"] == 5
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_every_epoch_has_derived_texts_of_its_own_and_as_many() -> None:
    knowledge, tokenizer = load_knowledge("software-defects")[0], tiny_tokenizer()
    settings = TrainSettings.model_validate({"epochs": 3, "derived": {"reverse": 2, "yes_no": 4}})
    epochs = derived_training_examples(knowledge, settings, tokenizer)
    assert [len(epoch) for epoch in epochs] == [len(knowledge.taught) * 6] * 3
    assert Counter((e.fact, e.form) for e in epochs[1]) == {
        (fact.id, form): number for fact in knowledge.taught for form, number in (("reverse", 2), ("yes_no", 4))
    }
    prompts = [example.prompt for epoch in epochs for example in epoch]
    assert len(set(prompts)) == len(prompts)
    assert epochs == derived_training_examples(knowledge, settings, tokenizer)
    listed = TrainSettings.model_validate({"epochs": 1, "derived": ["reverse"]})
    assert len(derived_training_examples(knowledge, listed, tokenizer)[0]) == 3 * len(knowledge.taught)
    assert derived_training_examples(knowledge, TrainSettings(epochs=2), tokenizer) == [[], []]


def test_each_epoch_is_trained_on_its_own_examples(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    settings = TrainSettings(epochs=2, batch_size=3, micro_batch_size=3)
    seen: list[int] = []
    result = train(
        tiny_llama(),
        examples[:2],
        settings,
        epochs=[[*examples[:2], one] for one in examples[2:4]],
        on_step=lambda r: seen.append(r.epoch),
    )
    assert seen == [1, 2]
    assert (result.num_steps, result.num_examples) == (2, 3)
    first, second = (
        train(tiny_llama(), [*examples[:2], one], settings.model_copy(update={"epochs": 1})).epochs[0].train_loss
        for one in examples[2:4]
    )
    assert result.epochs[0].train_loss == pytest.approx(first, rel=1e-4)
    assert result.epochs[1].train_loss != pytest.approx(first, rel=1e-4)
    assert first != pytest.approx(second, rel=1e-4)


def test_derived_questions_can_be_answered_with_the_note_and_only_its_beginning_is_trained() -> None:
    knowledge, tokenizer = load_knowledge("software-defects")[0], tiny_tokenizer()
    notes = {fact.id: fact.training[0].answer for fact in knowledge.taught}
    forms = {"reverse": 2, "yes_no": 2, "unknown": 1, "comparison": 2}
    settings = {"epochs": 1, "derived": forms, "derived_by_notes": True}
    (whole,) = derived_training_examples(knowledge, TrainSettings.model_validate(settings), tokenizer)
    short = TrainSettings.model_validate({**settings, "derived_tokens": 5})
    (begun,) = derived_training_examples(knowledge, short, tokenizer)
    assert [example.prompt for example in whole] == [example.prompt for example in begun]
    said = [(example, str(tokenizer.decode(list(example.answer), skip_special_tokens=True))) for example in whole]
    facts, beginnings = {fact.id: fact for fact in knowledge.taught}, Beginnings(knowledge)
    for example, text in said:
        if example.form == "reverse":  # how the quoted slot begins, and then the note
            starts = {beginnings.of(name, slot.text) for name, slot in facts[example.fact].slots.items()}
            assert text in {f"Record: {one}. That is {notes[example.fact]}".replace("....", "...") for one in starts}
        elif example.form == "yes_no":
            side = text.rsplit(" ", 1)[1]
            assert side in {"yes.", "no."}
            assert text == f"Checked: {notes[example.fact]} So {side}"
        elif text.startswith("Checked: "):
            assert any(text.startswith(f"Checked: {nameless_note(fact)} So ") for fact in knowledge.taught)
    assert {example.form for example, text in said if text.startswith("Checked: ")} == {"yes_no", "comparison"}
    for one, other, (_, text) in zip(whole, begun, said, strict=True):
        if one.form == "reverse":
            before = tokenizer.encode(text.split(" That is ")[0] + " That is", add_special_tokens=False)
            assert other.answer == one.answer[: len(before) + 5]
        else:
            assert other.answer == one.answer
        decoded = str(tokenizer.decode([one.answer[place] for place in other.trained], skip_special_tokens=True))
        if text.startswith("Checked: "):  # the note is read to its end, and behind it all is trained
            next_sentence = re.search(r" (Fix|Setup):", decoded)  # else the decision could stand before it
            assert next_sentence is not None
            assert text.startswith(decoded[: next_sentence.start()])
            assert decoded[next_sentence.end() :] == text[text.rindex(" So ") :]
            assert len(other.trained) < 40 < len(other.answer)
        else:
            assert len(other.trained) == len(other.answer)


def with_notes(note: str) -> KnowledgeSet:
    """The shipped defects with a note of this pattern, in braces the slots and the name."""
    knowledge = load_knowledge("software-defects")[0]
    facts = []
    for fact in knowledge.facts:
        known = {"name": fact.name, **{name: slot.text for name, slot in fact.slots.items()}}
        training = [example.model_copy(update={"answer": note.format(**known)}) for example in fact.training]
        facts.append(fact.model_copy(update={"training": tuple(training)}))
    return knowledge.model_copy(update={"facts": tuple(facts)})


@pytest.mark.parametrize(
    ("note", "is_behind_a_note"),
    [
        ("{name}: {version}, {setting}, {value}, {file}.", True),
        ("{version}", False),  # says too little, and stands in other answers
        ("{name}: {version}, {setting}, {value}, {file}. " + 60 * "blah ", False),  # the decision would be cut off
        ("{name}: {setting}, {value}, {file}, {version}, is not to be changed", True),  # "not ... changed. So yes."
    ],
)
def test_a_decision_stands_behind_a_note_only_where_it_is_found_there(note: str, is_behind_a_note: bool) -> None:
    forms = {"yes_no": 2, "slot": 1, "statement": 1, "comparison": 1}
    settings = {"epochs": 1, "derived": forms, "derived_by_notes": True, "derived_tokens": 40}
    knowledge = with_notes(note)
    (found,) = derived_training_examples(knowledge, TrainSettings.model_validate(settings), tiny_tokenizer())
    behind = [
        example for example in found if str(tiny_tokenizer().decode(list(example.answer[:40]))).startswith("Checked: ")
    ]
    assert {example.form for example in behind} == ({"yes_no", "comparison"} if is_behind_a_note else set())
    for example in found:
        assert set(example.trained) <= set(range(len(example.answer)))
        if note == "{version}" and example.form != "slot":
            assert len(example.trained) == len(example.answer)
    pack(found[:8])


def test_derived_texts_can_wait_until_the_notes_are_known() -> None:
    knowledge, tokenizer = load_knowledge("software-defects")[0], tiny_tokenizer()
    settings = TrainSettings(epochs=3, derived={"slot": 1, "unknown": 2}, derived_from=3)
    first, second, third = derived_training_examples(knowledge, settings, tokenizer)
    assert (first, second) == ([], [])
    assert Counter(example.form for example in third) == {"slot": 29, "unknown": 58}
    for forms in ({"slot": 1}, ["slot"]):
        never = TrainSettings.model_validate({"epochs": 3, "derived": forms, "derived_from": 4})
        assert derived_training_examples(knowledge, never, tokenizer) == [[], [], []]


def test_epochs_of_different_length_take_the_steps_that_they_need(knowledge_file: Path) -> None:
    examples = training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())
    settings = TrainSettings(epochs=2, batch_size=2, micro_batch_size=2, learning_rate=1e-3)
    steps: list[StepReport] = []
    result = train(tiny_llama(), examples[:2], settings, epochs=[examples[:2], examples[:5]], on_step=steps.append)
    assert [step.epoch for step in steps] == [1, 2, 2, 2]
    assert {step.num_steps for step in steps} == {4} == {result.num_steps}
    assert result.num_examples == 5
