"""Training runs that are killed: by an exception in this process, or by the system."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kapoc.recipe import ResumeSettings
from kapoc.training.loop import StepReport

EVERY_STEP = ResumeSettings(minutes=0, steps=1)


class Killed(BaseException):
    """Comes at any step, and nothing catches it."""


def kill_at(step: int) -> Callable[[StepReport], None]:
    def kill(report: StepReport) -> None:
        if report.step == step:
            raise Killed

    return kill


def train_command(recipe: Path, runs: Path) -> list[str]:
    return [sys.executable, "-m", "kapoc", "train", "--json", "--recipe", str(recipe), "--runs", str(runs)]


def kill_after_keeping(command: list[str], state: Path, delay: float) -> None:
    """Start a process, and kill it so many seconds after it has kept a state."""
    before = state.stat().st_mtime_ns if state.exists() else 0
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (state.exists() and state.stat().st_mtime_ns > before):
        time.sleep(0.02)
    time.sleep(delay)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(command: list[str]) -> dict[str, object]:
    """The record of a training run that is left to end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record: dict[str, object] = json.loads(done.stdout)
    return record
