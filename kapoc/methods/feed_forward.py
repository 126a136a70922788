"""The feed-forward layers of all blocks, or of the last ones, are trained; attention, norms and embeddings stay.

Facts are said to be stored there. In a first trial a model trained so moved less on general prose than one of which
every weight was trained, at a lower loss on the facts where both were held by replay (`reports/LOG.md`).

Below the lowest trained block nothing is differentiated, which makes a step cheaper.

Sources:
    Geva et al. (2021), Transformer Feed-Forward Layers Are Key-Value Memories; Meng et al. (2022), Locating and Editing
    Factual Associations in GPT.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from transformers import PreTrainedModel

from kapoc.methods import read_options
from kapoc.methods.layers import feed_forward_paths, last_blocks
from kapoc.source import StrictRecord


class FeedForwardOptions(StrictRecord):
    """What the method takes: of how many blocks the layers are trained, counted from the last; of all if none."""

    num_layers: Annotated[int, Field(gt=0)] | None = None


class FeedForwardFineTuning:
    """Trains the weights of the feed-forward layers."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = read_options(options, FeedForwardOptions)

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """Freeze everything but the feed-forward layers.

        Raises:
            DataError: the model has none that can be told, or has experts that are no linear layers, or fewer blocks.
        """
        paths = feed_forward_paths(model, "train.method", 'use method = "full"')
        layers = [model.get_submodule(path) for path in paths]
        if self.options.num_layers is not None:
            inside = {*last_blocks(model, self.options.num_layers).modules()}
            layers = [layer for layer in layers if layer in inside]
        model.requires_grad_(False)
        for layer in layers:
            layer.requires_grad_(True)
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already; nothing stays frozen."""
        return model.requires_grad_(True)
