"""A run told to trackers: training step by step and epoch by epoch, and what was measured."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from kapoc.errors import DataError, first_line
from kapoc.judging.comparison import Comparison, Result
from kapoc.record import Run
from kapoc.trackers import TrackedRun, Tracker, load_tracker
from kapoc.training.loop import StepReport
from kapoc.training_record import EpochReport
from kapoc.workflow.workspace import Workspace

_logger = logging.getLogger("kapoc")


@contextmanager
def tracked(workspace: Workspace, folder: Path, name: str) -> Iterator[Workspace]:
    """The workspace with its recipe's trackers beside its listener, open for as long as the block runs.

    Args:
        workspace: recipe and listener.
        folder: for trackers that write files.
        name: of the run.

    Raises:
        DataError: a tracker is unknown, lacks its package, or cannot be started.
    """
    run = TrackedRun(workspace.recipe.track.project, name, folder)
    trackers = {tool: load_tracker(tool, run) for tool in workspace.recipe.track.tools}
    tracking = Tracking(trackers)
    tracking.start(settings_of(workspace))
    listener = workspace.listener

    def on_step(report: StepReport) -> None:
        listener.on_step(report)
        tracking.on_step(report)

    def on_epoch(report: EpochReport) -> None:
        listener.on_epoch(report)
        tracking.on_epoch(report)

    try:
        told = replace(listener, on_step=on_step, on_epoch=on_epoch, on_scores=tracking.on_scores)
        yield replace(workspace, listener=told)
    finally:
        tracking.finish()


class Tracking:
    """Tells open trackers what happens; one that fails is named in a warning and told nothing more."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._waiting = dict(trackers)
        self._trackers: dict[str, Tracker] = {}
        self._step = 0

    def start(self, settings: dict[str, Any]) -> None:
        """Open every tracker and give it the settings of the run.

        Raises:
            DataError: a tool does not open; those that did are closed again.
        """
        for tool, tracker in self._waiting.items():
            try:
                with redirect_stdout(sys.stderr):  # what the tools greet with is no output of kapoc's
                    tracker.start()
                    self._trackers[tool] = tracker
                    tracker.store_init_configuration(settings)
            except Exception as error:
                self.finish()
                raise DataError(
                    f"tracker '{tool}' does not start: {first_line(error)}; mend it or leave it out"
                ) from None

    def on_step(self, report: StepReport) -> None:
        """The numbers of one optimizer step."""
        self._step = report.step
        self._log(
            {
                "train/loss": report.loss,
                "train/learning_rate": report.learning_rate,
                "train/gradient_norm": report.gradient_norm,
                "train/divergence": report.divergence,
            }
        )

    def on_epoch(self, report: EpochReport) -> None:
        """The numbers of one epoch, at its last step."""
        self._log(
            {
                "epoch/train_loss": report.train_loss,
                "epoch/dev_loss": report.dev_loss,
                "epoch/dev_exact": report.dev_exact,
                "epoch/divergence": report.divergence,
                "epoch/spillover": report.spillover,
            }
        )

    def on_scores(self, scores: Mapping[str, float], step: int) -> None:
        """What was measured, at the last step of training, whenever that was."""
        self._step = step
        self._log(scores)

    def finish(self) -> None:
        """Close every tracker."""
        self._each(lambda tracker: tracker.finish())

    def _log(self, values: Mapping[str, float | None]) -> None:
        known = {name: value for name, value in values.items() if value is not None}
        self._each(lambda tracker: tracker.log(known, self._step))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for tool, tracker in list(self._trackers.items()):
            try:
                with redirect_stdout(sys.stderr):
                    act(tracker)
            except Exception as error:  # a foreign client's own; hours of training are worth more than a curve
                del self._trackers[tool]
                _logger.warning("tracker '%s' failed and is told nothing more: %s", tool, first_line(error))


def settings_of(workspace: Workspace) -> dict[str, str | int | float | bool]:
    """The recipe in one level, as trackers take it: `train.learning_rate` ..."""
    return dict(_flat({**workspace.recipe.model_dump(mode="json"), "knowledge": workspace.name}))


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value if isinstance(value, str | int | float | bool) else str(value)


def scores_of_run(run: Run) -> dict[str, float]:
    """What lm-eval reports of each task: `kapoc_seen/correct` ..."""
    return {f"{task}/{metric}": value for task, scores in run.scores.items() for metric, value in scores.items()}


def scores_of_comparison(comparison: Comparison) -> dict[str, float]:
    """Every tier, spillover and unit of forgetting, before and after: `before/seen`, `after/bits_per_byte` ..."""
    found: dict[str, float] = {}
    results: dict[str, Result | None] = {
        **{str(tier): result for tier, result in comparison.tiers.items()},
        **{f"spillover/{name}": result for name, result in comparison.spillover.items()},
        "bits_per_byte": comparison.forgetting.bits_per_byte,
        "ended": comparison.ended,
    }
    for name, result in results.items():
        if result is not None:
            found |= {f"before/{name}": result.before, f"after/{name}": result.after}
    if comparison.forgetting.divergence is not None:
        found["after/divergence"] = comparison.forgetting.divergence
    return found
