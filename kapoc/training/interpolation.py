"""How far trained weights are pulled back to the base: W = W0 + alpha (W1 - W0), chosen after training on dev data.

On the line between the base and the trained weights there are often models that keep most of what was learned and
forget far less. Every point costs a look at the dev examples and no training.

Source:
    Wortsman et al. (2022), Robust Fine-Tuning of Zero-Shot Models (WiSE-FT), CVPR.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from kapoc.training_record import AlphaReport, best

Weights = Mapping[str, torch.Tensor]


def copy_weights(model: PreTrainedModel) -> Weights:
    """All weights in main memory, tied ones once."""
    return {name: weight.detach().to("cpu", copy=True) for name, weight in model.named_parameters()}


def choose_alpha(
    model: PreTrainedModel,
    base: Weights,
    alphas: Sequence[float],
    budget: float,
    score: Callable[[PreTrainedModel], tuple[float, float, float | None]],
    *,
    spillover: float | None = None,
) -> tuple[AlphaReport, ...]:
    """Score the points on the way and leave the model at the best of them.

    Args:
        model: trained and standalone; its weights are changed in place.
        base: `copy_weights` of the model before training.
        alphas: the points, each above 0 and at most 1.
        budget: how far the model may be from the base, in nats per token.
        score: the share of right dev answers of a model, its divergence from the base, and the share of held-out
            questions that it answers with something taught, where that is measured.
        spillover: how large that share may be; none for any.

    Returns:
        The curve, in the order of alpha. See `best` for which point was taken.
    """
    trained = copy_weights(model)
    curve = []
    for alpha in sorted(alphas):
        _set_weights(model, base, trained, alpha)
        dev_exact, divergence, spilled = score(model)
        curve.append(AlphaReport(alpha=alpha, dev_exact=dev_exact, divergence=divergence, spillover=spilled))
    _set_weights(model, base, trained, best(curve, budget, spillover).alpha)
    return tuple(curve)


def _set_weights(model: PreTrainedModel, base: Weights, trained: Weights, alpha: float) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.lerp(base[name], trained[name], alpha))
