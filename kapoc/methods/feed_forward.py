"""The feed-forward layers of all blocks are trained; attention, norms and embeddings stay as they are.

Facts are said to be stored there. In a first trial a model trained so moved less on general prose than one of which
every weight was trained, at a lower loss on the facts where both were held by replay (`reports/LOG.md`).

Sources:
    Geva et al. (2021), Transformer Feed-Forward Layers Are Key-Value Memories; Meng et al. (2022), Locating and Editing
    Factual Associations in GPT.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kapoc.errors import DataError

_NAMES = ("mlp", "feed_forward")


class FeedForwardFineTuning:
    """Trains the weights of the feed-forward layers; takes no options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options:
            raise DataError(
                f"train.options: the method 'feed_forward' takes none, found {sorted(options)}; remove them"
            )

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """Freeze everything but the feed-forward layers.

        Raises:
            DataError: the model has none that can be told.
        """
        paths = feed_forward_paths(model)
        if not paths:
            raise DataError(
                f'train.method: {type(model).__name__} has no linear layer under a name with "mlp" or "feed_forward"; '
                'use method = "full"'
            )
        model.requires_grad_(False)
        for path in paths:
            model.get_submodule(path).requires_grad_(True)
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already; nothing stays frozen."""
        return model.requires_grad_(True)


def feed_forward_paths(model: PreTrainedModel) -> list[str]:
    """Where the linear layers of the feed-forward parts stand in a model."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and any(word in part for part in path.split(".") for word in _NAMES)
    ]
