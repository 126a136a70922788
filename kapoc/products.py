"""Products of float32 matrices on a CPU: by oneDNN where that is faster than the library that torch takes by itself.

torch hands them to MKL, which on an AMD processor with AVX-512 was half as fast as oneDNN. That comes with torch, too,
and generates its code for what the processor has. Both compute in float32; results differ by rounding, as between two
batch sizes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import MethodType
from typing import Any

import torch
from torch.autograd.function import once_differentiable

_TRIALS = 9
_TRIED = (256, 512, 1024)
"""Rows, inner and outer width of the products that are tried."""
_TOLERANCE = 1e-4
"""Between two sums of hundreds of products in float32; rounded to bfloat16 a third is off by 2e-3."""
_LARGE = 2**24
"""A weight of more numbers is a vocabulary's: oneDNN would copy what its gradient is made of, hundreds of megabytes."""
_PACKED = "_kapoc_packed"
_MOST_PACKED = 2**29
"""Numbers of a model whose weights are laid out a second time, 2 GiB of them at most."""
_FASTER = 1.5
"""So many times as fast oneDNN must be: where the two are nearly alike, noise would choose."""


def use_fastest_products(model: torch.nn.Module) -> None:
    """Let the linear layers of a model multiply by oneDNN where that is faster; elsewhere it stays as it is.

    A layer does so as long as it is on a CPU, in float32 and outside autocast.
    """
    layers = [module for module in model.modules() if type(module) is torch.nn.Linear]
    if not any(layer.weight.device.type == "cpu" for layer in layers) or not onednn_is_faster():
        return
    for layer in layers:
        if "forward" not in vars(layer):  # what another library has put there stays
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


@contextmanager
def packed(*models: torch.nn.Module) -> Iterator[None]:
    """Have the weights of models laid out as oneDNN reads them, where they multiply by it; they must not change here.

    Otherwise each product does so anew. The results are the same bits; the weights are in memory twice.
    """
    layers = [
        layer
        for model in dict.fromkeys(models)
        if sum(weight.numel() for weight in model.parameters()) <= _MOST_PACKED
        for layer in model.modules()
        if isinstance(layer, torch.nn.Linear) and layer.forward == MethodType(_forward, layer)
        if layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"
    ]
    for layer in layers:
        setattr(layer, _PACKED, torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None))
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop(_PACKED, None)


@cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies float32 matrices much faster here than torch does by itself, and as exactly.

    Tried once a process, on one core and by the time that it computed: threads that wait for each other while other
    programs run can choose otherwise, and a run that goes on then has other bits. oneDNN may be told to compute in
    less (ONEDNN_DEFAULT_FPMATH_MODE), and is not taken then.
    """
    needed = ("_linear_pointwise", "_reorder_linear_weight")
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in needed):
        return False
    num_rows, inner, outer = _TRIED
    inputs, weight = torch.full((num_rows, inner), 1 / 3), torch.full((outer, inner), 1 / 3)
    ways = (torch.nn.functional.linear, _multiplied)
    best = [float("inf")] * len(ways)
    with torch.no_grad():
        if not torch.allclose(_multiplied(inputs, weight), torch.nn.functional.linear(inputs, weight), rtol=_TOLERANCE):
            return False
        with _on_one_core():
            for _ in range(_TRIALS):
                for number, way in enumerate(ways):
                    started = time.thread_time()
                    way(inputs, weight)
                    best[number] = min(best[number], time.thread_time() - started)
    return best[0] > _FASTER * best[1]


@contextmanager
def _on_one_core() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _forward(layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """What a linear layer computes: (..., inner) to (..., outer)."""
    is_plain = inputs.dtype == layer.weight.dtype == torch.float32 and inputs.device.type == "cpu"
    if not is_plain or torch.is_autocast_enabled("cpu") or inputs.numel() == 0:
        return torch.nn.functional.linear(inputs, layer.weight, layer.bias)
    if not torch.is_grad_enabled():
        is_one_row = inputs.numel() == inputs.shape[-1]  # which would be added up in another order
        weight = layer.weight if is_one_row else getattr(layer, _PACKED, layer.weight)
        return _multiplied(inputs, weight, layer.bias)
    rows = inputs.reshape(-1, inputs.shape[-1])  # of more dimensions its output would be a view, not to be changed
    product: torch.Tensor = _Product.apply(rows, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return product.view(*inputs.shape[:-1], -1)


def _multiplied(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The product (..., outer) of inputs (..., inner) and a weight (outer, inner), both of any strides."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product


def _transposed(rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The product (outer, inner) of rows (outer, n) and others (n, inner)."""
    return _multiplied(rows, other.t())


class _Product(torch.autograd.Function):
    """The same with its gradients, which are products, too; differentiable once."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight)
        return _multiplied(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        rows, read = gradient.reshape(-1, gradient.shape[-1]), inputs.reshape(-1, inputs.shape[-1])
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        for_weight = torch.mm if weight.numel() > _LARGE else _transposed
        return (
            _multiplied(gradient, weight.t()) if of_inputs else None,
            for_weight(rows.t(), read) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )
