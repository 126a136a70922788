"""The blessed baseline: the run that new models are held against, changed only on purpose.

A baseline is a run's folder with `baseline.json`, which seals what was blessed. A run that was put in its place by
other means than `kapoc baseline bless` does not fit the seal, and the gate refuses it.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from kapoc.errors import DataError, IncomparableError, OutputError
from kapoc.record import Run, load_run, refuse_other_files
from kapoc.source import StrictRecord, load_json
from kapoc.writing import write_atomically

SEAL = "baseline.json"


class Seal(StrictRecord):
    """What was blessed, when and why.

    Attributes:
        run_sha256, items_sha256: of the run's two files.
        weights_sha256: of the model that it measured.
        blessed: UTC time, ISO 8601.
        reason: in the words of whoever did it.
    """

    schema_version: Literal[1] = 1
    run_sha256: str
    items_sha256: str
    weights_sha256: str
    blessed: str
    reason: str


def bless(run_folder: Path, baseline: Path, reason: str) -> Seal:
    """Make a run the baseline: copy it to its place and seal it there.

    Raises:
        DataError: the folder holds no sound run, there is no reason, or a run that is no baseline is in its place.
        IncomparableError: the run is a `--limit` run, which no gate takes.
        OutputError: the baseline's folder cannot be written, or holds something else.
    """
    run = load_run(run_folder)
    if not reason.strip():
        raise DataError("--reason: is empty; say in a few words why this run is the new baseline")
    if (baseline / "run.json").is_file() and not (baseline / SEAL).is_file() and not baseline.samefile(run_folder):
        raise DataError(f"{baseline}: holds a run that was never blessed; choose another --out, or take it away")
    refuse_other_files(baseline)
    if (baseline / "items.jsonl").is_file() and not (baseline / "run.json").is_file():
        raise OutputError(f"{baseline}: holds an items.jsonl and no run; choose another --out, or take it away")
    if not run.is_complete:
        raise IncomparableError(f"{run_folder}: a --limit run cannot be a baseline; measure all items")
    files = {name: (run_folder / name).read_text(encoding="utf-8") for name in ("items.jsonl", "run.json")}
    seal = Seal(
        run_sha256=_sha256(files["run.json"]),
        items_sha256=run.items_sha256,
        weights_sha256=run.model.weights_sha256,
        blessed=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=reason,
    )
    try:
        baseline.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_atomically(baseline / name, text)
        write_atomically(baseline / SEAL, seal.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{baseline}: cannot write the baseline ({error.strerror}); choose another --out") from None
    return seal


def load_baseline(folder: Path) -> Run:
    """Read a baseline: a run's folder, sealed or not. A seal must fit.

    Raises:
        DataError: there is no sound run, or it is not the one that was blessed.
    """
    run = load_run(folder)
    if (folder / SEAL).is_file():
        seal = load_json(folder / SEAL, Seal)
        if seal.run_sha256 != _sha256((folder / "run.json").read_text(encoding="utf-8")):
            raise DataError(
                f"{folder}: the run is not the one that was blessed on {seal.blessed}; bless it with "
                f"`kapoc baseline bless RUN --out {folder}`, or put the blessed one back"
            )
    return run


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
