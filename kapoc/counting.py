"""How far work is that can be counted: a bar on a terminal, a line a minute elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from tqdm import tqdm

Count: TypeAlias = Callable[[int], object]
"""Is told how many more are done."""
Counting: TypeAlias = Callable[[str, int], AbstractContextManager[Count]]
"""Begins to count: what is done ("answering"), and how many there are."""

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def uncounted(what: str, total: int) -> Iterator[Count]:  # noqa: ARG001 - as `Counting` has it
    """Tell nobody."""
    yield lambda _: None


@contextmanager
def bars(what: str, total: int) -> Iterator[Count]:
    """Draw a bar on standard error."""
    with tqdm(total=total, desc=what) as bar:
        yield bar.update


class Lines:
    """Says it in lines for a log, with the time left."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Tell lines; `clock` gives seconds."""
        self._tell = tell
        self._clock = clock

    @contextmanager
    def __call__(self, what: str, total: int) -> Iterator[Count]:
        """Tell how many of all are done once a minute; what takes less than one is not told of."""
        start = told = self._clock()
        done = 0

        def count(more: int) -> None:
            nonlocal done, told
            done += more
            now = self._clock()
            if now - told >= SECONDS_BETWEEN_LINES and 0 < done < total:
                told = now
                self._tell(f"{what}: {done} of {total}  {minutes_left((now - start) / done * (total - done))}")

        yield count


def minutes_left(seconds: float) -> str:
    """How long work will still take."""
    return f"{round(seconds / 60)} min left"
