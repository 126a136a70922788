"""The loss of answers over a whole vocabulary, and its gradient in the place of the logits.

Logits of a row of examples are the largest tensor of a training step, a hundred megabytes where the model has 135
million weights, and reading and writing them again and again is a good part of its time. The gradient is therefore made
with the loss, a few tokens at a time, and written over the logits, which nobody needs afterwards.

Source:
    Hsu et al. (2024), Liger Kernel: Efficient Triton Kernels for LLM Training, arXiv:2410.10989, section 3.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_BLOCK_NUMBERS = 2**20
"""So many logits are worked on at a time on a CPU: what its caches hold."""


def summed_negative_log_likelihood(
    logits: torch.Tensor, targets: torch.Tensor, num_others: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of the tokens that have a target; differentiable once.

    Args:
        logits: (tokens, vocabulary), in float32. Where a gradient is wanted, they are written over.
        targets: (answer tokens,), of the first so many tokens.
        num_others: tokens behind these whose logits are wanted, all if nothing is said; the rest has no part in a loss.

    Returns:
        The negative log-likelihood of the targets, summed, in nats; and the logits (others, vocabulary).
    """
    is_wanted = torch.is_grad_enabled() and logits.requires_grad
    num_others = len(logits) - len(targets) if num_others is None else num_others
    loss, others = _SummedLoss.apply(logits, targets, num_others, is_wanted)  # type: ignore[no-untyped-call]
    return loss, others


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, num_others: int, is_wanted: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        numbers, loss = logits.detach(), logits.new_zeros(())
        size = max(1, _BLOCK_NUMBERS // logits.shape[-1]) if logits.device.type == "cpu" else max(1, len(targets))
        for start in range(0, len(targets), size):
            wanted = targets[start : start + size, None]
            block = numbers[start : start + len(wanted)]
            normalisers = block.logsumexp(-1, keepdim=True)
            loss += (normalisers - block.gather(-1, wanted)).sum()
            if is_wanted:
                block.sub_(normalisers).exp_().scatter_add_(-1, wanted, block.new_full(wanted.shape, -1.0))
        ctx.gradient, ctx.num_answered = numbers, len(targets)
        return loss, numbers[len(targets) : len(targets) + num_others].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        of_loss, of_others = gradients
        gradient, ctx.gradient = ctx.gradient, None  # which is large, and right only once
        if gradient is None:
            raise RuntimeError("the loss was gone back through already; its gradient is made once")
        gradient[: ctx.num_answered].mul_(of_loss)
        rest = gradient[ctx.num_answered :]
        rest[: len(of_others)] = of_others
        rest[len(of_others) :] = 0
        return gradient, None, None, None
