"""What further runs add to a comparison of two: knowledge in the prompt, noise, more seeds. Pure."""

from collections.abc import Sequence

from kapoc.errors import IncomparableError
from kapoc.judging.comparison import ContextResult, Noise, Seeds
from kapoc.judging.pairing import pair_runs, shared_items
from kapoc.judging.quantities import SPILLOVER, is_headline, quantities, result_of
from kapoc.record import TIERS, Run, Tier
from kapoc.stats import proportion, seed_summary


def context_results(name: str, run: Run, before: Run, after: Run) -> dict[Tier, ContextResult]:
    """A base run with knowledge in its prompts, tier by tier, next to training."""
    if run.model.weights_sha256 != before.model.weights_sha256:
        raise IncomparableError(f"the {name} run measured other weights than the base run; measure it again")
    if run.settings.context != name:
        raise IncomparableError(
            f"the {name} run was measured with context '{run.settings.context}'; "
            f"make it with `kapoc bench --context {name}`"
        )
    items = shared_items(run, before)
    _refuse_lacking(name, run, before)
    plain = {item.id: (item.score, trained.score) for item, trained in pair_runs(before, after)}
    found: dict[Tier, ContextResult] = {}
    for tier in TIERS:
        asked = [item for item in items if item.tier == tier and item.form == "free"]
        if asked:
            share = proportion([item.score for item in asked], [item.cluster for item in asked])
            base = sum(plain[item.id][0] for item in asked) / len(asked)
            trained = sum(plain[item.id][1] for item in asked) / len(asked)
            gain = (trained - base) / (share.share - base) if share.share > base else None
            found[tier] = ContextResult(
                n=len(asked),
                clusters=len({item.cluster for item in asked}),
                score=share.share,
                interval=(share.low, share.high),
                normalised_gain=gain,
            )
    return found


def _refuse_lacking(name: str, run: Run, before: Run) -> None:
    """Refuse a run in context that was not asked all questions of its tiers: its rows would be of others."""
    asked = {item.id for item in run.items}
    tiers = {item.tier for item in run.items if item.form == "free"}
    lacking = [i.id for i in before.items if i.form == "free" and i.tier in tiers and i.id not in asked]
    if lacking:
        raise IncomparableError(
            f"the {name} run lacks questions of the base run, {lacking[0]} among {len(lacking)}; measure it again"
        )


def noise_floor(before: Run, again: Run) -> dict[Tier, Noise]:
    """What changes between two measurements of the base, tier by tier."""
    if again.model.weights_sha256 != before.model.weights_sha256:
        raise IncomparableError("the noise run measured other weights than the base run; measure the base twice")
    settings = ("batch_size", "device")
    if all(getattr(again.settings, name) == getattr(before.settings, name) for name in settings):
        raise IncomparableError(
            f"the noise run was measured as the base run was, at batch size {again.settings.batch_size}; "
            "measure the base again with another --batch-size"
        )
    try:
        pairs = [pair for pair in pair_runs(before, again) if is_headline(pair[0])]
    except IncomparableError as error:
        raise IncomparableError(f"the noise run: {error}") from None
    found: dict[Tier, Noise] = {}
    for tier in TIERS:
        scores = [(first.score, second.score) for first, second in pairs if first.tier == tier]
        if scores:
            found[tier] = Noise(
                n=len(scores),
                changed=sum(a != b for a, b in scores) / len(scores),
                difference=sum(b - a for a, b in scores) / len(scores),
            )
    return found


def over_seeds(before: Run, trained: Sequence[Run]) -> dict[str, Seeds]:
    """Mean and spread of what several trained runs of a recipe came to, quantity by quantity."""
    values: dict[str, list[float]] = {}
    for run in trained:
        pairs = pair_runs(before, run)
        headline = [pair for pair in pairs if is_headline(pair[0])]
        for name, scores in quantities(before, run, pairs, headline).items():
            if name in {*TIERS, *(f"spillover/{group}" for group in SPILLOVER), "text", "divergence", "ended"}:
                values.setdefault(name, []).append(result_of(scores).after)
    found = {}
    for name, numbers in values.items():
        if len(numbers) < len(trained):
            continue  # not every run has it; `compare` warns of it
        summary = seed_summary(numbers)
        found[name] = Seeds(values=tuple(numbers), mean=summary.mean, sd=summary.sd)
    return found
