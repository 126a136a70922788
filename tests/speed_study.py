"""How fast is kapoc beside stock lm-eval, the Trainer of transformers and TRL? Writes `reports/speed.md`.

`make bench-speed`; hours on two cores. `--share 0.1 --steps 5` for a quick look. Results of one part are
kept beside the report as JSON, so that parts can be run one by one: `python tests/speed_study.py measuring`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from speed_exactness import exactness
from speed_growth import measure_growth
from speed_measuring import agreement, count_tokens, forward_rate, with_kapoc, with_stock
from speed_report import render
from speed_training import (
    RUNS,
    as_rivals_load_it,
    examples_of,
    in_a_process,
    matmul_peak,
    measure_memory,
    step_operations,
    steps_of,
)

from kapoc.models import load_model, moved, package_versions
from kapoc.training.checkpoint import read_training_record

SETTINGS = {
    "measuring": ("share", "rounds"),
    "exactness": ("share",),
    "training": ("steps", "rounds", "micro_batch"),
    "memory": ("recipe",),
    "growth": (),
}
"""Options that a part goes by."""
KNOWLEDGE = ("software-defects",)
OUR_BATCH = 128
STOCK_BATCHES = (8, 16, 32)
PILOT_SHARE = 0.125


def measuring(given: argparse.Namespace) -> dict[str, Any]:
    """Every model: find HFLM's best batch size on a share of the items, then take turns on all of them."""
    found: dict[str, Any] = {"models": []}
    for name in given.models:
        loaded = load_model(name)
        stock = replace(loaded, model=moved(as_rivals_load_it(name)[0], device=loaded.model.device))
        pilot = PILOT_SHARE * given.share
        pilots = {size: with_stock(stock, KNOWLEDGE, size, pilot) for size in STOCK_BATCHES}
        best = min(pilots, key=lambda size: pilots[size].total)
        ours, theirs = [], []
        for _ in range(given.rounds):
            ours.append(with_kapoc(loaded, KNOWLEDGE, OUR_BATCH, given.share))
            theirs.append(with_stock(stock, KNOWLEDGE, best, given.share))
        found["models"].append(
            {
                "name": _name(name),
                "pilots": {size: run.total for size, run in pilots.items()},
                "ours": [dict(run.seconds) for run in ours],
                "theirs": [dict(run.seconds) for run in theirs],
                "best": best,
                "agreement": asdict(agreement(ours[0], theirs[0])),
                "noise": asdict(agreement(*(pilots[size] for size in (min(pilots), max(pilots))))),
                "tokens": asdict(count_tokens(loaded, ours[0], KNOWLEDGE, given.share)),
                "forward_rate": forward_rate(loaded),
                "stock_forward_rate": forward_rate(stock),
            }
        )
    return found


def exact(given: argparse.Namespace) -> dict[str, Any]:
    """Every engine beside the same model in 64 bits, on a share of the items."""
    share = PILOT_SHARE * given.share
    found = {name: exactness(name, KNOWLEDGE, max(STOCK_BATCHES), share) for name in given.models}
    return {
        "models": [
            {"name": _name(name), "errors": {engine: asdict(error) for engine, error in errors.items()}}
            for name, errors in found.items()
        ]
    }


def _name(model: str) -> str:
    record = read_training_record(Path(model))
    return model if record is None else f"{record.recipe['name']}, trained"


def training(given: argparse.Namespace) -> dict[str, Any]:
    """Everybody's steps in turn; medians over rounds."""
    model = given.models[0]
    rounds, peaks = [], [matmul_peak()]
    for _ in range(given.rounds):
        found = {}
        for name in RUNS:
            found[name] = in_a_process(name, model, given.steps, given.micro_batch)
            peaks.append(matmul_peak())
        rounds.append(found)
    loaded = load_model(model)
    steps = steps_of(examples_of(loaded.tokenizer), given.steps)[1:]
    operations = step_operations(loaded.model, steps, given.micro_batch)
    losses = {name: list(run.losses) for name, run in rounds[0].items()}
    return {
        "rates": {name: [found[name].rate for found in rounds] for name in RUNS},
        "seconds": {name: [sum(found[name].seconds) for found in rounds] for name in RUNS},
        "largest_loss_difference": {
            name: max(abs(a - b) for a, b in zip(losses["kapoc"], other, strict=True)) for name, other in losses.items()
        },
        "peak": statistics.median(peaks),
        "peaks": peaks,
        "operations": operations,
    }


def memory(given: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own, so that nothing else counts."""
    found = measure_memory(given.recipe)
    return {**asdict(found), "ratio": found.ratio}


def growing(given: argparse.Namespace) -> dict[str, Any]:
    """Sets of four sizes."""
    return {"sizes": measure_growth(given.models[0])}


PARTS = {"measuring": measuring, "exactness": exact, "training": training, "memory": memory, "growth": growing}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run some parts or all of them, each in a process of its own, and render what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--models", nargs="+", default=["default"], help="base first; then a trained folder")
    parser.add_argument("--share", type=float, default=1.0, help="of the items")
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=8, help="examples a row of kapoc's")
    parser.add_argument("--recipe", default="smollm2-135m", help="whose memory is measured")
    parser.add_argument("--out", type=Path, default=Path("reports/speed.md"))
    parser.add_argument("--single", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.single:
        (part,) = given.parts
        found = PARTS[part](given)
        found |= {"versions": package_versions(), "threads": torch.get_num_threads()}
        found["settings"] = {key: getattr(given, key) for key in SETTINGS[part]}
        given.out.with_suffix(f".{part}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return
    for part in given.parts or PARTS:
        options = [*(arguments or sys.argv[1:])]
        kept = [option for option in options if option not in PARTS]
        subprocess.run([sys.executable, __file__, part, "--single", *kept], check=True)
    results = {
        part: json.loads(path.read_text(encoding="utf-8"))
        for part in PARTS
        if (path := given.out.with_suffix(f".{part}.json")).is_file()
    }
    given.out.write_text(render(results), encoding="utf-8")


if __name__ == "__main__":
    main()
