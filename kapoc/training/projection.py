"""Steps that are kept away from what a layer reads in general text.

A step dW changes what a linear layer gives for an input x by dW x. Where x comes from general text that is forgetting,
where it comes from a question about a fact it is learning. A step is therefore multiplied by P = (I + s C)^-1, C being
the second moments of the layer's inputs on text that the base wrote: what is common there is nearly shut, what is rare
stays open. The gradient is multiplied by it, so that the optimizer sees only what is open, and then what the optimizer
made of it, which has mixed both again.

Sources:
    The matrix: Zeng, Chen, Cui and Yu (2019), Continual learning of context-dependent processing in neural networks,
    Nature Machine Intelligence 1:364-372. Steps of Adam: Wang, Li, Sun and Xu (2021), Training Networks in Null Space
    of Feature Covariance for Continual Learning, CVPR. Facts in feed-forward layers: Fang et al. (2025), AlphaEdit,
    ICLR.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kapoc.engine.divergence import Passage
from kapoc.methods.layers import linear_paths
from kapoc.models import evaluating
from kapoc.training.batches import PackedRow, answer_logits, pack
from kapoc.training.replay import as_example

_NUM_TOKENS = 20_000
"""Of text that the moments are taken from: a dozen for each input of the default model's widest layer."""
_ROW_PASSAGES = 8


@dataclass(frozen=True, slots=True)
class _Projector:
    """What a change of a weight (outputs, inputs) is multiplied by.

    Attributes:
        matrix: (inputs, inputs), symmetric; (1, 1) for a bias, which is the weight of an input that is always 1.
        inputs_first: whether the weight is (inputs, outputs), as that of a `Conv1D`.
    """

    matrix: torch.Tensor
    inputs_first: bool

    def of(self, change: torch.Tensor) -> torch.Tensor:
        """A change, without what is common in the inputs."""
        if change.ndim == 1:
            return self.matrix[0] * change
        return self.matrix @ change if self.inputs_first else change @ self.matrix


class Projection:
    """What the steps of weights are multiplied by."""

    def __init__(self, projectors: Mapping[torch.Tensor, _Projector] = MappingProxyType({})) -> None:
        """Take a projector for each weight that has one; the steps of all others stay as they are."""
        self._projectors = projectors

    @contextmanager
    def of_step(self) -> Iterator[None]:
        """Project the gradients before the optimizer's step that is taken within, and then what it changed."""
        before = {}
        with torch.no_grad():
            for weight, projector in self._projectors.items():
                if weight.grad is not None:
                    weight.grad = projector.of(weight.grad)
                    before[weight] = weight.clone()
            yield
            for weight, old in before.items():
                weight.copy_(old + self._projectors[weight].of(weight - old))


def projection_from(
    model: PreTrainedModel, passages: Sequence[Passage], strength: float, *, is_packed: bool
) -> Projection:
    """Read passages, and project the steps of every trained linear layer by what it reads in them.

    Args:
        model: before training.
        passages: that the base wrote; so many of them are read, from all parts, as have 20,000 tokens.
        strength: s; inputs are scaled to a mean square of 1 each, so that C has a mean eigenvalue of 1. 0 leaves all
            steps as they are.
        is_packed: whether several passages may stand in a row.
    """
    if not passages or not strength:
        return Projection()
    weights = dict(model.named_parameters())
    projectors: dict[torch.Tensor, _Projector] = {}
    for path, moment in _moments(model, passages, is_packed=is_packed).items():
        is_transposed = isinstance(model.get_submodule(path), Conv1D)
        projectors[weights[f"{path}.weight"]] = _Projector(_inverse(moment, strength), is_transposed)
        if (bias := weights.get(f"{path}.bias")) is not None:
            projectors[bias] = _Projector(_inverse(moment.new_ones(1, 1), strength), inputs_first=False)
    return Projection(projectors)


def _inverse(moment: torch.Tensor, strength: float) -> torch.Tensor:
    identity = torch.eye(len(moment), dtype=torch.float64, device=moment.device)
    inverse: torch.Tensor = torch.linalg.inv(identity + strength * moment.double())
    return ((inverse + inverse.T) / 2).float()


def _moments(model: PreTrainedModel, passages: Sequence[Passage], *, is_packed: bool) -> dict[str, torch.Tensor]:
    """By the path of each trained linear layer the second moments (inputs, inputs) of its inputs, of mean square 1."""
    sums: dict[str, torch.Tensor] = {}
    num_tokens = 0

    def add(path: str, inputs: torch.Tensor) -> None:
        read = inputs.reshape(-1, inputs.shape[-1])[:num_row_tokens].float()
        read = read / read.square().mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
        sums[path] = sums.get(path, 0) + read.T @ read

    layers = {path: model.get_submodule(path) for path in linear_paths(model)}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, path=path: add(path, inputs[0]))
        for path, layer in layers.items()
        if next(layer.parameters()).requires_grad
    ]
    try:
        with evaluating(model), torch.no_grad():
            for row in _rows(passages, _ROW_PASSAGES if is_packed else 1):
                num_row_tokens = row.num_tokens
                num_tokens += num_row_tokens
                answer_logits(model, row.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return {path: total / num_tokens for path, total in sums.items()}


def _rows(passages: Sequence[Passage], size: int) -> Iterator[PackedRow]:
    """Passages from all parts, as many as have the tokens that are needed."""
    needed = math.ceil(_NUM_TOKENS * len(passages) / sum(len(one.tokens) for one in passages))
    chosen = passages[:: max(1, len(passages) // needed)]
    for start in range(0, len(chosen), size):
        yield pack(list(map(as_example, chosen[start : start + size])))
