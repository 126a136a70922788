"""Where in a model the layers stand that methods change."""

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kapoc.errors import DataError

_NAMES = ("mlp", "feed_forward", "ffn")
_WHOLE_NAMES = ("fc1", "fc2")  # OPT's, which stand in a block itself
_EXPERTS = ("moe", "expert")
_LINEAR = (torch.nn.Linear, Conv1D)


def language_decoder(model: PreTrainedModel) -> torch.nn.Module:
    """The part of a model that reads tokens, without what reads images or sound beside it."""
    decoder: torch.nn.Module = model.get_decoder()
    has_blocks = any(isinstance(module, torch.nn.ModuleList) for module in decoder.modules())
    return decoder if has_blocks else model.base_model  # ModernBERT calls its output layer a decoder


def language_modules(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """The modules of a model by their paths, without what reads images or sound beside its decoder."""
    beside = {*model.base_model.modules()} - {*language_decoder(model).modules()}
    return {path: module for path, module in model.named_modules() if module not in beside}


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
