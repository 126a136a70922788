"""How a model was trained as tables: its epochs, the way back to the base, what each form got. Pure."""

from collections.abc import Iterator, Sequence

from kapoc.report.numbers import nats, percent
from kapoc.report.section import Section
from kapoc.training_record import Exposure, TrainingRecord

LEARNING_CURVE = "Learning curve"
ALPHA_CURVE = "The way back to the base"
_SPILLOVER = "held-out spillover"
_SPILLOVER_NOTE = "Held-out spillover: the share of everyday questions, never replayed, answered with something taught."


def training_sections(training: TrainingRecord) -> Iterator[Section]:
    """What the record of a training run holds, as far as it holds it."""
    watched = any(epoch.spillover is not None for epoch in training.epochs)
    arithmetic = f" by {training.precision} arithmetic" if training.precision else ""
    yield Section(
        LEARNING_CURVE,
        f"Recipe {training.recipe['name']}: {training.num_examples} examples an epoch, {training.num_steps} steps, "
        f"{training.num_trained_parameters:,} weights in {training.seconds:.0f} s{arithmetic}. Losses in nats per "
        "answer token, on the training texts and on the dev paraphrases; dev exact is the share of dev answers whose "
        "every token is the greedy one; KL in nats per token, on text of the base's own, where the recipe watches it."
        + (f" {_SPILLOVER_NOTE}" if watched else ""),
        ["epoch", "training loss", "dev loss", "dev exact", "KL(base || model)", *([_SPILLOVER] if watched else [])],
        [
            [
                str(epoch.epoch),
                nats(epoch.train_loss),
                nats(epoch.dev_loss),
                percent(epoch.dev_exact),
                nats(epoch.divergence),
                *([percent(epoch.spillover)] if watched else []),
            ]
            for epoch in training.epochs
        ],
    )
    if (taken := training.taken) is not None:
        spillover = training.spillover_budget
        within = f"{training.budget:g} nats per token of KL(base || model)"
        within += "" if spillover is None else f" and {spillover:.1%} of held-out spillover"
        yield Section(
            ALPHA_CURVE,
            "W = W0 + alpha (W1 - W0), tried after training. The star marks the point that was taken: the most exact "
            f"dev answers within {within}, or else the one that {'spills and ' if watched else ''}moved least.",
            ["", "alpha", "dev exact", "KL(base || model)", *([_SPILLOVER] if watched else [])],
            [
                [
                    "*" if point is taken else "",
                    f"{point.alpha:g}",
                    percent(point.dev_exact),
                    nats(point.divergence),
                    *([percent(point.spillover)] if watched else []),
                ]
                for point in training.alphas
            ],
        )
    if training.exposures:
        yield _exposures(training.exposures)


def _exposures(exposures: Sequence[Exposure]) -> Section:
    forms: dict[str, list[Exposure]] = {}
    for exposure in exposures:
        forms.setdefault(exposure.form, []).append(exposure)
    rows = []
    for form, found in forms.items():
        tokens = [one.num_loss_tokens for one in found]
        told = [one for one in found if one.fact]
        least = min(told, key=lambda one: one.num_loss_tokens, default=None)
        rows.append(
            [
                form,
                str(len(told)) if told else "-",
                str(sum(one.num_examples for one in found)),
                str(sum(tokens)),
                f"{least.fact} ({least.num_loss_tokens})" if least else "-",
            ]
        )
    return Section(
        "What training spent on each form",
        "Over all epochs. Only tokens of answers carry loss, so a fact with few of them is hardly taught.",
        ["form", "facts", "examples", "loss tokens", "fact with fewest"],
        rows,
        is_detail=True,
    )
