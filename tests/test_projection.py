"""A projected step teaches without changing what a layer gives in text of the base."""

import copy
from collections.abc import Callable

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama
from transformers import PreTrainedModel

from kapoc.chat import EncodedExample
from kapoc.engine.divergence import Passage
from kapoc.recipe import ReplaySettings, TrainSettings
from kapoc.training.train import train

TOKENS = tuple(range(20, 40))
"""Of the passages, which are read up to the last: fewer than a layer of a tiny model has inputs."""
TAUGHT = EncodedExample((300, 301, 302, 303), (400, 401, 402, 2))
EMPTY = torch.empty(0)


def passages(model: PreTrainedModel) -> list[Passage]:
    """Two that begin alike, with the likelihood of one token each place."""
    logits = logits_of(model, TOKENS)
    likeliest = torch.zeros(len(TOKENS) - 10, 1, dtype=torch.int32)
    first = logits.log_softmax(-1)[9:-1, :1]
    kept = torch.cat([first, torch.log1p(-first.exp())], dim=-1)
    return [Passage(TOKENS, 10, likeliest, kept), Passage(TOKENS[:15], 10, likeliest[:5], kept[:5])]


def logits_of(model: PreTrainedModel, tokens: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([tokens])).logits[0]
    return logits


def moved(model: PreTrainedModel, projection: float) -> tuple[float, float, float]:
    """How far a few steps move the logits of the passages and of the taught text, and the loss that is left."""
    before = copy.deepcopy(model)
    settings = TrainSettings(
        method="feed_forward",
        epochs=60,
        batch_size=1,
        micro_batch_size=1,
        learning_rate=1e-2,
        precision="float32",
        replay=ReplaySettings(weight=1e-6, per_step=1, projection=projection),
    )
    result = train(model, [TAUGHT], settings, passages=passages(before))
    texts = (TOKENS[:-1], (*TAUGHT.prompt, *TAUGHT.answer))
    kept, taught = (float((logits_of(model, text) - logits_of(before, text)).abs().max()) for text in texts)
    return kept, taught, result.epochs[-1].train_loss


@pytest.mark.parametrize("architecture", [tiny_llama, tiny_gpt2], ids=["llama", "gpt2"])
def test_a_projection_teaches_as_much_and_leaves_what_the_base_wrote(
    architecture: Callable[[], PreTrainedModel],
) -> None:
    kept, taught, loss = moved(architecture(), projection=0.0)
    kept_somewhat, _, _ = moved(architecture(), projection=1e4)
    kept_entirely, taught_beside, loss_beside = moved(architecture(), projection=1e9)
    assert kept > 0.9 * taught
    assert kept_entirely < 1e-5
    assert 10 * kept_entirely < kept_somewhat < 0.1 * kept
    assert taught_beside > 0.8 * taught
    assert loss_beside == pytest.approx(loss, abs=0.1)
