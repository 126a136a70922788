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
        decoder, blocks = _decoder_blocks(model)
        num_layers = self.options.num_layers
        if num_layers > len(blocks):
            raise DataError(
                f"train.options: num_layers: {num_layers}, but {type(model).__name__} has {len(blocks)} blocks here; "
                f"give at most {len(blocks)}"
            )
        model.requires_grad_(False)
        for module in (*blocks[-num_layers:], *_norms(decoder)):
            module.requires_grad_(True)
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already; nothing stays frozen."""
        return model.requires_grad_(True)


def _decoder_blocks(model: PreTrainedModel) -> tuple[torch.nn.Module, torch.nn.ModuleList]:
    """The longest list of modules that lies in no other (as a block's experts do), and what it belongs to."""
    lists = {path: module for path, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)}
    outer = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise DataError(
            f"train.method: {type(model).__name__} has no list of transformer blocks, so its last ones cannot be told; "
            'use method = "full"'
        )
    longest = max(outer, key=lambda path: len(lists[path]))
    return model.get_submodule(longest.rpartition(".")[0]), lists[longest]


def _norms(decoder: torch.nn.Module) -> list[torch.nn.Module]:
    """The norms beside the blocks: the final one, and none of the embeddings (BLOOM has such a one)."""
    return [
        module
        for name, module in decoder.named_children()
        if "norm" in type(module).__name__.lower() and "embed" not in name
    ]
