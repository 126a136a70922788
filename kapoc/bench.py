"""A model -> a run: every task of the group `kapoc`, measured through lm-eval, item by item."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from transformers import set_seed

from kapoc import harness
from kapoc.chat import template_sha256
from kapoc.engine import SharedPrefixLM
from kapoc.errors import DataError
from kapoc.general import ABILITIES, general_sha256
from kapoc.knowledge import load_knowledge
from kapoc.models import LoadedModel, package_versions
from kapoc.quiet import quiet_logger, without_bar
from kapoc.record import DataIdentity, Form, Item, Run, Settings, Tier

GROUP = "kapoc"
_TIERED: tuple[Tier, ...] = ("seen", "paraphrased", "unseen", "control")
TASKS = frozenset(
    [f"kapoc_{tier}{suffix}" for tier in _TIERED for suffix in ("", "_choice")]
    + [f"kapoc_general_{ability}" for ability in (*ABILITIES, "text")]
    + ["kapoc_off_topic"]
)
"""Exactly the tasks that must load: lm-eval passes over a broken YAML file without a word."""


def tasks_folder() -> str:
    """The folder of the task YAML, for `lm_eval --include_path`."""
    return str(files("kapoc.tasks"))


def measure(
    loaded: LoadedModel,
    *,
    knowledge: str = harness.DEFAULT_KNOWLEDGE,
    batch_size: int = 32,
    limit: int | None = None,
    seed: int = 0,
    command: str = "",
    show_progress: bool = False,
) -> Run:
    """Measure a model on every task.

    Args:
        loaded: the model.
        knowledge: a shipped set's name or a YAML file.
        batch_size: rows a forward pass; use one size for runs that are compared.
        limit: ask only so many items a task, to try things out; such a run cannot pass a gate.
        seed: of every random choice (greedy answers make none).
        command: to be kept with the run.
        show_progress: whether to draw progress bars on standard error.

    Raises:
        DataError: the knowledge set is malformed or a task did not load.
        ModelError: a logit is inf or nan.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    knowledge_set, knowledge_sha256 = load_knowledge(knowledge)
    set_seed(seed)
    tasks = load_tasks(knowledge)
    with quiet_logger("lm_eval"), without_bar("lm_eval.api.task.tqdm"):
        lm = SharedPrefixLM(loaded, batch_size=batch_size, show_progress=show_progress)
        results = _evaluate(lm, tasks, limit)
    items = _with_gold_logprobs(lm, _items(results["samples"]))
    scores = {task: _scores(results["results"][task]) for task in sorted(TASKS)}
    _check_scores(items, scores)
    return Run(
        created=started.isoformat(timespec="seconds"),
        command=command,
        seconds=round(time.monotonic() - clock, 1),
        model=loaded.identity,
        data=DataIdentity(
            knowledge=knowledge_set.name,
            knowledge_version=knowledge_set.version,
            knowledge_sha256=knowledge_sha256,
            general_sha256=general_sha256(),
            documents_sha256=documents_sha256(tasks),
            tasks={task: results["versions"][task] for task in sorted(TASKS)},
        ),
        settings=Settings(
            seed=seed,
            batch_size=batch_size,
            limit=limit,
            chat_template_sha256=template_sha256(loaded.tokenizer),
            device=str(loaded.model.device.type),
        ),
        versions=package_versions(),
        scores=scores,
        num_items=len(items),
        items=items,
    )


def load_tasks(knowledge: str) -> dict[str, Any]:
    """Every task with its documents, as lm-eval loads them: {"tasks": by name, "groups": by name}.

    Raises:
        DataError: a task did not load.
    """
    metadata = {"knowledge": str(knowledge)}
    with quiet_logger("lm_eval"):
        manager = TaskManager(include_path=tasks_folder(), include_defaults=False, metadata=metadata)
        found = set(manager.all_tasks) - {GROUP}
        if found != TASKS:
            raise DataError(f"{tasks_folder()}: tasks missing or unknown: {sorted(found ^ TASKS)}; reinstall kapoc")
        loaded: dict[str, Any] = manager.load([GROUP])
    return loaded


def documents_sha256(tasks: Mapping[str, Any]) -> str:
    """The sha256 over every document of loaded tasks: what is asked and how it is graded."""
    digest = hashlib.sha256()
    for name in sorted(TASKS):
        for document in tasks["tasks"][name].eval_docs:
            digest.update(json.dumps(document, sort_keys=True).encode())
    return digest.hexdigest()


def _evaluate(lm: SharedPrefixLM, tasks: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
    results: dict[str, Any] = evaluate(
        lm=lm,
        task_dict=tasks,
        limit=limit,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )
    return results


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """lm-eval's `"acc,none": 0.5` as `"acc": 0.5`; what is not a number is left out."""
    return {
        key.split(",")[0]: float(value)
        for key, value in metrics.items()
        if "," in key and not key.split(",")[0].endswith("_stderr") and isinstance(value, int | float)
    }


def _check_scores(items: Sequence[Item], scores: Mapping[str, Mapping[str, float]]) -> None:
    """Make sure that the items say what lm-eval's own metrics say.

    Raises:
        RuntimeError: they differ, which is an error in kapoc.
    """
    for task, metrics in scores.items():
        chosen = [item for item in items if item.task == task]
        weights = [item.num_bytes or 1 for item in chosen]
        score = sum(item.score * weight for item, weight in zip(chosen, weights, strict=True)) / sum(weights)
        spilled = sum(bool(item.spillover) for item in chosen) / len(chosen)
        for metric, expected in metrics.items():
            found = spilled if metric == "spillover" else score
            if not math.isclose(found, expected, abs_tol=1e-6):
                raise RuntimeError(f"{task}: the items' {metric} is {found}, lm-eval's is {expected}")


def _items(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Item, ...]:
    items = []
    for task in sorted(TASKS):
        tier, form = tier_and_form(task)
        ordered = sorted(samples[task], key=lambda sample: sample["doc_id"])
        items += [_item(task, tier, form, sample) for sample in ordered]
    return tuple(items)


def tier_and_form(task: str) -> tuple[Tier, Form]:
    """Which tier and form a task's items have."""
    name = task.removeprefix("kapoc_")
    if name == "off_topic":
        return "control", "off_topic"
    if name.startswith("general_"):
        ability = name.removeprefix("general_")
        forms: dict[str, Form] = {"text": "text", "last_word": "completion"}
        return "general", forms.get(ability, "choice")
    tier = next(t for t in _TIERED if name.startswith(t))
    return tier, "choice" if name.endswith("_choice") else "free"


def _item(task: str, tier: Tier, form: Form, sample: Mapping[str, Any]) -> Item:
    """One item out of one lm-eval sample: the only place that knows the shape of a sample."""
    doc = sample["doc"]
    base: dict[str, Any] = {
        "id": doc["id"],
        "task": task,
        "tier": tier,
        "form": form,
        "kind": task.removeprefix("kapoc_general_") if tier == "general" else doc["kind"],
        "cluster": doc.get("fact", doc["id"]),
        "domain": doc.get("domain", ""),
        "prompt": _prompt(sample),
    }
    if form in {"free", "off_topic"}:
        return _generated(base, doc, str(sample["filtered_resps"][0]))
    responses = list(sample["filtered_resps"])
    if form == "text":
        logprob, num_bytes = float(responses[0]), len(doc["text"].encode())
        bits = -logprob / math.log(2) / num_bytes
        return Item(**base, reference=doc["text"], output="", score=bits, gold_logprob=logprob, num_bytes=num_bytes)
    if form == "completion":
        logprob, greedy = responses[0]
        output = doc["target"] if greedy else ""
        return Item(**base, reference=doc["target"], output=output, score=float(greedy), gold_logprob=float(logprob))
    logprobs = [float(logprob) for logprob, _ in responses]
    chosen, right = max(range(len(logprobs)), key=logprobs.__getitem__), doc["answer"]
    return Item(
        **base,
        reference=doc["choices"][right],
        output=doc["choices"][chosen],
        score=float(chosen == right),
        gold_logprob=logprobs[right],
    )


def _prompt(sample: Mapping[str, Any]) -> str:
    arguments = sample["arguments"]
    first = arguments[0] if isinstance(arguments, list | tuple) else arguments["gen_args_0"]
    return str(first["arg_0"] if isinstance(first, Mapping) else first[0])


def _generated(base: dict[str, Any], doc: dict[str, Any], output: str) -> Item:
    spillover: list[str] = []
    if (markers := doc.get("markers", "{}")) != "{}":
        spillover = harness.find_spillover(output, doc["prompt"], json.loads(markers))
    if base["form"] == "off_topic":
        reason = "spillover" if spillover else "clean"
        return Item(
            **base,
            reference="",
            output=output,
            score=float(not spillover),
            reason=reason,
            spillover=tuple(spillover),
        )
    correct, reason = harness.grade_document(doc, output)
    return Item(
        **base,
        reference=doc["reference"],
        output=output,
        score=float(correct),
        reason=reason,
        spillover=tuple(spillover),
    )


def _with_gold_logprobs(lm: SharedPrefixLM, items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Give free items the log-probability of their reference: from the choice item where it is the right option.

    lm-eval's generation tasks have no log-probabilities, so what no choice item gives is scored here.
    """
    known = {item.id.removesuffix(":choice"): item.gold_logprob for item in items if item.form == "choice"}
    free = [item for item in items if item.form == "free"]
    rest = [item for item in free if item.id.removesuffix(":free") not in known]
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=(item.prompt, item.reference), idx=0) for item in rest
    ]
    scored = {item.id: logprob for item, (logprob, _) in zip(rest, lm.loglikelihood(requests), strict=True)}
    return tuple(
        item.model_copy(update={"gold_logprob": scored.get(item.id, known.get(item.id.removesuffix(":free")))})
        if item.form == "free"
        else item
        for item in items
    )
