"""Full fine-tuning: every weight of the model gets gradients."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from kapoc.errors import DataError


class FullFineTuning:
    """Trains all weights and adds none; takes no options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options:
            raise DataError(f"train.options: the method 'full' takes none, found {sorted(options)}; remove them")

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """All weights get gradients."""
        return model.requires_grad_(True)

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model is standalone already."""
        return model
