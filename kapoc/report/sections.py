"""A comparison and a verdict as titled tables: what every report format shows, in the order of reading. Pure."""

from collections.abc import Iterator

from kapoc.judging.comparison import Comparison, Result
from kapoc.judging.gate import Verdict
from kapoc.report.numbers import RESULT_HEADINGS, interval, p_value, percent, points, result_cells
from kapoc.report.section import Section
from kapoc.report.spilled import spilled_section
from kapoc.report.training import training_sections
from kapoc.stats import benjamini_hochberg

TIERS_TITLE = "What it learned and what it kept"
DAMAGE_TITLE = "What it damaged"
VERDICT_TITLE = "Verdict"
CONTEXTS_TITLE = "Knowledge in the prompt"
_CONTEXTS = {"oracle": "base, the fact in its prompt", "retrieved": "base, facts found by a search"}


def verdict_section(verdict: Verdict) -> Section:
    """Every check of the gate."""
    how = {
        "release": "A release must show its claims: inconclusive is what shows neither its claim nor the opposite.",
        "pull_request": "A pull request fails only where a regression is shown.",
    }[verdict.mode]
    rows = [
        [
            check.name if check.gating else f"{check.name} (not gating)",
            check.quantity,
            check.claim,
            f"{check.value:+.4f}" if check.kind != "floor" else f"{check.value:.4f}",
            interval(check.bounds, scale=1, digits=4, sign="+" if check.kind != "floor" else ""),
            f"{check.n} ({check.clusters})",
            "-" if check.p_claim is None else p_value(check.p_claim, verdict.alpha),
            p_value(check.p_opposite, verdict.alpha),
            check.outcome,
        ]
        for check in verdict.checks
    ]
    return Section(
        title=VERDICT_TITLE,
        note=f"{how} Bounds are one-sided at {verdict.alpha:g}; p-values are corrected over the gating checks (Holm).",
        headings=["check", "quantity", "claim", "value", "bounds", "n (clusters)", "p claim", "p opposite", "outcome"],
        rows=rows,
    )


def sections(comparison: Comparison) -> Iterator[Section]:
    """Every section of a comparison that has something to show."""
    yield Section(
        title=TIERS_TITLE,
        note="Knowledge is graded from free, greedy answers: every required slot must be there and no sibling's value "
        "may be. Differences are paired item by item; intervals and p-values are clustered: clusters are facts, or "
        "items that belong to none. The p-value is of sign flips of clusters (fewer than six that changed cannot go "
        "below .05) and the interval a score's, so that at its edge one may exclude 0 and the other not. Detectable is "
        "the smallest difference that these items could have shown (one-sided 5%, 80% power).",
        headings=["tier", *RESULT_HEADINGS, "detectable"],
        rows=[[name, *result_cells(r), points(r.detectable)] for name, r in _tiers(comparison)],
    )
    yield _learning(comparison)
    yield _damage(comparison)
    if any(result.before or result.after for result in comparison.spillover.values()) or comparison.data.off_topic:
        yield _spillover_kinds(comparison)
    if comparison.contexts:
        yield _contexts(comparison)
    if comparison.noise:
        yield Section(
            title="Noise floor",
            note="The base measured twice, at another batch size or on another device: what changes without training.",
            headings=["tier", "n", "changed", "points"],
            rows=[[t, str(n.n), percent(n.changed), points(n.difference)] for t, n in comparison.noise.items()],
        )
    if comparison.seeds:
        yield Section(
            title="Between seeds",
            note="Mean and sd over the trained runs, as if of one recipe. Seed variation is not item error and stands "
            "apart from the intervals.",
            headings=["quantity", "runs", "mean", "sd", "values"],
            rows=[
                [name, str(len(s.values)), f"{s.mean:.4f}", f"{s.sd:.4f}", ", ".join(f"{v:.4f}" for v in s.values)]
                for name, s in comparison.seeds.items()
            ],
        )
    if comparison.training is not None:
        yield from training_sections(comparison.training)
    if comparison.spilled:
        yield spilled_section(comparison)
    yield from _details(comparison)


def _tiers(comparison: Comparison) -> Iterator[tuple[str, Result]]:
    yield from comparison.tiers.items()
    for name, tiers in comparison.sets.items():
        yield from ((f"{tier}, {name}", result) for tier, result in tiers.items())


def _learning(comparison: Comparison) -> Section:
    return Section(
        title="Learned, kept",
        note="Items that the base answered right before are not counted as learned; kept is the share of them that is "
        "right after, too.",
        headings=["tier", "unknown before", "learned", "95% interval", "known before", "kept", "95% interval"],
        rows=[
            [
                tier,
                str(r.num_unknown),
                percent(r.learned),
                interval(r.learned_interval, sign=""),
                str(r.num_known),
                percent(r.kept),
                interval(r.kept_interval, sign=""),
            ]
            for tier, r in comparison.learning.items()
        ],
    )


def _damage(comparison: Comparison) -> Section:
    rows = [_damage_row(f"spillover, {name.replace('_', '-')}", r) for name, r in comparison.spillover.items()]
    rows += [_damage_row(f"spillover, control, {name}", r) for name, r in comparison.set_spillover.items()]
    if comparison.ended is not None:
        rows.append(_damage_row("answers that end", comparison.ended))
    forgetting = comparison.forgetting
    if (general := comparison.tiers.get("general")) is not None:
        rows.append(_damage_row("general ability", general))
        moved = f"{forgetting.num_lost} lost, {forgetting.num_gained} gained"
        p = p_value(forgetting.p_value)
        rows.append(["general items changed", str(general.n), "", percent(general.churn), moved, "", p])
    rows += [_units_row(f"log-probability, {kind}, nats", r, 3) for kind, r in forgetting.completions.items()]
    if (text := forgetting.bits_per_byte) is not None:
        rows.append(_units_row("bits per byte", text, 4))
    rows += [_units_row(f"bits per byte, {kind}", r, 4) for kind, r in forgetting.own_texts.items()]
    if forgetting.divergence is not None and text is not None:
        bounds = interval(forgetting.divergence_interval, 1, 4, sign="")
        numbers = [f"{forgetting.divergence_before or 0:.4f}", f"{forgetting.divergence:.4f}", ""]
        rows.append(["KL(base || run), nats/token", str(text.n), *numbers, f"after: {bounds}", ""])
    if comparison.variety:
        before, after = (comparison.variety[when] for when in ("before", "after"))
        for what, first, second in (
            ("different answers", before.distinct, after.distinct),
            ("share of the most frequent answer", before.most_frequent_share, after.most_frequent_share),
        ):
            rows.append([what, str(after.n), percent(first), percent(second), points(second - first), "", ""])
    return Section(
        title=DAMAGE_TITLE,
        note="Spillover is a taught answer in the output to a question about an untaught fact (control) or to a prompt "
        "that has nothing to do with the set (off-topic). Lower is better for spillover, bits per byte and KL. An "
        "answer ends where the model stops by itself within 80 tokens. A log-probability is that of the right "
        "continuation of a passage: it can fall while the answer is still right. Different answers are counted among "
        "the control and off-topic ones.",
        headings=["measure", "n", "before", "after", "difference", "95% interval", "p"],
        rows=rows,
    )


def _spillover_kinds(comparison: Comparison) -> Section:
    """Where taught answers turned up: an average over all prompts hides the sort that is nearest to the facts."""
    kinds = comparison.spillover_kinds
    corrected = benjamini_hochberg([result.p_value for result in kinds.values()])
    return Section(
        title="Where it spilled",
        note="The share of outputs with a taught answer by kind of question. Exploratory: p is corrected for the false "
        "discovery rate over these rows (Benjamini-Hochberg).",
        headings=["group/kind", "n", "before", "after", "difference", "95% interval", "p"],
        rows=[
            _damage_row(name.replace("off_topic/", "off-topic/", 1), result.model_copy(update={"p_value": p}))
            for (name, result), p in zip(kinds.items(), corrected, strict=True)
        ],
    )


def _damage_row(name: str, result: Result) -> list[str]:
    shares = [percent(result.before), percent(result.after), points(result.difference)]
    return [name, str(result.n), *shares, interval(result.interval), p_value(result.p_value)]


def _units_row(name: str, result: Result, digits: int) -> list[str]:
    numbers = [f"{result.before:.{digits}f}", f"{result.after:.{digits}f}", f"{result.difference:+.{digits}f}"]
    return [name, str(result.n), *numbers, interval(result.interval, 1, digits), p_value(result.p_value)]


def _contexts(comparison: Comparison) -> Section:
    tiers = [tier for tier in comparison.tiers if tier != "general"]
    rows = [
        ["base", *(percent(comparison.tiers[tier].before) for tier in tiers)],
        *(
            [_CONTEXTS.get(name, name), *(percent(found[tier].score) if tier in found else "-" for tier in tiers)]
            for name, found in comparison.contexts.items()
        ),
        ["trained", *(percent(comparison.tiers[tier].after) for tier in tiers)],
    ]
    for name, found in comparison.contexts.items():
        gains = (found[tier].normalised_gain if tier in found and tier != "control" else None for tier in tiers)
        rows.append([f"trained gain / {name} gain", *(percent(gain) for gain in gains)])
    return Section(
        title=CONTEXTS_TITLE,
        note="What the base answers with the fact itself in its prompt (oracle: the ceiling), and with what a TF-IDF "
        "search over the taught facts finds (retrieved: the rival of training). An untaught fact stands in no context.",
        headings=["model", *tiers],
        rows=rows,
    )


def _details(comparison: Comparison) -> Iterator[Section]:
    corrected = benjamini_hochberg([result.p_value for result in comparison.kinds.values()])
    yield Section(
        title="By kind",
        note="Exploratory: p is corrected for the false discovery rate over these rows (Benjamini-Hochberg).",
        headings=["tier/kind", *RESULT_HEADINGS],
        rows=[
            [name, *result_cells(result.model_copy(update={"p_value": p}))]
            for (name, result), p in zip(comparison.kinds.items(), corrected, strict=True)
        ],
        is_detail=True,
    )
    yield Section(
        title="By form",
        note="A choice about a fact is among four answers that differ in the slots of sibling facts; chance is 25%. "
        "General choices have two options or more, each question its own.",
        headings=["tier/form", *RESULT_HEADINGS],
        rows=[[name, *result_cells(result)] for name, result in comparison.forms.items()],
        is_detail=True,
    )
