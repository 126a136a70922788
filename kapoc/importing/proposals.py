"""Drafts, which are what a user brought, made into facts with all that a knowledge set needs.

What the user did not bring is filled from templates and marked `origin: template`. A proposal that would be graded
wrong, states its own answer or leaks is taken out again.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from kapoc.data.leaks import find_leaks
from kapoc.data.phrases import STOP_WORDS, holds
from kapoc.errors import DataError
from kapoc.importing.drafts import (
    Draft,
    Item,
    Notes,
    choose_controls,
    first_few,
    make_items,
    says_something,
    with_keywords,
    without_duplicates,
)
from kapoc.importing.key_phrase import END_MARKS
from kapoc.importing.spillover_guesses import guess_distinctive, guess_patterns
from kapoc.importing.templates import passage_question, probe_examples, training_examples
from kapoc.knowledge.facts import KNOWLEDGE_TIERS, Domain, Example, Fact, KnowledgeSet, Slot, SlotKind
from kapoc.knowledge.grade import PhraseIndex, Requirement, assertions
from kapoc.knowledge.normalise import normalise

AnyExample = TypeVar("AnyExample", bound=Example)


def propose(
    drafts: Sequence[Draft], set_name: str, version: str = "1.0.0", num_controls: int | None = None
) -> tuple[KnowledgeSet, tuple[str, ...]]:
    """Make a knowledge set of drafts.

    Args:
        drafts: what the user brought.
        set_name: the name of the set; it also decides which facts become controls.
        version: the version of the set.
        num_controls: how many facts are held back as controls; a tenth of ten drafts or more (at least two), and none
            of fewer, if it is not given. Drafts with `taught=False` are controls in any case and count first.

    Returns:
        The set, and lines that tell what was proposed, how much, and what could not be.

    Raises:
        DataError: two drafts contradict each other, too many controls are asked for, or nothing can be asked.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]*", set_name):
        raise DataError(f"{set_name}: not a name for a set; use letters, digits, '.', '_' and '-'")
    notes = Notes()
    kept = without_duplicates(drafts, notes)
    controls = choose_controls(kept, num_controls, set_name)
    items = _with_passages(with_keywords(make_items(kept, controls, notes), notes), notes)
    items = _with_aliases(items)
    slots, facts = guess_distinctive(_slot_kinds(items), _facts(items, notes))
    domains = {item.domain: item.draft.domain.strip() or "General" for item in reversed(items)}
    knowledge = KnowledgeSet(
        schema_version=1,
        name=set_name,
        version=version,
        description="Imported; what is marked `origin: template` was proposed by kapoc.",
        slots=slots,
        spillover_patterns=tuple(guess_patterns(item.name for item in items if item.taught)),
        domains=tuple(Domain(id=domain, name=domains[domain]) for domain in dict.fromkeys(i.domain for i in items)),
        facts=facts,
    )
    places = {item.id: item.draft.place for item in items}
    knowledge = _without_leaks(_graded_right(knowledge, places, notes), places, notes)
    return knowledge, (*_summary(knowledge, items), *notes.lines())


def _with_passages(items: list[Item], notes: Notes) -> list[Item]:
    """Let the first fact of each passage that the passage states carry it, unless a control is asked about it."""
    on: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if item.draft.passage:
            on[item.draft.passage].append(index)
    result = list(items)
    for passage, indices in on.items():
        stating = [i for i in indices if assertions(items[i].slots.get("answer", ""), passage)]
        fit = [i for i in stating if not holds(passage_question(items[i].draft), items[i].slots["answer"])]
        if not all(items[i].taught for i in indices):
            if any(items[i].taught for i in indices):
                notes.add("passage not trained on, because a control is asked about it", items[indices[0]].draft.place)
        elif fit:
            result[fit[0]] = replace(items[fit[0]], states_passage=True)
        else:
            notes.add(
                "passage not trained on, because it states no answer word for word", items[indices[0]].draft.place
            )
    return result


def _with_aliases(items: list[Item]) -> list[Item]:
    """Accept a whole text of the user where another fact's value stands in it, which would count against it."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in items:
        for slot, text in item.slots.items():
            texts[item.kind, slot].append(text)
    known = {key: PhraseIndex(phrases) for key, phrases in texts.items()}
    result = []
    for item in items:
        stated = (item.note, *([item.draft.passage] if item.states_passage and item.draft.passage else ()))
        context = (item.name, *item.slots.values())
        aliases = {}
        for slot, text in item.slots.items():
            own = Requirement(slot, (text,), known[item.kind, slot], context)
            if disputed := tuple(whole.strip() for whole in stated if own.contradiction(whole) is not None):
                aliases[slot] = disputed
        result.append(replace(item, aliases=aliases))
    return result


def _facts(items: list[Item], notes: Notes) -> tuple[Fact, ...]:
    training = {item.id: _kept(item, training_examples(item), notes) for item in items if item.taught}
    lost = {item.id for item in items if item.taught and not training[item.id]}
    for item in items:
        if item.id in lost:
            notes.add("row left out, because its name contains all that could be asked", item.draft.place)
    by_kind: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.id not in lost:
            by_kind[item.kind].append(item)
    facts = []
    for item in items:
        if item.id in lost:
            continue
        probes = _kept(item, probe_examples(item, by_kind[item.kind], notes), notes)
        facts.append(
            Fact(
                id=item.id,
                domain=item.domain,
                kind=item.kind,
                name=item.name,
                taught=item.taught,
                slots={n: Slot(text=text, aliases=item.aliases.get(n, ())) for n, text in item.slots.items()},
                note=item.note,
                training=training.get(item.id, ()),
                probes=probes,
            )
        )
    if not any(fact.taught for fact in facts):
        raise DataError(
            f"{items[0].draft.place}: no fact can be asked about: every name contains its slots; name them otherwise"
        )
    return tuple(facts)


def _kept(item: Item, examples: Iterable[AnyExample], notes: Notes) -> tuple[AnyExample, ...]:
    """The examples without those proposed ones whose question states what it asks for."""
    kept = []
    asked = {"name": item.name, **item.slots}
    for example in examples:
        if example.origin == "template" and any(holds(example.question, asked[name]) for name in example.requires):
            notes.add(f"{example.kind} example left out, because its question states its answer", item.draft.place)
        else:
            kept.append(example)
    return tuple(kept)


def _graded_right(knowledge: KnowledgeSet, places: dict[str, str], notes: Notes) -> KnowledgeSet:
    """The set without those proposals whose reference answer another fact's value makes wrong."""
    facts = []
    for fact in knowledge.facts:
        kept: dict[str, list[Any]] = {"training": [], "probes": []}
        for part, examples in (("training", fact.training), ("probes", fact.probes)):
            for example in examples:
                grade = knowledge.grade(fact, example, example.answer)
                if grade.correct:
                    kept[part].append(example)
                else:
                    notes.add(f"{example.kind} example left out, because its answer is graded wrong", places[fact.id])
        if fact.taught and not kept["training"]:
            raise DataError(f"{places[fact.id]}: answer: cannot be graded ({grade.reason}); word it otherwise")
        facts.append(fact.model_copy(update={part: tuple(examples) for part, examples in kept.items()}))
    return knowledge.model_copy(update={"facts": tuple(facts)})


def _without_leaks(knowledge: KnowledgeSet, places: dict[str, str], notes: Notes) -> KnowledgeSet:
    """The set without those proposed probes that the audit would call leaking; yes and no go together.

    Likeness depends on all texts of the set, so the audit is asked again until it has nothing to say.
    """
    while True:
        checks = {finding.subject: finding.check for finding in find_leaks(knowledge)}
        facts = [_without_leaking(fact, checks, places[fact.id], notes) for fact in knowledge.facts]
        if all(new is old for new, old in zip(facts, knowledge.facts, strict=True)):
            break
        knowledge = knowledge.model_copy(update={"facts": tuple(facts)})
    return KnowledgeSet.model_validate(knowledge.values())


def _without_leaking(fact: Fact, checks: Mapping[str, str], place: str, notes: Notes) -> Fact:
    leaking: dict[str, str] = {}
    for tier in KNOWLEDGE_TIERS[1:]:
        for example_id, example in fact.examples(tier):
            if example_id in checks and example.origin == "template":
                pair = [probe.question for probe in fact.probes if probe.kind == example.kind == "yes_no"]
                leaking |= dict.fromkeys((example.question, *pair), checks[example_id])
    if not leaking:
        return fact
    for probe in fact.probes:
        if probe.question in leaking:
            notes.add(f"{probe.kind} probe left out ({leaking[probe.question]})", place)
    return fact.model_copy(update={"probes": tuple(p for p in fact.probes if p.question not in leaking)})


def _slot_kinds(items: Sequence[Item]) -> dict[str, SlotKind]:
    columns: dict[str, str] = {}
    for item in items:
        if item.draft.question and "answer" in item.slots:
            columns["answer"] = "imported from the answers: the whole of a short one, a phrase of a long one"
        elif item.draft.question:
            columns["decision"] = "imported from the answers that are a yes or a no alone"
        for label, slot in zip(
            (k for k in item.draft.slots if says_something(item.draft.slots[k])), item.slots, strict=False
        ):
            columns.setdefault(slot, f"imported from column {label}")
    return {slot: SlotKind(description=column) for slot, column in columns.items()}


def _summary(knowledge: KnowledgeSet, items: Sequence[Item]) -> Iterator[str]:
    examples = [example for fact in knowledge.facts for example in (*fact.training, *fact.probes)]
    proposed = sum(example.origin == "template" for example in examples)
    yield (
        f"{len(knowledge.facts)} facts with {len(examples)} questions: {len(examples) - proposed} of yours, {proposed} "
        "proposed by kapoc (`origin: template`); read those, and delete `origin` where you keep one"
    )
    asked = [item for item in items if item.draft.answer and "answer" in item.slots]
    phrases = [item for item in asked if item.slots["answer"] != item.note.strip(END_MARKS)]
    if phrases:
        yield (
            f"answer: of {len(phrases)} longer answers only a phrase is graded, such as "
            f"'{phrases[0].slots['answer']}' of {phrases[0].id}; read them, and put what matters in their place"
        )
    questions = [normalise(item.draft.question) for item in asked if item.draft.question]
    if sum(word in STOP_WORDS for words in questions for word in words) < len(questions):
        yield (
            "language: the questions do not look English; what kapoc proposes is, and the phrase of an answer that is "
            "graded was chosen by English rules, so read every one"
        )
    if decided := [item for item in items if item.decision]:
        yield (
            f"decision: {len(decided)} questions are answered by yes or no, and a right answer says so first, as "
            f"'{decided[0].decision}' of {decided[0].id}, and holds the phrase; delete `requires` if that is too much"
        )
    if marked := [name for name, kind in knowledge.slots.items() if kind.distinctive]:
        common = [slot.text for fact in knowledge.facts for slot in fact.slots.values() if slot.distinctive is False]
        number = f"{len(common)} texts such as " if len(common) > 1 else ""
        but = f", but not {number}'{common[0]}'" if common else ""
        yield (
            f"distinctive (guessed): {', '.join(marked)}{but}; such texts in an answer about something else count as "
            "spillover, so write `distinctive: false` where ordinary text holds them"
        )
    if knowledge.spillover_patterns:
        yield (
            f"spillover_patterns (guessed): {', '.join(knowledge.spillover_patterns)}; what looks so in an answer "
            "about something else counts as spillover, so delete what ordinary text holds"
        )
    controls = [fact.id for fact in knowledge.facts if not fact.taught]
    if controls:
        ids = first_few(controls, 8)
        yield f"controls, asked about and never taught: {len(controls)}: {ids} (--controls 0 to teach all)"
    else:
        yield "controls: none; without one nobody can tell learning from guessing (--controls 2 to hold two facts back)"
