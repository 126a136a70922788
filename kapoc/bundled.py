"""The data files that ship in `kapoc.benchmark`, each checked against `SHA256SUMS` when it is used."""

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from kapoc.errors import DataError, near_miss
from kapoc.source import read_text


def bundled(name: str) -> Path:
    """The path of a file that ships in `kapoc.benchmark`."""
    return Path(str(files("kapoc.benchmark").joinpath(name)))


def bundled_sets() -> dict[str, str]:
    """The shipped knowledge sets: name -> file name."""
    found = sorted(path.name for path in files("kapoc.benchmark").iterdir() if path.name.endswith(".yaml"))
    sets = (name for name in found if not name.endswith(".paraphrases.yaml"))
    return {name.removesuffix(".yaml").replace("_", "-"): name for name in sets}


@lru_cache
def checked(name: str) -> Path:
    """The path of a bundled file whose sha256 is the one in SHA256SUMS.

    Raises:
        DataError: the file is not listed, absent or changed.
    """
    sums = dict(line.split()[::-1] for line in read_text(bundled("SHA256SUMS")).splitlines() if line.strip())
    if name not in sums:
        raise DataError(f"{bundled('SHA256SUMS')}: no line for {name}; {near_miss(name, sums)}")
    path = bundled(name)
    if not path.exists():
        raise DataError(f"{path}: the bundled file is missing; reinstall kapoc")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sums[name]:
        raise DataError(f"{path}: its sha256 is {found[:12]}, SHA256SUMS says {sums[name][:12]}; reinstall kapoc")
    return path
