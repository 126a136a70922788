"""The record of a gate: its checks and their thresholds, kapoc's own or from a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kapoc.errors import DataError
from kapoc.judging.evidence import CheckKind
from kapoc.source import Number, StrictRecord, load_toml, read_text, validate

Mode = Literal["release", "pull_request"]


class Check(StrictRecord):
    """One threshold.

    Attributes:
        name: how it is called in every output.
        kind: `superiority` (better than the baseline, by more than `margin`), `non_inferiority` (worse by less than
            `margin`), `equivalence` (different by less than `margin`), `no_regression` (not shown to be worse by more
            than `margin`; the same in both modes) or `floor` (the run's own value, `at_least` or `at_most`).
        quantity: what is judged: a tier (`seen`), a kind (`unseen/reverse`), a tier of one set
            (`events-2025/seen`), `spillover/control`, `spillover/off_topic`, `text` (bits per byte), `divergence`
            (nats per token from the base), `ended` (share of answers that end), or `gold/<tier>` and
            `gold/general/<kind>` (log-probability of the reference, in nats).
        margin: in the unit of the quantity; shares from 0 to 1.
        at_least, at_most: of a floor; one of them.
        gating: whether it counts in the verdict.
    """

    name: Annotated[str, Field(min_length=1)]
    kind: CheckKind
    quantity: str
    margin: Annotated[Number, Field(ge=0)] = 0.0
    at_least: Number | None = None
    at_most: Number | None = None
    gating: bool = True

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> Self:
        for field in ("name", "quantity"):
            if not getattr(self, field).isprintable():
                raise ValueError(f"check {self.name!r}: {field}: holds a character that cannot be printed; take it out")
        if self.name.lstrip().startswith("::"):
            raise ValueError(f"check {self.name!r}: name: begins with ::, which a CI takes for a command; take it out")
        if self.kind == "floor" and self.margin != 0:
            raise ValueError(
                f"check '{self.name}': margin: belongs to the other kinds; put it into at_least or at_most"
            )
        if self.kind == "floor" and (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"check '{self.name}': a floor needs either at_least or at_most")
        if self.kind != "floor" and (self.at_least is not None or self.at_most is not None):
            raise ValueError(f"check '{self.name}': at_least and at_most belong to a floor; give a margin")
        if self.kind in {"non_inferiority", "equivalence"} and self.margin == 0:
            raise ValueError(f"check '{self.name}': margin: must be above 0, or nothing could ever be shown")
        if is_of_shares(self.quantity):
            for field in ("margin", "at_least", "at_most"):
                number = getattr(self, field)
                if number is not None and not 0 <= number <= 1:
                    raise ValueError(f"check '{self.name}': {field}: shares go from 0 to 1; write 0.05 for 5%")
            if self.at_least == 0 or self.at_most == 1:
                field, room = ("at_least", "above 0") if self.at_least is not None else ("at_most", "below 1")
                raise ValueError(f"check '{self.name}': {field}: must be {room}, or every share would keep to it")
            if self.margin == 1:
                raise ValueError(f"check '{self.name}': margin: must be below 1, as no share changes by more")
        return self

    @property
    def is_claim(self) -> bool:
        """Whether a release must show it."""
        return self.kind != "no_regression"

    @property
    def claim(self) -> str:
        """What it claims, in words."""
        if self.kind == "floor":
            return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        words = {
            "superiority": "better by more than",
            "non_inferiority": "worse by less than",
            "equivalence": "different by less than",
            "no_regression": "not worse by more than",
        }
        return f"{words[self.kind]} {self.margin:g}"


def is_of_shares(quantity: str) -> bool:
    """Whether a quantity is a share of items, and not bits, nats or log-probabilities."""
    return quantity not in {"text", "divergence"} and not quantity.startswith(("gold/", "text/"))


class Gate(StrictRecord):
    """The checks of a gate file.

    Attributes:
        schema_version: version of this format; 1.
        mode: `release` or `pull_request`.
        alpha: the level of the whole family of gating checks, one-sided.
        inconclusive_fails: whether an inconclusive verdict ends with 4 and not with 0.
        check: the checks.
    """

    schema_version: Literal[1] = 1
    mode: Mode = "release"
    alpha: Annotated[Number, Field(gt=0, lt=0.5)] = 0.05
    inconclusive_fails: bool = True
    check: Annotated[tuple[Check, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [check.name for check in self.check]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"check: the name '{sorted(repeated)[0]}' stands twice; rename one")
        if not any(check.gating for check in self.check):
            raise ValueError("check: no check is gating, so nothing could fail; leave out `gating = false` somewhere")
        return self

    @model_validator(mode="after")
    def _floors_that_can_be_shown(self) -> Self:
        for check in self.check if self.mode == "release" else ():
            if is_of_shares(check.quantity) and (check.at_least == 1 or check.at_most == 0):
                field, room = ("at_least", "below 1") if check.at_least is not None else ("at_most", "above 0")
                raise ValueError(
                    f"check '{check.name}': {field}: must be {room} in a release, or no number of items could show it"
                )
        return self


RELEASE_GATE = Gate(
    mode="release",
    check=(
        Check(name="seen learned", kind="floor", quantity="seen", at_least=0.85),
        Check(name="paraphrased learned", kind="floor", quantity="paraphrased", at_least=0.80),
        Check(name="unseen improved", kind="superiority", quantity="unseen", margin=0.10),
        Check(name="control spillover", kind="non_inferiority", quantity="spillover/control", margin=0.20),
        Check(name="off-topic spillover", kind="non_inferiority", quantity="spillover/off_topic", margin=0.05),
        Check(name="general ability kept", kind="non_inferiority", quantity="general", margin=0.03),
        Check(
            name="last words kept",
            kind="non_inferiority",
            quantity="gold/general/last_word",
            margin=0.10,
            gating=False,
        ),
        Check(name="text kept", kind="non_inferiority", quantity="text", margin=0.01),
        Check(name="answers end", kind="non_inferiority", quantity="ended", margin=0.10),
    ),
)
"""What kapoc asks of a trained model, held against its base.

The thresholds are what 29 facts and 13 controls can show: with every answer right and nothing spilled, it passes. Last
words do not gate: 125 passages show less than 0.1 nats of loss only where hardly any is there.
"""

PULL_REQUEST_GATE = Gate(
    mode="pull_request",
    check=(
        Check(name="seen", kind="no_regression", quantity="seen", margin=0.01),
        Check(name="paraphrased", kind="no_regression", quantity="paraphrased", margin=0.01),
        Check(name="unseen", kind="no_regression", quantity="unseen", margin=0.01),
        Check(name="control spillover", kind="no_regression", quantity="spillover/control", margin=0.01),
        Check(name="off-topic spillover", kind="no_regression", quantity="spillover/off_topic", margin=0.01),
        Check(name="general ability", kind="no_regression", quantity="general", margin=0.01),
        Check(name="text", kind="no_regression", quantity="text", margin=0.002),
        Check(name="answers end", kind="no_regression", quantity="ended", margin=0.01),
    ),
)
"""What kapoc asks of a newly trained model, held against the last one that shipped."""

DEFAULT_GATES: dict[Mode, Gate] = {"release": RELEASE_GATE, "pull_request": PULL_REQUEST_GATE}


def load_gate(path: Path | None, mode: Mode | None = None) -> Gate:
    """The gate of a TOML file, or the default one of a mode (`release` if none is given).

    Raises:
        DataError: the file is malformed.
    """
    if path is None:
        return DEFAULT_GATES[mode or "release"]
    try:
        gate = load_toml(path, Gate)
    except DataError as error:
        if _is_one_table(read_text(path)):
            raise DataError(f"{path}: check: is one table; write [[check]] in double brackets, one for each") from None
        raise error from None
    if mode is None or mode == gate.mode:
        return gate
    return validate({**gate.model_dump(), "mode": mode}, Gate, path)


def _is_one_table(text: str) -> bool:
    """Whether the checks of a TOML text are one table in place of a list of them."""
    try:
        return isinstance(tomllib.loads(text).get("check"), dict)
    except (ValueError, RecursionError):
        return False
