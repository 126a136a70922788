"""Two runs, paired item by item -> a comparison. Pure: it reads records and gives a record."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from kapoc.judging.comparison import (
    Comparison,
    Forgetting,
    Interval,
    Learning,
    LedgerEntry,
    LedgerLine,
    Measurement,
    PairedScores,
    Result,
    SpilledLine,
    Validity,
    Variety,
    finite,
)
from kapoc.judging.pairing import Pair, pair_runs
from kapoc.judging.quantities import SPILLOVER, is_headline, paired_scores, quantities, result_of
from kapoc.judging.side_runs import context_results, noise_floor, over_seeds
from kapoc.record import TIERS, Item, Run, Tier
from kapoc.stats import (
    mcnemar_exact,
    paired_difference,
    proportion,
)
from kapoc.training_record import TrainingRecord

Key = TypeVar("Key", bound=str)
_LEDGER: dict[tuple[bool, bool], LedgerEntry] = {
    (False, True): "learned",
    (True, True): "kept",
    (True, False): "lost",
    (False, False): "never",
}


def compare(
    before: Run,
    after: Run,
    *,
    contexts: Mapping[str, Run] | None = None,
    noise: Run | None = None,
    other_seeds: Sequence[Run] = (),
    training: TrainingRecord | None = None,
) -> Comparison:
    """Compare two runs on the same items.

    Args:
        before, after: the base and the trained model.
        contexts: `oracle`, `retrieved` -> the base measured with knowledge in its prompt.
        noise: the base measured once more, at another batch size.
        other_seeds: further trained runs of the recipe behind `after`.
        training: how the weights of `after` came about.

    Raises:
        IncomparableError: the runs asked other items, or of another version, or in another way.
    """
    pairs = pair_runs(before, after)
    graded = [pair for pair in pairs if pair[0].form not in {"text", "off_topic"}]
    headline = [pair for pair in graded if is_headline(pair[0])]
    scores = quantities(before, after, pairs, headline)
    runs = (after, *other_seeds)
    return Comparison(
        before=before.model,
        after=after.model,
        data=before.data,
        complete=before.is_complete and after.is_complete,
        tiers={tier: result_of(scores[tier]) for tier in TIERS if tier in scores},
        forms=_grouped(graded, lambda item: f"{item.tier}/{item.form}"),
        kinds=_grouped(headline, lambda item: f"{item.tier}/{item.kind}"),
        sets=_sets(before, headline),
        learning=_learning(headline),
        forgetting=_forgetting(headline, scores),
        spillover={name: result_of(scores[f"spillover/{name}"]) for name in SPILLOVER if f"spillover/{name}" in scores},
        spillover_kinds={
            name.removeprefix("spillover/"): result_of(found)
            for name, found in scores.items()
            if name.startswith("spillover/") and name.count("/") > 1
        },
        ended=result_of(scores["ended"]) if "ended" in scores else None,
        variety=_variety(pairs),
        contexts={name: context_results(name, run, before, after) for name, run in (contexts or {}).items()},
        noise=noise_floor(before, noise) if noise is not None else {},
        seeds=over_seeds(before, runs) if other_seeds else {},
        validity=_validity(before, after, headline),
        ledger=tuple(_ledger_line(*pair) for pair in headline if pair[0].form == "free"),
        spilled=tuple(_spilled(pairs)),
        commands=(before.command, after.command),
        measured=(_measurement(before), _measurement(after)),
        training=training,
        set_spillover=_set_spillover(before, scores),
        warnings=(
            *warnings_of(before, after),
            *_missing(before, pairs, scores),
            *_uneven(runs),
            *_unlike(before, {**(contexts or {}), **({"noise": noise} if noise is not None else {})}),
        ),
        scores=scores,
    )


def _grouped(pairs: Sequence[Pair], key: Callable[[Item], Key]) -> dict[Key, Result]:
    groups: dict[Key, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: TIERS.index(pair[0].tier)):
        groups.setdefault(key(pair[0]), []).append(pair)
    return {name: result_of(paired_scores(group, lambda item: item.score)) for name, group in groups.items()}


def _sets(run: Run, headline: Sequence[Pair]) -> dict[str, dict[Tier, Result]]:
    names = [identity.name for identity in run.data.knowledge]
    if len(names) == 1:
        return {}
    return {
        name: _grouped([pair for pair in headline if pair[0].knowledge == name], lambda item: item.tier)
        for name in names
    }


def _set_spillover(run: Run, scores: Mapping[str, PairedScores]) -> dict[str, Result]:
    names = [identity.name for identity in run.data.knowledge]
    quantity = {name: f"{name}/spillover/control" for name in names if len(names) > 1}
    return {name: result_of(scores[found]) for name, found in quantity.items() if found in scores}


def _learning(headline: Sequence[Pair]) -> dict[Tier, Learning]:
    found: dict[Tier, Learning] = {}
    for tier in TIERS:
        pairs = [pair for pair in headline if pair[0].tier == tier and pair[0].form == "free"]
        if pairs:
            unknown = [after for before, after in pairs if before.score < 1]
            known = [after for before, after in pairs if before.score == 1]
            (learned, learned_interval), (kept, kept_interval) = _share(unknown), _share(known)
            found[tier] = Learning(
                num_unknown=len(unknown),
                num_known=len(known),
                learned=learned,
                learned_interval=learned_interval,
                kept=kept,
                kept_interval=kept_interval,
            )
    return found


def _share(items: Sequence[Item]) -> tuple[float | None, Interval | None]:
    if not items:
        return None, None
    found = proportion([item.score for item in items], [item.cluster for item in items])
    return found.share, (found.low, found.high)


def _forgetting(headline: Sequence[Pair], scores: Mapping[str, PairedScores]) -> Forgetting:
    pairs = [pair for pair in headline if pair[0].tier == "general"]
    general = [(before.score, after.score) for before, after in pairs]
    completions = dict.fromkeys(before.kind for before, _ in pairs if before.form == "completion")
    num_lost, num_gained = sum(a < b for b, a in general), sum(a > b for b, a in general)
    divergence = scores.get("divergence")
    found = None
    if divergence is not None:
        nothing = (0.0,) * len(divergence.after)
        found = paired_difference(nothing, divergence.after, divergence.clusters, shares=False)
    return Forgetting(
        num_lost=num_lost,
        num_gained=num_gained,
        p_value=mcnemar_exact(num_gained, num_lost),
        completions={
            kind: result_of(scores[name]) for kind in completions if (name := f"gold/general/{kind}") in scores
        },
        bits_per_byte=result_of(scores["text"]) if "text" in scores else None,
        own_texts={
            name.removeprefix("text/"): result_of(own) for name, own in scores.items() if name.startswith("text/")
        },
        divergence=None if found is None else found.mean,
        divergence_before=None if divergence is None else sum(divergence.before) / len(divergence.before),
        divergence_interval=None if found is None else finite((found.low, found.high)),
    )


def _variety(pairs: Sequence[Pair]) -> dict[str, Variety]:
    asked = [pair for pair in pairs if any(belongs(pair[0]) for belongs in SPILLOVER.values())]
    if not asked:
        return {}
    return {name: _variety_of([pair[side].output for pair in asked]) for side, name in enumerate(("before", "after"))}


def _variety_of(outputs: Sequence[str]) -> Variety:
    counts = Counter(" ".join(output.lower().split()) for output in outputs)
    answer, number = counts.most_common(1)[0]
    return Variety(
        n=len(outputs),
        distinct=len(counts) / len(outputs),
        most_frequent=answer,
        most_frequent_share=number / len(outputs),
    )


def _validity(before: Run, after: Run, headline: Sequence[Pair]) -> Validity:
    knowledge = [item for item, _ in headline if item.form == "free" and item.tier != "control"]
    return Validity(
        known_before=tuple(item.id for item in knowledge if item.score == 1),
        num_leaks=max((found for found in _leaks(before, after) if found is not None), default=None),
        num_proposals=max(before.data.num_proposals, after.data.num_proposals),
        documents_sha256=before.data.documents_sha256,
    )


def _leaks(before: Run, after: Run) -> tuple[int | None, int | None]:
    return before.data.num_leaks, after.data.num_leaks


def _spilled(pairs: Sequence[Pair]) -> Iterable[SpilledLine]:
    for group, belongs in SPILLOVER.items():
        for before, after in pairs:
            if belongs(after) and after.spillover:
                yield SpilledLine(
                    id=after.id,
                    group=group,
                    prompt=after.prompt,
                    before=before.output,
                    after=after.output,
                    taught=after.spillover,
                )


def _measurement(run: Run) -> Measurement:
    return Measurement(created=run.created, seconds=run.seconds, settings=run.settings, versions=run.versions)


def ledger_entry(before: Item, after: Item) -> LedgerEntry:
    """What became of a graded item."""
    return _LEDGER[before.score == 1, after.score == 1]


def _ledger_line(before: Item, after: Item) -> LedgerLine:
    return LedgerLine(
        id=before.id,
        tier=before.tier,
        form=before.form,
        kind=before.kind,
        prompt=before.prompt,
        reference=before.reference,
        entry=ledger_entry(before, after),
        before=before.output,
        after=after.output,
    )


def warnings_of(before: Run, after: Run) -> Iterable[str]:
    """What a reader should know of two runs before believing a difference between them."""
    if not before.is_complete:
        yield f"only {before.settings.limit} items a task were asked (--limit): nothing here is evidence"
    yield from warnings_of_sets(before, after)
    if before.model.weights_sha256 == after.model.weights_sha256:
        yield "both runs measured the same weights"
    if before.settings.context != "none":
        yield f"knowledge stood in the prompts of both runs (context: {before.settings.context})"
    if before.settings.base_sha256 == after.model.weights_sha256 != before.model.weights_sha256:
        yield "the first run is of a model that was trained from that of the second: are the two swapped?"
    yield from _other_bases(before, after)
    yield from (f"the runs differ in {what}" for what in _differences(before, after).values())


def warnings_of_sets(before: Run, after: Run) -> Iterable[str]:
    """What a reader should know of the knowledge sets that two runs, or one and the same, asked about."""
    leaks = _leaks(before, after)
    if most := max(found or 0 for found in leaks):
        yield f"the audit found {most} leaks in the knowledge sets{_each(leaks)}; see `kapoc data check`"
    proposals = (before.data.num_proposals, after.data.num_proposals)
    if most := max(proposals):
        yield f"{most} questions were proposed from templates and nobody has read them yet{_each(proposals)}"


def _other_bases(before: Run, after: Run) -> Iterable[str]:
    """Why the divergences of two runs are left out: they are to two bases, or one of them has none."""
    first, second = before.settings.base_sha256, after.settings.base_sha256
    if first and second and first != second:
        yield "the divergences of the two runs are to different bases and are left out"
    if bool(first) != bool(second):
        of_base = before.model.weights_sha256 if second else after.model.weights_sha256
        if of_base != (first or second):
            yield "only one of the runs was measured with --base: the divergence is left out"


def _each(numbers: tuple[int | None, int | None]) -> str:
    """What each of two runs says where they differ."""
    first, second = ("not audited" if number is None else str(number) for number in numbers)
    return "" if first == second else f" (in the first run {first}, in the second {second})"


def _differences(before: Run, after: Run) -> dict[str, str]:
    """Settings in which two runs differ, each with both values in words."""
    found = {}
    for what, first, second in (
        ("batch size", before.settings.batch_size, after.settings.batch_size),
        ("device", before.settings.device, after.settings.device),
        ("dtype", before.model.dtype, after.model.dtype),
        ("chat template", before.settings.chat_template_sha256[:12], after.settings.chat_template_sha256[:12]),
    ):
        if first != second:
            found[what] = f"{what}: {first} and {second}"
    decoding = [run.settings.decoding_sha256[:12] for run in (before, after)]
    if all(decoding) and decoding[0] != decoding[1]:  # older runs do not say
        found["decoding"] = f"tokenizer or generation config: {decoding[0]} and {decoding[1]}"
    packages = sorted({name for name, _ in {*before.versions.items()} ^ {*after.versions.items()}})
    if packages:
        both = (
            f"{name} {before.versions.get(name, 'none')} and {after.versions.get(name, 'none')}" for name in packages
        )
        found["versions"] = f"package versions: {', '.join(both)}"
    return found


def _unlike(before: Run, side_runs: Mapping[str, Run]) -> Iterable[str]:
    """How the base was measured otherwise where knowledge stood in its prompts, or once more for the noise floor."""
    for name, run in side_runs.items():
        meant = {"batch size", "device"} if name == "noise" else set()
        odd = [words for what, words in _differences(before, run).items() if what not in meant]
        yield from (f"the {name} run and the base's differ in {words}" for words in odd)


def _missing(run: Run, pairs: Sequence[Pair], scores: Mapping[str, PairedScores]) -> Iterable[str]:
    if missing := [tier for tier in TIERS if tier not in scores]:
        yield f"nothing was asked in the tier {', '.join(missing)}"
    for name in (identity.name for identity in run.data.knowledge):
        asked = {before.tier for before, _ in pairs if before.knowledge == name}
        if absent := [tier for tier in TIERS if tier != "general" and tier in scores and tier not in asked]:
            yield f"{name} has no questions in the tier {', '.join(absent)}; what is said there is of the other sets"


def _uneven(runs: Sequence[Run]) -> Iterable[str]:
    if len({bool(run.settings.base_sha256) for run in runs}) > 1:
        yield "only some of the trained runs were measured with --base: their divergence is left out"
