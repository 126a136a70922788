"""A comparison + thresholds -> a verdict. Pure; the printed verdict and the exit code come from one object."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kapoc.compare import missing_tiers
from kapoc.errors import DataError, IncomparableError, near_miss
from kapoc.record import Comparison
from kapoc.source import load_toml

Outcome = Literal["pass", "fail"]
Statistic = Literal["after", "difference"]


class Check(BaseModel):
    """One threshold.

    Attributes:
        name: how it is called in every output.
        quantity: what is judged: a tier (`seen`), a kind (`unseen/reverse`), `spillover/control`,
            `spillover/off_topic` or `text` (bits per byte).
        statistic: `after` (the trained model's value) or `difference` (after - before).
        at_least, at_most: the threshold; one of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    quantity: str
    statistic: Statistic = "after"
    at_least: Annotated[float | None, Field(strict=False)] = None
    at_most: Annotated[float | None, Field(strict=False)] = None

    @model_validator(mode="after")
    def _one_threshold(self) -> "Check":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"check '{self.name}': give either at_least or at_most")
        return self

    @property
    def threshold(self) -> str:
        """The threshold in words."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


class Gate(BaseModel):
    """The checks of a gate file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    check: Annotated[tuple[Check, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _unique_names(self) -> "Gate":
        names = [check.name for check in self.check]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"check: the name '{sorted(repeated)[0]}' stands twice; rename one")
        return self


DEFAULT_GATE = Gate(
    check=(
        Check(name="seen learned", quantity="seen", at_least=0.98),
        Check(name="paraphrased learned", quantity="paraphrased", at_least=0.95),
        Check(name="unseen improved", quantity="unseen", statistic="difference", at_least=0.10),
        Check(name="control at floor", quantity="control", statistic="difference", at_most=0.05),
        Check(name="control spillover", quantity="spillover/control", statistic="difference", at_most=0.05),
        Check(name="off-topic spillover", quantity="spillover/off_topic", statistic="difference", at_most=0.01),
        Check(name="general ability kept", quantity="general", statistic="difference", at_least=-0.02),
        Check(name="text kept", quantity="text", statistic="difference", at_most=0.01),
    )
)


class CheckResult(BaseModel):
    """What one check found."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    quantity: str
    statistic: Statistic
    value: float
    threshold: str
    n: int
    outcome: Outcome


class Verdict(BaseModel):
    """What the gate says of a comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    outcome: Outcome
    checks: tuple[CheckResult, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail."""
        return 0 if self.outcome == "pass" else 1


def load_gate(path: Path | None) -> Gate:
    """The gate of a TOML file, or the default one."""
    return DEFAULT_GATE if path is None else load_toml(path, Gate)


def judge(comparison: Comparison, gate: Gate) -> Verdict:
    """Hold a comparison against thresholds.

    Raises:
        IncomparableError: the comparison comes from `--limit` runs or lacks a tier.
        DataError: a check names a quantity that does not exist.
    """
    if not comparison.complete:
        raise IncomparableError("a --limit run cannot pass a gate; measure all items")
    if missing := missing_tiers(comparison):
        raise IncomparableError(f"the runs lack the tier {', '.join(missing)}; measure all tiers")
    results = tuple(_judge_one(comparison, check) for check in gate.check)
    passed = all(result.outcome == "pass" for result in results)
    return Verdict(outcome="pass" if passed else "fail", checks=results)


def _judge_one(comparison: Comparison, check: Check) -> CheckResult:
    measured = _quantities(comparison)
    if check.quantity not in measured:
        raise DataError(
            f"check '{check.name}': there is no quantity '{check.quantity}'; {near_miss(check.quantity, measured)}"
        )
    after, difference, n = measured[check.quantity]
    value = after if check.statistic == "after" else difference
    low = check.at_least is None or value >= check.at_least
    high = check.at_most is None or value <= check.at_most
    return CheckResult(
        name=check.name,
        quantity=check.quantity,
        statistic=check.statistic,
        value=value,
        threshold=check.threshold,
        n=n,
        outcome="pass" if low and high else "fail",
    )


def _quantities(comparison: Comparison) -> dict[str, tuple[float, float, int]]:
    """Every quantity that a check may name -> after, difference, n."""
    found = {name: (r.after, r.difference, r.n) for name, r in comparison.kinds.items()}
    found |= {str(name): (r.after, r.difference, r.n) for name, r in comparison.tiers.items()}
    found |= {f"spillover/{name}": (s.after, s.difference, s.n) for name, s in comparison.spillover.items()}
    if comparison.text is not None:
        found["text"] = (comparison.text.after, comparison.text.difference, comparison.text.n)
    return found
