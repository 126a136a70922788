"""What the trained linear layers read in general text, by which steps are measured (`kapoc.training.muon`)."""

import math
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kapoc.engine.divergence import Passage
from kapoc.errors import DataError
from kapoc.models import evaluating
from kapoc.training.batches import PackedRow, answer_logits, pack
from kapoc.training.replay import as_example

_NUM_TOKENS = 5_000
"""Of text that moments are taken from: three for each input of the default model's widest layer."""
_ROW_PASSAGES = 8


def trained_layers(model: PreTrainedModel) -> dict[str, torch.nn.Linear]:
    """By their paths the linear layers that are trained.

    Raises:
        DataError: other weights are trained, too.
    """
    layers = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and any(weight.requires_grad for weight in module.parameters(False))
    }
    known = {weight for layer in layers.values() for weight in layer.parameters(False)}
    other = next((name for name, one in model.named_parameters() if one.requires_grad and one not in known), None)
    if other is not None:
        has_others = any(isinstance(module, Conv1D) for module in model.modules())  # GPT-2's, which are no `Linear`
        methods = '"lora"' if has_others else '"feed_forward" or "lora"'
        raise DataError(
            f'train.optimizer: "muon" trains linear layers alone, and {other} belongs to none; use method = {methods}, '
            'or optimizer = "adamw"'
        )
    return layers


def input_roots(
    model: PreTrainedModel, passages: Sequence[Passage], strength: float, *, is_packed: bool
) -> dict[torch.Tensor, torch.Tensor | None]:
    """By each trained weight R with R R^T = (I + s C)^-1, C being the second moments of the inputs of its layer.

    Args:
        model: before training.
        passages: that the base wrote; so many of them are read, from all parts, as have 5,000 tokens.
        strength: s; inputs are scaled to a mean square of 1 each, so that C has a mean eigenvalue of 1.
        is_packed: whether several passages may stand in a row.

    Returns:
        For a weight (outputs, inputs) a matrix (inputs, inputs), for a bias, the weight of an input that is always 1, a
        matrix (1, 1); none with strength 0, without passages, or where a layer is not called, as those beside experts.

    Raises:
        DataError: weights are trained that are none of linear layers.
    """
    layers = trained_layers(model)
    weights = [w for layer in layers.values() for w in layer.parameters(recurse=False) if w.requires_grad]
    roots: dict[torch.Tensor, torch.Tensor] = {}
    for path, moment in _moments(model, layers, passages, is_packed=is_packed).items() if strength and passages else ():
        roots[layers[path].weight] = _root(moment, strength)
        if layers[path].bias is not None:
            roots[layers[path].bias] = _root(moment.new_ones(1, 1), strength)
    return {weight: roots.get(weight) for weight in weights}


def _root(moment: torch.Tensor, strength: float) -> torch.Tensor:
    identity = torch.eye(len(moment), dtype=torch.float64, device=moment.device)
    lower = torch.linalg.cholesky(identity + strength * moment.double())
    root: torch.Tensor = torch.linalg.solve_triangular(lower, identity, upper=False).mT
    return root.float()


def _moments(
    model: PreTrainedModel, layers: dict[str, torch.nn.Linear], passages: Sequence[Passage], *, is_packed: bool
) -> dict[str, torch.Tensor]:
    """By the path of each layer the second moments (inputs, inputs) of its inputs, of mean square 1."""
    sums: dict[str, torch.Tensor] = {}
    num_tokens = 0

    def add(path: str, inputs: torch.Tensor) -> None:
        with torch.autocast(inputs.device.type, enabled=False):
            read = inputs.reshape(-1, inputs.shape[-1])[:num_row_tokens].float()
            read = read / read.square().mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
            sums[path] = sums.get(path, 0) + read.mT @ read

    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, path=path: add(path, inputs[0]))
        for path, layer in layers.items()
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
