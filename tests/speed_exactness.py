"""How exact scores are: kapoc's engine and stock HFLM, each beside the same model in 64 bits.

Part of `tests/speed_study.py`. Two engines in 32 bits round otherwise; which of them is how far off is told by a third
that hardly rounds.
"""

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from speed_measuring import Agreement, Measured, agreement, measure_once
from speed_training import as_rivals_load_it
from transformers import PreTrainedModel

from kapoc.measuring.lm_eval_model import SharedPrefixLM
from kapoc.models import load_model


def exactness(model: str, knowledge: Sequence[str], batch_size: int, share: float) -> Mapping[str, Agreement]:
    """The scores of each engine beside those of HFLM in 64 bits; nothing is answered freely.

    Args:
        model: whose items are scored, in float32 on a CPU.
        knowledge: sets that are asked about.
        batch_size: of all.
        share: of the items.
    """
    stock, tokenizer = as_rivals_load_it(model)
    passes = {
        "kapoc": _scored(SharedPrefixLM(load_model(model), batch_size=batch_size), knowledge, share),
        "HFLM": _scored(HFLM(stock, tokenizer=tokenizer, batch_size=batch_size), knowledge, share),
        "HFLM, `softmax_dtype=float64`": _scored(
            HFLM(stock, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype=torch.float64), knowledge, share
        ),
    }
    exact = HFLM(in_float64(stock), tokenizer=tokenizer, batch_size=batch_size, softmax_dtype=torch.float64)
    truth = _scored(exact, knowledge, share)
    return {name: agreement(measured, truth) for name, measured in passes.items()}


def _scored(lm: Any, knowledge: Sequence[str], share: float) -> Measured:
    lm.generate_until = lambda requests, **_: [""] * len(requests)
    return measure_once(lm, knowledge, share)


def in_float64(model: PreTrainedModel) -> PreTrainedModel:
    """The model in 64 bits, its norms, too, which transformers computes in 32 whatever it is given.

    The angles of its rotary embeddings stay in 32: they are the same numbers for all engines.
    """
    exact: PreTrainedModel = model.double()
    norms = [module for module in exact.modules() if type(module).__name__.endswith("RMSNorm")]
    for norm in norms:
        norm.forward = MethodType(_norm, norm)
    return exact


def _norm(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(inputs, layer.weight.shape, layer.weight, layer.variance_epsilon)
