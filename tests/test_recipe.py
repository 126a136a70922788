"""Recipes: what ships, what an override does, and what another fingerprint means."""

import io

import pytest
from rich.console import Console

from kapoc.cli.options import DEFAULT_RECIPE
from kapoc.errors import DataError
from kapoc.recipe import TrainSettings, load_recipe
from kapoc.training.loop import StepReport
from kapoc.training_record import EpochReport
from kapoc.workflow.progress import TrainingLines, TrainingProgress


def test_the_default_recipe_trains_every_weight_of_the_default_model() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    assert (recipe.model, recipe.knowledge, recipe.train.method) == ("default", ("software-defects",), "full")


def test_the_default_recipe_is_plain_fine_tuning_held_to_the_base_and_to_names() -> None:
    default, plain = load_recipe(DEFAULT_RECIPE).train, load_recipe("smollm2-135m-full").train
    assert default.replay.weight > 0 < default.contrast
    assert plain.replay.weight == 0 == plain.contrast
    texts = {"contrast", "derived", "derived_by_notes", "derived_tokens", "replay"}
    steps = {"epochs", "batch_size", "micro_batch_size", "betas"}  # more texts; less momentum moves a held model less
    assert default.model_dump(exclude=texts | steps) == plain.model_dump(exclude=texts | steps)


def test_the_gpu_recipe_has_the_settings_of_the_first_proof_of_concept() -> None:
    recipe = load_recipe("tinyllama-1.1b-full")
    train = recipe.train
    assert recipe.model == "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    assert (train.epochs, train.micro_batch_size, train.batch_size) == (10, 1, 8)
    assert (train.learning_rate, train.max_gradient_norm) == (1e-5, 0.5)


def test_an_override_changes_the_name_and_the_same_value_does_not() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    other = recipe.with_train(epochs=10, seed=None)
    assert (other.train.epochs, other.name) == (10, f"{recipe.name}-epochs-10")
    assert recipe.with_train(epochs=recipe.train.epochs) == recipe
    with pytest.raises(DataError, match="greater than 0"):
        recipe.with_train(epochs=0)


def test_another_method_does_not_take_over_the_options_of_the_recipe() -> None:
    lora = load_recipe("smollm2-135m-lora")
    assert lora.with_train(method="full").train.options == {}
    assert lora.with_train(method="lora", epochs=2).train.options == lora.train.options


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"replay": {"num_passages": 8}}, "replay: does nothing without a weight"),
        ({"replay": {"target": "text"}}, "replay: does nothing without a weight"),
        ({"derived": {"slot": 1}, "derived_from": 3, "epochs": 2}, "derived: begins with epoch 3, and there are 2"),
        ({"derived_from": 2}, "derived_from: does nothing without derived texts"),
        ({"derived_by_notes": True}, "derived_by_notes: does nothing without derived texts"),
        ({"derived": {"slot": 1}, "derived_tokens": 4}, "derived_tokens: does nothing without derived_by_notes"),
        ({"optimizer": "muon", "replay": {"whitening": 8}}, "replay: does nothing without a weight"),
        (
            {"optimizer": "muon", "max_gradient_norm": 0.5},
            "weight_decay, betas, epsilon, max_gradient_norm: do nothing with muon",
        ),
        ({"budget": {"divergence": 0.1}}, "budget: limits nothing without stop_at or alphas"),
    ],
)
def test_a_setting_that_does_nothing_is_said(settings: dict[str, object], said: str) -> None:
    assert TrainSettings.model_validate(settings).idle == (said,)


@pytest.mark.parametrize(
    "name",
    ["smollm2-135m", "smollm2-135m-full", "smollm2-135m-uses", "smollm2-135m-thorough", "smollm2-135m-lora"],
)
def test_no_setting_of_a_shipped_recipe_does_nothing(name: str) -> None:
    assert load_recipe(name).train.idle == ()


def test_the_fingerprint_follows_settings_and_inputs() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    assert recipe.fingerprint("a", "b") == recipe.fingerprint("a", "b")
    assert recipe.fingerprint("a", "b") != recipe.fingerprint("b", "a")
    assert recipe.fingerprint("a", "b") != recipe.with_train(seed=1).fingerprint("a", "b")


def test_training_shows_epoch_loss_speed_memory_and_time_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, record=True)
    progress = TrainingProgress(console)
    progress.tell("training tiny")
    progress.tell("in models/[old]/[/a]")
    for step in (1, 2):
        progress.on_step(StepReport(step, 2, 1, 0.5, 0.031, 1e-4, 1.0, 170.0, 3 * 2**30, 87))
    progress.on_epoch(EpochReport(epoch=1, train_loss=0.5, dev_loss=0.25, dev_exact=0.75))
    progress.close()
    text = console.export_text()
    for part in (
        "training tiny",
        "in models/[old]/[/a]",
        "loss 0.500",
        "from base 0.031",
        "170 tok/s",
        "3.0 GiB",
        "GPU 87%",
        "2/2",
        "dev exact 75.0%",
    ):
        assert part in text


def test_a_log_gets_a_line_a_minute_and_one_an_epoch() -> None:
    told: list[str] = []
    seconds = iter([0.0, 30.0, 60.0, 90.0, 200.0, 230.0])
    lines = TrainingLines(told.append, clock=lambda: next(seconds))
    for step in (1, 2, 3, 4):
        lines.on_step(StepReport(step, 9, 1, 0.5, 0.031, 1e-4, 1.0, 170.0, 3 * 2**30, None))
    lines.on_epoch(EpochReport(epoch=1, train_loss=0.5, dev_loss=0.25, dev_exact=0.75))
    lines.on_epoch(
        EpochReport(epoch=2, train_loss=0.5, dev_loss=0.25, dev_exact=0.75, divergence=0.01, spillover=0.125)
    )
    for step in (1, 2):  # of another training
        lines.on_step(StepReport(step, 4, 1, 0.5, None, 1e-4, 1.0, 170.0, 3 * 2**30, None))
    assert told == [
        "epoch 1: step 3 of 9  loss 0.500  from base 0.031  170 tok/s  3.0 GiB  3 min left",
        "epoch 1: loss 0.5000  dev loss 0.2500  dev exact 75.0%",
        "epoch 2: loss 0.5000  dev loss 0.2500  dev exact 75.0%  from base 0.010  spillover 12.5%",
    ]


def test_each_training_has_a_bar_of_its_own() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, record=True)
    progress = TrainingProgress(console)
    for step, num_steps in ((3, 10), (1, 4)):  # the first ended before its last step
        progress.on_step(StepReport(step, num_steps, 1, 0.5, None, 1e-4, 1.0, 170.0, 3 * 2**30, None))
    progress.close()
    text = console.export_text()
    assert "3/10" in text
    assert "1/4" in text
