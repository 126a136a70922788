"""Measure a model from Python and keep the run.

    python examples/measure_a_model.py my-model software-defects runs/my-model

Any model of transformers will do: a folder, an adapter folder or a Hub id.
"""

import argparse
from pathlib import Path

from kapoc.measuring.bench import measure
from kapoc.models import load_model
from kapoc.record import save_run


def main() -> None:
    """Load, measure, print the scores of the tasks, and write `run.json` and `items.jsonl`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder, an adapter folder or a Hub id")
    parser.add_argument("knowledge", help="a shipped set's name or a file")
    parser.add_argument("out", type=Path, help="the run's folder")
    parser.add_argument("--limit", type=int, help="ask only so many items a task, to try things out")
    given = parser.parse_args()
    run = measure(load_model(given.model), knowledge=[given.knowledge], limit=given.limit)
    for task, scores in run.scores.items():
        for metric, value in scores.items():
            print(f"{task} {metric}: {value:.4f}")
    save_run(run, given.out)
    wrong = [item for item in run.items if item.form == "free" and item.score == 0]
    for item in wrong[:1]:
        print(f"{len(wrong)} free answers are wrong, such as {item.id}: {item.reason}")


if __name__ == "__main__":
    main()
