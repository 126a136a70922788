"""How far training is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kapoc.counting import SECONDS_BETWEEN_LINES, minutes_left

if TYPE_CHECKING:
    from kapoc.training.loop import StepReport
    from kapoc.training_record import EpochReport


class TrainingProgress:
    """Draws what a `workspace.Listener` is told on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def tell(self, line: str) -> None:
        """Show a line of text before a long step; the training before it has ended, if not at its last step."""
        self.close()
        self._console.print(line, style="dim", highlight=False, markup=False)

    def on_step(self, report: "StepReport") -> None:
        """Move the bar; the first step draws it, and the last epoch or the next line of text closes it."""
        if self._bar is not None and report.step <= self._bar.tasks[0].completed:
            self.close()
        if self._bar is None:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._bar.add_task("training", total=report.num_steps, epoch=1, state="")
        self._bar.update(self._bar.task_ids[0], completed=report.step, epoch=report.epoch, state=_state(report))

    def close(self) -> None:
        """Give the terminal back, whatever happened."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_epoch(self, report: "EpochReport") -> None:
        """Say what the epoch did."""
        self._console.print(_result(report), highlight=False)
        if self._bar is not None and self._bar.finished:
            self.close()


class TrainingLines:
    """Says the same in lines for a log: every epoch, and a step a minute with the time left."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Tell lines; `clock` gives seconds."""
        self._tell = tell
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._told = 0.0

    def on_step(self, report: "StepReport") -> None:
        """Tell of the step if a minute has gone by; the first of a training only starts the clock."""
        now = self._clock()
        if self._first is None or report.step <= self._first[0]:
            self._first, self._told = (report.step, now), now
        elif now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            step, start = self._first
            left = (now - start) / (report.step - step) * (report.num_steps - report.step)
            place = f"epoch {report.epoch}: step {report.step} of {report.num_steps}"
            self._tell(f"{place}  {_state(report)}  {minutes_left(left)}")

    def on_epoch(self, report: "EpochReport") -> None:
        """Say what the epoch did."""
        self._tell(_result(report))


def _state(report: "StepReport") -> str:
    state = f"loss {report.loss:.3f}"
    if report.divergence is not None:
        state += f"  from base {report.divergence:.3f}"
    state += f"  {report.tokens_per_second:.0f} tok/s  {report.peak_memory_bytes / 2**30:.1f} GiB"
    return state if report.gpu_utilisation is None else f"{state}  GPU {report.gpu_utilisation}%"


def _result(report: "EpochReport") -> str:
    dev = f"  dev loss {report.dev_loss:.4f}  dev exact {report.dev_exact:.1%}" if report.dev_loss is not None else ""
    moved = f"  from base {report.divergence:.3f}" if report.divergence is not None else ""
    spilled = f"  spillover {report.spillover:.1%}" if report.spillover is not None else ""
    return f"epoch {report.epoch}: loss {report.train_loss:.4f}{dev}{moved}{spilled}"
