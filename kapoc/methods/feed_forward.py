"""The feed-forward layers of all blocks are trained; attention, norms and embeddings stay as they are.

Facts are said to be stored there. In a first trial a model trained so moved less on general prose than one of which
every weight was trained, at a lower loss on the facts where both were held by replay (`reports/LOG.md`).

Sources:
    Geva et al. (2021), Transformer Feed-Forward Layers Are Key-Value Memories; Meng et al. (2022), Locating and Editing
    Factual Associations in GPT.
"""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from kapoc.errors import DataError
from kapoc.methods.layers import feed_forward_paths


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
            DataError: the model has none that can be told, or has experts that are no linear layers.
        """
        paths = feed_forward_paths(model, "train.method", 'use method = "full"')
        model.requires_grad_(False)
        for path in paths:
            model.get_submodule(path).requires_grad_(True)
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already; nothing stays frozen."""
        return model.requires_grad_(True)
