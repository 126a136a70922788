"""A killed training run goes on where it was last kept: its state in one file, replaced in one move.

A state belongs to one run: its key is made of everything that the run depends on, and the files of another key are
thrown away before any is read or written. Files are checked byte by byte before they are believed, because torch reads
a damaged one in silence.
"""

import errno
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from kapoc.engine.divergence import Passage
from kapoc.errors import OutputError, first_line
from kapoc.models import UNFINISHED
from kapoc.recipe import ResumeSettings
from kapoc.training.loop import LoopState
from kapoc.training_record import EpochReport
from kapoc.writing import write_atomically

_FORMAT = "3"
_LEFT_SHARE = 0.2
"""Of the time between two times that a state is kept: where less is left to train, the end comes nearly as soon."""
_STATE_FILE = "state.pt"
_PASSAGES_FILE = "passages.pt"
_KEY_FILE = "key"


def run_key(settings_sha256: str, texts_sha256: str, versions: Mapping[str, str], precision: str) -> str:
    """What tells one training run from all others: the recipe and its base, all that is read, packages, arithmetic."""
    parts = [_FORMAT, settings_sha256, texts_sha256, sorted(versions.items()), precision]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def resume_folder(target: Path) -> Path:
    """Where the state of the run that will write a model to `target` lies."""
    return target.with_name(f".{target.name}.resume")


def drop_state(target: Path) -> None:
    """Remove what a run left that was killed when its model was in place already."""
    shutil.rmtree(resume_folder(target), ignore_errors=True)


@dataclass(slots=True)
class Keeper:
    """Keeps the state of one training run in a folder, and gives it back to the same run started again.

    A state that cannot be written never stops a training run; it goes on without.

    Attributes:
        folder: of its own; made when there is something to keep, removed by `discard`.
        key: of the run.
        settings: how often.
        tell: is given a line of text when a state is used, refused or cannot be kept.
    """

    folder: Path
    key: str
    settings: ResumeSettings
    tell: Callable[[str], None] = lambda _: None
    _last: float | None = None
    _gave_up: bool = False

    def restore(self) -> LoopState | None:
        """The state that this run last kept, if there is one."""
        self._discard_foreign()
        self._last = time.monotonic()
        content = self._read(_STATE_FILE, "training starts anew")
        if content is None:
            return None
        state = LoopState(**{**content, "epochs": tuple(EpochReport(**epoch) for epoch in content["epochs"])})
        self.tell(f"going on after step {state.done} of {state.num_steps}")
        return state

    def keep(self, step: int, state: Callable[[], LoopState], seconds_left: float) -> None:
        """Write the state after a step, if it is time to and so much is left that it pays."""
        if self._gave_up or not self._is_time(step, seconds_left):
            return
        now = state()
        content = {field.name: getattr(now, field.name) for field in fields(now)}
        self._write(_STATE_FILE, {**content, "epochs": [epoch.model_dump() for epoch in now.epochs]})
        self._last = time.monotonic()

    def passages(self, write: Callable[[], list[Passage]], device: torch.device) -> list[Passage]:
        """What the base wrote for the replay of this run: kept earlier, or written now and kept."""
        self._discard_foreign()
        names = [field.name for field in fields(Passage)]
        kept = self._read(_PASSAGES_FILE, "the passages are written anew", device)
        if kept is not None:
            return [Passage(**dict(zip(names, passage, strict=True))) for passage in kept]
        passages = write()
        if self.settings.minutes or self.settings.steps:
            self._write(_PASSAGES_FILE, [tuple(getattr(passage, name) for name in names) for passage in passages])
        return passages

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _discard_foreign(self) -> None:
        """Throw away what another run left, whatever there is of it; and what does not say whose it is."""
        if any(self.folder.glob("*.pt")) and not self._is_own():
            self.tell(f"{self.folder}: is of a run with other settings, facts or packages; training starts anew")
            self.discard()

    def _is_own(self) -> bool:
        """Whether what lies in the folder is of this run."""
        key = self.folder / _KEY_FILE
        return key.is_file() and key.read_text(encoding="utf-8", errors="replace") == self.key

    def _is_time(self, step: int, seconds_left: float) -> bool:
        if self.settings.steps and step % self.settings.steps == 0:
            return True
        if self._last is None:
            self._last = time.monotonic()
        between = 60 * self.settings.minutes
        return 0 < between <= time.monotonic() - self._last and seconds_left >= _LEFT_SHARE * between

    def _read(self, name: str, consequence: str, device: torch.device | None = None) -> Any:
        """The content of a file of this run; a damaged one is removed."""
        path = self.folder / name
        if not path.exists():
            return None
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise ValueError(name)
            loaded = torch.load(path, map_location=device or "cpu", weights_only=True)
            content = loaded["content"]
        except (OSError, MemoryError, torch.OutOfMemoryError) as error:  # no fault of the file, which stays
            raise OutputError(f"{path}: cannot be read ({first_line(error)}); start again, or with --restart") from None
        except Exception:  # whatever a damaged file makes of its readers
            self.tell(f"{path}: is damaged and not used; {consequence}")
            path.unlink(missing_ok=True)
            return None
        return content

    def _write(self, name: str, content: Any) -> None:
        """Put a file in the place of the one before; without room for it, say so and write no more."""
        partial = self.folder / f".{name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / UNFINISHED).touch()
            partial.unlink(missing_ok=True)
            self._refuse_without_room(_num_bytes(content))
            torch.save({"content": content}, partial)
            _sync(partial)
            if not self._is_own():
                write_atomically(self.folder / _KEY_FILE, self.key)
            partial.replace(self.folder / name)
            _sync(self.folder)
        except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of a full disk
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "writing failed"
            self.tell(f"{self.folder}: the state of training is not kept any more ({reason}); it goes on without")
            self._gave_up = True

    def _refuse_without_room(self, num_bytes: int) -> None:
        """Twice the file, so that the model itself still finds room."""
        free = shutil.disk_usage(self.folder).free
        if free < 2 * num_bytes:
            sizes = f"{2 * num_bytes / 1e9:.1f} GB of disk space are needed, {free / 1e9:.1f} GB are free"
            raise OSError(errno.ENOSPC, sizes)


def _num_bytes(content: Any) -> int:
    """Of all tensors in a nested structure."""
    if isinstance(content, torch.Tensor):
        return content.nbytes
    if isinstance(content, Mapping):
        content = list(content.values())
    return sum(map(_num_bytes, content)) if isinstance(content, list | tuple) else 0


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
