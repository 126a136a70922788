"""Full fine-tuning whose result is pulled back towards the base: W = W0 + alpha (W1 - W0).

On the line between the base and the trained weights there are often models that keep most of what was learned and
forget far less.

Source:
    Wortsman et al. (2022), Robust Fine-Tuning of Zero-Shot Models (WiSE-FT), CVPR.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel

from kapoc.methods import read_options


class PulledBackOptions(BaseModel):
    """What the method takes: the share of the way from the base to the trained weights; at 1 it is full fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    alpha: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.8


class PulledBackFineTuning:
    """Trains all weights, then goes a part of the way back. A copy of the base waits in main memory until then."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = read_options(options, PulledBackOptions)
        self._base: dict[str, torch.Tensor] = {}

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """All weights get gradients; what they are now is remembered, tied ones once."""
        self._base = {name: weight.detach().to("cpu", copy=True) for name, weight in model.named_parameters()}
        return model.requires_grad_(True)

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """Interpolate every weight in place, and let the copy go."""
        base, self._base = self._base, {}
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(torch.lerp(base[name].to(weight.device), weight, self.options.alpha))
        return model
