"""The study of how cost grows counts what it says it counts."""

from pathlib import Path

import pytest
from speed_growth import VARIATIONS, fitted, growth, measure_growth
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


def test_a_size_in_a_process_of_its_own_stands_on_the_page(llama_folder: Path) -> None:
    (size,) = measure_growth(str(llama_folder), (6,))
    assert size["epoch_tokens"] == {str(k): v for k, v in growth(str(llama_folder), 6).epoch_tokens.items()}
    page = render(
        {
            "growth": {
                "sizes": [size, {**size, "num_facts": 12, "bench_seconds": 2 * size["bench_seconds"]}],
                "threads": 2,
            }
        }
    )
    assert f"{size['epoch_tokens']['5']:,} tokens" in page
