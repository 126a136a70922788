"""How weights are changed: the contract of a method, and the lookup by name.

A method is one file with one class and one entry point in the group `kapoc.methods`. The training loop knows
nothing of any particular method.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel
from transformers import PreTrainedModel

from kapoc.errors import DataError, near_miss
from kapoc.source import validate

Options = TypeVar("Options", bound=BaseModel)


class Method(Protocol):
    """What the training loop asks of a method."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Take the recipe's `train.options`; refuse what is unknown with `DataError`."""

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """Make the model trainable: choose the weights that get gradients, add what is to be trained."""

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """Turn the trained model into one that loads with nothing of the method's own."""


def load_method(name: str, options: Mapping[str, Any]) -> Method:
    """The method of an entry point's name.

    Raises:
        DataError: there is no such method, or it does not take these options.
    """
    known = {entry.name: entry for entry in entry_points(group="kapoc.methods")}
    if name not in known:
        raise DataError(f"training method '{name}' is not installed; {near_miss(name, known)}")
    method: Method = known[name].load()(options)
    return method


def read_options(options: Mapping[str, Any], schema: type[Options]) -> Options:
    """A recipe's `train.options` as the record that a method takes.

    Raises:
        DataError: an option is unknown or has a wrong value; the line names it and what is known.
    """
    return validate(dict(options), schema, Path("train.options"))
