"""A gate's checks and their thresholds: what a file may ask, and what could never be shown."""

from pathlib import Path

import pytest
from results import GOOD

from kapoc.errors import DataError
from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import PULL_REQUEST_GATE, Gate, load_gate


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "non_inferiority", "quantity": "seen", "margin": 1}, "margin: must be below 1"),
        ({"kind": "floor", "quantity": "seen", "at_least": 1}, "at_least: must be below 1 in a release"),
        ({"kind": "floor", "quantity": "spillover/control", "at_most": 0}, "at_most: must be above 0 in a release"),
    ],
)
def test_what_no_number_of_items_could_show_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gate.model_validate({"check": [{"name": "x", **fields}]})


@pytest.mark.parametrize("mode", ["release", "pull_request"])
@pytest.mark.parametrize(("field", "value", "room"), [("at_least", 0, "above 0"), ("at_most", 1, "below 1")])
def test_a_floor_that_every_share_keeps_to_is_refused(mode: str, field: str, value: int, room: str) -> None:
    check = {"name": "x", "kind": "floor", "quantity": "seen", field: value}
    with pytest.raises(ValueError, match=f"check 'x': {field}: must be {room}, or every share would keep to it"):
        Gate.model_validate({"mode": mode, "check": [check]})
    assert Gate.model_validate({"check": [{**check, "quantity": "text"}]})


def test_a_floor_without_room_is_for_pull_requests_alone(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    check = '[[check]]\nname = "quiet"\nkind = "floor"\nquantity = "spillover/control"\nat_most = 0\n'
    path.write_text(f'mode = "pull_request"\n{check}', encoding="utf-8")
    assert judge(compare(GOOD, GOOD), load_gate(path)).outcome == "pass"
    with pytest.raises(DataError, match=r"gate\.toml.*at_most: must be above 0 in a release"):
        load_gate(path, "release")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "floor"\nquantity = "seen"\natleast = 1', "did you mean 'at_least'"),
        ('kind = "floor"\nquantity = "seen"', "a floor needs either at_least or at_most"),
        ('kind = "superiority"\nquantity = "seen"\nat_least = 1', "belong to a floor; give a margin"),
        ('kind = "equivalence"\nquantity = "seen"', "margin: must be above 0"),
        ('kind = "floor"\nquantity = "spillover/control"\nat_most = 5', "shares go from 0 to 1; write 0.05 for 5%"),
        ('kind = "non_inferiority"\nquantity = "general"\nmargin = 3', "margin: shares go from 0 to 1"),
        (
            'kind = "non_inferiority"\nquantity = "text"\nmargin = inf',
            "margin: must be a number, without quotes, and not infinite",
        ),
        (
            'kind = "floor"\nquantity = "text"\nat_most = nan',
            "at_most: must be a number, without quotes, and not infinite",
        ),
        (
            'kind = "floor"\nquantity = "se\\u0007en"\nat_least = 0.5',
            "quantity: holds a character that cannot be printed",
        ),
        (
            'kind = "floor"\nquantity = "seen"\nat_least = 0.5\n[[check]]\nname = "::stop-commands::x"\nkind = "floor"'
            '\nquantity = "seen"\nat_least = 0.5',
            "check '::stop-commands::x': name: begins with ::, which a CI takes for a command; take it out",
        ),
        ('kind = "better"\nquantity = "seen"', "kind: Input should be 'superiority'"),
        ('kind = "floor"\nquantity = "seen"\nat_least = 1\ngating = false', "no check is gating"),
    ],
)
def test_a_gate_file_is_read_and_checked(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(f'[[check]]\nname = "seen"\n{text}\n', encoding="utf-8")
    with pytest.raises(DataError, match=says):
        load_gate(path)


def test_a_gate_file_says_its_mode_and_a_flag_overrules_it(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    check = 'name = "s"\nkind = "floor"\nquantity = "seen"\nat_least = 0.9\n'
    path.write_text(f'mode = "pull_request"\nalpha = 0.1\n[[check]]\n{check}', encoding="utf-8")
    gate = load_gate(path)
    assert (gate.mode, gate.alpha, gate.check[0].claim) == ("pull_request", 0.1, "at least 0.9")
    assert load_gate(path, "release").mode == "release"
    assert load_gate(None).mode == "release"
    assert load_gate(None, "pull_request") == PULL_REQUEST_GATE
