"""LoRA: the weights stay, and low-rank updates beside them are trained, then added to them.

Sources:
    Hu et al. (2021), LoRA: Low-Rank Adaptation of Large Language Models; that every linear layer should have one:
    Dettmers et al. (2023), QLoRA; that those of the feed-forward layers do most: Schulman et al. (2025), LoRA Without
    Regret; the scale of `rslora`: Kalajdzievski (2023), A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA.
"""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from peft import LoraConfig, TaskType, get_peft_model
from pydantic import Field
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kapoc.methods import read_options
from kapoc.methods.feed_forward import feed_forward_paths
from kapoc.source import StrictRecord


class LoraOptions(StrictRecord):
    """What the method takes.

    Attributes:
        rank: of each update.
        alpha: updates are scaled by alpha / rank; twice the rank where none is given.
        targets: the layers that get an update: every linear one but the output embeddings, or those of the
            feed-forward layers.
        dropout: of what goes into an update, in training.
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
            DataError: the model has no such layers.
        """
        options = self.options
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=options.rank,
            lora_alpha=options.alpha or 2 * options.rank,
            target_modules=feed_forward_paths(model, "train.options: targets", 'use targets = "all-linear"')
            if options.targets == "mlp"
            else options.targets,
            lora_dropout=options.dropout,
            use_rslora=options.rslora,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for an attribute by its old name
            wrapped: PreTrainedModel = get_peft_model(model, config)
        return wrapped

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """Add the updates to the weights; the model that `prepare` was given is left."""
        merged: PreTrainedModel = model.merge_and_unload()  # type: ignore[operator] # peft's, around the model
        return merged.requires_grad_(True)
