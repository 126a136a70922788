"""Is a knowledge set fit to prove anything? Facts that clash, aliases that confuse, questions that are lopsided."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from kapoc.data.finding import Finding, Level
from kapoc.data.naming import goes_by_its_name
from kapoc.data.ordinary_text import standing_in_ordinary_text
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.grade import grade_slots
from kapoc.knowledge.normalise import normalise, positions
from kapoc.knowledge.options import NUM_OPTIONS, HardOptions
from kapoc.knowledge.set_file import located_examples

MAX_LOPSIDED = 0.7
"""Share of one side from which yes/no questions, or the place of the right option, count as lopsided."""
MIN_JUDGED = 10
"""Fewer questions than this are too few to call lopsided."""
_FEW_DECISIONS = 3
"""So many yes/no questions may all be answered alike by chance: a warning and no error."""
_MEASURED_WORDS = 60
"""About as many as 80 tokens, where the measurement cuts an answer off (`max_gen_toks` in `tasks/_free.yaml`)."""
_EVERYDAY = "I would cook a soup of lentils tonight. Could you tell me how long that takes, and for how many it is?"
MAX_LONGEST = 0.5
"""Share of questions whose right option may be the longest of its options; a quarter is chance."""


def find_flaws(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """What makes a set measure something else than it seems to, in the order in which a reader should mend it.

    Facts that clash, texts that the grader cannot tell apart, questions and options that give the answer away, and what
    cannot be measured at all.
    """
    for check in _CHECKS:
        yield from check(knowledge)


def _clashing_facts(knowledge: KnowledgeSet) -> Iterator[Finding]:
    by_name: dict[tuple[str, ...], tuple[int, Fact]] = {}
    by_slots: dict[frozenset[object], tuple[int, Fact]] = {}
    for index, fact in enumerate(knowledge.facts):
        texts = {name: normalise(slot.text) for name, slot in fact.slots.items()}
        slots = frozenset(texts.items()) if set(texts.values()) - {("yes",), ("no",)} else frozenset()
        first = by_name.setdefault((fact.kind, fact.domain, *normalise(fact.name)), (index, fact))
        if first[1] is not fact:
            same = slots == frozenset((name, normalise(slot.text)) for name, slot in first[1].slots.items())
            check = "duplicate fact" if same else "contradicting facts"
            message = (
                f"'{fact.name}' is read as '{first[1].name}', the name of facts[{first[0]}] ({first[1].id}); "
                "keep one, or rename"
            )
            yield Finding("error", check, ("facts", index, "name"), fact.id, message)
            continue
        twin = by_slots.setdefault(frozenset({(fact.kind, fact.domain), *slots}), (index, fact)) if slots else None
        if twin is not None and twin[1] is not fact:
            # two questions may have one answer; two facts of several parts that agree in all of them are one fact,
            # unless each is asked about by its name
            are_named = goes_by_its_name(fact) and goes_by_its_name(twin[1])
            level: Level = "warning" if are_named or len(fact.slots) == 1 else "error"
            message = f"has the very slots of facts[{twin[0]}] ({twin[1].id}); only the name tells the two apart"
            yield Finding(level, "duplicate fact", ("facts", index, "slots"), fact.id, message)


def _aliases_of_siblings(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Aliases that are another fact's text in the same slot: its answer would be graded right here.

    A part of the fact's own text (`April 2025` of `2 April 2025`) says less than the text and nothing else.
    """
    texts: dict[tuple[str, str, tuple[str, ...]], str] = {}
    for fact in knowledge.facts:
        for name, slot in fact.slots.items():
            texts.setdefault((fact.kind, name, normalise(slot.text)), fact.id)
    for index, fact in enumerate(knowledge.facts):
        for name, slot in fact.slots.items():
            for number, alias in enumerate(slot.aliases):
                owner = texts.get((fact.kind, name, normalise(alias)))
                is_part = bool(positions(normalise(alias), normalise(slot.text)))
                if owner is not None and owner != fact.id and not is_part:
                    message = f"'{alias}' is what {owner} has in this slot; take the alias away"
                    location = ("facts", index, "slots", name, "aliases", number)
                    yield Finding("error", "alias of a sibling", location, fact.id, message)


def _alike_to_the_grader(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Slots that the author wrote otherwise than a sibling's, and that are graded as the same."""
    texts: dict[tuple[str, str, tuple[str, ...]], tuple[str, str]] = {}
    for index, fact in enumerate(knowledge.facts):
        for name, slot in fact.slots.items():
            text, owner = texts.setdefault((fact.kind, name, normalise(slot.text)), (slot.text, fact.id))
            if _marks(text) != _marks(slot.text):
                message = f"'{slot.text}' is graded as the same as '{text}' of {owner}; write out what sets them apart"
                yield Finding("warning", "alike to the grader", ("facts", index, "slots", name), fact.id, message)


def _marks(text: str) -> list[str]:
    """The signs of a text that may mean something and are not compared."""
    return [letter for letter in text if unicodedata.category(letter) in {"Sm", "So"}]


def _late_answers(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Facts with an answer of which what is graded stands too late to be measured."""
    for index, fact in enumerate(knowledge.facts):
        for location, _, example in located_examples(fact, index):
            answer = " ".join(example.answer.split()[:_MEASURED_WORDS])
            wanted = knowledge.requirements(fact, example)
            if grade_slots(example.answer, wanted).correct and not grade_slots(answer, wanted).correct:
                message = (
                    f"what is graded stands behind the first {_MEASURED_WORDS} words, and of an answer 80 tokens are "
                    "measured; let it begin with what is asked for, or shorten it"
                )
                yield Finding("warning", "late answer", (*location, "answer"), fact.id, message)
                break


def _lopsided_sides(knowledge: KnowledgeSet) -> Iterator[Finding]:
    sides: Counter[str] = Counter()
    places: dict[str, Counter[int]] = defaultdict(Counter)
    for fact in knowledge.facts:
        for probe in fact.probes:
            if probe.choice is None or probe.requires:
                continue
            if probe.choice.is_yes_no:
                sides[probe.choice.right.lower()] += 1
            else:
                places[probe.kind][probe.choice.options.index(probe.choice.right)] += 1
    number, total = max(sides.values(), default=0), sides.total()
    if 2 * number - total > 1 and number / total > MAX_LOPSIDED:
        side = sides.most_common(1)[0][0]
        message = f"{number} of {total} questions are answered '{side}'; ask as many of the other side"
        level: Level = "error" if total > _FEW_DECISIONS else "warning"
        yield Finding(level, "unbalanced yes/no", ("facts",), "yes/no", message)
    for kind, counted in places.items():
        place, number = counted.most_common(1)[0]
        if counted.total() >= MIN_JUDGED and number / counted.total() > MAX_LOPSIDED:
            message = f"the right option stands at place {place + 1} in {number} of {counted.total()}; mix the order"
            yield Finding("error", "unbalanced options", ("facts",), kind, message)


def _telling_options(knowledge: KnowledgeSet) -> Iterator[Finding]:
    asked = longest = shortest = 0
    hard = HardOptions(knowledge)
    for fact in knowledge.facts:
        for probe in (*fact.training, *fact.probes):
            options = hard.of(fact, probe)
            if not options:
                continue
            right, *wrong = map(len, options)
            asked += 1
            longest += right > max(wrong)
            shortest += right < min(wrong)
    for number, what in ((longest, "longest"), (shortest, "shortest")):
        if asked >= MIN_JUDGED and number / asked > MAX_LONGEST:
            message = (
                f"the right option is the {what} in {number} of {asked} questions; make siblings' slots alike in length"
            )
            yield Finding("warning", "telling options", ("facts",), knowledge.name, message)
    yield from _telling_form(knowledge)


def _telling_form(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Slots in which one fact alone has, or lacks, a number among its siblings."""
    groups: dict[tuple[str, str], list[tuple[int, Fact, bool]]] = defaultdict(list)
    for index, fact in enumerate(knowledge.facts):
        for name, slot in fact.slots.items():
            groups[fact.kind, name].append((index, fact, any(letter.isdigit() for letter in slot.text)))
    for (kind, name), members in groups.items():
        with_number = [member for member in members if member[2]]
        without = [member for member in members if not member[2]]
        for odd, others in ((with_number, without), (without, with_number)):
            if len(odd) == 1 and len(others) >= MIN_JUDGED:
                index, fact, _ = odd[0]
                how = "with" if odd is with_number else "without"
                message = f"is the only {name} of {len(members)} ({kind}) {how} a number"
                location = ("facts", index, "slots", name)
                yield Finding("warning", "telling form", location, fact.id, f"{message}; its option stands out")


def _blind_patterns(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Spillover patterns by which nothing would be recognised, or everything."""
    taught = [
        text
        for fact in knowledge.taught
        for text in (
            fact.name,
            *(phrase for slot in fact.slots.values() for phrase in slot.accepted),
            *(example.answer for example in fact.training),
        )
    ]
    for number, pattern in enumerate(knowledge.spillover_patterns):
        message = ""
        if re.search(pattern, "") or re.search(pattern, _EVERYDAY):
            message = "is found in everyday text, too, so that whatever a model says looks taught; make it narrower"
        elif not any(re.search(pattern, text) for text in taught):
            message = "is found in nothing that is taught, so that it recognises nothing; is it misspelt?"
        if message:
            location = ("spillover_patterns", number)
            yield Finding("warning", "blind pattern", location, knowledge.name, f"'{pattern}' {message}")


def _ordinary_texts(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Texts that are to show a spillover and stand in ordinary text."""
    distinctive = {
        (index, name): fact.slots[name].accepted
        for index, fact in enumerate(knowledge.facts)
        for name in fact.slots
        if fact.taught and knowledge.is_distinctive(fact, name)
    }
    ordinary = standing_in_ordinary_text(text for texts in distinctive.values() for text in texts)
    said = {normalise(text) for text in ordinary}
    for (index, name), texts in distinctive.items():
        if found := [text for text in texts if normalise(text) in said]:
            message = (
                f"'{found[0]}' counts as spillover in any other answer, and ordinary text holds it; write "
                "`distinctive: false` beside it, or take it from the aliases"
            )
            yield Finding(
                "warning", "ordinary text", ("facts", index, "slots", name), knowledge.facts[index].id, message
            )


def _missing_probes(knowledge: KnowledgeSet) -> Iterator[Finding]:
    for tier, what in (("paraphrased", "generality"), ("unseen", "use"), ("dev", "when to stop")):
        for index, fact in enumerate(knowledge.facts):
            if fact.taught and not any(probe.tier == tier for probe in fact.probes):
                message = f"has no {tier} probe, so its {what} is not measured; add some"
                yield Finding("warning", "missing probes", ("facts", index, "probes"), fact.id, message)


def _no_controls(knowledge: KnowledgeSet) -> Iterator[Finding]:
    if all(fact.taught for fact in knowledge.facts):
        message = (
            "no control fact: what training does to untaught facts of this shape is not measured; add `taught: false`"
        )
        yield Finding("warning", "no controls", ("facts",), knowledge.name, message)


def _unseen_spillover(knowledge: KnowledgeSet) -> Iterator[Finding]:
    marked = any(knowledge.is_distinctive(fact, slot) for fact in knowledge.taught for slot in fact.slots)
    if not knowledge.spillover_patterns and not marked:
        message = (
            "no slot is `distinctive` and there are no `spillover_patterns`: a taught answer in the wrong place is not "
            "recognised, and its checks pass whatever a model does; mark the slots whose texts are this set's alone"
        )
        yield Finding("warning", "spillover unseen", ("slots",), knowledge.name, message)


def _unused_slots(knowledge: KnowledgeSet) -> Iterator[Finding]:
    used = {name for fact in knowledge.facts for name in fact.slots}
    for name in knowledge.slots:
        if name not in used:
            yield Finding("warning", "unused slot", ("slots", name), name, "no fact has this slot; remove it")


def _few_siblings(knowledge: KnowledgeSet) -> Iterator[Finding]:
    num_facts = Counter(fact.kind for fact in knowledge.facts)
    first = {fact.kind: index for index, fact in reversed([*enumerate(knowledge.facts)])}
    for index, fact in enumerate(knowledge.facts):
        if num_facts[fact.kind] < NUM_OPTIONS and index == first[fact.kind]:
            message = (
                f"kind '{fact.kind}' has fewer than {NUM_OPTIONS} facts, so none of them is asked as multiple choice"
            )
            yield Finding("warning", "few siblings", ("facts", index, "kind"), fact.id, message)


def _unread_proposals(knowledge: KnowledgeSet) -> Iterator[Finding]:
    proposed = [
        (location, example_id)
        for index, fact in enumerate(knowledge.facts)
        for location, example_id, example in located_examples(fact, index)
        if example.origin == "template"
    ]
    if proposed:
        message = f"{len(proposed)} examples are proposals of kapoc; read them, reword them, and take `origin` away"
        yield Finding("warning", "proposals", proposed[0][0], proposed[0][1], message)


_CHECKS: tuple[Callable[[KnowledgeSet], Iterator[Finding]], ...] = (
    _clashing_facts,
    _aliases_of_siblings,
    _alike_to_the_grader,
    _late_answers,
    _lopsided_sides,
    _telling_options,
    _ordinary_texts,
    _missing_probes,
    _no_controls,
    _unseen_spillover,
    _blind_patterns,
    _unused_slots,
    _few_siblings,
    _unread_proposals,
)
