"""The trackers of accelerate that kapoc names: TensorBoard, MLflow, Weights & Biases and Trackio."""

from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec

from accelerate import PartialState
from accelerate.tracking import MLflowTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from kapoc.errors import DataError
from kapoc.trackers import TrackedRun, Tracker


def tensorboard(run: TrackedRun) -> Tracker:
    """Event files in the run's folder, in `tensorboard/` and the time of the start: `tensorboard --logdir runs`.

    In one folder the curves of two trainings would be one.
    """
    _prepare("tensorboard", run)
    tracker: Tracker = TensorBoardTracker(f"tensorboard/{_now()}", logging_dir=run.folder)
    return tracker


def mlflow(run: TrackedRun) -> Tracker:
    """An experiment named like the project, where `MLFLOW_TRACKING_URI` says."""
    _prepare("mlflow", run)
    tracker: Tracker = MLflowTracker(run.project, run_name=run.name)
    return tracker


def wandb(run: TrackedRun) -> Tracker:
    """A run of the project; `WANDB_MODE=offline` keeps it in the run's folder."""
    _prepare("wandb", run)
    tracker: Tracker = WandBTracker(run.project, name=run.name, dir=str(run.folder))
    return tracker


def trackio(run: TrackedRun) -> Tracker:
    """A run of the project on this machine: `trackio show`."""
    _prepare("trackio", run)
    tracker: Tracker = _Trackio(run.project, name=run.name)
    return tracker


class _Trackio(TrackioTracker):  # type: ignore[misc]
    """accelerate leaves a closed run Trackio's current one, which closes it again, on standard output, at exit."""

    def finish(self) -> None:
        import_module("trackio").finish()


def _prepare(package: str, run: TrackedRun) -> None:
    if find_spec(package) is None:
        raise DataError(f"tracker '{package}': its package is not installed; pip install 'kapoc[{package}]'")
    PartialState()  # accelerate's trackers write to its log, which asks for this
    run.folder.mkdir(parents=True, exist_ok=True)


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
