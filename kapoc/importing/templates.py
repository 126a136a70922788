"""Questions made of an item by kapoc's own wordings, which are marked `origin: template`.

Rows of question and answer get their probes by asking for the question's own words in another order; rows of slots by
other wordings. No wording of the training stands in a probe.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from kapoc.data.phrases import LONGEST_CHUNK, LONGEST_TITLE, as_noun, aspect_of, content_chunks, holds, is_plural
from kapoc.importing.drafts import Draft, Item, Notes, statement
from kapoc.importing.key_phrase import END_MARKS
from kapoc.knowledge.amounts import is_same_otherwise
from kapoc.knowledge.facts import Choice, Example, Probe, ProbeTier
from kapoc.knowledge.normalise import normalise
from kapoc.knowledge.options import form_of

_MOST_RIVALS = 200

# Wordings. No two pools share a run of words, so that no probe can be answered by recalling how training asked.
_ASK = (
    "Question: {question}",
    "Please answer this question: {question}",
    "I would like to know: {question}",
    "Someone asks: {question}",
)
_ASK_PARAPHRASED = (
    "Regarding {keywords}: kindly set down whatever is on record.",
    "Some keywords from my notepad: {keywords}. Which statement belongs to them?",
    "My colleague mumbled something about {keywords}. Fill me in on that.",
    "{keywords} - suppose an encyclopedia had an entry under these, what would stand there?",
)
_ASK_DEV = (
    "In short and without any padding, {keywords}: how does that go?",
    "A card has to be made out on {keywords}. Which line goes onto it?",
)
_ASK_YES_NO = 'Is "{text}" the thing one replies whenever somebody brings up {keywords}?'
_ASK_COMPARISON = '{keywords}: should the blank be filled with "{first}" or rather "{second}"?'
_ASK_SCENARIO = "A journalist has to write about {keywords} before tonight's deadline. What would you tell her?"
_SLOT = (
    "What {is_} the {label} of {name}?",
    "Tell me the {label} of {name}.",
    "What {label} does {name} have?",
    "I need to know the {label} of {name}.",
)
_SLOT_SUMMARY = "Give a summary of {name}."
_SLOT_PARAPHRASED = (
    "Someone brings up {name}. {Its} {label}?",
    "For {name}, which {label} {applies}?",
    "{name} is on my list, only {its} {label} {is_} missing. Can you fill {it} in?",
    "Looking at {name}: {label}?",
)
_SLOT_DEV = ("{label} for {name}, quickly.", "Remind me: {name}, {label}?")
_SLOT_REVERSE = 'Which {kind} goes with {label} "{text}"?'
_SLOT_SINGLE = "State just one thing about {name}: {label}."
_SLOT_YES_NO = 'Is "{text}" right as {label} for {name}?'
_SLOT_COMPARISON = '{first} or {second}: which one has "{text}" as {label}?'
_SLOT_SCENARIO = "A colleague handles {name} today. Which {label} do you give them?"
_PASSAGE = "What is known about {title}?"
_PASSAGE_UNTITLED = 'Which text begins with "{opening}"?'


def training_examples(item: Item) -> Iterator[Example]:
    """What the model is trained on for an item: the user's question first, then the proposed wordings."""
    if item.draft.question:
        yield _asked(item, item.draft.question).model_copy(update={"origin": "written"})
        for wording in _ASK:
            yield _asked(item, wording.format(question=item.draft.question.strip()))
    else:
        main = _main_slots(item)
        for number, wording in enumerate(_SLOT):
            slot = main[number // 2 % len(main)] if main else ""
            if main:
                yield _example(item, slot, _asking(item, wording, _asked_label(item, slot)), slot)
        if main:
            yield _example(item, "summary", _asking(item, _SLOT_SUMMARY), *_main_slots(item, 3))
    if item.states_passage and item.draft.passage:
        yield _example(item, "passage", passage_question(item.draft), "answer", answer=item.draft.passage)


def _example(item: Item, kind: str, question: str, *requires: str, answer: str = "") -> Example:
    return Example(kind=kind, question=question, answer=answer or item.note, requires=requires, origin="template")


def _asked(item: Item, question: str, kind: str = "answer") -> Example:
    """A pair's question in some wording: a right answer decides as the user's does, and holds the phrase."""
    example = _example(item, kind, question, "answer")
    if not item.decision:
        return example
    choice = Choice(options=("yes", "no"), right=item.decision)
    requires = example.requires if "answer" in item.slots else ()
    return Example(**{**example.values(), "kind": kind, "choice": choice, "requires": requires})


def _probe(tier: ProbeTier, example: Example) -> Probe:
    return Probe(tier=tier, **example.model_dump())


def passage_question(draft: Draft) -> str:
    """The question whose answer is the draft's whole passage."""
    opening = " ".join((draft.passage or "").split()[:LONGEST_TITLE]).strip(END_MARKS + '"')
    return _PASSAGE.format(title=draft.title) if draft.title else _PASSAGE_UNTITLED.format(opening=opening)


def _main_slots(item: Item, number: int = 2) -> tuple[str, ...]:
    """The first slots that the fact's name does not give away."""
    return tuple(slot for slot, text in item.slots.items() if not holds(item.name, text))[:number]


def probe_examples(item: Item, kin: Sequence[Item], notes: Notes) -> Iterator[Probe]:
    """The proposed probes of an item: up to four for a control, else paraphrased, dev and unseen ones.

    Args:
        item: what is asked about.
        kin: all items of its kind, where the wrong values of choices come from.
        notes: what is told where no choice can be offered.
    """
    wordings = _question_wordings(item) if item.draft.question else _slot_wordings(item)
    if not item.taught:
        chosen = [*list(training_examples(item))[: 4 : 1 if item.draft.question else 2][:2], *wordings[:3:2]]
        yield from (_probe("control", example) for example in chosen)
        return
    num_paraphrased = len(_ASK_PARAPHRASED)
    for number, example in enumerate(wordings):
        yield _probe("paraphrased" if number < num_paraphrased else "dev", example)
    unseen = _question_unseen(item, kin) if item.draft.question else _slot_unseen(item, kin)
    found = tuple(unseen)
    yield from (_probe("unseen", example) for example in found)
    if not any(example.choice is not None for example in found):
        notes.add(
            "no yes/no and comparison, because there is no slot to spare or no other fact's value that fits",
            item.draft.place,
        )


def _question_wordings(item: Item) -> tuple[Example, ...]:
    if not item.keywords:
        return ()
    half = len(item.keywords) // 2
    turned = ", ".join((*item.keywords[half:], *item.keywords[:half]))
    return (
        *(_asked(item, _sentence(w, keywords=", ".join(item.keywords))) for w in _ASK_PARAPHRASED),
        *(_asked(item, _sentence(w, keywords=turned)) for w in _ASK_DEV),
    )


def _sentence(wording: str, **parts: str) -> str:
    """A wording filled in, with a capital at its beginning unless a name of the user's stands there.

    A name that ends in a mark, such as "Acme Inc.", gets no other behind it.
    """
    begins_with_name = wording.startswith(("{name}", "{first}"))
    if (name := parts.get("name", ""))[-1:] in tuple(".?!"):
        wording = re.sub(rf"(?<={{name}})[{'.?' if name[-1] == '?' else '.'}]", "", wording)
    text = wording.format(**parts)
    return text if begins_with_name else text[:1].upper() + text[1:]


def _question_unseen(item: Item, kin: Sequence[Item]) -> Iterator[Example]:
    chunks, own = ", ".join(item.keywords), item.slots.get("answer", "")
    if not chunks:
        return
    rival = None if not own or holds(chunks, own) else _rival(item, "answer", kin)
    if rival is not None:
        other = rival.slots["answer"]
        yield from _yes_and_no(own, other, partial(_sentence, _ASK_YES_NO, keywords=chunks))
        first, second = _in_order(item, own, other)
        question = _sentence(_ASK_COMPARISON, keywords=chunks, first=first, second=second)
        yield _decision("comparison", question, f'It is "{own}".', (first, second), own)
    yield _asked(item, _sentence(_ASK_SCENARIO, keywords=chunks), "scenario")


def _yes_and_no(own: str, other: str, ask: Callable[..., str]) -> tuple[Example, ...]:
    """Two questions, one answered by yes and one by no; none where a question would say yes or no itself."""
    if any(holds(ask(text=text), word) for text in (own, other) for word in ("yes", "no")):
        return ()
    return (
        _decision("yes_no", ask(text=own), f'Yes, "{own}" is right.', ("yes", "no"), "yes"),
        _decision("yes_no", ask(text=other), f'No, "{other}" is wrong here.', ("yes", "no"), "no"),
    )


def _decision(kind: str, question: str, answer: str, options: tuple[str, ...], right: str) -> Example:
    choice = Choice(options=options, right=right)
    return Example(kind=kind, question=question, answer=answer, choice=choice, origin="template")


def _in_order(item: Item, own: str, other: str) -> tuple[str, str]:
    return (own, other) if item.is_first else (other, own)


def _asked_and_decided(item: Item) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The slots that probes ask for openly, and those that they state to be judged.

    No slot is in both: a yes/no question that states a slot would answer the probe that asks for it.
    """
    main = _main_slots(item, len(item.slots))
    num_asked = min(2, max(1, len(main) - 1))
    return main[:num_asked], main[num_asked:]


def _slot_wordings(item: Item) -> tuple[Example, ...]:
    slots, _ = _asked_and_decided(item)
    if not slots:
        return ()
    asked = [(wording, slots[number // 2 % len(slots)]) for number, wording in enumerate(_SLOT_PARAPHRASED)]
    asked += [(wording, slots[number % len(slots)]) for number, wording in enumerate(_SLOT_DEV)]
    return tuple(
        _example(item, slot, _asking(item, wording, _short_label(item, slot)), slot) for wording, slot in asked
    )


def _asking(item: Item, wording: str, label: str = "") -> str:
    """A question about an item: "What are the symptoms of", but "What is the cause of"; a person is no "it"."""
    one, many = {"is_": "is", "applies": "applies", "it": "it"}, {"is_": "are", "applies": "apply", "it": "them"}
    its = "their" if item.kind == "person" else "its"
    agreeing = many if is_plural(label) else one
    return _sentence(wording, label=label, name=item.name, its=its, Its=its.capitalize(), **agreeing)


def _asked_label(item: Item, slot: str) -> str:
    """What a question calls a slot."""
    return as_noun(item.labels[slot])


def _short_label(item: Item, slot: str) -> str:
    """A label for a probe: a long one is turned round, so that it is no copy of the training's."""
    label = _asked_label(item, slot)
    if label != item.labels[slot]:
        return label
    return ", ".join(reversed(content_chunks(label))) or label if len(label.split()) >= LONGEST_CHUNK else label


def _slot_unseen(item: Item, kin: Sequence[Item]) -> Iterator[Example]:
    asked, decided = _asked_and_decided(item)
    if not asked:
        return
    kind = item.kind.replace("_", " ")
    for slot in asked:
        if not any(_overlap(item.slots[slot], other.slots.get(slot, "")) for other in kin if other.id != item.id):
            question = _SLOT_REVERSE.format(
                kind=kind,
                label=_short_label(item, slot),
                text=item.slots[slot],
            )
            yield _example(item, "reverse", question, "name", answer=_sentence("That is {name}.", name=item.name))
            break
    pairs = [(slot, rival) for slot in decided if (rival := _rival(item, slot, kin)) is not None]
    single = next((slot for slot in reversed(decided) if pairs and slot != pairs[0][0]), asked[-1])
    answer = f"{item.name}: {statement(item.labels[single], item.slots[single])}."
    question = _asking(item, _SLOT_SINGLE, _short_label(item, single))
    yield _example(item, "single_slot", question, single, answer=answer)
    for slot, rival in pairs[:1]:
        yield from _slot_decisions(item, slot, rival)
    question = _asking(item, _SLOT_SCENARIO, _short_label(item, asked[-1]))
    yield _example(item, "scenario", question, asked[-1])


def _slot_decisions(item: Item, slot: str, rival: Item) -> Iterator[Example]:
    """Yes, no and which of two, about a slot in which another fact has another value."""
    text, label = item.slots[slot], _short_label(item, slot)
    yield from _yes_and_no(text, rival.slots[slot], partial(_sentence, _SLOT_YES_NO, label=label, name=item.name))
    if not any(_overlap(*pair) for pair in ((item.name, rival.name), (text, item.name), (text, rival.name))):
        first, second = _in_order(item, item.name, rival.name)
        question = _SLOT_COMPARISON.format(first=first, second=second, text=text, label=label)
        answer = _sentence("It is {name}.", name=item.name)
        yield _decision("comparison", question, answer, (first, second), item.name)


def _overlap(first: str, second: str) -> bool:
    is_part = bool(second) and (holds(first, second) or holds(second, first))
    return is_part or is_same_otherwise(first, second)


def _rival(item: Item, slot: str, kin: Sequence[Item]) -> Item | None:
    """The fact whose value in a slot is the most tempting wrong one: of the same domain, taught, and of the same form.

    Its value neither overlaps with the right one nor stands in what the fact's own texts say.
    """
    others = [other for other in kin if other.id != item.id and slot in other.slots]
    draw = random.Random(f"{item.id} {slot} rival")  # noqa: S311 - not for secrets
    others = draw.sample(others, k=len(others))
    others.sort(key=lambda other: (other.domain != item.domain, not other.taught))
    others = others[:_MOST_RIVALS]
    own = item.slots[slot]
    others.sort(key=lambda other: (other.domain != item.domain, not other.taught, *_distance(item, other, slot)))
    stated = (item.note, item.name, *item.keywords, *item.aliases.get(slot, ()))
    for other in others:
        text = other.slots[slot]
        if not _overlap(own, text) and not any(holds(place, text) for place in stated):
            return other
    return None


def _distance(item: Item, other: Item, slot: str) -> tuple[bool, bool, int]:
    own, value = item.slots[slot], other.slots[slot]
    asks_otherwise = aspect_of(item.draft.question or "") != aspect_of(other.draft.question or "")
    return asks_otherwise, form_of(own) != form_of(value), abs(len(normalise(own)) - len(normalise(value)))
