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
from kapoc.methods import language_modules

_NAMES = ("mlp", "feed_forward")
_LINEAR = (torch.nn.Linear, Conv1D)


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


def linear_paths(model: PreTrainedModel) -> list[str]:
    """Where the linear layers of a language model stand, without its output layer.

    A router that is made from a linear layer gives more than one tensor and is none.
    """
    output = model.get_output_embeddings()
    return [path for path, module in language_modules(model).items() if _is_linear(module) and module is not output]


def feed_forward_paths(model: PreTrainedModel, setting: str, fix: str) -> list[str]:
    """Where the linear layers of the feed-forward parts stand in a model.

    Args:
        model: any.
        setting, fix: what an error names, and advises.

    Raises:
        DataError: there are none, or other weights stand there, too, as the experts of a mixture do.
    """
    modules = dict(model.named_modules())
    paths = [path for path, module in modules.items() if isinstance(module, _LINEAR) and _is_feed_forward(path)]
    if not paths:
        raise DataError(
            f'{setting}: {type(model).__name__} has no linear layer under a name with "mlp" or "feed_forward"; {fix}'
        )
    owners = {name.rpartition(".")[0] for name, weight in model.named_parameters() if weight.ndim > 1}
    if others := sorted(path for path in owners - {*paths} if _is_feed_forward(path)):
        raise DataError(
            f"{setting}: {type(model).__name__} has feed-forward weights that are no linear layers ({others[0]}); {fix}"
        )
    return paths


def _is_feed_forward(path: str) -> bool:
    return any(word in part for part in path.split(".") for word in _NAMES)


def _is_linear(module: torch.nn.Module) -> bool:
    return type(module) in _LINEAR or type(module).__name__ == "FalconLinear"  # which only multiplies in another order
