"""How numbers are written, the same in every format."""

import re

from kapoc.judging.comparison import Result

_STEERING = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_LEVEL = 0.05
"""Beside which a p-value is looked at where no gate says otherwise."""


def percent(share: float | None) -> str:
    """`0.9876` as `98.8%`; a dash where there is no number, and never all or nothing of what is only nearly so."""
    if share is None:
        return "-"
    written = f"{100 * share:.1f}%"
    if 0 < share < 1:
        return {"0.0%": "<0.1%", "100.0%": ">99.9%"}.get(written, written)
    return written


def count(share: float, n: int) -> str:
    """How many of so many items a share is."""
    return f"{round(share * n):,}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, signed; a dash where there is none."""
    if difference is None:
        return "-"
    return f"{100 * difference:+.1f}"


def interval(
    low_high: tuple[float | None, float | None] | None, scale: float = 100, digits: int = 1, sign: str = "+"
) -> str:
    """An interval in square brackets; a dash where there is none, a question mark where there is no bound."""
    if low_high is None:
        return "-"
    low, high = ("?" if bound is None else f"{scale * bound:{sign}.{digits}f}" for bound in low_high)
    return f"[{low}, {high}]"


def nats(number: float | None) -> str:
    """A number of nats, or of nats per token; a dash where there is none."""
    return "-" if number is None else f"{number:.4f}"


def shortened(text: str, length: int = 160) -> str:
    """A text of at most so many characters, its end marked where it was cut off."""
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(text: str) -> str:
    """A text without line ends, so that nothing in it begins a line; what steers a screen is shown by its code."""
    return _STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", " ".join(text.splitlines()))


def p_value(p: float, level: float = _LEVEL) -> str:
    """A p-value; the smallest and the largest as a bound, and as many digits as tell it from the level."""
    if p < 0.001 or p >= 1:
        return "<.001" if p < 1 else "1"
    digits = next((digits for digits in (3, 4, 5) if p == level or round(p, digits) != level), 6)
    return ">.999" if round(p, digits) == 1 else f"{p:.{digits}f}".lstrip("0")


RESULT_HEADINGS = ["n", "clusters", "before", "after", "points", "95% interval", "p", "gained", "lost"]


def result_cells(result: Result) -> list[str]:
    """The cells of one share before and after, under `RESULT_HEADINGS`."""
    return [
        str(result.n),
        str(result.clusters),
        percent(result.before),
        percent(result.after),
        points(result.difference),
        interval(result.interval),
        p_value(result.p_value),
        str(result.gained),
        str(result.lost),
    ]
