"""lm-eval's own files of a measurement: laid out as plain lm-eval lays out its own, and read by what reads those."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval.loggers import EvaluationTracker
from lm_eval.utils import get_file_task_name, get_results_filenames, get_sample_results_filenames, make_table

from kapoc.errors import OutputError
from kapoc.measuring.bench import measure
from kapoc.measuring.lm_eval_files import git_commit
from kapoc.models import load_model
from kapoc.record import Run

LIMIT = 2


def ours(model: Path, knowledge: Path, out: Path, general: tuple[str, ...] = ()) -> Run:
    return measure(
        load_model(str(model)),
        knowledge=(str(knowledge),),
        general=general,
        batch_size=4,
        limit=LIMIT,
        lm_eval_out=out,
    )


def files(out: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The results, and the samples by task, found as lm-eval finds them."""
    names = [str(path) for path in out.rglob("*") if path.is_file()]
    [results] = get_results_filenames(names)
    samples = {
        get_file_task_name(Path(name).name): [json.loads(line) for line in Path(name).read_text().splitlines()]
        for name in get_sample_results_filenames(names)
    }
    assert len(samples) == len(names) - 1
    return json.loads(Path(results).read_text(encoding="utf-8")), samples


def plain_lm_eval(model: Path, knowledge: Path, out: Path) -> None:
    from kapoc.measuring.task_list import tasks_folder

    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
        "--include_path", tasks_folder(), "--tasks", "kapoc", "--apply_chat_template", "--batch_size", "4",
        "--device", "cpu", "--limit", str(LIMIT), "--metadata", json.dumps({"knowledge": str(knowledge)}),
        "--output_path", str(out), "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_folder_that_is_no_repository_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    assert capfd.readouterr() == ("", "")


def test_they_are_what_plain_lm_eval_writes(llama_folder: Path, knowledge_file: Path, tmp_path: Path) -> None:
    run = ours(llama_folder, knowledge_file, tmp_path / "ours")
    plain_lm_eval(llama_folder, knowledge_file, tmp_path / "theirs")
    (results, samples), (their_results, their_samples) = files(tmp_path / "ours"), files(tmp_path / "theirs")
    [folder], [their_folder] = (list((tmp_path / name).iterdir()) for name in ("ours", "theirs"))
    assert folder.name == their_folder.name
    assert set(results) == set(their_results)
    assert set(results["config"]) >= set(their_results["config"]) - {"metadata"}
    assert set(samples) == set(their_samples) == set(run.scores)
    for task, rows in samples.items():
        assert len(rows) == len(their_samples[task]) == sum(item.task == task for item in run.items)
        assert set(results["results"][task]) == set(their_results["results"][task])
        for mine, theirs in zip(rows, their_samples[task], strict=True):
            assert set(mine) == set(theirs)
            numbers = {"resps", "filtered_resps", *mine["metrics"]}
            assert {key: mine[key] for key in set(mine) - numbers} == {key: theirs[key] for key in set(mine) - numbers}
            for metric in mine["metrics"]:
                assert mine[metric] == pytest.approx(theirs[metric], abs=1e-3), (task, metric)
        for metric, value in run.scores[task].items():
            assert results["results"][task][f"{metric},none"] == pytest.approx(value, abs=1e-6)


def test_what_reads_lm_eval_files_reads_them(llama_folder: Path, knowledge_file: Path, tmp_path: Path) -> None:
    items = tmp_path / "colours.jsonl"
    items.write_text('{"question": "Sky?", "choices": ["blue", "green"], "answer": 0}\n', encoding="utf-8")
    run = ours(llama_folder, knowledge_file, tmp_path / "out", (str(items),))
    results, samples = files(tmp_path / "out")
    table = make_table(results)
    for task, scores in run.scores.items():
        assert f"|{task} " in table or f"|{task}|" in table
        assert all(f"{value:.4f}" in table for value in scores.values())
    assert "kapoc_general_colours" in samples
    paths = [str(path) for path in (tmp_path / "out").rglob("samples_kapoc_seen_2*.jsonl")]
    loaded = datasets.load_dataset("json", data_files=paths, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == LIMIT
    assert loaded[0]["doc"]["fact"] == "ZX-11"
    seen = [item for item in run.items if item.task == "kapoc_seen"]
    assert [row["filtered_resps"][0] for row in samples["kapoc_seen"]] == [item.output for item in seen]


def test_what_lm_eval_passes_over_is_an_error_here(
    llama_folder: Path, knowledge_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EvaluationTracker, "save_results_samples", lambda self, **_: None)
    with pytest.raises(OutputError, match=r"out: cannot be written \(lm-eval could not write the samples of kapoc_"):
        ours(llama_folder, knowledge_file, tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
