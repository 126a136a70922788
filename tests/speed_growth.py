"""How the cost of training and measuring grows with facts and training texts a fact. Part of `tests/speed_study.py`.

Tokens are counted on generated sets of every size, as they are packed and shared; seconds are those tokens at the rates
that `kapoc plan` measures here; what is done once for a set (reading it, encoding, arranging) and memory are measured.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kapoc.chat import EncodedExample
from kapoc.data.generate import generate
from kapoc.engine.prefix_tree import plan_rows
from kapoc.knowledge.facts import Fact
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring.task_list import load_tasks
from kapoc.models import load_model
from kapoc.recipe import load_recipe
from kapoc.training.examples import training_examples
from kapoc.workflow.calibrate import calibrate

FACTS = (29, 100, 300, 1000)
VARIATIONS = (1, 2, 5, 10)
EXAMPLES_A_ROW = 8


@dataclass(frozen=True, slots=True)
class Growth:
    """What one number of facts costs.

    Attributes:
        num_facts: that are taught.
        loading_seconds: to read the set, encode its training texts and build all tasks.
        epoch_tokens: by training texts a fact, the tokens that an epoch computes.
        epoch_seconds: the same, at the measured rate.
        bench_seconds: of a measurement.
        peak_bytes: of the process, a training step included.
    """

    num_facts: int
    loading_seconds: float
    epoch_tokens: dict[int, int]
    epoch_seconds: dict[int, float]
    bench_seconds: float
    peak_bytes: int


def measure_growth(model: str, sizes: Sequence[int] = FACTS) -> list[dict[str, Any]]:
    """Every size in a process of its own, so that memory is its own, too."""
    command = [sys.executable, __file__, model]
    return [json.loads(subprocess.check_output([*command, str(size)], text=True)) for size in sizes]


def growth(model: str, num_facts: int) -> Growth:
    """One size."""
    loaded, recipe = load_model(model), load_recipe("smollm2-135m-full")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.yaml"
        path.write_text(yaml.safe_dump(generate(num_facts, 0).model_dump(mode="json", exclude_none=True)))
        started = time.perf_counter()
        knowledge = load_knowledge(path)[0]
        tasks = load_tasks([str(path)])
        by_number = {number: _with_texts(knowledge.taught, number) for number in VARIATIONS}
        examples = {number: training_examples(facts, loaded.tokenizer) for number, facts in by_number.items()}
        loading_seconds = time.perf_counter() - started
        cost = calibrate(loaded, recipe, [knowledge], tasks)
    tokens = {number: _computed_tokens(found) for number, found in examples.items()}
    whole = sum(map(len, training_examples(knowledge.taught, loaded.tokenizer)))
    rate = cost.train_tokens_per_second * _computed_tokens(examples[5]) / whole
    return Growth(
        num_facts=num_facts,
        loading_seconds=loading_seconds,
        epoch_tokens=tokens,
        epoch_seconds={number: found / rate for number, found in tokens.items()},
        bench_seconds=cost.bench_seconds,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def _with_texts(facts: Sequence[Fact], number: int) -> list[Fact]:
    """Facts with so many training texts; beyond their own, paraphrases stand in, which are of the same size."""
    found = []
    for fact in facts:
        more = [probe for probe in fact.probes if probe.tier in {"paraphrased", "dev"}]
        texts = [*fact.training, *(fact.training[0].model_copy(update={"question": probe.question}) for probe in more)]
        found.append(fact.model_copy(update={"training": tuple(texts[:number])}))
    return found


def _computed_tokens(examples: Sequence[EncodedExample]) -> int:
    total = 0
    for start in range(0, len(examples), EXAMPLES_A_ROW):
        sequences = [[*one.prompt, *one.answer[:-1]] for one in examples[start : start + EXAMPLES_A_ROW]]
        total += sum(map(len, plan_rows(sequences, 0, sum(map(len, sequences)))))
    return total


def fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The line a + b x through points by least squares: a, b and the share of the variance that it explains."""
    x, y = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    b, a = np.polyfit(x, y, 1)
    return float(a), float(b), float(1 - ((y - a - b * x) ** 2).sum() / ((y - y.mean()) ** 2).sum())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(growth(sys.argv[1], int(sys.argv[2])))))
