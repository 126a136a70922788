"""Runs, training records and pages made up for the tests of the HTML report."""

from typing import Any

from results import LAMPS, everything, make_items, make_run, nothing

from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import RELEASE_GATE
from kapoc.judging.pairing import pair_runs
from kapoc.record import Item, Run
from kapoc.report.html.page import render_page
from kapoc.training_record import AlphaReport, Checks, EpochReport, Exposure, TrainingRecord

HOSTILE = (
    '<script>window.planted = "script"</script><img src="http://example.invalid/x.png" onerror="window.planted=1">'
    " & &lt;b&gt; </script><!-- <svg onload=window.planted=2> \u2028 zebrafish"
)
"""An answer that would run, or ask the network for something, if a page took it for markup."""


def training_record(weights: str = "1" * 64, **changes: Any) -> TrainingRecord:
    """Three epochs and four points of the way back, of which 0.6 is the best within the budget."""
    epochs = [(1, 2.0, 2.5, 0.1, 0.01), (2, 0.5, 1.0, 0.6, 0.04), (3, 0.125, 0.75, 0.9, 0.2)]
    alphas = [(0.4, 0.3, 0.01), (0.6, 0.7, 0.04), (0.8, 0.85, 0.09), (1.0, 0.9, 0.2)]
    fields = {
        "fingerprint": "f",
        "recipe": {"name": "tiny", "train": {"seed": 0, "budget": {"divergence": 0.05}}},
        "knowledge": (LAMPS,),
        "base": "tiny",
        "base_sha256": "0" * 64,
        "weights_sha256": weights,
        "num_examples": 10,
        "num_steps": 6,
        "num_trained_parameters": 1234,
        "seconds": 12.0,
        "tokens_per_second": 1.0,
        "answer_tokens_per_second": 1.0,
        "peak_memory_bytes": 1,
        "epochs": [
            EpochReport(epoch=n, train_loss=a, dev_loss=b, dev_exact=c, divergence=d) for n, a, b, c, d in epochs
        ],
        "alphas": [AlphaReport(alpha=a, dev_exact=b, divergence=c) for a, b, c in alphas],
        "exposures": [
            Exposure(fact="F1", form="seen", num_examples=3, num_loss_tokens=30),
            Exposure(fact="F2", form="seen", num_examples=3, num_loss_tokens=12),
        ],
        "checks": Checks(reload_max_difference=0.0, samples={"float32": 200}, float16_finite=True),
        "versions": {"kapoc": "0"},
    }
    return TrainingRecord(**{**fields, **changes})


def plain_training(sha256: str) -> dict[str, Any]:
    """What a card tells of a training run on `software-defects`, whose file has this sha256."""
    return {
        "recipe": {"name": "plain", "description": "Full fine-tuning", "train": {"method": "full", "epochs": 6}},
        "knowledge": [{"name": "software-defects", "version": "1.1.0", "sha256": sha256}],
        "base": "default",
        "base_sha256": "0" * 64,
        "weights_sha256": "1" * 64,
        "num_examples": 145,
        "num_steps": 222,
        "num_trained_parameters": 134_515_008,
        "seconds": 300.0,
        "precision": "bfloat16",
        "checks": {"reload_max_difference": 0.0, "samples": {"float32": 200, "bfloat16": 200}, "float16_finite": True},
        "versions": {"torch": "2.13.0"},
    }


def with_answer(run: Run, number: int, **changes: Any) -> Run:
    """The run with one item changed."""
    items = list(run.items)
    items[number] = items[number].model_copy(update=changes)
    return run.model_copy(update={"items": tuple(items)})


def repeated(run: Run, num: int) -> Run:
    """A run of so many items, each answer of it another text of ordinary length."""
    words = "the lamp is amber because a relay holds the second line open until its timer has run down twice".split()
    items: list[Item] = []
    for number in range(num):
        item = run.items[number % len(run.items)]
        turn = number % len(words)
        answer = " ".join([*words[turn:], *words[:turn]] * 3)
        fact = f"fact-{number // 5}" if item.knowledge else item.cluster
        items.append(
            item.model_copy(
                update={"id": f"{item.id}-{number}", "cluster": fact, "output": f"{item.output} {number} {answer}"}
            )
        )
    return run.model_copy(update={"items": tuple(items), "num_items": num})


def made_up_page(before: Run, after: Run, **more: Any) -> tuple[str, Comparison]:
    """The page of two runs, judged by the release gate, and their comparison."""
    comparison = compare(before, after, **more)
    return render_page(comparison, judge(comparison, RELEASE_GATE), pair_runs(before, after)), comparison


def base_run() -> Run:
    """Knows nothing that was taught."""
    return make_run(make_items(nothing))


def trained_run() -> Run:
    """Knows it all, and answers half of the untaught questions with it."""
    return make_run(
        make_items(everything, bits=1.05, spilled=60, divergence=0.25), weights="1" * 64, base_sha256="0" * 64
    )
