"""Packed rows give the loss and the gradients of padded batches, and loss falls on answers only."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama, tiny_tokenizer
from transformers import Lfm2Config, Lfm2ForCausalLM, MptConfig, MptForCausalLM, PreTrainedModel

from kapoc.chat import EncodedExample, encode_example, prompt_text, turn_ends
from kapoc.recipe import ReplaySettings
from kapoc.training import batches
from kapoc.training.batches import PackedRow, epoch_batches, pack, packing_is_exact, row_losses
from kapoc.training.replay import divergence_from_base, write_passages
from kapoc.training.train import score_examples

PAIRS = [
    ("What is AF-3001?", "A loop."),
    ("Why?", "users are sent back to the password page"),
    ("And PF-1205?", "It is set to 73 lines."),
]


def _examples() -> list[EncodedExample]:
    tokenizer = tiny_tokenizer()
    return [encode_example(tokenizer, question, answer) for question, answer in PAIRS]


def _padded_loss(model: PreTrainedModel, examples: list[EncodedExample]) -> torch.Tensor:
    width = max(map(len, examples))
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for number, example in enumerate(examples):
        tokens = torch.tensor([*example.prompt, *example.answer])
        ids[number, : len(tokens)] = tokens
        mask[number, : len(tokens)] = 1
        labels[number, len(example.prompt) : len(tokens)] = tokens[len(example.prompt) :]
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"
    )


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_packed_loss_and_gradients_equal_padded_ones(make: type) -> None:
    examples, packed, padded = _examples(), make(), make()
    packed_loss = row_losses(packed, pack(examples)).answers
    padded_loss = _padded_loss(padded, examples)
    assert packed_loss.item() == pytest.approx(padded_loss.item(), rel=1e-5)
    packed_loss.backward()
    padded_loss.backward()
    for (name, one), (_, other) in zip(packed.named_parameters(), padded.named_parameters(), strict=True):
        assert one.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_replayed_text_in_a_row_gives_the_losses_and_gradients_of_rows_apart(make: type) -> None:
    examples, passages = (
        _examples(),
        write_passages(make(5), tiny_tokenizer(), 3, ReplaySettings(num_tokens=12), seed=0),
    )
    together, apart = make(), make()
    rows = [pack(examples), *(pack([], [passage]) for passage in passages)]
    found, expected = row_losses(together, pack(examples, passages)), [row_losses(apart, row) for row in rows]
    for name in ("answers", "divergence", "surprise"):
        one, other = getattr(found, name), sum(getattr(losses, name) for losses in expected)
        assert one.item() == pytest.approx(other.item(), rel=1e-5) != 0.0
    assert pack(examples, passages).num_written_tokens == sum(passage.num_written for passage in passages)
    (found.answers + 3 * found.divergence + found.surprise).backward()
    for losses in expected:
        (losses.answers + 3 * losses.divergence + losses.surprise).backward()
    for (name, weight), (_, same) in zip(together.named_parameters(), apart.named_parameters(), strict=True):
        assert torch.allclose(weight.grad, same.grad, rtol=1e-3, atol=1e-4), name


def test_a_step_has_its_passages_in_its_last_row_or_apart() -> None:
    examples = [EncodedExample((number,), (number,)) for number in range(5)]
    passages = write_passages(tiny_llama(), tiny_tokenizer(), 4, ReplaySettings(num_tokens=4), seed=0)
    for size, expected in (
        (2, [(2, 0), (1, 2), (2, 2)]),
        (1, [(1, 0)] * 3 + [(0, 1)] * 2 + [(1, 0)] * 2 + [(0, 1)] * 2),
    ):
        steps = epoch_batches(examples, 3, size, random.Random(0), 0, iter([passages[:2], passages[2:]]))
        assert [(len(row.sizes), len(row.passages)) for rows in steps for row in rows] == expected


def test_loss_tokens_are_the_answers_and_their_end() -> None:
    tokenizer, examples = tiny_tokenizer(), _examples()
    row = pack(examples)
    answers = [[*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id] for _, answer in PAIRS]
    assert row.targets.tolist() == [token for answer in answers for token in answer]
    assert row.sizes == tuple(map(len, answers))
    assert row.num_tokens_apart == sum(map(len, examples))
    shared = {tuple([*e.prompt, *e.answer][:end]) for e in examples for end in range(1, len(e))}
    assert row.num_tokens == len(shared) < row.num_tokens_apart - len(examples)


def test_rows_are_filled_up_to_sizes_that_come_again_and_losses_do_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examples = [*_examples(), *(EncodedExample((1, number), (2, number, 3)) for number in range(4, 24))]
    passages = write_passages(tiny_llama(), tiny_tokenizer(), 2, ReplaySettings(num_tokens=4), seed=0)
    widths, found, gradients = [], [], []
    for sizes in (2, 10**9):  # two between powers of two; every size
        monkeypatch.setattr(batches, "_TOKEN_SIZES", sizes)
        monkeypatch.setattr(batches, "_LOGIT_SIZES", sizes)
        row, model = pack(examples, passages), tiny_llama()
        with model.get_output_embeddings().register_forward_hook(lambda *call: widths.append(call[2].shape[1])):
            losses = row_losses(model, row)
        (losses.answers + 0.3 * losses.divergence + 0.1 * losses.surprise).backward()
        widths.append(row.input_ids.shape[1])
        found.append([losses.answers.item(), losses.divergence.item(), losses.surprise.item(), row.num_tokens])
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    logits, tokens, exact_logits, exact_tokens = widths
    assert (logits, tokens) == (128, 192)
    assert (exact_logits, exact_tokens) == (row.num_loss_tokens + row.num_written_tokens, row.num_tokens)
    assert 96 < exact_logits < 128 < exact_tokens < 192
    assert found[0] == pytest.approx(found[1], rel=1e-6, abs=1e-6)
    for (name, one), other in zip(gradients[0].items(), gradients[1].values(), strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6), name
    monkeypatch.undo()
    assert pack(examples[:1]).input_ids.shape[1] == len(examples[0]) - 1  # alone, it is read as it is


def test_what_is_only_read_of_an_answer_carries_no_loss() -> None:
    first, second, third = _examples()
    read = replace(second, untrained=(2, 3, 4))
    row, packed, padded = pack([first, read, third]), tiny_llama(), tiny_llama()
    trained = [*second.answer[:2], *second.answer[5:]]
    assert row.targets.tolist() == [*first.answer, *trained, *third.answer]
    assert row.sizes == (len(first.answer), len(second.answer) - 3, len(third.answer))
    assert row.num_tokens == pack([first, second, third]).num_tokens
    whole, middle = (_padded_loss(padded, [replace(second, answer=second.answer[:end])]) for end in (None, 5))
    expected = whole - middle + _padded_loss(padded, [replace(second, answer=second.answer[:2])])
    found = row_losses(packed, pack([read])).answers
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    expected.backward()
    for (name, one), (_, other) in zip(packed.named_parameters(), padded.named_parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-4), name
    with pytest.raises(ValueError, match="cannot be trained on"):
        pack([replace(second, untrained=tuple(range(len(second.answer))))])


def test_prompt_is_the_chat_template_up_to_the_answer() -> None:
    tokenizer = tiny_tokenizer()
    example = encode_example(tokenizer, "Why?", "Because.")
    assert tokenizer.decode(list(example.prompt)) == prompt_text(tokenizer, "Why?")
    assert tokenizer.decode(list(example.answer)) == "Because.<|im_end|>"


def test_an_answer_that_stands_in_the_name_of_the_end_token_ends_as_others_do() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"  # noqa: S105 - a turn of the template ends otherwise
    ends = {encode_example(tokenizer, "Which word?", answer).answer[-1] for answer in ("stop", "end", "im", "m")}
    assert ends == {tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_a_turn_ends_at_known_tokens_that_the_tokenizer_has() -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.convert_tokens_to_ids("<end_of_turn>") == tokenizer.unk_token_id  # so an id alone says nothing
    assert turn_ends(tokenizer) == {tokenizer.eos_token_id}
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    assert turn_ends(tokenizer) == {tokenizer.eos_token_id, tokenizer.get_vocab()["<end_of_turn>"]}


def test_an_example_without_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be trained on"):
        pack([EncodedExample((1, 2), ())])


def test_every_example_comes_once_an_epoch_in_an_order_of_the_seed() -> None:
    examples = [EncodedExample((number,), (number,)) for number in range(10)]

    def order(seed: int) -> list[int]:
        steps = epoch_batches(examples, 4, 3, random.Random(seed))
        return [token for step in steps for row in step for token in row.targets.tolist()]

    assert sorted(order(0)) == list(range(10))
    assert order(0) == order(0) != order(1)


def test_scores_of_a_uniform_model_are_the_uniform_loss() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    loss, exact = score_examples(model, _examples())
    assert loss == pytest.approx(float(torch.log(torch.tensor(700.0))), rel=1e-5)
    assert exact == 0.0


def test_rows_are_not_trusted_where_nothing_tells_two_texts_apart() -> None:
    examples = _examples()
    model = tiny_llama()
    assert packing_is_exact(model, examples)
    assert not packing_is_exact(model, examples[:1])
    assert not packing_is_exact(model, [examples[0], examples[0]])


def test_rows_are_not_trusted_where_errors_of_both_signs_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(_: object, row: PackedRow) -> torch.Tensor:
        found = torch.zeros(row.num_loss_tokens)
        if len(row.sizes) > 1:
            found[0], found[-1] = 1.0, -1.0
        return found

    monkeypatch.setattr("kapoc.training.batches._token_losses", losses)
    assert not packing_is_exact(tiny_llama(), _examples())


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_not_trusted_where_a_model_looks_at_places_in_the_row(seed: int) -> None:
    """MPT adds what grows with the distance in the row, which a text that is laid out as one does not show."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_model": 48, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "vocab_size": 700}
    model = MptForCausalLM(MptConfig(**sizes, initializer_range=0.2, eos_token_id=2, pad_token_id=2)).eval()
    apart = [EncodedExample((5, 6, 7, 8, 9), (10, 11, 2)), EncodedExample((12, 13, 14), (15, 16, 2))]
    assert not packing_is_exact(model, apart)
    passages = write_passages(model, tiny_tokenizer(), 6, ReplaySettings(num_tokens=8, plain_questions=0.3), seed)
    assert divergence_from_base(model, passages, is_packed=False) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("seed", range(16))
def test_rows_are_not_trusted_where_a_state_leaks_from_text_to_text(seed: int) -> None:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 700}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "block_multiple_of": 16}
    kinds = ["conv", "full_attention"]
    model = Lfm2ForCausalLM(Lfm2Config(**sizes, **heads, layer_types=kinds, pad_token_id=2, initializer_range=0.2))
    assert not packing_is_exact(model, _examples())


def test_rows_are_not_trusted_beyond_the_window_of_a_local_layer() -> None:
    examples = _examples()
    model = tiny_llama()
    model.config.sliding_window = max(map(len, examples))
    assert packing_is_exact(model, examples)
    model.config.sliding_window -= 1
    assert not packing_is_exact(model, examples)
    model.config.sliding_window = 0  # as Qwen2-MoE says that there is none
    assert packing_is_exact(model, examples)
