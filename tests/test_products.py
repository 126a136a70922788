"""Linear layers that multiply by oneDNN compute what torch computes, and do so only where that is faster."""

import copy
import time
from collections.abc import Iterator

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kapoc import products
from kapoc.products import onednn_is_faster, packed, use_fastest_products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


@pytest.fixture(autouse=True)
def tried_anew() -> Iterator[None]:
    yield
    onednn_is_faster.cache_clear()


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, faster: None) -> list[tuple[int, ...]]:
    """The shapes of what oneDNN multiplied."""
    shapes: list[tuple[int, ...]] = []
    multiplied = products._multiplied

    def count(inputs: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(inputs.shape))
        return multiplied(inputs, *more)

    monkeypatch.setattr(products, "_multiplied", count)
    return shapes


def _gradients(layer: torch.nn.Module, inputs: torch.Tensor, gradient: torch.Tensor) -> list[torch.Tensor]:
    """What comes out, and all gradients."""
    layer.zero_grad()
    leaf = inputs.detach().requires_grad_()
    product = layer(leaf)
    product.backward(gradient)
    assert leaf.grad is not None
    return [
        product.detach(),
        leaf.grad,
        *(weight.grad.clone() for weight in layer.parameters() if weight.grad is not None),
    ]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(24,), (7, 24), (1, 7, 24), (2, 3, 24), (2, 0, 24)])
def test_a_layer_and_its_gradients_are_torchs(
    shape: tuple[int, ...], bias: bool, counted: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 10, bias=bias)
    inputs, gradient = torch.randn(shape), torch.randn(*shape[:-1], 10)
    expected = _gradients(layer, inputs, gradient)
    use_fastest_products(layer)
    found = _gradients(layer, inputs, gradient)
    assert len(found) == (4 if bias else 3) and bool(counted) is (0 not in shape)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_an_output_may_be_changed_in_place(faster: None) -> None:
    layer = torch.nn.Linear(24, 10)
    inputs = torch.randn(2, 3, 24, requires_grad=True)
    use_fastest_products(layer)
    output = layer(inputs)
    output *= 2.0
    output.sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad, 2 * layer.weight.sum(0).expand(2, 3, 24))


def test_inputs_of_any_strides_are_multiplied(faster: None) -> None:
    layer = torch.nn.Linear(24, 10)
    use_fastest_products(layer)
    for inputs in (torch.randn(8, 24)[::2], torch.randn(3, 5, 24).transpose(0, 1), torch.randn(24, 6).t()):
        torch.testing.assert_close(layer(inputs), torch.nn.functional.linear(inputs, layer.weight, layer.bias))


def test_gradients_of_gradients_are_refused_and_not_wrong(faster: None) -> None:
    layer = torch.nn.Linear(4, 3)
    use_fastest_products(layer)
    inputs = torch.randn(2, 4, requires_grad=True)
    (first,) = torch.autograd.grad(layer(inputs).pow(2).sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.sum(), inputs)


def test_frozen_weights_get_no_gradient(counted: list[tuple[int, ...]]) -> None:
    layer = torch.nn.Linear(24, 10)
    use_fastest_products(layer)
    layer.weight.requires_grad_(False)
    inputs = torch.randn(5, 24, requires_grad=True)
    layer(inputs).sum().backward()
    assert layer.weight.grad is None and inputs.grad is not None
    assert counted == [(5, 24), (5, 10)]


def test_a_model_computes_the_same_losses_and_gradients(counted: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    model = LlamaForCausalLM(config)
    plain, tokens = copy.deepcopy(model), torch.randint(64, (2, 9))
    use_fastest_products(model)
    for each in (plain, model):
        each(input_ids=tokens, labels=tokens).loss.backward()
    assert len(counted) == 3 * (2 * 7 + 1)  # seven layers a block and the output layer, forward and two ways back
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_a_copy_multiplies_by_its_own_weights(faster: None) -> None:
    layer = torch.nn.Linear(4, 3)
    use_fastest_products(layer)
    other = copy.deepcopy(layer)
    torch.nn.init.zeros_(other.weight)
    assert torch.equal(other(torch.ones(2, 4)), other.bias.expand(2, 3)) and layer(torch.ones(2, 4)).std() > 0


def test_packed_weights_give_the_same_bits_and_are_gone_afterwards(
    faster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, untouched = torch.nn.Linear(96, 200), torch.nn.Linear(96, 200)
    use_fastest_products(layer)
    seen: list[bool] = []
    multiplied = products._multiplied

    def see(read: torch.Tensor, weight: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(weight.is_mkldnn)
        return multiplied(read, weight, *rest)

    monkeypatch.setattr(products, "_multiplied", see)
    with torch.no_grad():
        inputs = [torch.randn(rows, 96) for rows in (1, 7, 64, 300)]
        plain = [layer(each) for each in inputs]
        with packed(layer, untouched, layer):
            assert all(torch.equal(layer(each), one) for each, one in zip(inputs, plain, strict=True))
            assert torch.equal(untouched(inputs[0]), torch.nn.functional.linear(inputs[0], *untouched.parameters()))
        layer.weight.zero_()
        assert torch.equal(layer(inputs[1]), layer.bias.expand(7, 200))
        monkeypatch.setattr(products, "_MOST_PACKED", 96 * 200)  # without the bias
        with packed(layer):
            layer(inputs[1])
    assert seen == [False] * 5 + [True] * 3 + [False] * 2


def test_weights_that_are_trained_are_not_read_from_a_packing(faster: None) -> None:
    layer = torch.nn.Linear(8, 4)
    use_fastest_products(layer)
    with packed(layer):
        layer.weight.data.zero_()
        product = layer(torch.ones(2, 8))
    assert torch.equal(product, layer.bias.expand(2, 4)) and product.requires_grad


def test_other_precisions_are_torchs_own(counted: list[tuple[int, ...]]) -> None:
    layer, inputs = torch.nn.Linear(24, 10), torch.randn(5, 24)
    use_fastest_products(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(inputs).dtype == torch.bfloat16
    layer.to(torch.bfloat16)
    assert layer(inputs.bfloat16()).dtype == torch.bfloat16
    assert not counted


def test_what_another_library_made_of_a_layer_stays(faster: None) -> None:
    class Other(torch.nn.Linear):
        pass

    layer, other = torch.nn.Linear(4, 3), Other(4, 3)
    layer.__dict__["forward"] = lambda _: torch.zeros(1)
    use_fastest_products(torch.nn.ModuleList([layer, other]))
    assert layer(torch.ones(4)) == 0 and "forward" not in vars(other)


@pytest.mark.parametrize("slow", ["_multiplied", "linear"])
def test_the_faster_of_the_two_is_taken(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = products if slow == "_multiplied" else torch.nn.functional
    way = getattr(place, slow)

    def slowly(*arguments: torch.Tensor) -> torch.Tensor:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        product: torch.Tensor = way(*arguments)
        return product

    monkeypatch.setattr(place, slow, slowly)
    onednn_is_faster.cache_clear()
    layer = torch.nn.Linear(4, 3)
    use_fastest_products(layer)
    assert onednn_is_faster() is (slow == "linear") and ("forward" in vars(layer)) is (slow == "linear")


def test_other_programs_beside_it_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, num_threads, way = onednn_is_faster(), torch.get_num_threads(), torch.nn.functional.linear
    ran_on = set()

    def waiting(*arguments: torch.Tensor) -> torch.Tensor:
        ran_on.add(torch.get_num_threads())
        time.sleep(0.02)
        return way(*arguments)

    monkeypatch.setattr(torch.nn.functional, "linear", waiting)
    onednn_is_faster.cache_clear()
    assert onednn_is_faster() is alone
    assert 1 in ran_on and torch.get_num_threads() == num_threads


def test_what_computes_in_less_than_float32_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def roughly(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (inputs.bfloat16() @ weight.bfloat16().t()).float()

    def slowly(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return inputs @ weight.t()

    monkeypatch.setattr(products, "_multiplied", roughly)
    monkeypatch.setattr(torch.nn.functional, "linear", slowly)
    onednn_is_faster.cache_clear()
    assert not onednn_is_faster()


def test_torch_without_onednn_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    onednn_is_faster.cache_clear()
    assert not onednn_is_faster()


def test_the_gradient_of_a_vocabulary_is_torchs_own(
    counted: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LARGE", 24 * 10 - 1)
    layer = torch.nn.Linear(24, 10, bias=False)
    inputs, gradient = torch.randn(5, 24), torch.randn(5, 10)
    expected = _gradients(layer, inputs, gradient)
    use_fastest_products(layer)
    for one, other in zip(_gradients(layer, inputs, gradient), expected, strict=True):
        torch.testing.assert_close(one, other)
    assert counted == [(5, 24), (5, 10)]
