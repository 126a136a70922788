"""A measurement in lm-eval's own files, for what reads them: `results_<time>.json` and `samples_<task>_<time>.jsonl`.

lm-eval's tracker writes them, into a folder beside their place; they are moved there once all of them are whole,
because the tracker passes over what it cannot write.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.loggers.utils import add_env_info, add_tokenizer_info, get_git_commit_hash
from lm_eval.utils import sanitize_model_name

from kapoc.errors import OutputError
from kapoc.quiet import quiet_logger


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What lm-eval's `evaluate` returned, and how it was called.

    Attributes:
        parts: one dict a call; they have no task in common.
        lm: the lm-eval model that was asked.
        model_name: what the user typed; names the folder.
        batch_size, limit, seed: of the call.
        device: that the model was on.
        started: when, in seconds since 1970.
        seconds: wall time.
        fewshot_seed: by which tasks drew the examples that they show.
    """

    parts: tuple[Mapping[str, Any], ...]
    lm: LM
    model_name: str
    batch_size: int
    limit: int | None
    seed: int
    device: str
    started: float
    seconds: float
    fewshot_seed: int


def write_lm_eval_files(evaluation: Evaluation, out: Path) -> Path:
    """Write the files of one measurement, as `lm_eval run --output_path OUT --log_samples` would.

    Returns:
        The folder in `out` that has them, named after the model.

    Raises:
        OutputError: a file cannot be written.
    """
    results = _results(evaluation)
    samples: dict[str, list[dict[str, Any]]] = results.pop("samples")
    folder = out / str(sanitize_model_name(evaluation.model_name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".lm-eval-") as work, quiet_logger("lm_eval"):
            written = _write(evaluation, results, samples, Path(work))
            for path in written:
                path.replace(folder / path.name)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); choose another --lm-eval") from None
    return folder


def _write(
    evaluation: Evaluation, results: dict[str, Any], samples: Mapping[str, list[dict[str, Any]]], work: Path
) -> list[Path]:
    tracker = EvaluationTracker(output_path=str(work))
    tracker.general_config_tracker.start_time = time.perf_counter() - evaluation.seconds
    tracker.general_config_tracker.log_experiment_args(
        model_source="hf",
        model_args={"pretrained": evaluation.model_name},
        system_instruction=None,
        chat_template=evaluation.lm.chat_template(True),
        fewshot_as_multiturn=True,
    )
    tracker.save_results_aggregated(results=results, samples=samples)
    aggregated = next(work.rglob("results_*.json"), None)
    if aggregated is None:
        raise OSError("lm-eval could not write its results")
    written, moment = [], aggregated.stem.removeprefix("results_")
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=[dict(row) for row in rows])  # it turns numbers into texts
        path = aggregated.with_name(f"samples_{task}_{moment}.jsonl")
        if not path.is_file() or path.read_bytes().count(b"\n") != len(rows):
            raise OSError(f"lm-eval could not write the samples of {task}")
        written.append(path)
    return [*written, aggregated]


def _results(evaluation: Evaluation) -> dict[str, Any]:
    """The parts as one, with what `simple_evaluate` adds to a call of `evaluate`."""
    results: dict[str, Any] = {}
    for part in evaluation.parts:
        for key, value in part.items():
            results[key] = {**results.get(key, {}), **value}
    results["config"] = {
        "model": "hf",
        "model_args": {"pretrained": evaluation.model_name},
        **evaluation.lm.get_model_info(),
        "batch_size": evaluation.batch_size,
        "batch_sizes": [],
        "device": evaluation.device,
        "use_cache": None,
        "limit": evaluation.limit,
        "bootstrap_iters": 0,
        "gen_kwargs": None,
        "random_seed": evaluation.seed,
        "numpy_seed": evaluation.seed,
        "torch_seed": evaluation.seed,
        "fewshot_seed": evaluation.fewshot_seed,
    }
    results["git_hash"] = git_commit()
    results["date"] = evaluation.started
    add_env_info(results)
    add_tokenizer_info(results, evaluation.lm)
    return results


def git_commit() -> str | None:
    """As lm-eval says which commit the working folder is at, without git's complaint where it is no repository."""
    git = shutil.which("git")
    inside = git is not None and subprocess.run([git, "rev-parse"], capture_output=True, check=False).returncode == 0
    return str(get_git_commit_hash()) if inside else None
