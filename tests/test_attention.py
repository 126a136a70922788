"""Reading a row in blocks gives what reading it whole gives: outputs, gradients, behind a prefix and by itself."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_gpt2, tiny_llama
from transformers import PreTrainedModel

import kapoc.engine.attention
from kapoc.engine.attention import blocks_of, use_tree_attention
from kapoc.engine.prefix_tree import Row, plan_rows
from kapoc.engine.reading import local_window, read_prefix, read_row, tree_mask


def _sequences(seed: int, num: int = 12) -> list[list[int]]:
    """Sequences with common beginnings of many lengths."""
    order = random.Random(seed)
    found = [[order.randrange(3, 90) for _ in range(20)]]
    while len(found) < num:
        stem = order.choice(found)
        found.append([*stem[: order.randrange(1, len(stem))], *(order.randrange(3, 90) for _ in range(9))])
    return found


def _row(seed: int) -> Row:
    sequences = _sequences(seed)
    (row,) = plan_rows(sequences, 0, 10_000)
    return row


def test_a_row_without_branches_needs_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = tiny_llama(), _sequences(3, 1)[0]
    use_tree_attention(model)
    chain = Row(tokens, list(range(len(tokens))), list(range(-1, len(tokens) - 1)))
    last = [len(tokens) - 1]
    expected = _logits(model, chain)[0, -1]
    monkeypatch.setattr("kapoc.engine.reading.tree_mask", None)  # of 16,000 tokens it would take 5 GiB
    assert torch.allclose(read_row(model, chain, [], last).logits[0], expected, atol=1e-5)
    half = len(tokens) // 2
    rest = tokens[half:]
    behind = Row(rest, list(range(half, len(tokens))), list(range(-1, len(rest) - 1)))
    found = read_row(model, behind, read_prefix(model, tokens[:half]), [len(rest) - 1])
    assert torch.allclose(found.logits[0], expected, atol=1e-5)


def _logits(model: PreTrainedModel, row: Row) -> torch.Tensor:
    logits: torch.Tensor = model(
        input_ids=torch.tensor([row.tokens]),
        position_ids=torch.tensor([row.depths]),
        attention_mask=tree_mask(row, 0, torch.float32),
        use_cache=False,
    ).logits
    return logits


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("num_nodes", [1, 7, 40])
def test_blocks_give_the_outputs_and_gradients_of_the_whole_row(
    make: type, num_nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kapoc.engine.attention, "_BLOCK_NODES", num_nodes)
    plain, blocked = make(), make()
    use_tree_attention(blocked)
    assert (plain.config._attn_implementation, blocked.config._attn_implementation) == ("sdpa", "kapoc")
    row = _row(num_nodes)
    one, other = _logits(plain, row), _logits(blocked, row)
    assert torch.allclose(one, other, atol=1e-4)
    one.square().mean().backward()
    other.square().mean().backward()
    for (name, weight), (_, same) in zip(plain.named_parameters(), blocked.named_parameters(), strict=True):
        assert torch.allclose(weight.grad, same.grad, rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize(("most_seen", "computed_in"), [(256, torch.bfloat16), (20, torch.float32)])
def test_blocks_in_bfloat16_are_near_those_in_float32(
    make: type, most_seen: int, computed_in: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of many small blocks are made together in bfloat16, those of large ones by `sdpa` in float32."""
    monkeypatch.setattr(kapoc.engine.attention, "_BLOCK_NODES", 16)
    monkeypatch.setattr(kapoc.engine.attention, "_MOST_SEEN", most_seen)
    plain, blocked, row = make(), make(), _row(5)
    use_tree_attention(blocked)
    used: set[torch.dtype] = set()
    for name, owner in (("bmm", torch), ("scaled_dot_product_attention", torch.nn.functional)):
        monkeypatch.setattr(owner, name, _told(getattr(owner, name), used))
    expected = _logits(plain, row)
    used.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _logits(blocked, row)
    assert used == {computed_in}
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()
    expected.square().mean().backward()
    found.float().square().mean().backward()
    for (name, weight), (_, same) in zip(plain.named_parameters(), blocked.named_parameters(), strict=True):
        assert (weight.grad - same.grad).norm() < 0.05 * weight.grad.norm() + 1e-6, name


def _told(product: Callable[..., torch.Tensor], used: set[torch.dtype]) -> Callable[..., torch.Tensor]:
    """The same product, which notes what it is computed in."""

    def told(first: torch.Tensor, *others: torch.Tensor, **options: object) -> torch.Tensor:
        used.add(first.dtype)
        return product(first, *others, **options)

    return told


@pytest.mark.parametrize("scaling", [0.3, None])
def test_products_made_together_are_those_of_each_block(scaling: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kapoc.engine.attention, "_BLOCK_NODES", 16)
    layer, row = tiny_llama().model.layers[0].self_attn, _row(5)
    mask = tree_mask(row, 4, torch.float32)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, len(row), 12, generator=generator)
    key, value = (torch.randn(1, 2, 4 + len(row), 12, generator=generator) for _ in range(2))
    options = {} if scaling is None else {"scaling": scaling}
    apart, _ = kapoc.engine.attention._attend(layer, query, key, value, mask, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together, _ = kapoc.engine.attention._attend(layer, query, key, value, mask, **options)
    assert apart.shape == together.shape
    assert (apart - together.float()).abs().max() < 0.03
    blocks = blocks_of(mask)
    assert blocks is not None
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dropped = kapoc.engine.attention._attended_together(query, key, value, blocks, dropout=0.5, **options)
    assert (dropped - together).abs().max() > 0.1


def test_a_row_behind_a_prefix_is_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kapoc.engine.attention, "_BLOCK_NODES", 16)
    plain, blocked = tiny_llama(), tiny_llama()
    use_tree_attention(blocked)
    prefix = list(range(5, 25))
    (row,) = plan_rows([[*prefix, *rest] for rest in _sequences(3)], len(prefix), 10_000)
    wanted = list(range(len(row)))
    one, other = (read_row(model, row, read_prefix(model, prefix), wanted).logits for model in (plain, blocked))
    assert torch.allclose(one, other, atol=1e-4)


def test_a_block_holds_its_nodes_and_their_ancestors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kapoc.engine.attention, "_BLOCK_NODES", 16)
    row = _row(5)
    mask = tree_mask(row, 4, torch.float32)
    blocks = blocks_of(mask)
    assert blocks is not None
    assert [start for start, _ in blocks.cuts[1:]] == [end for _, end in blocks.cuts[:-1]]
    assert (blocks.cuts[0][0], blocks.cuts[-1][1]) == (0, len(row))
    for number, ((start, end), width) in enumerate(zip(blocks.cuts, blocks.widths, strict=True)):
        seen, filled = blocks.seen[number, :width], blocks.mask[number, 0]
        hidden = torch.ones(mask.shape[-1], dtype=torch.bool)
        hidden[seen] = False
        assert (mask[0, 0, start:end, hidden] < 0).all()
        assert torch.equal(filled[: end - start, :width], mask[0, 0, start:end, seen])
        assert (filled[:, width:] < 0).all()
        assert blocks.nodes[number, : end - start].tolist() == list(range(start, end))
        assert blocks.block[start:end].tolist() == [number] * (end - start)
        assert blocks.place[start:end].tolist() == list(range(end - start))


def test_a_row_of_one_block_is_attended_to_as_it_is() -> None:
    (row,) = plan_rows(_sequences(3, 2), 0, 10_000)
    assert blocks_of(tree_mask(row, 4, torch.float32)) is None


def test_a_model_that_attends_otherwise_is_left_alone() -> None:
    model = tiny_llama()
    model.set_attn_implementation("eager")
    use_tree_attention(model)
    assert model.config._attn_implementation == "eager"


def test_a_saved_model_does_not_name_it(tmp_path: Path) -> None:
    model = tiny_llama()
    use_tree_attention(model)
    model.save_pretrained(tmp_path)
    assert "kapoc" not in (tmp_path / "config.json").read_text(encoding="utf-8")


def test_what_a_model_asks_beside_sdpa_is_not_passed_over() -> None:
    layer = tiny_llama().model.layers[0].self_attn
    query, shared = torch.randn(1, 4, 5, 12), torch.randn(1, 2, 5, 12)
    mask = torch.zeros(1, 1, 5, 5)
    repeated = shared.repeat_interleave(2, 1)
    expected = torch.nn.functional.scaled_dot_product_attention(query, repeated, repeated, mask)
    found = kapoc.engine.attention._attended(layer, query, shared, shared, mask, scaling=12**-0.5)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-6)
    with pytest.raises(ValueError, match="softcap"):
        kapoc.engine.attention._attended(layer, query, shared, shared, mask, softcap=5.0)


@pytest.mark.parametrize("scaling", [0.05, 1.0, None])
def test_a_models_own_scale_of_attention_is_kept(scaling: float | None) -> None:
    """As of Gemma and Granite, which do not scale by the width of a head."""
    layer, mask = tiny_llama().model.layers[0].self_attn, torch.zeros(1, 1, 5, 5)
    query, key, value = torch.randn(3, 1, 4, 5, 12)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scaling)
    found = kapoc.engine.attention._attended(layer, query, key, value, mask, scaling=scaling)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-6)


def test_dropout_of_attention_is_kept() -> None:
    layer, mask = tiny_llama().model.layers[0].self_attn, torch.zeros(1, 1, 5, 5)
    query, key, value = torch.randn(3, 1, 4, 5, 12)
    torch.manual_seed(0)
    found = kapoc.engine.attention._attended(layer, query, key, value, mask, dropout=0.5)
    assert not torch.allclose(found, kapoc.engine.attention._attended(layer, query, key, value, mask), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        ({}, None),
        ({"sliding_window": 0}, None),
        ({"sliding_window": 9}, 9),
        ({"attention_chunk_size": 7}, 7),
        ({"sliding_window": 9, "attention_chunk_size": 7}, 7),
        ({"sliding_window": 9, "window_size": 256}, 0),
    ],
)
def test_texts_share_a_row_only_within_the_smallest_window(settings: dict[str, int], window: int | None) -> None:
    model = tiny_llama()
    for name, value in settings.items():
        setattr(model.config, name, value)
    assert local_window(model) == window


def test_a_mask_and_a_bias_of_bfloat16_go_with_float32_heads() -> None:
    """What a model makes under autocast is rounded to bfloat16, and `sdpa` takes one precision."""
    query, key, value = (torch.randn(1, 2, 5, 8).bfloat16() for _ in range(3))
    mask = torch.zeros(1, 1, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -1e4)
    expected = torch.nn.functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), mask)
    module = torch.nn.Module()
    for bias in (None, torch.zeros(1, 2, 5, 5).bfloat16()):
        options: dict[str, Any] = {"scaling": 8**-0.5} | ({} if bias is None else {"position_bias": bias})
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, _ = kapoc.engine.attention._attend(module, query, key, value, mask.bfloat16(), **options)
        torch.testing.assert_close(found.transpose(1, 2), expected, atol=1e-2, rtol=1e-2)
