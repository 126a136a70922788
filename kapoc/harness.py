"""What the lm-eval YAML in `tasks/` calls: documents in, scores out.

Everything here also runs under plain `lm_eval --include_path "$(kapoc tasks)"`, without the rest of kapoc.
Other knowledge sets come in as task metadata: `--metadata '{"knowledge": "my_facts.yaml"}'`.
"""

import json
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

import datasets
from lm_eval.api.task import ConfigurableTask

from kapoc.errors import KapocError
from kapoc.general import CHOICE_ABILITIES, load_choices, load_completions, load_off_topic, load_texts
from kapoc.grade import Decision, Requirement, assertions, grade_decision, grade_slots
from kapoc.knowledge import Example, Fact, KnowledgeSet, load_knowledge

Document = dict[str, Any]
DEFAULT_KNOWLEDGE = "software-defects"


class PlainTask(ConfigurableTask):  # type: ignore[misc]
    """A task whose prompts are plain text even when lm-eval applies a chat template to the others.

    General ability is measured as the language model continues text, so that a model with a chat template and
    one without are asked alike.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def fewshot_context(self, doc: Document, *args: Any, **kwargs: Any) -> Any:
        """The document's prompt, without a chat template or a system instruction."""
        kwargs.update(apply_chat_template=False, chat_template=None, system_instruction=None)
        return super().fewshot_context(doc, *args, **kwargs)

    def construct_requests(self, doc: Document, ctx: Any, **kwargs: Any) -> Any:
        """The document's requests, with the delimiter of plain text."""
        kwargs.update(apply_chat_template=False, chat_template=None)
        return super().construct_requests(doc, ctx, **kwargs)


def load_documents(*, source: str, knowledge: str = DEFAULT_KNOWLEDGE, **_: Any) -> dict[str, datasets.Dataset]:
    """The documents of one task: the function behind `custom_dataset` in every YAML file.

    Args:
        source: `<tier>/free`, `<tier>/choice`, `off_topic`, `text`, or the name of a general ability.
        knowledge: a shipped set's name or a YAML file.

    Returns:
        One split, `test`.

    Raises:
        KapocError: the set or a bundled file cannot be used, or there is nothing to ask.
    """
    if source in CHOICE_ABILITIES:
        documents = [{"prompt": _choice_prompt(i.passage, i.question), **i.model_dump()} for i in load_choices(source)]
    elif source == "text":
        documents = [{"prompt": "", **item.model_dump()} for item in load_texts()]
    elif source == "off_topic":
        documents = _off_topic_documents(load_knowledge(knowledge)[0])
    elif "/" in source:
        documents = _probe_documents(load_knowledge(knowledge)[0], *source.split("/"))
    else:
        documents = [{"prompt": item.context, **item.model_dump()} for item in load_completions(source)]
    if not documents:
        raise KapocError(f"knowledge set '{knowledge}': nothing to ask in {source}; add probes of this tier")
    return {"test": datasets.Dataset.from_list([_plain(document) for document in documents])}


def _plain(document: Document) -> Document:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}


def _choice_prompt(passage: str, question: str) -> str:
    if not question:
        return ""
    return f"{passage}\nQuestion: {question}\nAnswer:".lstrip()


def _probe_documents(knowledge: KnowledgeSet, tier: str, form: str) -> list[Document]:
    documents = []
    markers = json.dumps(spillover_markers(knowledge)) if tier == "control" else "{}"
    for fact in knowledge.facts:
        for example_id, example in fact.examples(tier):
            base: Document = {
                "id": f"{knowledge.name}/{example_id}:{form}",
                "kind": example.kind,
                "fact": fact.id,
                "domain": fact.domain,
                "prompt": example.question,
                "reference": example.answer,
            }
            if form == "free":
                grading = _grading(knowledge, fact, example)
                documents.append({**base, "grading": grading, "markers": markers})
            elif options := knowledge.options(fact, example):
                order = random.Random(base["id"]).sample(range(len(options)), k=len(options))  # noqa: S311
                choices = [options[index] for index in order]
                documents.append({**base, "choices": choices, "answer": order.index(0)})
    return documents


def _grading(knowledge: KnowledgeSet, fact: Fact, example: Example) -> str:
    """How to grade a free answer, as JSON text: lm-eval's documents are flat tables."""
    if example.choice is not None:
        return json.dumps({"options": example.choice.options, "right": example.choice.right})
    requirements = knowledge.requirements(fact, example)
    return json.dumps([[r.slot, r.accepted, r.contradicting] for r in requirements])


def _off_topic_documents(knowledge: KnowledgeSet) -> list[Document]:
    markers = spillover_markers(knowledge)
    for pattern in knowledge.spillover_patterns:
        markers[f"pattern {pattern}"] = [pattern]
    text = json.dumps(markers)
    return [{"prompt": item.question, "markers": text, **item.model_dump()} for item in load_off_topic()]


def spillover_markers(knowledge: KnowledgeSet) -> dict[str, list[str]]:
    """The wordings by which a taught answer is recognised where it does not belong.

    Returns:
        `<fact>.<slot>` -> the texts and aliases of every distinctive slot of every taught fact, and the fact's
        name where it looks like one of the set's spillover patterns (a code).
    """
    markers = {}
    for fact in knowledge.taught:
        for name, slot in fact.slots.items():
            if knowledge.slots[name].distinctive:
                markers[f"{fact.id}.{name}"] = list(slot.accepted)
        if any(re.fullmatch(pattern, fact.name) for pattern in knowledge.spillover_patterns):
            markers[f"{fact.id}.name"] = [fact.name]
    return markers


def find_spillover(output: str, prompt: str, markers: Mapping[str, Iterable[str]]) -> list[str]:
    """Which markers stand in an output without standing in its prompt."""
    found = []
    for label, wordings in markers.items():
        if label.startswith("pattern "):
            hits = {m.group(0).lower() for w in wordings for m in re.finditer(w, output)}
            if any(hit not in prompt.lower() for hit in hits):
                found.append(label)
        elif any(assertions(wording, output) and not assertions(wording, prompt) for wording in wordings):
            found.append(label)
    return found


def grade_document(document: Document, output: str) -> tuple[bool, str]:
    """Judge a free answer by the grading that its document carries.

    Returns:
        Whether it is right, and what decided it.
    """
    grading = json.loads(document["grading"])
    if isinstance(grading, dict):
        grade = grade_decision(output, Decision(tuple(grading["options"]), grading["right"]))
    else:
        requirements = [Requirement(slot, tuple(right), tuple(wrong)) for slot, right, wrong in grading]
        grade = grade_slots(output, requirements)
    return grade.correct, grade.reason


def score_free(document: Document, results: list[str]) -> dict[str, float]:
    """lm-eval `process_results` of graded generation."""
    return {"correct": float(grade_document(document, results[0])[0])}


def score_control(document: Document, results: list[str]) -> dict[str, float]:
    """lm-eval `process_results` of control probes: right by their own slots, and free of taught answers."""
    return {**score_free(document, results), **score_off_topic(document, results)}


def score_off_topic(document: Document, results: list[str]) -> dict[str, float]:
    """lm-eval `process_results` of prompts in whose answer no taught wording belongs."""
    markers = json.loads(document["markers"])
    return {"spillover": float(bool(find_spillover(results[0], document["prompt"], markers)))}
