"""The training progress bar: epoch, loss, speed, memory, time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kapoc.loop import EpochReport, StepReport


class TrainingProgress:
    """Draws what a `workspace.Listener` is told on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def tell(self, line: str) -> None:
        """Show a line of text before a long step."""
        self._console.print(line, style="dim", highlight=False)

    def on_step(self, report: StepReport) -> None:
        """Move the bar; the first step draws it, the last one closes it, and so does the first of another training."""
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
        state = f"loss {report.loss:.3f}"
        if report.divergence is not None:
            state += f"  from base {report.divergence:.3f}"
        state += f"  {report.tokens_per_second:.0f} tok/s  {report.peak_memory_bytes / 2**30:.1f} GiB"
        if report.gpu_utilisation is not None:
            state += f"  GPU {report.gpu_utilisation}%"
        self._bar.update(self._bar.task_ids[0], completed=report.step, epoch=report.epoch, state=state)

    def close(self) -> None:
        """Give the terminal back, whatever happened."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_epoch(self, report: EpochReport) -> None:
        """Say what the epoch did."""
        dev = (
            f"  dev loss {report.dev_loss:.4f}  dev exact {report.dev_exact:.1%}" if report.dev_loss is not None else ""
        )
        self._console.print(f"epoch {report.epoch}: loss {report.train_loss:.4f}{dev}", highlight=False)
        if self._bar is not None and self._bar.finished:
            self.close()
