"""The model card of a trained checkpoint in the Hub's format: how it was trained, what was measured, its limits."""

from collections.abc import Iterator, Mapping
from typing import Any

from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import Verdict
from kapoc.report.limits import limits
from kapoc.report.markdown import code, plain, table
from kapoc.report.model_index import eval_results
from kapoc.report.numbers import RESULT_HEADINGS, result_cells


def render_card(
    training: Mapping[str, Any], comparison: Comparison | None, verdict: Verdict | None, base_model: str | None = None
) -> str:
    """The card as Markdown behind the Hub's metadata.

    Args:
        training: the fields of the checkpoint's training record.
        comparison: with the base, once it was measured.
        verdict: of the gate, once it was judged.
        base_model: the base's id on the Hub, where it has one.
    """
    from huggingface_hub import ModelCard, ModelCardData

    recipe = training["recipe"]
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=base_model,
        tags=["kapoc", recipe["train"]["method"], *(known["name"] for known in training["knowledge"])],
        model_name=recipe["name"] if comparison is not None else None,
        eval_results=eval_results(comparison) if comparison is not None else None,
    )
    parts = [
        f"# {plain(recipe['name'])}",
        f"{plain(recipe['description'] or 'A fine-tuned model')}, trained with kapoc to know the facts of "
        + ", ".join(code(known["name"]) for known in training["knowledge"])
        + ".",
        *_measured(comparison, verdict),
        *_dataset(training),
        *_recipe(training),
        *_checks(training["checks"]),
    ]
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _measured(comparison: Comparison | None, verdict: Verdict | None) -> Iterator[str]:
    yield "## Measured"
    if comparison is None:
        yield "Not measured yet: `kapoc bench --model trained`."
        return
    yield (
        "Before is the base, after is this model, on the same items. Knowledge is graded from free, greedy answers; "
        "differences are paired item by item, and intervals and p-values are clustered by fact."
    )
    rows = [[str(name), *result_cells(result)] for name, result in comparison.tiers.items()]
    rows += [[f"spillover, {name.replace('_', '-')}", *result_cells(r)] for name, r in comparison.spillover.items()]
    yield table(["tier", *RESULT_HEADINGS], rows)
    if (text := comparison.forgetting.bits_per_byte) is not None:
        yield f"Bits per byte on plain prose: {text.before:.4f} before, {text.after:.4f} after."
    if verdict is not None:
        yield f"Verdict of the gate: **{plain(verdict.sentence)}**."
    yield "## Limits found"
    yield "\n".join(f"- {plain(limit)}" for limit in limits(comparison, verdict)) or "None by these measurements."


def _dataset(training: Mapping[str, Any]) -> Iterator[str]:
    yield "## Dataset"
    rows = [[known["name"], known["version"], known["sha256"]] for known in training["knowledge"]]
    yield table(["knowledge set", "version", "sha256"], rows)


def _recipe(training: Mapping[str, Any]) -> Iterator[str]:
    yield "## Recipe"
    yield table(
        ["setting", "value"],
        [
            ["base", training["base"]],
            *[[key, str(value)] for key, value in training["recipe"]["train"].items()],
            ["examples", str(training["num_examples"])],
            ["optimizer steps", str(training["num_steps"])],
            ["trained parameters", f"{training['num_trained_parameters']:,}"],
            ["seconds", f"{training['seconds']:.0f}"],
            *([["computed in", training["precision"]]] if training.get("precision") else []),
            ["base weights sha256", training["base_sha256"]],
            ["weights sha256", training["weights_sha256"]],
            *[[f"{name} version", version] for name, version in training["versions"].items()],
        ],
    )


def _checks(checks: Mapping[str, Any]) -> Iterator[str]:
    yield "## Checks before the folder counted as a model"
    yield (
        f"Reloaded from disk, logits differ by at most {checks['reload_max_difference']:.2g}. Sampled answers at "
        "temperature 1 without inf or nan: "
        + ", ".join(f"{n} in {precision}" for precision, n in checks["samples"].items())
        + f". A float16 forward pass is {'finite' if checks['float16_finite'] else 'NOT finite'}."
    )
