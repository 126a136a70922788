"""The model card in a trained model's folder: written with the checkpoint, and again with what was measured."""

import os
from pathlib import Path

from kapoc.errors import DataError, IncomparableError
from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict, judged
from kapoc.judging.gate_file import RELEASE_GATE
from kapoc.models import hub_id
from kapoc.record import Run, load_run
from kapoc.report.card import render_card
from kapoc.training.checkpoint import read_training_record
from kapoc.training_record import TrainingRecord
from kapoc.writing import write_atomically

CARD = "README.md"


def write_card(
    model: Path, record: TrainingRecord, comparison: Comparison | None = None, verdict: Verdict | None = None
) -> None:
    """Write `README.md` into a model's folder; without results where it was not compared with its base yet."""
    of_hub = hub_id(record.base) if record.base_hub_id is None else record.base_hub_id or None
    text = render_card(record.model_dump(mode="json"), comparison, verdict, of_hub)
    write_atomically(model / CARD, text)


def put_into_card(model: Path, run: Run, base_run: Path) -> bool:
    """Put a complete run into the card of the model that it measured.

    Args:
        model: a folder, or another name of a model.
        run: of it.
        base_run: the folder where a run of its base may lie.

    Returns:
        Whether that was done: not where kapoc did not train the model, or not on these facts, where no run of its base
        on the same items is there, where the folder cannot be written, or where the card says more already: how far
        the model has moved from its base, which this run did not measure.
    """
    try:
        record = read_training_record(model)
    except DataError:  # another tool's file of that name
        return False
    if record is None or record.weights_sha256 != run.model.weights_sha256 or not run.is_complete:
        return False
    if run.data.knowledge != record.knowledge:
        return False
    if not (base_run / "run.json").is_file() or not os.access(model, os.W_OK):
        return False
    if not run.settings.base_sha256 and _tells_divergence(model / CARD):
        return False
    try:
        before = load_run(base_run)
        if before.model.weights_sha256 != record.base_sha256:
            return False
        comparison = compare(before, run, training=record)
    except (DataError, IncomparableError):
        return False
    write_card(model, record, *judged(comparison, RELEASE_GATE))
    return True


def _tells_divergence(card: Path) -> bool:
    return card.is_file() and "kl_divergence" in card.read_text(encoding="utf-8", errors="replace")
