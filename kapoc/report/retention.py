"""What training in stages left, as tables, in Markdown and for a terminal. Pure."""

from collections.abc import Iterator

from kapoc.judging.retention import ASKED, RECALLED, Retention
from kapoc.report.markdown import notes, plain, section_parts
from kapoc.report.numbers import RESULT_HEADINGS, percent, points, result_cells
from kapoc.report.section import Section


def render_retention(retention: Retention) -> str:
    """The Markdown page."""
    parts = [f"# {plain(title_of(retention))}", *notes(warnings_of(retention))]
    for section in retention_sections(retention):
        parts += section_parts(section, folds=True)
    return "\n\n".join(parts) + "\n"


def warnings_of(retention: Retention) -> tuple[str, ...]:
    """What a reader must know before using the numbers."""
    if retention.limit is None:
        return retention.notes
    return (
        *retention.notes,
        f"only {retention.limit} items a task were asked (--limit): nothing here is evidence",
    )


def title_of(retention: Retention) -> str:
    """What was learned, in its order and by which recipe."""
    order = ", then ".join(stage.label for stage in retention.stages)
    again = f", {retention.rehearse} examples of each earlier fact an epoch" if retention.rehearse else ""
    return f"{order} with {retention.settings['name']}{again}"


def retention_sections(retention: Retention) -> Iterator[Section]:
    """The matrix, what stages did to each other, what is left of each, ability and distance, the matrix by tier."""
    yield _matrix(retention, "recall")
    if retention.transfer:
        yield _transfer(retention)
    if retention.kept or retention.unrelated is not None:
        yield _kept(retention)
    yield _general(retention)
    for tier in ASKED:
        if any(share is not None for share in retention.measured[0].scores[tier]):
            yield _matrix(retention, tier)


def _matrix(retention: Retention, score: str) -> Section:
    stages = retention.stages
    note = "A row is the model after a stage, a column the facts of one."
    if score == "recall":
        asked = [sum(stage.num_items.get(tier, 0) for tier in RECALLED) for stage in stages]
        note = f"Recall is the mean of paraphrased and unseen. {note}"
    else:
        asked = [stage.num_items.get(score, 0) for stage in stages]
    headings = ["after", *(f"{stage.label} (n={n})" for stage, n in zip(stages, asked, strict=True))]
    rows = [[row.after, *map(percent, row.scores[score])] for row in retention.measured]
    return Section(score.capitalize(), note, headings, rows, is_detail=score != "recall")


def _transfer(retention: Retention) -> Section:
    note = (
        "Percentage points. Backward transfer: what later stages did to earlier ones, and forward transfer: what "
        "earlier stages did to later ones before those were taught (Lopez-Paz and Ranzato, 2017). Forgetting: how far "
        "earlier stages are below their best (Chaudhry et al., 2018)."
    )
    rows = [
        [name, points(found.backward), points(found.forgetting), points(found.forward)]
        for name, found in retention.transfer.items()
    ]
    return Section("Transfer", note, ["", "backward transfer", "forgetting", "forward transfer"], rows)


def _kept(retention: Retention) -> Section:
    note = (
        "Recall of the facts of a stage right after it and after the last stage, paired question by question; of "
        "several stages together each counts as much."
    )
    last = retention.stages[-1].label
    rows = [
        [f"{stage.label}, until after {last}", *result_cells(result)]
        for stage, result in zip(retention.stages, retention.kept, strict=False)
    ]
    if retention.backward is not None and len(rows) > 1:
        rows.append([f"all of these, until after {last}", *result_cells(retention.backward)])
    if retention.unrelated is not None:
        steps = retention.unrelated_steps
        rows.append([f"all stages, {steps} unrelated steps later", *result_cells(retention.unrelated)])
    return Section("What is left", note, ["facts of", *RESULT_HEADINGS], rows)


def _general(retention: Retention) -> Section:
    note = "General ability, bits per byte on prose, and mean KL(base || model) in nats per token on the same prose."
    rows = [
        [
            row.after,
            percent(row.general),
            "-" if row.bits_per_byte is None else f"{row.bits_per_byte:.4f}",
            "-" if row.divergence is None else f"{row.divergence:.4f}",
        ]
        for row in retention.measured
    ]
    return Section("General ability", note, ["after", "general", "bits per byte", "KL(base || model)"], rows)
