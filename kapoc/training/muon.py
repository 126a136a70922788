"""Steps that teach much and change little of what a layer gives in general text: Muon, measured by the layer's inputs.

A gradient of a few texts has a few large directions, and most of them are directions in which a layer reads any text.
Muon makes all directions of a step equally large, so that what only one text has counts as much. How large is measured
here by what a step changes where the layer reads text that the base wrote: with C, the second moments of its inputs
there, a step D is bounded by the spectral norm of D (I + s C)^(1/2). The steepest such D for a gradient G is

    msign(G R) R^T,    R R^T = (I + s C)^-1,    msign(U S V^T) = U V^T,

whichever R is taken. Of the two Gram matrices of G R the smaller one is inverted; no step has a state.

Sources:
    Muon: Jordan et al. (2024), Muon: An optimizer for hidden layers in neural networks. As steepest descent by a norm:
    Bernstein and Newhouse (2024), Old Optimizer, New Norm. The scale, by which rates are like AdamW's: Liu et al.
    (2025), Muon is Scalable for LLM Training. The polynomials: Amsel et al. (2025), The Polar Express. C, and why what
    it holds is forgetting: Zeng et al. (2019), Nature Machine Intelligence 1:364-372; Wang et al. (2021), CVPR; Fang et
    al. (2025), AlphaEdit, ICLR.
"""

import math
from collections.abc import Callable, Mapping

import torch

_POLYNOMIALS = (
    (8.0934, -23.6204, 17.4462),
    (3.6366, -2.7219, 0.5365),
    (2.6613, -1.9772, 0.4526),
)
"""a x + b x^3 + c x^5, one behind the other: of all such three the nearest to 1 for x from 0.01 to 1."""
_ABOVE = 1.02
"""Singular values are divided by a bound of the largest, and by so much more than rounding can add to it."""
_ADAMW_SIZE = 0.2
"""The root mean square of what AdamW makes of a gradient, about."""


class Muon(torch.optim.Optimizer):
    """Takes steps of weights of linear layers, each matrix as a whole, without momentum."""

    def __init__(
        self, roots: Mapping[torch.Tensor, torch.Tensor | None], learning_rate: float, precision: torch.dtype
    ) -> None:
        """Prepare to train these weights.

        Args:
            roots: by each weight (outputs, inputs), or bias (outputs), an R (inputs, inputs), of a bias (1, 1); none
                where steps are measured by themselves.
            learning_rate: about what AdamW would take.
            precision: of the matrix products.
        """
        super().__init__(list(roots), {"lr": learning_rate})
        self._precision = precision
        self._factors = {
            weight: (root if len(weight) > len(root) else root @ root.mT).to(precision)
            for weight, root in roots.items()
            if root is not None
        }

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    gradient = weight.grad if weight.ndim == 2 else weight.grad[:, None]
                    direction = steepest(gradient.to(self._precision), self._factors.get(weight))
                    size = group["lr"] * _ADAMW_SIZE * math.sqrt(max(gradient.shape))
                    weight.add_(direction.view_as(weight), alpha=-size)
        return loss


def steepest(gradient: torch.Tensor, factor: torch.Tensor | None = None) -> torch.Tensor:
    """msign(G R) R^T of a gradient (outputs, inputs), or msign(G), in its precision and about 5% off.

    Args:
        gradient: G.
        factor: R where there are more outputs than inputs, else R R^T; each (inputs, inputs).
    """
    outputs, inputs = gradient.shape
    if outputs > inputs:
        gram = gradient.mT @ gradient
        if factor is None:
            return gradient @ _inverse_root(gram)
        return gradient @ (factor @ _inverse_root(factor.mT @ gram @ factor) @ factor.mT)
    seen = gradient if factor is None else gradient @ factor
    return _inverse_root(seen @ gradient.mT) @ seen


def _inverse_root(matrix: torch.Tensor) -> torch.Tensor:
    """About the inverse of the root of a symmetric matrix without negative eigenvalues; zeros of zeros."""
    bound = _ABOVE * float(matrix.float().norm())
    if not bound:
        return torch.zeros_like(matrix)
    rest = matrix / bound
    factor = found = _factor(rest, *_POLYNOMIALS[0])
    for coefficients in _POLYNOMIALS[1:]:
        rest = factor @ rest @ factor
        factor = _factor(rest, *coefficients)
        found = factor @ found
    return found / math.sqrt(bound)


def _factor(matrix: torch.Tensor, a: float, b: float, c: float) -> torch.Tensor:
    """a I + b A + c A A."""
    factor = torch.addmm(matrix, matrix, matrix, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor
