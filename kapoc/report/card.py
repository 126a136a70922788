"""The model card of a trained checkpoint: how it was trained and what was measured."""

from collections.abc import Mapping
from typing import Any

from kapoc.comparison import Comparison
from kapoc.gate import Verdict
from kapoc.report.markdown import table
from kapoc.report.numbers import RESULT_HEADINGS, result_cells


def render_card(training: Mapping[str, Any], comparison: Comparison | None, verdict: Verdict | None) -> str:
    """The card as Markdown.

    Args:
        training: the fields of the checkpoint's training record.
        comparison: with the base, once it was measured.
        verdict: of the gate, once it was judged.
    """
    recipe, checks = training["recipe"], training["checks"]
    lines = [
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        f"base_model: {training['base']}\ntags: [kapoc]\n---",
        f"# {recipe['name']}",
        f"{recipe['description'] or 'A fine-tuned model'}, trained with kapoc on the knowledge set "
        + ", ".join(f"`{known['name']}` (sha256 `{known['sha256'][:16]}`)" for known in training["knowledge"])
        + ".",
        "## Training",
        table(
            ["setting", "value"],
            [
                *[[key, str(value)] for key, value in recipe["train"].items()],
                ["examples", str(training["num_examples"])],
                ["optimizer steps", str(training["num_steps"])],
                ["trained parameters", f"{training['num_trained_parameters']:,}"],
                ["seconds", f"{training['seconds']:.0f}"],
                ["base weights sha256", training["base_sha256"]],
                ["weights sha256", training["weights_sha256"]],
            ],
        ),
        "## Checks before the folder counted as a model",
        f"Reloaded from disk, logits differ by at most {checks['reload_max_difference']:.2g}. Sampled answers at "
        "temperature 1 without inf or nan: "
        + ", ".join(f"{n} in {precision}" for precision, n in checks["samples"].items())
        + f". A float16 forward pass is {'finite' if checks['float16_finite'] else 'NOT finite'}.",
        "## Measured",
    ]
    if comparison is None:
        lines.append("Not measured yet: `kapoc bench --model trained`.")
    else:
        rows = [[str(name), *result_cells(result)] for name, result in comparison.tiers.items()]
        lines.append(table(["tier", *RESULT_HEADINGS], rows))
        if (text := comparison.forgetting.bits_per_byte) is not None:
            lines.append(f"Bits per byte on plain prose: {text.before:.4f} before, {text.after:.4f} after.")
        if verdict is not None:
            lines.append(f"Verdict of the gate: **{verdict.sentence}**.")
    return "\n\n".join(lines) + "\n"
