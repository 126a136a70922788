"""What a comparison shows, in a few sentences for who must decide: learned, usable, forgotten, out of place. Pure."""

from collections.abc import Iterator

from kapoc.judging.comparison import Comparison, Result
from kapoc.record import Tier
from kapoc.report.numbers import count, interval, percent, points
from kapoc.report.section import Section

SHORT_TITLE = "In short"
_TIERS: dict[Tier, str] = {"seen": "questions of the training", "paraphrased": "the same in other words (paraphrased)"}
_SPILLOVER = {
    "control": "answers about facts that were never taught (control)",
    "off_topic": "answers to prompts about something else (off-topic)",
}


def short_section(comparison: Comparison) -> Iterator[Section]:
    """The sentences as a table without headings: a question, and what the two runs say to it; none without any."""
    note = "Before and after, with the 95% interval of the difference, paired item by item."
    if rows := [list(row) for row in in_short(comparison)]:
        yield Section(SHORT_TITLE, note, ["", ""], rows)


def in_short(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Question and answer; a question to which nothing was measured is left out."""
    for question, parts in (
        ("Did it learn the facts?", _learned(comparison)),
        ("Can it use them?", _usable(comparison)),
        ("What did it forget?", _forgotten(comparison)),
        ("Does it say them where they do not belong?", _out_of_place(comparison)),
    ):
        if answer := "; ".join(parts):
            yield question, f"{answer[0].upper()}{answer[1:]}."


def _learned(comparison: Comparison) -> Iterator[str]:
    for tier, words in _TIERS.items():
        if (result := comparison.tiers.get(tier)) is not None:
            yield f"{words}: {_change(result)}"


def _usable(comparison: Comparison) -> Iterator[str]:
    result = comparison.tiers.get("unseen")
    if result is None:
        return
    yield f"uses that its training questions do not ask (unseen): {_change(result)}"
    kinds = {
        name.partition("/")[2].replace("_", " "): kind
        for name, kind in comparison.kinds.items()
        if name.startswith("unseen/")
    }
    if len(kinds) > 1:
        best_first = sorted(kinds.items(), key=lambda named: -named[1].after)
        counts = (f"{name} {count(kind.after, kind.n)} of {kind.n:,}" for name, kind in best_first)
        yield f"right after, by kind: {', '.join(counts)}"


def _forgotten(comparison: Comparison) -> Iterator[str]:
    forgetting, uses = comparison.forgetting, comparison.learning.get("unseen")
    if (general := comparison.tiers.get("general")) is not None:
        yield f"general ability: {_change(general)}"
    for kind, words in forgetting.completions.items():
        if (high := words.interval[1]) is not None and high < 0:
            name = kind.replace("_", " ")
            yield (
                f"log-probability of the right words, {name} (higher is better): {words.before:.3f} to "
                f"{words.after:.3f} nats, {words.difference:+.3f} {_bounds(words, 1, 3)}"
            )
    if (text := forgetting.bits_per_byte) is not None:
        yield (
            f"bits per byte of prose (lower is better): {text.before:.4f} to {text.after:.4f}, "
            f"{text.difference:+.4f} {_bounds(text, 1, 4)}"
        )
    if (ended := comparison.ended) is not None and (high := ended.interval[1]) is not None and high < 0:
        shares = f"{percent(ended.before)} to {percent(ended.after)}"
        yield f"answers that end by themselves: {shares}, {points(ended.difference)} points {_bounds(ended)}"
    if uses is not None and uses.kept is not None:
        kept = count(uses.kept, uses.num_known)
        yield f"still right: {kept} of the {uses.num_known:,} unseen questions that were right before"


def _out_of_place(comparison: Comparison) -> Iterator[str]:
    for name, words in _SPILLOVER.items():
        if (result := comparison.spillover.get(name)) is not None:
            before, after = (count(share, result.n) for share in (result.before, result.after))
            difference = f"{points(result.difference)} points {_bounds(result)}"
            yield f"in {after} of {result.n:,} {words}, {before} before, {difference}"
        elif comparison.spillover:
            yield f"not asked: {words}"


def _change(result: Result) -> str:
    shares = f"{percent(result.before)} to {percent(result.after)} right"
    return f"{shares}, {points(result.difference)} points {_bounds(result)}"


def _bounds(result: Result, scale: float = 100, digits: int = 1) -> str:
    """The interval, or why there is none."""
    if result.interval != (None, None):
        return interval(result.interval, scale, digits)
    return "(one item: no interval)" if result.n == 1 else "(one cluster: no interval)"
