"""LoRA: the weights stay, and low-rank updates beside them are trained, then added to them.

Sources:
    Hu et al. (2021), LoRA: Low-Rank Adaptation of Large Language Models; that every linear layer should have one:
    Dettmers et al. (2023), QLoRA; that those of the feed-forward layers do most: Schulman et al. (2025), LoRA Without
    Regret; the scale of `rslora`: Kalajdzievski (2023), A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Annotated, Any, Literal, cast
from unittest.mock import patch

import torch
from peft import LoraConfig, TaskType, get_peft_model
from pydantic import Field
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kapoc.errors import DataError, first_line
from kapoc.methods import read_options
from kapoc.methods.layers import feed_forward_paths, language_modules, linear_paths
from kapoc.source import StrictRecord

_logger = logging.getLogger("kapoc")
_EXPERTS_DIM = 3  # experts, and what each of them reads and gives
_REWRITING = "peft.utils.transformers_weight_conversion"


class LoraOptions(StrictRecord):
    """What the method takes.

    Attributes:
        rank: of each update.
        alpha: updates are scaled by alpha / rank; twice the rank where none is given.
        targets: the layers that get an update: every linear one but the output embeddings and every expert of a
            mixture, or those of the feed-forward layers. Routers get none.
        dropout: of what goes into an update, in training; experts take none.
        rslora: scale by alpha / sqrt(rank) instead, so that large ranks learn as fast as small ones; alpha should then
            be smaller, about alpha / sqrt(rank) = 2.
    """

    rank: Annotated[int, Field(gt=0)] = 32
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    targets: Literal["all-linear", "mlp"] = "all-linear"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rslora: bool = False


class LoraFineTuning:
    """Trains low-rank updates of linear layers and adds them to the weights at the end."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = read_options(options, LoraOptions)

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """Freeze the model and put an update beside every target.

        Raises:
            DataError: the model has no such layers, or peft does not take them.
        """
        options, name = self.options, type(model).__name__
        if options.targets == "mlp":
            layers, experts = feed_forward_paths(model, "train.options: targets", 'use targets = "all-linear"'), []
        else:
            layers, experts = linear_paths(model), _expert_weights(model)
        if experts and options.dropout:
            raise DataError(f"train.options: dropout: {name} has experts, whose updates take none; remove it")
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=options.rank,
            lora_alpha=options.alpha or 2 * options.rank,
            target_modules=layers,
            target_parameters=experts or None,
            lora_dropout=options.dropout,
            use_rslora=options.rslora,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        )
        try:
            with _targets_as_given(), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for an attribute's old name
                wrapped: Any = get_peft_model(model, config)
        except (ValueError, NotImplementedError) as error:
            raise _refused(model, first_line(error).partition(". ")[0]) from None
        reached = {*wrapped.base_model.targeted_module_names, *wrapped.base_model.targeted_parameter_names}
        if wrong := sorted(reached ^ {*layers, *experts}):
            raise _refused(model, f"the targets are wrong from {wrong[0]} on")
        return cast(PreTrainedModel, wrapped)

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """Add the updates to the weights; the model that `prepare` was given is left."""
        merged: PreTrainedModel = model.merge_and_unload()  # type: ignore[operator] # peft's, around the model
        return merged.requires_grad_(True)


def _refused(model: PreTrainedModel, reason: str) -> DataError:
    return DataError(f'train.method: peft puts no updates into {type(model).__name__} ({reason}); use method = "full"')


@contextmanager
def _targets_as_given() -> Iterator[None]:
    """Keep peft from taking a layer of a mixture for an expert because both have the same name in older models."""
    if find_spec(_REWRITING) is None:
        yield
        return
    with patch(f"{_REWRITING}.convert_peft_config_for_transformers"):
        yield


def _expert_weights(model: PreTrainedModel) -> list[str]:
    """The names of the weights that hold all experts of a layer in one; those that take no update are said."""
    weights = {
        f"{path}.{name}": weight
        for path, module in language_modules(model).items()
        if not isinstance(module, torch.nn.Linear) and "expert" in f"{path}.{type(module).__name__}".lower()
        for name, weight in module.named_parameters(recurse=False)
        if weight.ndim > 1 and not name.endswith("bias")
    }
    if without := {re.sub(r"\.\d+\.", ".*.", name) for name, weight in weights.items() if weight.ndim != _EXPERTS_DIM}:
        _logger.warning("%s has experts that get no update: %s", type(model).__name__, ", ".join(sorted(without)))
    return [name for name, weight in weights.items() if weight.ndim == _EXPERTS_DIM]
