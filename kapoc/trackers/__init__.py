"""Where a run is followed beside the terminal: the contract of a tracker, and the lookup by name.

A tracker is one function and one entry point in the group `kapoc.trackers`. The contract is that of accelerate's
`GeneralTracker`, so that any tracker of accelerate is one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from kapoc.errors import DataError, near_miss


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told before anything begins.

    Attributes:
        project: under which the tool keeps its runs.
        name: of this run.
        folder: for a tool that writes files.
    """

    project: str
    name: str
    folder: Path


class Tracker(Protocol):
    """What kapoc asks of a tool."""

    def start(self) -> None:
        """Open the run."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the settings of the run: names with dots, and texts, numbers or truth values."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Keep numbers, at an optimizer step."""

    def finish(self) -> None:
        """Close the run."""


TrackerMaker = Callable[[TrackedRun], Tracker]
"""What an entry point names: it refuses with `DataError` where the tool's package is missing, and opens nothing yet."""


def load_tracker(name: str, run: TrackedRun) -> Tracker:
    """The tracker of an entry point's name, not yet started.

    Raises:
        DataError: there is no such tracker, or its package is not installed.
    """
    known: Mapping[str, Any] = {entry.name: entry for entry in entry_points(group="kapoc.trackers")}
    if name not in known:
        raise DataError(f"tracker '{name}' is not installed; {near_miss(name, known)}")
    make: TrackerMaker = known[name].load()
    return make(run)
