"""A model -> a run: every task of the group `kapoc`, measured through lm-eval, item by item."""

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from transformers import set_seed

from kapoc.chat import start_token, template_sha256
from kapoc.counting import Counting, uncounted
from kapoc.data.audit import count_leaks
from kapoc.engine.divergence import mean_divergences, refuse_other_vocabulary
from kapoc.errors import DataError
from kapoc.knowledge.set_file import Source, load_sources
from kapoc.measuring import harness
from kapoc.measuring.general import general_sha256, kind_of
from kapoc.measuring.lm_eval_files import Evaluation, write_lm_eval_files
from kapoc.measuring.lm_eval_model import SharedPrefixLM
from kapoc.measuring.task_list import FEWSHOT_SEED, GENERAL_PREFIX, TaskList, load_tasks, tier_and_form
from kapoc.models import LoadedModel, context_of, decoding_sha256, package_versions
from kapoc.products import packed
from kapoc.quiet import quiet_logger, without_bar
from kapoc.record import DataIdentity, Form, Item, Run, Settings, Tier

_ORDER = {"generate_until": 1, "loglikelihood_rolling": 2}
"""Answers go on from what scoring has shown of them; two models may read texts, which leaves memory cut up."""
_NOTHING: dict[str, dict[str, Any]] = {"results": {}, "samples": {}, "versions": {}}


def measure(
    loaded: LoadedModel,
    *,
    knowledge: Sequence[str] = (harness.DEFAULT_KNOWLEDGE,),
    general: Sequence[str] = (),
    off_topic: Sequence[str] = (),
    context: str = "none",
    base: LoadedModel | None = None,
    batch_size: int = 32,
    limit: int | None = None,
    seed: int = 0,
    command: str = "",
    counting: Counting = uncounted,
    lm_eval_out: Path | None = None,
) -> Run:
    """Measure a model on every task.

    Args:
        loaded: the model.
        knowledge: shipped sets' names or files.
        general: lm-eval tasks or JSONL files that join the general tier.
        off_topic: files of prompts that join the off-topic ones.
        context: what stands beside the questions of knowledge: `none`, `oracle` or `retrieved`.
        base: the model before training; the divergence from it is measured on the general texts, where there are any.
        batch_size: rows a forward pass; use one size for runs that are compared.
        limit: ask only so many items a task, to try things out; such a run cannot pass a gate.
        seed: of every random choice (greedy answers make none).
        command: to be kept with the run.
        counting: is told how many questions are answered, options scored and texts read.
        lm_eval_out: a folder for lm-eval's own files of the same measurement; none for none.

    Raises:
        DataError: the knowledge set is malformed or a task did not load.
        ModelError: a logit is inf or nan.
        OutputError: lm-eval's own files cannot be written.
    """
    if base is not None:
        refuse_other_vocabulary(base.model, loaded.model)
    started, clock = datetime.now(UTC), time.monotonic()
    sources = load_sources(knowledge)
    set_seed(seed)
    tasks = load_tasks([source.name for source in sources], general, context, off_topic)
    with quiet_logger("lm_eval"), without_bar("lm_eval.api.task.tqdm"):
        before = None if base is None else base.model
        lm = SharedPrefixLM(loaded, batch_size=batch_size, counting=counting, base=before)
        results = evaluate_tasks(lm, tasks.packaged, limit, with_template=True, by_set=True)
        own = evaluate_tasks(lm, tasks.own, limit, with_template=False) if tasks.own else _NOTHING
    items = _with_gold_logprobs(lm, _items(results["samples"], lm.ended) + _own_items(tasks.own, own["samples"]))
    texts = [item for item in items if item.form == "text"]
    if base is not None and texts:
        items = _with_divergence(lm, loaded, base, items, texts)
    scores = {task: _scores(metrics) for task, metrics in sorted(results["results"].items())}
    scores |= {task: _own_scores(task, own["results"][task], items) for task in sorted(own["results"])}
    _check_scores([item for item in items if item.task in tasks.packaged], scores)
    device, seconds = str(loaded.model.device.type), round(time.monotonic() - clock, 1)
    if lm_eval_out is not None:
        parts, asked = (results, own) if tasks.own else (results,), (loaded.identity.name, batch_size, limit, seed)
        told = Evaluation(parts, lm, *asked, device, started.timestamp(), seconds, FEWSHOT_SEED)
        write_lm_eval_files(told, lm_eval_out)
    return Run(
        created=started.isoformat(timespec="seconds"),
        command=command,
        seconds=seconds,
        model=loaded.identity,
        data=_data_identity(sources, tasks, off_topic, {**results["versions"], **own["versions"]}),
        settings=Settings(
            seed=seed,
            batch_size=batch_size,
            limit=limit,
            chat_template_sha256=template_sha256(loaded.tokenizer),
            device=device,
            context=context,
            base_sha256=base.identity.weights_sha256 if base is not None and texts else "",
            decoding_sha256=decoding_sha256(loaded.model, loaded.tokenizer),
        ),
        versions=package_versions(),
        scores=scores,
        num_items=len(items),
        items=items,
    )


def _data_identity(
    sources: Sequence[Source], tasks: TaskList, off_topic: Sequence[str], versions: dict[str, int | float | str]
) -> DataIdentity:
    """What was asked, and about what."""
    return DataIdentity(
        knowledge=tuple(source.identity for source in sources),
        general=tuple(sorted(tasks.own)),
        off_topic=tuple(sorted(kind_of(Path(name)) for name in off_topic)),
        general_sha256=general_sha256(),
        documents_sha256=tasks.documents_sha256(),
        tasks=versions,
        num_leaks=sum(count_leaks(source) for source in sources),
        num_proposals=sum(source.knowledge.num_proposals for source in sources),
    )


def evaluate_tasks(
    lm: LM, tasks: Mapping[str, Any], limit: float | None, *, with_template: bool, by_set: bool = False
) -> dict[str, Any]:
    """Run tasks through lm-eval: first those that score options, then those that answer freely, then those that read.

    Args:
        lm: any lm-eval model.
        tasks: loaded ones by name.
        limit: items a task, or below one a share of them.
        with_template: whether to ask in the model's chat template.
        by_set: whether the limit is so many items of every knowledge set that a task asks about.

    Returns:
        What lm-eval returns, samples included.
    """
    chosen = {task: first_of_each_set(one, limit) for task, one in tasks.items()} if by_set and limit else {}
    in_order = dict(sorted(tasks.items(), key=lambda task: _ORDER.get(task[1].config.output_type, 0)))
    results: dict[str, Any] = evaluate(
        lm=lm,
        task_dict={"tasks": in_order, "groups": {}, "group_map": {}},
        limit=None if chosen else limit,
        samples=chosen or None,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=with_template,
        fewshot_as_multiturn=with_template,
    )
    for task, places in chosen.items():
        results["n-samples"][task]["effective"] = len(places)
    return results


def first_of_each_set(task: Any, limit: float) -> list[int]:
    """The places of so many items of a task, the first ones of every set that it asks about."""
    asked: Counter[str] = Counter()
    places = []
    for place, document in enumerate(task.eval_docs):
        name = document.get("set", "")
        if asked[name] < limit:
            places.append(place)
        asked[name] += 1
    return places


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """lm-eval's `"acc,none": 0.5` as `"acc": 0.5`; what is not a number is left out."""
    return {
        key.split(",")[0]: float(value)
        for key, value in metrics.items()
        if "," in key and not key.split(",")[0].endswith("_stderr") and isinstance(value, int | float)
    }


def _own_scores(task: str, metrics: Mapping[str, Any], items: Sequence[Item]) -> dict[str, float]:
    """A general task's scores: lm-eval's own where kapoc made the task, else what its items say."""
    if task.startswith(GENERAL_PREFIX):
        return _scores(metrics)
    chosen = [item for item in items if item.task == task]
    return {chosen[0].reason or "bits_per_byte": _mean_score(chosen)}


def _mean_score(items: Sequence[Item]) -> float:
    """The mean of scores, a text counting as many times as it has bytes."""
    weights = [item.num_bytes or 1 for item in items]
    return sum(item.score * weight for item, weight in zip(items, weights, strict=True)) / sum(weights)


def _check_scores(items: Sequence[Item], scores: Mapping[str, Mapping[str, float]]) -> None:
    """Make sure that the items say what lm-eval's own metrics say.

    Raises:
        RuntimeError: they differ, which is an error in kapoc.
    """
    for task in dict.fromkeys(item.task for item in items):
        metrics, chosen = scores[task], [item for item in items if item.task == task]
        score = _mean_score(chosen)
        spilled = sum(bool(item.spillover) for item in chosen) / len(chosen)
        for metric, expected in metrics.items():
            found = spilled if metric == "spillover" else score
            if not math.isclose(found, expected, abs_tol=1e-6):
                raise RuntimeError(f"{task}: the items' {metric} is {found}, lm-eval's is {expected}")


def _items(samples: Mapping[str, Sequence[Mapping[str, Any]]], ended: Mapping[str, bool]) -> tuple[Item, ...]:
    items = []
    for task in sorted(samples):
        tier, form = tier_and_form(task)
        for sample in sorted(samples[task], key=lambda sample: sample["doc_id"]):
            item = _item(task, tier, form, sample)
            generated = form in {"free", "off_topic"}
            items.append(item.model_copy(update={"ended": ended.get(item.prompt)}) if generated else item)
    return tuple(items)


def _own_items(tasks: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Item, ...]:
    """The items of the user's general tasks: kapoc's own shape where it is one, lm-eval's metric where not."""
    items = []
    for task in sorted(samples):
        first_of_doc: dict[int, Mapping[str, Any]] = {}
        for sample in samples[task]:
            first_of_doc.setdefault(sample["doc_id"], sample)
        is_foreign = not task.startswith(GENERAL_PREFIX)
        metric = metric_of(task, tasks[task], tuple(first_of_doc.values())) if is_foreign else ""
        for _, sample in sorted(first_of_doc.items()):
            doc = sample["doc"]
            if not is_foreign:
                form: Form = "text" if "text" in doc else "completion" if "target" in doc else "choice"
                items.append(_item(task, "general", form, sample))
            else:
                items.append(_foreign_item(task, sample, metric))
    return tuple(items)


def _foreign_item(task: str, sample: Mapping[str, Any], metric: str) -> Item:
    """One item of a task that kapoc does not know, scored by the task's own metric."""
    number = int(sample["doc_id"]) + 1
    base: dict[str, Any] = {
        "id": f"{task}/{number}",
        "task": task,
        "tier": "general",
        "kind": task,
        "cluster": f"{task}/{number}",
        "prompt": _prompt(sample),
        "reference": str(sample["target"]),
    }
    if metric == "bits_per_byte":
        logprob, num_bytes = sample["bits_per_byte"]
        return Item(**base, form="text", output="", **_bits_per_byte(float(logprob), int(num_bytes)))
    output = json.dumps(sample["filtered_resps"], default=str)
    return Item(**base, form="completion", output=output, score=float(sample[metric]), reason=metric)


def _item(task: str, tier: Tier, form: Form, sample: Mapping[str, Any]) -> Item:
    """One item out of one lm-eval sample."""
    doc = sample["doc"]
    base: dict[str, Any] = {
        "id": doc["id"],
        "task": task,
        "tier": tier,
        "form": form,
        "kind": task.removeprefix(GENERAL_PREFIX) if tier == "general" else doc["kind"],
        "cluster": f"{doc['set']}/{doc['fact']}" if "fact" in doc else doc["id"],
        "knowledge": doc.get("set", ""),
        "domain": doc.get("domain", ""),
        "prompt": _prompt(sample),
    }
    if form in {"free", "off_topic"}:
        output, reference = str(sample["filtered_resps"][0]), doc["reference"] if form == "free" else ""
        return Item(**base, reference=reference, output=output, **asdict(harness.judge(doc, output)))
    responses = list(sample["filtered_resps"])
    if form == "text":
        measured = _bits_per_byte(float(responses[0]), len(doc["text"].encode()))
        return Item(**base, reference=doc["text"], output="", **measured)
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


def _bits_per_byte(logprob: float, num_bytes: int) -> dict[str, Any]:
    """What an item of a text says of it."""
    return {"score": -logprob / math.log(2) / num_bytes, "gold_logprob": logprob, "num_bytes": num_bytes}


def _prompt(sample: Mapping[str, Any]) -> str:
    arguments = sample["arguments"]
    first = arguments[0] if isinstance(arguments, list | tuple) else arguments["gen_args_0"]
    return str(first["arg_0"] if isinstance(first, Mapping) else first[0])


def metric_of(task: str, loaded: Any, samples: Sequence[Mapping[str, Any]]) -> str:
    """The metric that scores every item of a foreign task: one from 0 to 1 in all of them, of which more is better.

    Raises:
        DataError: the task has none.
    """
    metrics = [str(name) for name in samples[0]["metrics"]]
    if "bits_per_byte" in metrics:
        return "bits_per_byte"
    better = loaded.higher_is_better()
    usable = [
        name
        for name in metrics
        if better.get(name, True)
        and all(isinstance(sample.get(name), int | float) and 0 <= sample[name] <= 1 for sample in samples)
    ]
    if not usable:
        raise DataError(
            f"--general {task}: none of its metrics ({', '.join(metrics)}) scores an item from 0 to 1 with more being "
            "better; choose another task"
        )
    return min(
        usable, key=lambda name: (("acc", "exact_match").index(name) if name in {"acc", "exact_match"} else 2, name)
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


def _with_divergence(
    lm: SharedPrefixLM, loaded: LoadedModel, base: LoadedModel, items: tuple[Item, ...], texts: Sequence[Item]
) -> tuple[Item, ...]:
    """Give those items that are texts the divergence of the model from its base; both read them behind one token.

    What was not read beside the base is read here: texts that lm-eval has read behind two tokens, or in several parts.
    """
    start, limit = start_token(loaded.tokenizer), context_of(loaded.model) or 2048
    tokens = {
        item.id: (start, *loaded.tokenizer.encode(item.reference, add_special_tokens=False))[:limit] for item in texts
    }
    found = dict(lm.divergences)
    if rest := [text for text in dict.fromkeys(tokens.values()) if text not in found]:
        with packed(base.model, loaded.model):
            found |= zip(rest, mean_divergences(base.model, loaded.model, rest), strict=True)
    return tuple(
        item.model_copy(update={"divergence": found[tokens[item.id]]}) if item.id in tokens else item for item in items
    )
