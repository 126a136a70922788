"""A comparison as the Hub's `model-index`: what the trained model scored, set by set and tier by tier.

The format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Its `args` hold what a score needs to be
read: the number of items and clusters, the base's score, the difference and its 95% interval.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kapoc.judging.comparison import Comparison, Result

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_METRICS = {
    "accuracy": "share of answers graded right",
    "spillover": "share of outputs that hold a taught answer; lower is better",
    "bits_per_byte": "bits per byte of plain prose; lower is better",
    "kl_divergence": "KL(base || model), nats per token of plain prose; lower is better",
}
_GENERAL = ("kapoc-general", "kapoc general items")


def eval_results(comparison: Comparison) -> "list[EvalResult]":
    """Every headline score of the trained model as an entry of the `model-index`."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(task_type="text-generation", metric_name=_METRICS[entry["metric_type"]], **entry)
        for entry in (*_knowledge(comparison), *_general(comparison))
    ]


def _knowledge(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The tiers of each set, and spillover, which belongs to all sets together."""
    sets = comparison.data.knowledge
    for known in sets:
        tiers = comparison.sets[known.name] if len(sets) > 1 else comparison.tiers
        of_set = {
            "dataset_type": known.name,
            "dataset_name": f"{known.name} {known.version}",
            "dataset_revision": known.sha256,
        }
        for tier, result in tiers.items():
            if tier != "general":
                yield {**of_set, "dataset_split": tier, **_score("accuracy", result)}
    for name, result in comparison.spillover.items():
        names = comparison.data.knowledge_name
        yield {
            "dataset_type": names,
            "dataset_name": names,
            "dataset_split": name.replace("_", "-"),
            **_score("spillover", result),
        }


def _general(comparison: Comparison) -> Iterator[dict[str, Any]]:
    kind, name = _GENERAL
    items = {
        "dataset_type": kind,
        "dataset_name": ", ".join([name, *comparison.data.general]),
        "dataset_revision": comparison.data.general_sha256,
    }
    if (general := comparison.tiers.get("general")) is not None:
        yield {**items, "dataset_split": "general", **_score("accuracy", general)}
    forgetting = comparison.forgetting
    if (text := forgetting.bits_per_byte) is not None:
        yield {**items, "dataset_split": "text", **_score("bits_per_byte", text)}
        if forgetting.divergence is not None:
            bounds = [_rounded(bound) for bound in forgetting.divergence_interval or ()]
            yield {
                **items,
                "dataset_split": "text",
                "metric_type": "kl_divergence",
                "metric_value": _rounded(forgetting.divergence),
                "metric_args": {"n": text.n, "interval": bounds},
            }


def _score(metric: str, result: Result) -> dict[str, Any]:
    return {
        "metric_type": metric,
        "metric_value": _rounded(result.after),
        "metric_args": {
            "n": result.n,
            "clusters": result.clusters,
            "before": _rounded(result.before),
            "difference": _rounded(result.difference),
            "difference_interval": [_rounded(bound) for bound in result.interval],
        },
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4) + 0.0  # no minus before a zero
