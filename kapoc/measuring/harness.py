"""What the lm-eval YAML in `tasks/` calls: documents in, scores out.

Everything here also runs under plain `lm_eval --include_path "$(kapoc tasks)"`, without kapoc's engine.
Other knowledge sets come in as task metadata: `--metadata '{"knowledge": "my_facts.yaml"}'`, and off-topic
prompts of the user's own as `{"off_topic": "near.txt"}`.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from lm_eval.api.task import ConfigurableTask

from kapoc.errors import DataError, KapocError
from kapoc.knowledge.facts import KNOWLEDGE_TIERS, Fact, KnowledgeTier
from kapoc.knowledge.options import HardOptions
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring.context import Context, checked_context, fact_text, retriever, with_context
from kapoc.measuring.general import CompletionItem, GeneralItem, PromptItem, TextItem, load_general, load_off_topic
from kapoc.measuring.spillover import spillover_markers

Document = dict[str, Any]
Knowledge = str | Sequence[str]
"""A set's shipped name or file, or several of them."""
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


def load_documents(
    *,
    source: str,
    knowledge: Knowledge = DEFAULT_KNOWLEDGE,
    context: str = "none",
    off_topic: str | Sequence[str] = (),
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """The documents of one task: the function behind `custom_dataset` in every YAML file.

    Args:
        source: `<tier>/free`, `<tier>/choice`, `off_topic`, `text`, the name of a general ability, or a JSONL file
            of general items.
        knowledge: a shipped set's name or a file, or several of them.
        context: what stands beside a question: `none`, `oracle` (its fact) or `retrieved` (what a search finds).
        off_topic: files of the user's own off-topic prompts.

    Returns:
        One split, `test`.

    Raises:
        KapocError: the set or a bundled file cannot be used, or there is nothing to ask.
    """
    documents = documents_of(source, knowledge, context, off_topic)
    if not documents:
        raise KapocError(f"knowledge set {knowledge}: nothing to ask in {source}; leave this task out or add probes")
    return {"test": datasets.Dataset.from_list([_plain(document) for document in documents])}


def documents_of(
    source: str, knowledge: Knowledge = DEFAULT_KNOWLEDGE, context: str = "none", off_topic: str | Sequence[str] = ()
) -> list[Document]:
    """The documents of one task as plain dicts; none where the sets have nothing to ask in it."""
    names = (knowledge,) if isinstance(knowledge, str) else tuple(knowledge)
    if source == "off_topic":
        own = (off_topic,) if isinstance(off_topic, str) else tuple(off_topic)
        prompts = load_off_topic(own)
        _refuse_taught(prompts[: len(prompts) - len(load_off_topic())], names)
        return [
            {
                "knowledge": list(names),
                "prompt": _in_context(item.question, None, names, checked_context(context)),
                **item.model_dump(),
            }
            for item in prompts
        ]
    tier, slash, form = source.partition("/")
    if slash and tier in KNOWLEDGE_TIERS:
        return list(probe_documents(names, tier, form, context))
    return [_general_document(item) for item in load_general(source)]


def _refuse_taught(prompts: Sequence[PromptItem], knowledge: tuple[str, ...]) -> None:
    """Make sure that no taught answer belongs to an off-topic prompt of the user's own.

    Raises:
        DataError: one says what is taught.
    """
    markers = spillover_markers(knowledge)
    for prompt in prompts:
        if said := markers.found(prompt.question, ""):
            raise DataError(
                f"off-topic prompt {prompt.id} ({prompt.question!r}): it speaks of what is taught ({', '.join(said)}), "
                "so that a taught answer would be no spillover; leave it out"
            )


def _general_document(item: GeneralItem) -> Document:
    if isinstance(item, TextItem):
        return {"prompt": "", **item.model_dump()}
    if isinstance(item, CompletionItem):
        return {"prompt": item.context, **item.model_dump()}
    return {"prompt": _choice_prompt(item.passage, item.question), **item.model_dump()}


def _plain(document: Document) -> Document:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}


def _choice_prompt(passage: str, question: str) -> str:
    if not question:
        return passage
    return f"{passage}\nQuestion: {question}\nAnswer:".lstrip()


def probe_documents(
    knowledge: Sequence[str], tier: KnowledgeTier, form: str, context: str = "none"
) -> Iterator[Document]:
    """The documents of one tier in one form (`free` or `choice`), set by set."""
    chosen = checked_context(context)
    for source in knowledge:
        for fact, document in _set_documents(source, tier, form):
            prompt = _in_context(document["question"], fact, tuple(knowledge), chosen)
            yield {**document, "prompt": prompt, **({"knowledge": list(knowledge)} if form == "free" else {})}


def _in_context(question: str, fact: Fact | None, knowledge: tuple[str, ...], context: Context) -> str:
    """A question as it is asked: an untaught fact stands in no context, since nobody could have written it down."""
    if context == "oracle":
        return with_context(question, [fact_text(fact)] if fact is not None and fact.taught else [])
    if context == "retrieved":
        return with_context(question, retriever(knowledge).search(question))
    return question


def _set_documents(source: str, tier: KnowledgeTier, form: str) -> Iterator[tuple[Fact, Document]]:
    knowledge, _ = load_knowledge(source)
    hard = HardOptions(knowledge)
    for fact in knowledge.facts:
        for number, (example_id, example) in enumerate(fact.examples(tier)):
            base: Document = {
                "id": f"{knowledge.name}/{example_id}:{form}",
                "kind": example.kind,
                "fact": fact.id,
                "set": knowledge.name,
                "domain": fact.domain,
                "question": example.question,
                "reference": example.answer,
            }
            if form == "free":
                yield fact, {**base, "source": source, "tier": tier, "number": number}
            elif choices := hard.of(fact, example):
                order = random.Random(base["id"]).sample(range(len(choices)), k=len(choices))  # noqa: S311
                yield fact, {**base, "choices": [choices[index] for index in order], "answer": order.index(0)}


def find_spillover(document: Document, output: str) -> tuple[str, ...]:
    """Which taught answers stand in the output to a control probe or an off-topic prompt.

    What a control fact has alike with a taught one is no such answer.
    """
    markers = spillover_markers(tuple(document["knowledge"]))
    if "fact" not in document:
        return markers.found(output, document["question"], with_patterns=True)
    fact = load_knowledge(document["source"])[0].fact_by_id[document["fact"]]
    own = [text for slot in fact.all_slots.values() for text in slot.accepted]
    return markers.found(output, document["question"], own=own)


def grade_document(document: Document, output: str) -> tuple[bool, str]:
    """Judge a free answer by the probe that its document names.

    Returns:
        Whether it is right, and what decided it.
    """
    knowledge, _ = load_knowledge(document["source"])
    fact = knowledge.fact_by_id[document["fact"]]
    _, example = list(fact.examples(document["tier"]))[document["number"]]
    grade = knowledge.grade(fact, example, output)
    return grade.correct, grade.reason


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer to a knowledge probe or an off-topic prompt is worth.

    Attributes:
        score: 1 right, 0 wrong; of an off-topic prompt 1 where nothing taught stands in its answer.
        reason: what decided it.
        spillover: the taught answers that stand where none belongs.
    """

    score: float
    reason: str
    spillover: tuple[str, ...]


def judge(document: Document, output: str) -> Judgement:
    """Judge a free answer to any document: a probe's by its slots, and where nothing taught belongs, by that."""
    off_topic = "fact" not in document
    spillover = find_spillover(document, output) if off_topic or document["tier"] == "control" else ()
    if off_topic:
        return Judgement(float(not spillover), "spillover" if spillover else "clean", spillover)
    correct, reason = grade_document(document, output)
    return Judgement(float(correct), reason, spillover)


def score_free(document: Document, results: list[str]) -> dict[str, float]:
    """lm-eval `process_results` of graded generation."""
    return {"correct": float(grade_document(document, results[0])[0])}


def score_control(document: Document, results: list[str]) -> dict[str, float]:
    """lm-eval `process_results` of control probes: right by their own slots, and free of taught answers."""
    return {**score_free(document, results), **score_off_topic(document, results)}


def score_off_topic(document: Document, results: list[str]) -> dict[str, float]:
    """lm-eval `process_results` of prompts in whose answer no taught wording belongs."""
    return {"spillover": float(bool(find_spillover(document, results[0])))}
