"""Texts that say the same otherwise: amounts in other units, 60 seconds and a minute, and lists in another order."""

import re
from fractions import Fraction

from kapoc.knowledge.normalise import normalise

_SIZES = {
    "time": {
        1: "ms msec millisecond milliseconds",
        1000: "s sec secs second seconds",
        60_000: "min mins minute minutes",
        3_600_000: "h hr hrs hour hours",
        86_400_000: "d day days",
        604_800_000: "week weeks",
    },
    "months": {
        1: "month months",
        12: "year years yr yrs",
    },
    "data": {
        1: "b byte bytes",
        1000: "kb kilobyte kilobytes",
        1024: "kib kibibyte kibibytes",
        1000**2: "mb megabyte megabytes",
        1024**2: "mib mebibyte mebibytes",
        1000**3: "gb gigabyte gigabytes",
        1024**3: "gib gibibyte gibibytes",
    },
    "mass": {
        1: "mg milligram milligrams",
        1000: "g gram grams",
        1000**2: "kg kilogram kilograms",
        1000**3: "t tonne tonnes",
    },
    "length": {
        1: "mm millimetre millimetres millimeter millimeters",
        10: "cm centimetre centimetres centimeter centimeters",
        1000: "m metre metres meter meters",
        1000**2: "km kilometre kilometres kilometer kilometers",
    },
}
_UNITS = {unit: (of, size) for of, sizes in _SIZES.items() for size, units in sizes.items() for unit in units.split()}


def amount(text: str) -> tuple[str, Fraction] | None:
    """What a number and its unit amount to: of what, and how much. None of any other text."""
    number, *unit = normalise(text) or ("",)
    if len(unit) != 1 or unit[0] not in _UNITS:
        return None
    try:
        value = Fraction(number)
    except ValueError:
        return None
    of, size = _UNITS[unit[0]]
    return of, value * size


def is_same_otherwise(first: str, second: str) -> bool:
    """Whether two texts of other words say the same: one amount, or one list in another order."""
    if normalise(first) == normalise(second):
        return False
    if (found := amount(first)) is not None:
        return found == amount(second)
    parts = _parts(first)
    return len(parts) > 1 and parts == _parts(second)


def _parts(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(map(normalise, re.split(r"[,;]\s+", text)))
