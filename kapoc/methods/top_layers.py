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

from kapoc.errors import DataError
from kapoc.methods import read_options
from kapoc.methods.layers import language_decoder
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
        blocks = _decoder_blocks(model)
        num_layers = self.options.num_layers
        if num_layers > len(blocks):
            raise DataError(
                f"train.options: num_layers: {num_layers}, but {type(model).__name__} has {len(blocks)} blocks here; "
                f"give at most {len(blocks)}"
            )
        model.requires_grad_(False)
        for module in (*blocks[-num_layers:], *_final_norm(model, blocks)):
            module.requires_grad_(True)
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already; nothing stays frozen."""
        return model.requires_grad_(True)


def _decoder_blocks(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The longest list of modules of the decoder that lies in no other (as a block's experts do)."""
    decoder = language_decoder(model)
    lists = {path: module for path, module in decoder.named_modules() if isinstance(module, torch.nn.ModuleList)}
    outer = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise DataError(
            f"train.method: {type(model).__name__} has no list of transformer blocks, so its last ones cannot be told; "
            'use method = "full"'
        )
    return lists[max(outer, key=lambda path: len(lists[path]))]


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
