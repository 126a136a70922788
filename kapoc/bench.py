"""A model -> a run: every task of the group `kapoc`, measured through lm-eval, item by item."""

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from typing import Any
from unittest.mock import patch

from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from tqdm import tqdm
from transformers import set_seed

from kapoc import harness
from kapoc.chat import template_sha256
from kapoc.engine import SharedPrefixLM
from kapoc.errors import DataError
from kapoc.general import ABILITIES, general_sha256
from kapoc.knowledge import load_knowledge
from kapoc.models import LoadedModel, package_versions
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
    show_progress: bool = False,
) -> Run:
    """Measure a model on every task.

    Args:
        loaded: the model.
        knowledge: a shipped set's name or a YAML file.
        batch_size: rows a forward pass; use one size for runs that are compared.
        limit: ask only so many items a task, to try things out; such a run cannot pass a gate.
        seed: of every random choice (greedy answers make none).
        show_progress: whether to draw progress bars on standard error.

    Raises:
        DataError: the knowledge set is malformed or a task did not load.
        ModelError: a logit is inf or nan.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    knowledge_set, knowledge_sha256 = load_knowledge(knowledge)
    set_seed(seed)
    with _quiet_lm_eval():
        lm = SharedPrefixLM(loaded, batch_size=batch_size, show_progress=show_progress)
        results = _evaluate(lm, knowledge, limit)
    items = _with_gold_logprobs(lm, _items(results["samples"]))
    return Run(
        created=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        model=loaded.identity,
        data=DataIdentity(
            knowledge=knowledge_set.name,
            knowledge_version=knowledge_set.version,
            knowledge_sha256=knowledge_sha256,
            general_sha256=general_sha256(),
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
        scores={task: _scores(results["results"][task]) for task in sorted(TASKS)},
        num_items=len(items),
        items=items,
    )


def _evaluate(lm: SharedPrefixLM, knowledge: str, limit: int | None) -> dict[str, Any]:
    manager = TaskManager(include_path=tasks_folder(), include_defaults=False, metadata={"knowledge": str(knowledge)})
    found = set(manager.all_tasks) - {GROUP}
    if found != TASKS:
        raise DataError(f"{tasks_folder()}: tasks missing or unknown: {sorted(found ^ TASKS)}; reinstall kapoc")
    results: dict[str, Any] = evaluate(
        lm=lm,
        task_dict=manager.load([GROUP]),
        limit=limit,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )
    return results


@contextmanager
def _quiet_lm_eval() -> Iterator[None]:
    """Keep lm-eval's advice off the screen, and the bar that it draws for every task and no setting turns off."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with patch("lm_eval.api.task.tqdm", partial(tqdm, disable=True)):
        try:
            yield
        finally:
            logger.setLevel(level)


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """lm-eval's `"acc,none": 0.5` as `"acc": 0.5`; what is not a number is left out."""
    return {
        key.split(",")[0]: float(value)
        for key, value in metrics.items()
        if "," in key and not key.split(",")[0].endswith("_stderr") and isinstance(value, int | float)
    }


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
