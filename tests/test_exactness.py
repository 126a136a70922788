"""The study of how exact scores are measures them by a model that hardly rounds."""

from pathlib import Path
from typing import Any

import pytest
import speed_exactness
import torch
from conftest import tiny_llama
from speed_exactness import exactness, in_float64
from speed_report import render

from kapoc.measuring.lm_eval_model import SharedPrefixLM


def test_in_float64_nothing_is_rounded_to_32_bits() -> None:
    exact = in_float64(tiny_llama())
    tokens = torch.tensor([[5, 6, 7, 8]])
    before = exact(input_ids=tokens).logits
    with torch.no_grad():
        exact.model.embed_tokens.weight[8, 0] += 1e-10  # which 32 bits would not see
    assert (exact(input_ids=tokens).logits - before)[0, -1].abs().max() > 1e-12


def test_each_engine_is_held_to_it_and_an_error_is_found(
    llama_folder: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Off(SharedPrefixLM):
        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            return [(score + 0.01, greedy) for score, greedy in super().loglikelihood(requests, disable_tqdm)]

    monkeypatch.setattr(speed_exactness, "SharedPrefixLM", Off)
    found = exactness(str(llama_folder), [str(knowledge_file)], 4, 0.02)
    off, *stock = found.values()
    assert off.num_scores > 20
    assert off.largest == pytest.approx(0.01, rel=0.1)
    assert 0 < off.largest_of_texts < 1e-3  # which is another kind of request
    assert [0 < error.largest < 1e-3 for error in stock] == [True, True]

    rows = {engine: {"largest": 1.5e-5, "largest_of_texts": 2e-5} for engine in found}
    shown = {"models": [{"name": "default", "errors": rows}], "settings": {"share": 1.0}, "versions": {}, "threads": 2}
    assert "| HFLM, `softmax_dtype=float64` | 1.5e-05 | 2.0e-05 |" in render({"exactness": shown})
