"""A comparison + thresholds -> a verdict. Pure; the printed verdict and the exit code come from one object.

Two honest modes. A *release* must show what it claims: a check passes when its claim is shown at the gate's level,
fails when the opposite is shown, and is inconclusive otherwise. A *pull request* fails only where a regression is
shown. The levels hold over all gating checks together (Holm, 1979).
"""

from collections.abc import Collection, Sequence
from typing import Literal

from kapoc.errors import DataError, IncomparableError, near_miss
from kapoc.judging.comparison import Comparison, Interval, finite
from kapoc.judging.evidence import CheckKind, Evidence, weigh, worst
from kapoc.judging.gate_file import Check, Gate, Mode
from kapoc.knowledge.facts import RESERVED_NAMES
from kapoc.record import TIERS
from kapoc.source import StrictRecord
from kapoc.stats import holm

Outcome = Literal["pass", "fail", "inconclusive"]


_NO_CONTROLS = "add control facts to the knowledge set and measure both again"
REMEDIES: dict[str, str] = {
    **dict.fromkeys(TIERS, "measure all tiers"),
    "control": _NO_CONTROLS,
    "text": "measure both with the general tasks",
    **{f"gold/{tier}": "measure both again with this version of kapoc" for tier in TIERS},
    "gold/general/last_word": "measure both with the general tasks and this version of kapoc",
    "divergence": "measure both to one base, with `kapoc bench --base`",
    "ended": "measure both again with this version of kapoc",
    "spillover/control": _NO_CONTROLS,
    "spillover/off_topic": "measure both with the off-topic prompts",
}
_GROUPS_OF_KINDS = (*TIERS, "spillover/control", "gold/general", "text")
"""What is also judged by kind of question, as `<group>/<kind>`."""
_OF_ONE_SET = {*TIERS, "spillover/control"} - {"general"}
"""What is also judged set by set, as `<set>/<group>`."""


class CheckResult(StrictRecord):
    """What one check found.

    Attributes:
        name, kind, quantity, claim, gating: of the check.
        n, clusters: items that it rests on.
        value: the run's own mean (of a floor), or run - baseline.
        bounds: of the value, each one-sided at the gate's level; none where there is no bound.
        p_claim: of the claim, adjusted over the gating checks; none where the mode asks for no claim to be shown.
        p_opposite: of the opposite, adjusted alike.
        outcome: pass, fail or inconclusive.
    """

    name: str
    kind: CheckKind
    quantity: str
    claim: str
    gating: bool
    n: int
    clusters: int
    value: float
    bounds: Interval
    p_claim: float | None
    p_opposite: float
    outcome: Outcome


class Verdict(StrictRecord):
    """What the gate says of a comparison.

    Attributes:
        mode, alpha, inconclusive_fails: of the gate.
        outcome: of all gating checks; a release that rests on leaking sets is inconclusive where it would pass.
        checks: one by one.
        num_leaks: of a release: found between the training texts and probes of the sets.
        warnings: what a reader should know, those of the comparison first.
    """

    mode: Mode
    alpha: float
    outcome: Outcome
    inconclusive_fails: bool
    checks: tuple[CheckResult, ...]
    num_leaks: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 pass, 1 a gating check failed, 4 inconclusive where the gate says that this fails."""
        codes: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 4 if self.inconclusive_fails else 0}
        return codes[self.outcome]

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""

        def named(outcome: Outcome) -> str:
            return ", ".join(check.name for check in self.checks if check.gating and check.outcome == outcome)

        beside = ", ".join(
            f"{check.name} ({check.outcome})" for check in self.checks if not check.gating and check.outcome != "pass"
        )
        held = ("every gating check" if beside else "every check") + " holds"
        if any(check.gating and check.p_claim is None for check in self.checks):
            held = "no gating check is shown to be missed"
        leaks = f"the knowledge sets leak ({self.num_leaks} found), so right answers show little"
        missing = named("inconclusive")
        why = {
            "pass": f"{held}; not gating: {beside}" if beside else held,
            "fail": named("fail"),
            "inconclusive": "; ".join([f"not shown: {missing}"] * bool(missing) + [leaks] * bool(self.num_leaks)),
        }
        return f"{self.outcome.upper()}: {why[self.outcome]}"


def judge(comparison: Comparison, gate: Gate) -> Verdict:
    """Hold a comparison against thresholds.

    Raises:
        IncomparableError: the comparison comes from `--limit` runs, or lacks what a gating check judges.
        DataError: a check names a quantity that does not exist.
    """
    if not comparison.complete:
        raise IncomparableError("a --limit run cannot pass a gate; measure all items")
    absent = {check.name: words for check in gate.check if (words := _absent(comparison, check)) is not None}
    if needed := next((check.name for check in gate.check if check.gating and check.name in absent), None):
        raise IncomparableError(absent[needed])
    checks = [check for check in gate.check if check.name not in absent]
    found = [_evidence(comparison, check, gate) for check in checks]
    gating = [index for index, check in enumerate(checks) if check.gating]
    claiming = [index for index in gating if checks[index].is_claim]
    claims = _adjusted([evidence.p_claim for evidence in found], claiming)
    opposites = _adjusted([evidence.p_opposite for evidence in found], gating)
    results = tuple(
        _result(check, evidence, gate, claim, opposite)
        for check, evidence, claim, opposite in zip(checks, found, claims, opposites, strict=True)
    )
    outcomes = {result.outcome for result in results if result.gating}
    failed = frozenset(result.name for result in results if result.outcome == "fail")
    num_leaks = (comparison.validity.num_leaks or 0) if gate.mode == "release" else 0
    shown: Outcome = "inconclusive" if "inconclusive" in outcomes or num_leaks else "pass"
    return Verdict(
        mode=gate.mode,
        alpha=gate.alpha,
        outcome="fail" if "fail" in outcomes else shown,
        inconclusive_fails=gate.inconclusive_fails,
        checks=results,
        num_leaks=num_leaks,
        warnings=(
            *comparison.warnings,
            *(f"left out, not gating: {words}" for words in absent.values()),
            *_blind(comparison, gate, [checks[index] for index in gating], failed),
            *_missed_alone([(found[index], results[index]) for index in gating], gate.alpha),
        ),
    )


def judged(comparison: Comparison, gate: Gate) -> tuple[Comparison, Verdict | None]:
    """As `judge`; where there is no verdict, the comparison says why among its warnings.

    Raises:
        DataError: a check names a quantity that does not exist.
    """
    try:
        return comparison, judge(comparison, gate)
    except IncomparableError as error:
        return comparison.model_copy(update={"warnings": (*comparison.warnings, f"no verdict: {error}")}), None


def _absent(comparison: Comparison, check: Check) -> str | None:
    """That the runs lack what a check judges, and what to do; nothing where they have it."""
    if check.quantity in comparison.scores:
        return None
    if (remedy := remedy_for(check.quantity, comparison.scores)) is not None:
        return f"check '{check.name}': the runs have no '{check.quantity}'; {remedy}"
    hint = near_miss(check.quantity, comparison.scores)
    raise DataError(f"check '{check.name}': there is no quantity '{check.quantity}' in these runs; {hint}")


def _evidence(comparison: Comparison, check: Check, gate: Gate) -> Evidence:
    scores = comparison.scores[check.quantity]
    return weigh(scores, check.kind, check.margin, check.at_least, check.at_most, gate.alpha)


def _blind(comparison: Comparison, gate: Gate, gating: list[Check], failed: Collection[str]) -> list[str]:
    """Checks that fail only where a loss is shown, and whose items could show none, were every one of them lost.

    By itself one has to show more than beside others that fail, with the correction that holds over all of them.
    """
    found = []
    for check in gating:
        if check.name in failed:
            continue
        could = "could not have failed"
        scores = comparison.scores[check.quantity]
        if gate.mode == "release" and check.is_claim:
            continue
        if scores.is_share:
            scores = worst(scores, check.at_most)
        evidence = weigh(scores, check.kind, check.margin, check.at_least, check.at_most, gate.alpha)
        items = f"{_counted(evidence.n, 'item')} in {_counted(evidence.clusters, 'cluster')}"
        if not scores.is_share:
            blind, why = finite(evidence.bounds) == (None, None), f"{items}: there is no interval"
        elif check.kind != "floor" and scores.before == scores.after:
            is_right = not scores.lower_is_better and check.quantity != "ended"
            lost = "right that could be lost" if is_right else "that could get worse"
            blind = check.kind != "equivalence"  # which fails by gains, too
            why = f"of {items} the baseline has none {lost}"
            why += "; is it the last model that shipped?" if gate.mode == "pull_request" else ""
        else:
            blind, why = evidence.p_opposite * len(gating) > gate.alpha, f"{items} show no loss, however large"
            if evidence.p_opposite <= gate.alpha:
                could, why = "could have failed only beside others", f"{why}, among {len(gating)} checks"
        if blind:
            found.append(f"check '{check.name}' {could}: {why}")
    return found


def _missed_alone(gating: Sequence[tuple[Evidence, CheckResult]], alpha: float) -> list[str]:
    """Gating checks that are shown to be missed each by itself, and not at the level that holds over all of them."""
    return [
        f"check '{result.name}' alone is shown to be missed (p = {evidence.p_opposite:.2g}), and is not among "
        f"{len(gating)} checks (p = {result.p_opposite:.2g}): look at what changed"
        for evidence, result in gating
        if evidence.p_opposite <= alpha and result.outcome != "fail"
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def remedy_for(quantity: str, known: Collection[str]) -> str | None:
    """What to do where runs lack a quantity that runs can have; nothing where its name is of no form of them."""
    first, _, rest = quantity.partition("/")
    if quantity in REMEDIES:
        return REMEDIES[quantity]
    if first == "general" and (texts := f"text/{rest}") in known:
        return f"it holds texts, which are judged as '{texts}'"
    if quantity.startswith("spillover/off_topic/"):
        return "measure both with its file of prompts (--off-topic)"
    if first and first not in RESERVED_NAMES and rest in _OF_ONE_SET:
        sets = {name.partition("/")[0] for name in known} - RESERVED_NAMES
        lacking = _NO_CONTROLS if rest.endswith("control") else f"give the set {first} such questions and measure both"
        return lacking if first in sets else f"measure both on the set {first}, too{_like(first, sets)}"
    group = next((group for group in _GROUPS_OF_KINDS if quantity.startswith(f"{group}/")), None)
    if group is None or quantity == f"{group}/":
        return None
    if group.endswith("control") and group not in known:
        return _NO_CONTROLS
    what = (
        "with that task (--general)"
        if {"general", "text"} & {*group.split("/")}
        else "on a set that has this kind of question"
    )
    kinds = [name.removeprefix(f"{group}/") for name in known if name.startswith(f"{group}/")]
    return f"measure both {what}{_like(quantity.removeprefix(f'{group}/'), kinds)}"


def _like(name: str, known: Collection[str]) -> str:
    """Which kind or set was probably meant, where there are some."""
    return f"; {near_miss(name, known)}" if known else ""


def _adjusted(p_values: list[float], family: list[int]) -> list[float]:
    """The p-values with Holm's correction over these checks; the others stand for themselves."""
    corrected = dict(zip(family, holm([p_values[index] for index in family]), strict=True))
    return [corrected.get(index, p) for index, p in enumerate(p_values)]


def _result(check: Check, evidence: Evidence, gate: Gate, p_claim: float, p_opposite: float) -> CheckResult:
    must_show = gate.mode == "release" and check.is_claim
    outcome: Outcome = "pass"
    if p_opposite <= gate.alpha:
        outcome = "fail"
    elif must_show and p_claim > gate.alpha:
        outcome = "inconclusive"
    return CheckResult(
        name=check.name,
        kind=check.kind,
        quantity=check.quantity,
        claim=check.claim,
        gating=check.gating,
        n=evidence.n,
        clusters=evidence.clusters,
        value=evidence.value,
        bounds=finite(evidence.bounds),
        p_claim=p_claim if must_show else None,
        p_opposite=p_opposite,
        outcome=outcome,
    )
