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

_NAMES = ("mlp", "feed_forward", "ffn")
_WHOLE_NAMES = ("fc1", "fc2")  # OPT's, which stand in a block itself
_EXPERTS = ("moe", "expert")
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
    name, modules = type(model).__name__, language_modules(model)
    paths = [path for path, module in modules.items() if _is_linear(module) and _is_feed_forward(path)]
    matrices = [path for path, module in modules.items() if any(one.ndim > 1 for one in module.parameters(False))]
    others = [path for path in matrices if path not in paths and (_is_feed_forward(path) or _is_expert(path))]
    if experts := sorted((path for path in others if _is_expert(path)), key=lambda path: "expert" not in path):
        raise DataError(
            f"{setting}: {name} has feed-forward layers that are experts of a mixture, which cannot be trained so "
            f"({experts[0]}); {fix}"
        )
    if others:
        raise DataError(f"{setting}: {name} has feed-forward weights that are no linear layers ({others[0]}); {fix}")
    if not paths:
        raise DataError(
            f'{setting}: {name} has no linear layer under a name with "mlp", "feed_forward", "ffn", "fc1" or "fc2"; '
            f"{fix}"
        )
    return paths


def _is_feed_forward(path: str) -> bool:
    return any(part in _WHOLE_NAMES or any(word in part for word in _NAMES) for part in path.split("."))


def _is_expert(path: str) -> bool:
    return any(word in path for word in _EXPERTS)


def _is_linear(module: torch.nn.Module) -> bool:
    return type(module) in _LINEAR or type(module).__name__ == "FalconLinear"  # which only multiplies in another order
