"""What a measurement showed a trained model not to do, or to do worse than its base, in sentences. Pure."""

from collections.abc import Iterator

from kapoc.judging.comparison import Comparison, Result
from kapoc.judging.gate import Verdict
from kapoc.report.numbers import count, interval, points

_SPILLOVER = {
    "control": "Asked about facts of the same shape that it was not taught, it gives a taught answer in",
    "off_topic": "Asked about something else, it gives a taught answer in",
}


def limits(comparison: Comparison, verdict: Verdict | None) -> Iterator[str]:
    """One sentence a limit; a loss is named where its 95% interval excludes none."""
    yield from (verdict or comparison).warnings
    if comparison.training is not None and (beyond := comparison.training.beyond_budget):
        yield f"It does not keep to the forgetting budget of its recipe: {beyond}."
    for tier in ("seen", "paraphrased", "unseen"):
        result = comparison.tiers.get(tier)
        if result is not None and result.after < 1:
            wrong = f"Of {result.n:,} {tier} questions it answers {_wrong(result)} wrong"
            yield f"{wrong}{_worst(comparison, tier)}."
    for name, result in comparison.spillover.items():
        if _is_more(result):
            spilled = f"{count(result.after, result.n)} of {result.n:,} answers"
            yield f"{_SPILLOVER[name]} {spilled} ({_change(result)})."
    if comparison.ended is not None and comparison.ended.after < 1:
        ended = comparison.ended
        yield f"Of {ended.n:,} answers it does not end {_wrong(ended)} by itself."
    yield from _forgotten(comparison)
    for check in verdict.checks if verdict is not None else ():
        if check.outcome != "pass":
            how = "is not met" if check.outcome == "fail" else "was not shown"
            yield f'The check "{check.name}" ({check.quantity} {check.claim}) {how}.'


def _worst(comparison: Comparison, tier: str) -> str:
    """The kinds of question that went worst, where others went better."""
    kinds = {name.removeprefix(f"{tier}/"): r for name, r in comparison.kinds.items() if name.startswith(f"{tier}/")}
    least = min((result.after for result in kinds.values()), default=0.0)
    worst = {kind.replace("_", " "): result for kind, result in kinds.items() if result.after == least}
    if len(worst) == len(kinds):
        return ""
    return f"; most in {' and '.join(f'{kind} ({_wrong(r)} of {r.n:,})' for kind, r in worst.items())}"


def _wrong(result: Result) -> str:
    return count(1 - result.after, result.n)


def _forgotten(comparison: Comparison) -> Iterator[str]:
    forgetting, general = comparison.forgetting, comparison.tiers.get("general")
    if general is not None and (high := general.interval[1]) is not None and high < 0:
        yield (
            f"Of {general.n} items of general ability it lost {forgetting.num_lost} and gained "
            f"{forgetting.num_gained} ({_change(general)})."
        )
    for kind, result in forgetting.completions.items():
        if (high := result.interval[1]) is not None and high < 0:
            yield (
                f"The words that go on with the {result.n} passages of {kind} have a log-probability of "
                f"{result.after:.3f} nats, {result.before:.3f} before training, 95% interval of the difference "
                f"{interval(result.interval, 1, 3)}."
            )
    if (text := forgetting.bits_per_byte) is not None and _is_more(text):
        yield f"Plain prose costs {text.after:.4f} bits per byte, {text.before:.4f} before training."
    if forgetting.divergence is not None:
        yield (
            f"On plain prose it has moved from its base by {forgetting.divergence:.4f} nats per token "
            f"{interval(forgetting.divergence_interval, 1, 4, sign='')}."
        )


def _is_more(result: Result) -> bool:
    return (low := result.interval[0]) is not None and low > 0


def _change(result: Result) -> str:
    return f"{points(result.difference)} points against the base, 95% interval {interval(result.interval)}"
