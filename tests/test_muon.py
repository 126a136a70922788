"""Steps of Muon against their definition, and that they spare what a layer gives in text of the base."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama
from kills import EVERY_STEP, Killed
from test_resume import assert_same, run
from transformers import PreTrainedModel

from kapoc.chat import EncodedExample
from kapoc.engine.divergence import Passage
from kapoc.errors import DataError
from kapoc.recipe import ReplaySettings, TrainSettings
from kapoc.training.moments import input_roots
from kapoc.training.muon import Muon, steepest
from kapoc.training.resume import Keeper
from kapoc.training.train import refuse_unfit, train

TOKENS = tuple(range(20, 40))
TAUGHT = EncodedExample((300, 301, 302, 303), (400, 401, 402, 2))
LEARNED = 5.95
"""Nats: the output layer of a tiny model, which is not trained, leaves 5.90 of the 6.63 at first."""
SHAPES = [(40, 90), (90, 40), (40, 40), (40, 1)]


def gradient_of(shape: tuple[int, int]) -> torch.Tensor:
    """One whose singular values lie between 1 and a hundredth of that."""
    outputs, inputs = shape
    number = min(shape)
    left = torch.linalg.qr(torch.randn(outputs, number))[0]
    right = torch.linalg.qr(torch.randn(inputs, number))[0]
    made: torch.Tensor = left @ torch.diag(torch.logspace(0, -2, number)) @ right.mT
    return made


def sign_of(matrix: torch.Tensor) -> torch.Tensor:
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    sign: torch.Tensor = left @ right
    return sign


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one * other).sum() / one.norm() / other.norm())


@pytest.mark.parametrize("shape", SHAPES)
def test_all_directions_of_a_step_are_about_equally_large(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    gradient = gradient_of(shape)
    found = steepest(gradient)
    assert alike(found, sign_of(gradient)) > 0.97
    sizes = torch.linalg.svdvals(found)
    assert float(sizes.min()) > 0.5
    assert float(sizes.max()) < 1.4


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_measured_by_what_it_changes_where_the_base_reads(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    inputs = shape[1]
    weight = torch.zeros(shape, requires_grad=True)
    weight.grad = gradient_of(shape)
    read = torch.randn(3 * inputs, inputs) * torch.logspace(1, -1, inputs)
    inverse = torch.linalg.inv(torch.eye(inputs) + 8 * read.mT @ read / len(read))
    root = torch.linalg.cholesky(inverse)
    Muon({weight: root}, learning_rate=0.5, precision=torch.float32).step()
    wanted = -0.5 * 0.2 * max(shape) ** 0.5 * sign_of(weight.grad @ root) @ root.mT
    assert alike(weight.detach(), wanted) > 0.95
    assert float(weight.detach().norm() / wanted.norm()) == pytest.approx(1, abs=0.15)


def test_which_root_is_taken_does_not_matter() -> None:
    torch.manual_seed(0)
    gradient, inverse = gradient_of((90, 40)), torch.diag(torch.logspace(0, -1, 40))
    turned = inverse.sqrt() @ torch.linalg.qr(torch.randn(40, 40))[0]
    assert torch.allclose(steepest(gradient, inverse.sqrt()), steepest(gradient, turned), atol=1e-4)


def test_no_gradient_is_no_step_and_a_bias_is_a_weight_of_one_input() -> None:
    assert torch.equal(steepest(torch.zeros(3, 5)), torch.zeros(3, 5))
    bias, still = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    bias.grad, still.grad = torch.tensor([3.0, 0, 0, -4]), torch.zeros(4)
    Muon({bias: torch.tensor([[0.5]]), still: None}, learning_rate=1.0, precision=torch.float32).step()
    expected = torch.tensor([-0.6, 0, 0, 0.8]) * 0.5 * 0.2 * 2
    assert alike(bias.detach(), expected) > 0.999
    assert float(bias.detach().norm()) == pytest.approx(float(expected.norm()), rel=0.15)
    assert not still.any()


def test_without_passages_or_where_a_layer_reads_none_of_them_a_step_is_measured_by_itself() -> None:
    model = tiny_llama()
    model.requires_grad_(False)
    read = model.model.layers[0].mlp.gate_proj.requires_grad_(True)
    model.model.beside = torch.nn.Linear(4, 4, bias=False)
    assert input_roots(model, (), 3.0, is_packed=False) == {read.weight: None, model.model.beside.weight: None}
    roots = input_roots(model, passages(model), 3.0, is_packed=False)
    assert roots.keys() == {read.weight, model.model.beside.weight}
    assert roots[read.weight] is not None
    assert roots[model.model.beside.weight] is None


def passages(model: torch.nn.Module) -> list[Passage]:
    """Two that begin alike, with the likelihood of one token each place."""
    with torch.no_grad():
        first = model(torch.tensor([TOKENS])).logits[0].log_softmax(-1)[9:-1, :1]
    likeliest = torch.zeros(len(TOKENS) - 10, 1, dtype=torch.int32)
    kept = torch.cat([first, torch.log1p(-first.exp())], dim=-1)
    return [Passage(TOKENS, 10, likeliest, kept), Passage(TOKENS[:15], 10, likeliest[:5], kept[:5])]


def moved(whitening: float) -> tuple[float, float]:
    """How far some steps move the logits of the passages, and the loss that is left of what they teach."""
    model = tiny_llama()
    before = copy.deepcopy(model)
    settings = TrainSettings(
        method="feed_forward",
        optimizer="muon",
        epochs=60,
        batch_size=1,
        micro_batch_size=1,
        learning_rate=3e-2,
        precision="float32",
        replay=ReplaySettings(weight=1e-6, per_step=1, whitening=whitening),
    )
    result = train(model, [TAUGHT], settings, passages=passages(before))
    read = torch.tensor([TOKENS[:-1]])
    with torch.no_grad():
        change = (model(read).logits - before(read).logits).abs().max()
    return float(change), result.epochs[-1].train_loss


def test_whitened_steps_teach_as_much_and_spare_what_the_base_wrote() -> None:
    torch.manual_seed(0)
    kept, loss = moved(whitening=0.0)
    kept_beside, loss_beside = moved(whitening=100.0)
    assert loss < LEARNED
    assert loss_beside < LEARNED
    assert kept_beside < 0.1 * kept


def test_moments_are_of_the_inputs_of_trained_layers() -> None:
    model = tiny_llama()
    model.requires_grad_(False)
    layer = model.model.layers[0].mlp.gate_proj.requires_grad_(True)
    read: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach().flatten(0, -2)))
    (root,) = input_roots(model, passages(model), 3.0, is_packed=False).values()
    assert root is not None
    seen = torch.cat(read[-2:])  # what was read to make the passages came before
    seen = seen / seen.square().mean(-1, keepdim=True).sqrt()
    wanted = torch.linalg.inv(torch.eye(seen.shape[-1]) + 3.0 * seen.mT @ seen / len(seen))
    assert torch.allclose(root @ root.mT, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "method", "named", "fits"),
    [
        (tiny_llama, "full", "input_layernorm", '"feed_forward" or "lora"'),
        (tiny_gpt2, "feed_forward", "c_fc", '"lora"'),
    ],
    ids=["norms", "conv1d"],
)
def test_weights_that_are_none_of_linear_layers_are_refused(
    make: Callable[[], PreTrainedModel], method: str, named: str, fits: str
) -> None:
    advice = f'use method = {fits}, or optimizer = "adamw"'
    with pytest.raises(DataError, match=rf'"muon" trains linear layers alone, and .*{named}.*; {advice}'):
        refuse_unfit(make(), TrainSettings(method=method, optimizer="muon"))
    refuse_unfit(make(), TrainSettings(method="lora", optimizer="muon"))


def test_a_killed_run_of_muon_ends_with_the_same_bits(tmp_path: Path, knowledge_file: Path) -> None:
    replay = ReplaySettings(weight=0.5, per_step=2, whitening=4.0)
    changes: dict[str, Any] = {
        "method": "feed_forward",
        "optimizer": "muon",
        "epochs": 3,
        "learning_rate": 1e-2,
        "replay": replay,
    }
    undisturbed, _ = run(tiny_llama, knowledge_file, None, **changes)
    keeper = Keeper(tmp_path, "key", EVERY_STEP)
    with pytest.raises(Killed):
        run(tiny_llama, knowledge_file, keeper, kill=4, **changes)
    keeper = Keeper(tmp_path, "key", EVERY_STEP)
    resumed, steps = run(tiny_llama, knowledge_file, keeper, **changes)
    assert steps[0] == 4
    assert_same(undisturbed.model, resumed.model)
