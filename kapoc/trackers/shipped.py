"""The trackers of accelerate that kapoc names: TensorBoard, MLflow, Weights & Biases and Trackio."""

from importlib.util import find_spec

from accelerate.tracking import MLflowTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from kapoc.errors import DataError
from kapoc.trackers import TrackedRun, Tracker


def tensorboard(run: TrackedRun) -> Tracker:
    """Event files in `tensorboard/` in the run's folder: `tensorboard --logdir runs`."""
    _refuse_missing("tensorboard")
    tracker: Tracker = TensorBoardTracker("tensorboard", logging_dir=run.folder)
    return tracker


def mlflow(run: TrackedRun) -> Tracker:
    """An experiment named like the project, where `MLFLOW_TRACKING_URI` says."""
    _refuse_missing("mlflow")
    tracker: Tracker = MLflowTracker(run.project, run_name=run.name)
    return tracker


def wandb(run: TrackedRun) -> Tracker:
    """A run of the project; `WANDB_MODE=offline` keeps it in the run's folder."""
    _refuse_missing("wandb")
    tracker: Tracker = WandBTracker(run.project, name=run.name, dir=str(run.folder))
    return tracker


def trackio(run: TrackedRun) -> Tracker:
    """A run of the project on this machine: `trackio show`."""
    _refuse_missing("trackio")
    tracker: Tracker = TrackioTracker(run.project, name=run.name)
    return tracker


def _refuse_missing(package: str) -> None:
    if find_spec(package) is None:
        raise DataError(f"tracker '{package}': its package is not installed; pip install 'kapoc[{package}]'")
