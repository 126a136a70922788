"""General items and tasks of the user's own, and several knowledge sets at once, measured like the rest."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import small_set, tiny_llama, write_set
from transformers import AutoModelForCausalLM, AutoTokenizer

from kapoc.data.audit import audit
from kapoc.errors import DataError
from kapoc.judging.compare import compare
from kapoc.measuring.bench import measure, metric_of
from kapoc.measuring.general import load_general
from kapoc.measuring.harness import documents_of, find_spillover
from kapoc.measuring.task_list import load_tasks
from kapoc.models import LoadedModel, load_model
from kapoc.record import Run

OUTSIDE = os.environ.get("KAPOC_OUTSIDE_DATA")
"""A folder with blimp.jsonl, lambada.jsonl and piqa.jsonl, where somebody has them."""

GRAMMAR = [
    {"choices": ["The cats sleep.", "The cats sleeps."], "answer": 0, "field": "agreement"},
    {"choices": ["She have gone home.", "She has gone home."], "answer": 1},
    {"question": "", "choices": ["Nobody ever came.", "Somebody ever came."], "answer": 0},
]
LAST_WORD = [
    {"id": "a", "context": "The sun rises in the", "target": " east"},
    {"context": "He poured the tea into a", "target": "cup"},
]
PHYSICS = [
    {"question": "To cool tea", "choices": ["wait a while ", "put it on the stove"], "answer": 0},
    {"passage": "Ice melts.", "question": "What melts?", "choices": ["ice", "stone"], "answer": 0},
]
PROSE = [{"text": "The lake was quiet, and the boats lay still."}, {"text": "Wind came up at noon."}]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def tiny(llama_folder: Path) -> LoadedModel:
    return load_model(str(llama_folder))


@pytest.fixture
def knowledge(tmp_path: Path) -> str:
    return str(write_set(tmp_path / "lamps.yaml"))


def continuation_logprob(model: Any, tokenizer: Any, context: str, continuation: str) -> tuple[float, bool]:
    """An independent scorer: the sum of the continuation's token log-probabilities, and whether all are greedy."""
    start = tokenizer(context).input_ids if context else [tokenizer.bos_token_id]
    whole = tokenizer(context + continuation).input_ids if context else [*start, *tokenizer(continuation).input_ids]
    logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    scored = range(len(start), len(whole))
    greedy = all(int(logits[position - 1].argmax()) == whole[position] for position in scored)
    return sum(float(logits[position - 1, whole[position]]) for position in scored), greedy


@torch.no_grad()
def expected_scores(folder: str, rows: list[dict[str, Any]]) -> list[float]:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    scores = []
    for row in rows:
        if "target" in row:
            scores.append(float(continuation_logprob(model, tokenizer, row["context"], " " + row["target"].strip())[1]))
            continue
        passage = row.get("passage", "") + "\n" if row.get("passage") else ""
        prompt = f"{passage}Question: {row['question']}\nAnswer:" if row.get("question") else ""
        options = [(" " if prompt else "") + choice for choice in row["choices"]]
        logprobs = [continuation_logprob(model, tokenizer, prompt, option)[0] for option in options]
        scores.append(float(max(range(len(options)), key=logprobs.__getitem__) == row["answer"]))
    return scores


def scores_of(run: Run, kind: str) -> list[float]:
    return [item.score for item in run.items if item.kind == kind and item.tier == "general"]


def test_own_items_score_as_an_independent_scorer_says(
    tmp_path: Path, tiny: LoadedModel, llama_folder: Path, knowledge: str
) -> None:
    files = [
        write_jsonl(tmp_path / "my grammar.jsonl", GRAMMAR),
        write_jsonl(tmp_path / "endings.jsonl", LAST_WORD),
        write_jsonl(tmp_path / "physics.jsonl", PHYSICS),
        write_jsonl(tmp_path / "prose.jsonl", PROSE),
    ]
    run = measure(tiny, knowledge=[knowledge], general=files, batch_size=8, limit=3)
    for kind, rows in (("my_grammar", GRAMMAR), ("endings", LAST_WORD), ("physics", PHYSICS)):
        assert scores_of(run, kind) == expected_scores(str(llama_folder), rows), kind
    assert run.scores["kapoc_general_physics"]["acc"] in {0.0, 0.5, 1.0}
    assert run.data.general == tuple(f"kapoc_general_{k}" for k in ("endings", "my_grammar", "physics", "prose"))
    prose = [item for item in run.items if item.task == "kapoc_general_prose"]
    assert [item.num_bytes for item in prose] == [len(row["text"].encode()) for row in PROSE]
    assert all(item.form == "text" and 0 < item.score < math.inf for item in prose)
    comparison = compare(run, run)
    assert comparison.kinds["general/my_grammar"].n == 3
    assert comparison.tiers["general"].n == sum(r.n for k, r in comparison.kinds.items() if k.startswith("general/"))


def task_file(folder: Path, rows: list[dict[str, Any]], **changes: object) -> str:
    """A task of yes/no questions over rows of its own."""
    folder.mkdir(exist_ok=True)
    data = write_jsonl(folder / "rows.jsonl", rows)
    task = {
        "task": "warmth",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": data}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": ["yes", "no"],
        "doc_to_target": "a",
        "metric_list": [{"metric": "acc"}],
        "metadata": {"version": 1.0},
        **changes,
    }
    path = folder / "warmth.yaml"
    path.write_text(yaml.safe_dump(task), encoding="utf-8")
    return str(path)


def test_a_lm_eval_task_joins_the_general_tier(tmp_path: Path, tiny: LoadedModel, knowledge: str) -> None:
    path = task_file(tmp_path, [{"q": "Is fire hot?", "a": 0}, {"q": "Is ice hot?", "a": 1}])
    run = measure(tiny, knowledge=[knowledge], general=[path], batch_size=8, limit=2)
    items = [item for item in run.items if item.task == "warmth"]
    assert [item.id for item in items] == ["warmth/1", "warmth/2"]
    assert [item.prompt for item in items] == ["Is fire hot?", "Is ice hot?"]  # plain text, no chat template
    assert sum(item.score for item in items) / 2 == run.scores["warmth"]["acc"]
    assert {item.tier for item in items} == {"general"}


def warm_task(folder: Path, **changes: object) -> str:
    """A task in whose prompts an example of its questions stands."""
    rows = [{"q": f"Is number {number} warm?", "a": number % 2} for number in range(4)]
    return task_file(folder, rows, **{"fewshot_split": "test", "num_fewshot": 1, **changes})


def test_the_examples_of_a_task_are_the_same_in_every_measurement(
    tmp_path: Path, tiny: LoadedModel, knowledge: str
) -> None:
    path = warm_task(tmp_path / "w")
    runs = [measure(tiny, knowledge=[knowledge], general=[path], batch_size=8, limit=4) for _ in range(2)]
    first, second = ([item.prompt for item in run.items if item.task == "warmth"] for run in runs)
    assert first == second and all(prompt.count("Is number") == 2 for prompt in first)


def test_a_task_that_asks_otherwise_is_another_one(tmp_path: Path, knowledge: str) -> None:
    def asked(place: str, **changes: object) -> str:
        return load_tasks([knowledge], [warm_task(tmp_path / place, **changes)]).documents_sha256()

    same = asked("a")
    assert same == asked("b")  # wherever its files lie
    assert same not in {asked("c", doc_to_text="Say: {{q}}"), asked("d", num_fewshot=0), asked("e", description="Hm.")}


def test_a_file_and_a_task_of_one_name_are_refused(tmp_path: Path, knowledge: str) -> None:
    own = write_jsonl(tmp_path / "warmth.JSONL", PHYSICS)
    with pytest.raises(DataError, match="a file and a task are both called 'warmth'; rename the file"):
        load_tasks([knowledge], [own, warm_task(tmp_path / "w")])


def test_a_context_that_ends_in_white_space_gets_no_second_one(tmp_path: Path, knowledge: str) -> None:
    rows = [{"context": "The sky is", "target": "blue"}, {"context": "The sky is ", "target": "blue"}]
    task = load_tasks([knowledge], [write_jsonl(tmp_path / "ends.jsonl", rows)]).own["kapoc_general_ends"]
    assert [task.doc_to_target(document) for document in task.eval_docs] == [" blue", "blue"]


def test_a_metric_of_which_less_is_better_is_refused(tmp_path: Path) -> None:
    class Task:
        def higher_is_better(self) -> dict[str, bool]:
            return {"pct_stereotype": False, "acc_norm": True, "acc": True}

    sample = {"metrics": ["pct_stereotype", "acc_norm", "acc"], "pct_stereotype": 1, "acc_norm": 0.0, "acc": 1.0}
    assert metric_of("x", Task(), [sample]) == "acc"
    with pytest.raises(DataError, match=r"none of its metrics \(pct_stereotype\) scores an item"):
        metric_of("x", Task(), [{**sample, "metrics": ["pct_stereotype"]}])


def test_all_items_of_a_task_are_scored_by_one_metric() -> None:
    class Task:
        def higher_is_better(self) -> dict[str, bool]:
            return {}

    samples = [{"metrics": ["bleu", "f1"], "bleu": bleu, "f1": 0.5} for bleu in (0.4, 23.0)]
    assert metric_of("x", Task(), samples[:1]) == "bleu"
    assert metric_of("x", Task(), samples) == metric_of("x", Task(), samples[::-1]) == "f1"


def test_a_malformed_task_file_is_told(tmp_path: Path, knowledge: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("task: [", encoding="utf-8")
    with pytest.raises(DataError, match=r"broken\.yaml: lm-eval cannot load the task"):
        load_tasks([knowledge], [str(path)])


def group_file(folder: Path, **content: object) -> str:
    """A group beside the task `warmth`, in a file that is not called as it is."""
    task_file(folder, [{"q": "Is fire hot?", "a": 0}])
    path = folder / "all.yaml"
    path.write_text(yaml.safe_dump({"group": "temperatures", **content}), encoding="utf-8")
    return str(path)


def test_a_group_is_loaded_by_the_path_of_its_file(tmp_path: Path, knowledge: str) -> None:
    assert set(load_tasks([knowledge], [group_file(tmp_path / "g", task=["warmth"])]).own) == {"warmth"}


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (["warmth", "piqa"], r"all\.yaml: lm-eval cannot load the group \(.*\); name its tasks, each by itself"),
        ("warmth", r"all\.yaml: a group without a list of tasks; give it one, or name its tasks"),
    ],
)
def test_a_group_that_cannot_be_loaded_is_called_one(tmp_path: Path, knowledge: str, task: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load_tasks([knowledge], [group_file(tmp_path / "g", task=task)])


def test_spillover_from_another_set_is_seen_in_control_answers(tmp_path: Path, knowledge: str) -> None:
    text = (tmp_path / "lamps.yaml").read_text(encoding="utf-8").replace("name: lamps\n", "name: lanterns\n", 1)
    other = tmp_path / "lanterns.yaml"
    other.write_text(text.replace("amber lane", "silver weir").replace("ZX-", "QY-"), encoding="utf-8")
    document = documents_of("control/free", [knowledge, str(other)])[0]
    assert find_spillover(document, "It is the silver weir.") == ("lanterns/QY-11.colour",)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("piqqa", r"--general piqqa: no such lm-eval task or file; did you mean 'piqa'\?"),
        ("piqa", r"--general piqa: its data is neither in the local cache nor to be had from the Hub"),
        ("zzqx.txt", r"no such lm-eval task or file; lm-eval has [\d,]+, and a file of items ends in \.jsonl$"),
        ("nowhere.yaml", r"--general nowhere\.yaml: no such file"),
        ("nowhere.jsonl", r"nowhere\.jsonl: no such file"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(knowledge: str, name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load_tasks([knowledge], [name])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"choices": ["a", "b"], "answer": 2}], r"own\.jsonl:1: answer: must be an index of the 2 choices"),
        ([{"choices": ["a", "b"]}], r"own\.jsonl:1: answer: must be an index"),
        ([{"context": "a"}], r"own\.jsonl:1: target: is missing"),
        ([{"prompt": "a"}], r"own\.jsonl:1: needs one of: choices with answer"),
        ([PROSE[0], LAST_WORD[0]], r"own\.jsonl: holds items of several forms"),
        ([], r"own\.jsonl: holds no item"),
    ],
)
def test_malformed_items_are_told_with_their_line(tmp_path: Path, rows: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        load_general(write_jsonl(tmp_path / "own.jsonl", rows))


def test_a_file_may_not_take_the_name_of_a_bundled_ability(tmp_path: Path, knowledge: str) -> None:
    path = write_jsonl(tmp_path / "World.jsonl", PHYSICS)
    with pytest.raises(DataError, match=r"kapoc has an ability 'world' of its own; rename the file"):
        load_tasks([knowledge], [path])


def test_several_sets_are_reported_per_set_and_pooled(tmp_path: Path, tiny: LoadedModel, knowledge: str) -> None:
    other = small_set()
    other["name"] = "lanterns"
    run = measure(tiny, knowledge=[knowledge, str(write_set(tmp_path / "b.yaml", other))], batch_size=8)
    assert run.data.knowledge_name == "lamps+lanterns"
    comparison = compare(run, run)
    assert {name: tiers["seen"].n for name, tiers in comparison.sets.items()} == {"lamps": 5, "lanterns": 5}
    assert (comparison.tiers["seen"].n, comparison.tiers["seen"].clusters) == (10, 10)


@torch.no_grad()
def test_the_numbers_of_a_measurement_are_those_of_the_model_itself(
    tmp_path: Path, tiny: LoadedModel, knowledge: str
) -> None:
    """Divergence in its direction, and the log-probability of the right answer, by plain transformers."""
    tuned = replace(tiny, model=tiny_llama(1, spread=0.2))
    run = measure(tuned, knowledge=[knowledge], base=tiny, batch_size=8, limit=2)
    before, after, tokenizer = tiny.model, tuned.model, tiny.tokenizer
    texts = [item for item in run.items if item.form == "text"]
    assert len(texts) == 2
    for item in texts:
        tokens = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(item.reference, add_special_tokens=False)]])
        old, new = (model(tokens).logits[0, :-1].double().log_softmax(-1) for model in (before, after))
        expected, reverse = (float((p.exp() * (p - q)).sum(-1).mean()) for p, q in ((old, new), (new, old)))
        assert item.divergence == pytest.approx(expected, abs=2e-5)
        assert abs(expected - reverse) > 1e-3
    checked = set()
    for item in run.items:
        if item.gold_logprob is not None and item.form in {"choice", "completion", "free"} and item.prompt:
            target = f" {item.reference}" if item.tier == "general" else item.reference
            asked = item.prompt.rstrip()  # lm-eval counts white space at the end of a prompt with what follows it
            found, _ = continuation_logprob(after, tokenizer, asked, item.prompt[len(asked) :] + target)
            assert item.gold_logprob == pytest.approx(found, abs=2e-3), item.id
            checked.add((item.form, item.tier))
    assert checked >= {("choice", "general"), ("completion", "general"), ("free", "seen"), ("free", "unseen")}


@pytest.mark.parametrize("texts", [[], PROSE])
def test_a_run_names_its_base_only_where_it_was_held_against_it(
    tmp_path: Path, tiny: LoadedModel, knowledge: str, texts: list[dict[str, Any]]
) -> None:
    """With knowledge in the prompts none of kapoc's own texts is read, only those that a user brings."""
    general = [write_jsonl(tmp_path / "prose.jsonl", texts)] if texts else []
    asked: dict[str, Any] = {"knowledge": [knowledge], "general": general, "context": "oracle", "limit": 1}
    run = measure(replace(tiny, model=tiny_llama(1, spread=0.2)), base=tiny, batch_size=8, **asked)
    assert run.settings.base_sha256 == (tiny.identity.weights_sha256 if texts else "")
    assert any(item.divergence is not None for item in run.items) == bool(texts)


def test_leaks_and_proposals_stand_in_the_run(tmp_path: Path, tiny: LoadedModel) -> None:
    content = small_set()
    content["facts"][0]["probes"][0]["question"] = content["facts"][0]["training"][0]["question"]
    content["facts"][1]["training"][0]["origin"] = "template"
    path = write_set(tmp_path / "leaky.yaml", content)
    run = measure(tiny, knowledge=[str(path)], batch_size=8, limit=1)
    leaks = [line for line in audit(path).errors if "leak" in line]
    assert run.data.num_leaks == len(leaks) > 0
    assert run.data.num_proposals == 1


def test_two_sets_of_one_name_are_refused(tmp_path: Path, tiny: LoadedModel, knowledge: str) -> None:
    twin = write_set(tmp_path / "twin.yaml")
    with pytest.raises(DataError, match=r"twin\.yaml: name: 'lamps' is already the name of .*lamps\.yaml"):
        measure(tiny, knowledge=[knowledge, str(twin)], batch_size=8, limit=1)


def test_a_tier_without_questions_is_left_out(tmp_path: Path, tiny: LoadedModel) -> None:
    content = small_set()
    content["facts"] = [fact for fact in content["facts"] if fact.get("taught", True)]
    run = measure(tiny, knowledge=[str(write_set(tmp_path / "no_controls.yaml", content))], batch_size=8, limit=1)
    assert "kapoc_control" not in run.scores
    assert "kapoc_control_choice" not in run.scores
    assert "kapoc_off_topic" in run.scores


@pytest.mark.slow
@pytest.mark.skipif(OUTSIDE is None, reason="set KAPOC_OUTSIDE_DATA to a folder with blimp, lambada and piqa")
@pytest.mark.parametrize("name", ["blimp", "lambada", "piqa"])
def test_public_sets_on_the_default_model(name: str, knowledge: str) -> None:
    from kapoc.default_model import default_model_path

    assert OUTSIDE is not None
    path = Path(OUTSIDE) / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    run = measure(load_model("default"), knowledge=[knowledge], general=[str(path)], batch_size=32)
    assert scores_of(run, name) == expected_scores(str(default_model_path()), rows)


def test_a_limit_takes_the_first_items_of_every_set(tiny: LoadedModel, tmp_path: Path) -> None:
    north = write_set(tmp_path / "north.yaml", small_set() | {"name": "north"})
    south = write_set(tmp_path / "south.yaml", small_set() | {"name": "south"})
    run = measure(tiny, knowledge=(str(north), str(south)), batch_size=8, limit=2, lm_eval_out=tmp_path / "out")
    seen = [item.id for item in run.items if item.task == "kapoc_seen"]
    assert seen == [f"{name}/{fact}/seen/1:free" for name in ("north", "south") for fact in ("ZX-11", "ZX-24")]
    assert sum(item.task == "kapoc_off_topic" for item in run.items) == 2
    [results] = (tmp_path / "out").rglob("results_*.json")
    asked = json.loads(results.read_text(encoding="utf-8"))["n-samples"]
    assert (asked["kapoc_seen"]["effective"], asked["kapoc_seen"]["original"]) == (4, 10)
