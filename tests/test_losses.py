"""The loss of answers and its gradient are those of torch, and the tied embedding's gradient is autograd's."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama, tiny_tokenizer
from transformers import PreTrainedModel

from kapoc.chat import encode_example
from kapoc.recipe import TrainSettings
from kapoc.training import losses
from kapoc.training.batches import pack, row_losses
from kapoc.training.losses import summed_negative_log_likelihood
from kapoc.training.tied_embedding import TiedEmbedding
from kapoc.training.train import train

ROWS = [
    pack([encode_example(tiny_tokenizer(), question, answer) for question, answer in pairs])
    for pairs in ([("What is AF-3001?", "A loop."), ("Why?", "users are sent back")], [("And PF-1205?", "73 lines.")])
]


@pytest.mark.parametrize("block", [1, 90, 2**20])
@pytest.mark.parametrize(("num_answered", "num_unused"), [(0, 0), (1, 3), (7, 0), (7, 2), (9, 0)])
def test_the_loss_and_the_gradient_are_those_of_torch(
    block: int, num_answered: int, num_unused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_BLOCK_NUMBERS", block)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(9, 40, generator=generator) * 5
    targets = torch.randint(40, (num_answered,), generator=generator)
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    used = slice(num_answered, 9 - num_unused)
    loss, rest = summed_negative_log_likelihood(ours * 1.0, targets, len(logits[used]) if num_unused else None)
    expected = torch.nn.functional.cross_entropy(theirs[:num_answered], targets, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(rest, logits[used])
    (0.3 * loss + rest.logsumexp(-1).sum()).backward()
    (0.3 * expected + theirs[used].logsumexp(-1).sum()).backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]


def test_uniform_logits_lose_the_logarithm_of_the_vocabulary_and_broken_ones_are_told() -> None:
    loss, _ = summed_negative_log_likelihood(torch.zeros(3, 40), torch.tensor([1, 2, 39]))
    assert loss.item() == pytest.approx(3 * torch.tensor(40.0).log().item())
    for broken in (float("nan"), float("inf")):
        logits = torch.zeros(2, 40)
        logits[1, 5] = broken
        assert not torch.isfinite(summed_negative_log_likelihood(logits, torch.tensor([1, 2]))[0])


def test_logits_are_written_over_only_where_a_gradient_is_wanted() -> None:
    logits = torch.randn(4, 40)
    kept = logits.clone()
    summed_negative_log_likelihood(logits, torch.tensor([1, 2]))
    assert torch.equal(logits, kept)
    logits.requires_grad_()
    with torch.no_grad():
        summed_negative_log_likelihood(logits, torch.tensor([1, 2]))
    assert torch.equal(logits, kept)


def gradients(model: PreTrainedModel, embedding: TiedEmbedding | None) -> Iterator[tuple[str, torch.Tensor | None]]:
    for row in ROWS:  # one after the other: gradients add up
        with embedding.apart() if embedding else nullcontext():
            loss = row_losses(model, row).answers
        loss.backward()
        if embedding:
            embedding.add_gradient()
    return ((name, weight.grad) for name, weight in model.named_parameters())


def untied() -> PreTrainedModel:
    model = tiny_llama()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def unpadded() -> PreTrainedModel:
    model = tiny_llama()
    vars(model.get_input_embeddings())["padding_idx"] = None
    return model


def frozen() -> PreTrainedModel:
    model = tiny_llama()
    model.get_input_embeddings().weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2, untied, unpadded, frozen])
def test_the_gradients_are_those_of_autograd(make: type) -> None:
    ours, theirs = make(), make()
    found, expected = gradients(ours, TiedEmbedding(ours)), gradients(theirs, None)
    for (name, one), (_, other) in zip(found, expected, strict=True):
        assert (one is None) is (other is None) is (make is frozen and "embed" in name), name
        if one is not None and other is not None:
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-6), name


def test_the_embedding_is_autograds_again_afterwards() -> None:
    model, other = tiny_llama(), tiny_llama()
    embedding = TiedEmbedding(model)
    with pytest.raises(KeyError), embedding.apart():
        raise KeyError
    with embedding.apart():
        row_losses(model, ROWS[0])
    for one in (model, other):
        row_losses(one, ROWS[0]).answers.backward()
    embedding.add_gradient()  # of a pass that was never gone back through
    found, expected = (dict(each.named_parameters())["model.embed_tokens.weight"].grad for each in (model, other))
    assert found is not None
    assert expected is not None
    assert torch.equal(found, expected)


def test_the_gradient_is_made_once_and_not_kept() -> None:
    logits = torch.randn(4, 40, requires_grad=True)
    loss, _ = summed_negative_log_likelihood(logits * 1.0, torch.tensor([1, 2]))
    loss.backward(retain_graph=True)
    assert loss.grad_fn.gradient is None  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="already"):
        loss.backward()


class _Autograds:
    """No embedding apart: both gradients are autograd's."""

    def __init__(self, _: PreTrainedModel) -> None:
        self.apart, self.add_gradient = nullcontext, lambda: None


def test_training_gives_the_embedding_the_gradient_that_autograd_does(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [encode_example(tiny_tokenizer(), question, "A loop.") for question in ("What is AF-3001?", "Why?")]
    settings = TrainSettings(epochs=3, batch_size=2, micro_batch_size=2, learning_rate=1e-3)

    def trained() -> torch.Tensor:
        model = tiny_llama()
        train(model, examples, settings)
        return dict(model.named_parameters())["model.embed_tokens.weight"].detach()

    ours = trained()
    with monkeypatch.context() as patch:
        patch.setattr("kapoc.training.loop.TiedEmbedding", _Autograds)
        assert torch.allclose(ours, trained(), atol=1e-4)
    monkeypatch.setattr(TiedEmbedding, "add_gradient", lambda _: None)
    assert not torch.allclose(ours, trained(), atol=1e-3)


class _InPlace(torch.nn.Module):
    """A model that changes what its embedding gave, as CTRL does."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 4)
        self.head = torch.nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(token_ids)
        embedded *= 2.0
        logits: torch.Tensor = self.head(embedded)
        return logits


def test_a_model_may_change_what_its_embedding_gave() -> None:
    model, token_ids = _InPlace(), torch.tensor([[1, 5, 5]])
    found = []
    for embedding in (TiedEmbedding(model), _Autograds(model)):  # type: ignore[arg-type]
        with embedding.apart():
            loss = model(token_ids).logsumexp(-1).sum()
        loss.backward()
        embedding.add_gradient()
        found.append(torch.as_tensor(model.embedding.weight.grad).clone())
        model.zero_grad()
    assert torch.allclose(found[0], found[1])


class _NoOutput(torch.nn.Module):
    def get_input_embeddings(self) -> torch.nn.Module:
        raise NotImplementedError


def test_a_model_that_does_not_tell_its_embedding_is_left_alone() -> None:
    embedding = TiedEmbedding(_NoOutput())  # type: ignore[arg-type]
    with embedding.apart():
        embedding.add_gradient()


def test_only_a_tied_embedding_has_a_second_gradient_to_save() -> None:
    model, apart = tiny_llama(), untied()
    for one, num_hooks in ((model, 1), (apart, 0), (frozen(), 0)):
        with TiedEmbedding(one).apart():
            assert len(one.get_input_embeddings()._forward_hooks) == num_hooks
        assert not one.get_input_embeddings()._forward_hooks
