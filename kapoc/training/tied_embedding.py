"""The gradient of an embedding whose weights are those of the output layer, too.

Such a weight has two gradients of the size of the vocabulary: the output layer's, and the embedding's, which is zero
but for the tokens that were read. Autograd makes both and a third, their sum; here the few that are not zero are added
to the output layer's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel


class TiedEmbedding:
    """Takes the embedding out of autograd's hands for one pass at a time, where it is trained and tied.

    Any other embedding is left alone.

    Args:
        model: the model that is trained, not spread over several processes.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._embedding = _tied_embedding(model)
        self._read: list[tuple[torch.Tensor, torch.Tensor]] = []

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Forward passes in here give the embedding no gradient until `add_gradient` is called, after going back."""
        self._read.clear()
        if self._embedding is None:
            yield
            return
        handle = self._embedding.register_forward_hook(self._remember)
        try:
            yield
        finally:
            handle.remove()

    def add_gradient(self) -> None:
        """Add what the embedding's outputs were given to the gradient of the weights."""
        for token_ids, embedded in self._read:
            if self._embedding is not None and embedded.grad is not None:
                weight, padding = self._embedding.weight, self._embedding.padding_idx
                gradient, tokens = embedded.grad.flatten(0, -2), token_ids.flatten()
                if padding is not None:  # which has none, by its definition
                    gradient = gradient.masked_fill((tokens == padding)[:, None], 0)
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                weight.grad.index_add_(0, tokens, gradient.to(weight.grad.dtype))
        self._read.clear()

    def _remember(self, _: torch.nn.Module, arguments: tuple[Any, ...], embedded: torch.Tensor) -> torch.Tensor:
        if not embedded.requires_grad:
            return embedded
        alone = embedded.detach().requires_grad_()
        self._read.append((arguments[0], alone))
        return alone.clone()  # which a model may change in its place


def _tied_embedding(model: PreTrainedModel) -> torch.nn.Embedding | None:
    """The embedding, where it is a plain one that is trained and whose weights the output layer has."""
    try:
        embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    if type(embedding) is not torch.nn.Embedding or getattr(output, "weight", None) is not embedding.weight:
        return None
    is_plain = embedding.max_norm is None and not embedding.scale_grad_by_freq and not embedding.sparse
    return embedding if is_plain and embedding.weight.requires_grad else None
