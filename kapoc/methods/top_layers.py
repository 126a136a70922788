"""The last transformer blocks are trained, all others stay as they are.

What lies below cannot forget, and neither gradients nor optimizer state are kept for it.

Source:
    Lee, Tang and Lin (2019), What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from transformers import PreTrainedModel

from kapoc.methods import read_options
from kapoc.methods.layers import language_decoder, last_blocks
from kapoc.source import StrictRecord


class TopLayersOptions(StrictRecord):
    """What the method takes: how many blocks are trained, counted from the last."""

    num_layers: Annotated[int, Field(gt=0)] = 8


class TopLayersFineTuning:
    """Trains the last blocks and the norm behind them; embeddings and the output layer stay."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = read_options(options, TopLayersOptions)

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """Freeze everything but the last blocks and the final norm.

        Raises:
            DataError: the model has fewer blocks, or none that can be told.
        """
        blocks = last_blocks(model, self.options.num_layers)
        model.requires_grad_(False)
        for module in (*blocks, *_final_norm(model, blocks)):
            module.requires_grad_(True)
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already; nothing stays frozen."""
        return model.requires_grad_(True)


def _final_norm(model: PreTrainedModel, blocks: torch.nn.ModuleList) -> list[torch.nn.Module]:
    """The norm of the decoder through which the last block's output goes last; none where there is none.

    A name does not tell it: LFM2 calls it a norm of embeddings, and Gemma 3n has another beside it that is read before
    the blocks.
    """
    inside = set(blocks.modules())
    norms = [
        module
        for module in language_decoder(model).modules()
        if "norm" in type(module).__name__.lower() and module not in inside
    ]
    called: list[torch.nn.Module] = []
    hooks = [norm.register_forward_hook(lambda module, *_: called.append(module)) for norm in norms]
    hooks.append(blocks[-1].register_forward_hook(lambda *_: called.clear()))
    is_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.tensor([[0, 1]], device=model.device), use_cache=False)
    finally:
        model.train(is_training)
        for hook in hooks:
            hook.remove()
    return called[-1:]
