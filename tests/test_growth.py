"""The study of how cost grows counts what it says it counts."""

from pathlib import Path

import pytest
from speed_growth import VARIATIONS, fitted, growth
from speed_report import render


def test_a_line_is_found_again() -> None:
    assert fitted([(x, 7 + 3 * x) for x in (1, 2, 5, 9)]) == pytest.approx((7, 3, 1))
    assert fitted([(0, 0), (1, 1), (2, 0)])[2] == pytest.approx(0)


def test_twice_the_facts_are_about_twice_the_tokens(llama_folder: Path) -> None:
    small, large = (growth(str(llama_folder), number) for number in (6, 12))
    for number in VARIATIONS:
        assert 1.7 < large.epoch_tokens[number] / small.epoch_tokens[number] < 2.3
    assert 4.0 < small.epoch_tokens[5] / small.epoch_tokens[1] < 5.5
    assert small.epoch_seconds[10] / small.epoch_tokens[10] == pytest.approx(
        small.epoch_seconds[1] / small.epoch_tokens[1]
    )
    assert small.bench_seconds > 0
    assert small.peak_bytes > 0
    sizes = [
        {"num_facts": one.num_facts, "loading_seconds": one.loading_seconds, "bench_seconds": one.bench_seconds}
        | {"epoch_tokens": {str(k): v for k, v in one.epoch_tokens.items()}, "peak_bytes": one.peak_bytes}
        | {"epoch_seconds": {str(k): v for k, v in one.epoch_seconds.items()}}
        for one in (small, large)
    ]
    page = render({"growth": {"sizes": sizes, "threads": 2}})
    assert f"{large.epoch_tokens[5]:,} tokens" in page
