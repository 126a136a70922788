"""What can go wrong because of what a user gave us, and the exit code of each case."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def first_line(error: Exception) -> str:
    """What an exception of a library says, in one line of at most 160 characters; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:160]


class KapocError(Exception):
    """A failure that a user caused and can mend: one line that names the place and the fix.

    Attributes:
        exit_code: what `kapoc` exits with. 1 is kept for a failed gate and never used here.
    """

    exit_code = 2

    @property
    def lines(self) -> tuple[str, ...]:
        """What to tell the user: one line, whatever the message was made of."""
        return (" ".join(str(self).split()),)


class DataError(KapocError):
    """A knowledge set, a recipe, a gate file or a run on disk is malformed."""


class FaultsError(DataError):
    """Several things are wrong with one file, each told in a line of its own."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a fault."""
        return tuple(" ".join(fault.split()) for fault in str(self).splitlines())


class ModelError(KapocError):
    """A model cannot be found, fetched, loaded or trusted."""

    exit_code = 5


class OutputError(KapocError):
    """A result cannot be written where it was asked to go."""

    exit_code = 6


class TrainingError(KapocError):
    """Training stopped: a loss, gradient or weight is not finite, or the saved model fails its checks."""

    exit_code = 7


class IncomparableError(KapocError):
    """Two runs cannot be compared: other items, other data, a limited run or a missing tier."""

    exit_code = 3


def near_miss(name: str, known: Iterable[str]) -> str:
    """The end of an error line about an unknown name: what was probably meant, or what there is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(names) if names else "none is known"
