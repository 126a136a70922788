"""How numbers are written, the same in every format."""

from kapoc.record import TierResult


def percent(share: float) -> str:
    """`0.9876` as `98.8%`."""
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * difference:+.1f}"


def interval(low_high: tuple[float, float], scale: float = 100, digits: int = 1) -> str:
    """An interval in square brackets."""
    low, high = low_high
    return f"[{scale * low:+.{digits}f}, {scale * high:+.{digits}f}]"


def p_value(p: float) -> str:
    """A p-value; small ones as a bound."""
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def result_cells(result: TierResult) -> list[str]:
    """The cells of one result: n, facts, before, after, difference, interval, p, gained, lost."""
    return [
        str(result.n),
        str(result.facts),
        percent(result.before),
        percent(result.after),
        points(result.difference),
        interval(result.interval),
        p_value(result.p_value),
        str(result.gained),
        str(result.lost),
    ]


RESULT_HEADINGS = ["n", "clusters", "before", "after", "points", "95% interval", "p", "gained", "lost"]
