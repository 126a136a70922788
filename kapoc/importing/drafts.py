"""What a user brought, a row or a section at a time, and what is decided about each before a question is made of it.

A `Draft` becomes an `Item`: repeated drafts are dropped, controls are drawn, and every item gets its identifiers, the
texts that can be asked for, its reference answer, and its keywords.
"""

import math
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kapoc.data.naming import name_of
from kapoc.data.phrases import decision_of, keywords
from kapoc.errors import DataError
from kapoc.importing.key_phrase import Rarity, key_phrase
from kapoc.knowledge.grade import assertions
from kapoc.knowledge.normalise import Tokens, normalise

_FEWEST_FOR_CONTROLS = 10
_FEWEST_PASSAGES = 4
_HUMPS = re.compile(r"\b[a-z]{2,}(?:[A-Z][a-z]+)*(?:[A-Z][a-z]+|(?:ID|URL|URI|IP|API)s?)\b")
"""Words joined as programs join them; not `kW`, `iPhone` or `macOS`."""
_LETTERS = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th"}
)
"""Letters that Unicode does not take for others with accents, as they are written without."""
_MISSING = frozenset("n/a n.a. n.a #n/a nan null tbd #ref! #div/0! #value! #name? #num! #null!".split())
"""What stands in a cell that says nothing, the errors of spreadsheets among it; in lower case."""


@dataclass(frozen=True)
class Draft:
    """One row of what a user brought: a question with its answer, or a name with slots.

    Attributes:
        id, domain: as the user wrote them; empty where there is none.
        kind: what such facts are called.
        name: what a question calls the fact; may be empty where there is a question.
        taught: false where the user wants a control fact.
        slots: the user's own labels and texts.
        question, answer: both or neither.
        place: `file:line`.
        passage: the document that states the answer.
        title: what the passage is about.
    """

    id: str = ""
    domain: str = ""
    kind: str = "item"
    name: str = ""
    taught: bool = True
    slots: Mapping[str, str] = field(default_factory=dict)
    question: str | None = None
    answer: str | None = None
    place: str = ""
    passage: str | None = None
    title: str = ""


@dataclass(frozen=True)
class Item:
    """A draft with everything decided but its examples.

    Attributes:
        draft: what the user brought.
        id, kind, domain, taught, name, note: as they will stand in the fact.
        slots: the texts that can be asked for, by the slots' identifiers.
        labels: what a question calls each slot of the user's, by the slots' identifiers.
        is_first: whether it stands before or behind the other fact in a comparison; half of the facts do.
        keywords: by which a probe asks, if the draft is a question; empty where no probe can be made of them.
        aliases: whole texts that are accepted beside a slot's own, by the slots' identifiers.
        states_passage: whether this fact carries the passage as training, of all the facts that share it.
    """

    draft: Draft
    id: str
    kind: str
    domain: str
    taught: bool
    name: str
    slots: dict[str, str]
    labels: dict[str, str]
    note: str
    is_first: bool
    keywords: tuple[str, ...] = ()
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    states_passage: bool = False

    @property
    def decision(self) -> str:
        """`yes` or `no` where the question asks for it and the answer says it, else nothing."""
        return decision_of(self.draft.question or "", self.draft.answer or "")[0]


class Notes:
    """What is to be told, collected by reason so that a thousand rows make one line."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, None]] = defaultdict(dict)
        self._counts: Counter[str] = Counter()

    def add(self, reason: str, place: str) -> None:
        """Note that something happened for a reason at a place (`file:line`)."""
        self._counts[reason] += 1
        self._places[reason].setdefault(place)

    def lines(self) -> tuple[str, ...]:
        """One line for each reason, in the order in which they came up, with its count and its first places."""
        return tuple(
            f"{reason}: {number} ({first_few(list(self._places[reason]), 3)})"
            for reason, number in self._counts.items()
        )


def first_few(parts: Sequence[str], number: int) -> str:
    """The first of some parts as a list in a sentence, with dots where there are more."""
    return ", ".join(parts[:number]) + (", ..." if len(parts) > number else "")


def slug(text: str) -> str:
    """An identifier made of a text: its letters and digits without accents, the rest as hyphens; may be empty."""
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-._")


def without_duplicates(drafts: Sequence[Draft], notes: Notes) -> list[Draft]:
    """The drafts without those that say the same again; a note tells of each.

    Raises:
        DataError: there is no draft, one asks nothing, or two ask the same and answer otherwise.
    """
    kept: dict[Tokens, Draft] = {}
    for draft in drafts:
        asked = draft.question or draft.name
        if not normalise(asked):
            raise DataError(f"{draft.place}: {'question' if draft.question else 'name'}: holds no word; write one")
        first = kept.setdefault(normalise(asked), draft)
        if first is draft:
            continue
        if (_plain(first.answer or ""), dict(first.slots)) != (_plain(draft.answer or ""), dict(draft.slots)):
            what = "answer" if draft.question else "slots"
            other = first.question or first.name
            same = "" if _plain(other) == _plain(asked) else f" as '{other[:60]}', which is graded alike,"
            raise DataError(
                f"{draft.place}: '{asked[:60]}' stands already at {first.place}{same} with other {what}; keep one of "
                "them, or say in each what sets it apart"
            )
        if first.taught != draft.taught:
            raise DataError(
                f"{draft.place}: '{asked[:60]}' stands already at {first.place}, and one of the two is a control"
            )
        notes.add("the same row again, kept once", draft.place)
    if not kept:
        raise DataError("the import holds no facts; write one row for each")
    return list(kept.values())


def _plain(question: str) -> str:
    return " ".join(question.split()).casefold().rstrip(" ?.!")


def choose_controls(drafts: Sequence[Draft], num_controls: int | None, set_name: str) -> set[int]:
    """Which drafts are never taught: those that the user marked, and a draw that is spread over the domains.

    Questions on one passage are drawn together, because the passage itself must not be taught then.

    Args:
        drafts: all drafts of the set.
        num_controls: how many are wanted; by default a tenth, at least two, and none of fewer than ten.
        set_name: what decides the draw.

    Returns:
        The indices of the controls.

    Raises:
        DataError: nothing would be left to teach, or the number is negative.
    """
    wanted = num_controls
    if wanted is None:
        wanted = max(2, math.ceil(len(drafts) / 10)) if len(drafts) >= _FEWEST_FOR_CONTROLS else 0
    chosen = {index for index, draft in enumerate(drafts) if not draft.taught}
    if wanted < 0 or max(wanted, len(chosen)) >= len(drafts):
        raise DataError(
            f"--controls: {max(wanted, len(chosen))} of {len(drafts)} facts cannot be controls; teach one at least"
        )
    by_domain: dict[str, list[list[int]]] = defaultdict(list)
    for group in _asked_together(drafts):
        if chosen.isdisjoint(group):
            by_domain[drafts[group[0]].domain].append(group)
    draw = random.Random(f"{set_name} controls")  # noqa: S311 - not for secrets
    for waiting in by_domain.values():
        draw.shuffle(waiting)
    drawn: Counter[str] = Counter()
    while len(chosen) < wanted and any(by_domain.values()):
        domain = max(by_domain, key=lambda name: len(by_domain[name]) / (1 + drawn[name]))
        group = by_domain[domain].pop()
        drawn[domain] += 1
        if len(chosen) + len(group) < len(drafts):
            chosen.update(group)
    return chosen


def _asked_together(drafts: Sequence[Draft]) -> list[list[int]]:
    """The indices of the drafts by their passage, each alone where there is none or there are few passages."""
    together: dict[str, list[int]] = defaultdict(list)
    for index, draft in enumerate(drafts):
        together[draft.passage or f"{index}"].append(index)
    return list(together.values()) if len(together) >= _FEWEST_PASSAGES else [[i] for i in range(len(drafts))]


def make_items(drafts: Sequence[Draft], controls: set[int], notes: Notes) -> list[Item]:
    """Decide identifiers, slots and the reference answer of each draft.

    Args:
        drafts: all drafts of the set.
        controls: the indices of those that are not taught.
        notes: what is told of slots that are left out.

    Raises:
        DataError: an answer, or every slot of a draft, holds no word.
    """
    names = _unique({label: _slot_name(label) for draft in drafts for label in draft.slots})
    ids = _unique({str(i): slug(draft.id) or f"fact-{i + 1:04d}" for i, draft in enumerate(drafts)})
    for i, draft in enumerate(drafts):
        if draft.id and ids[str(i)] != draft.id:
            notes.add("another id than yours, of letters, digits and -._, or because yours stands twice", draft.place)
    groups = [" ".join(draft.domain.split()) for draft in drafts]
    domains = _unique({group: slug(group) or ("domain" if group else "general") for group in groups})
    items = []
    taken: set[Tokens] = set()
    rarity = Rarity(f"{draft.question} {draft.answer}" for draft in drafts)
    draw = random.Random("the order in comparisons")  # noqa: S311 - not for secrets
    first = [index % 2 == 0 for index in range(len(drafts))]
    draw.shuffle(first)
    for index, draft in enumerate(drafts):
        name, slots, note = _content(draft, names, rarity, taken, notes)
        items.append(
            Item(
                draft=draft,
                id=ids[str(index)],
                kind=slug(draft.kind.replace(" ", "_")) or "item",
                domain=domains[groups[index]],
                taught=index not in controls,
                name=name,
                slots=slots,
                labels={names[label]: label_of(label) for label in draft.slots},
                note=note,
                is_first=first[index],
            )
        )
    return items


def _content(
    draft: Draft, names: Mapping[str, str], rarity: Rarity, taken: set[Tokens], notes: Notes
) -> tuple[str, dict[str, str], str]:
    """The name, the slots by identifier and the reference answer of a draft; a graded phrase is added to `taken`."""
    slots = {names[label]: _slot_text(text) for label, text in draft.slots.items() if says_something(text)}
    for label, text in draft.slots.items():
        if not says_something(text):
            reason = f"is '{text}'" if normalise(text) else "holds no word"
            notes.add(f"'{label}' {reason} and is left out", draft.place)
    if draft.question is not None and draft.answer is not None:
        if not normalise(draft.answer):
            raise DataError(f"{draft.place}: answer: holds no word; write one")
        name, note = draft.name or name_of(draft.question), draft.answer.strip()
        decision, more = decision_of(draft.question, draft.answer)
        if decision and not normalise(more):
            return name, {"decision": decision.capitalize()}, note
        phrase = key_phrase(draft.question, more or draft.answer, rarity, taken)
        taken.add(normalise(phrase))
        return name, {"answer": phrase}, note
    if not slots:
        raise DataError(f"{draft.place}: slots: none holds a word; fill one in or remove the row")
    name = draft.name.strip()
    clauses = [statement(label_of(label), slots[slot]) for label, slot in names.items() if slot in slots]
    return name, slots, f"{name}: {'; '.join(clauses)}."


def says_something(text: str) -> bool:
    """Whether a slot's text holds a word, and is not what tables have where a value is missing."""
    return bool(normalise(text)) and text.strip().lower() not in _MISSING


def _unique(wanted: dict[str, str]) -> dict[str, str]:
    taken: set[str] = set()
    for key, name in wanted.items():
        free = name
        number = 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        wanted[key] = free
    return wanted


def _slot_name(label: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", slug(label_of(label))).strip("_")
    return {"": "slot", "name": "name_text"}.get(name, name)


def _slot_text(text: str) -> str:
    return " ".join(text.split()).rstrip(" .;,")


def label_of(label: str) -> str:
    """A slot's label as it stands in a sentence: lower case, but for abbreviations; `rateLimit` is two words."""
    words = re.sub(r"[_.\s]+", " ", _HUMPS.sub(_apart, label)).strip().split(" ")
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)


def _apart(joined: re.Match[str]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", joined.group())


def statement(label: str, text: str) -> str:
    """A clause that asserts a slot: not every label can stand right before every text ("not before", "phase 2")."""
    forms = (f"{label} {text}", f"{label} is {text}", f"{label}: {text}", f"{label}: it is {text}")
    return next((form for form in forms if assertions(text, form)), forms[-1])


def with_keywords(items: list[Item], notes: Notes) -> list[Item]:
    """Give each question its keywords, but for those that would ask the same as another question does."""
    asked = [set(re.findall(r"\w+", item.draft.question.lower())) for item in items if item.draft.question]
    frequency = Counter(word for words in asked for word in words)
    found = [keywords(i.draft.question, frequency, len(asked)) if i.draft.question else () for i in items]
    bags = [frozenset(normalise(" ".join(chunks))) for chunks in found]
    answers: dict[frozenset[str], set[str]] = defaultdict(set)
    for item, bag in zip(items, bags, strict=True):
        if item.draft.question:
            answers[bag].add(item.note)
    result = []
    for item, chunks, bag in zip(items, found, bags, strict=True):
        if item.draft.question and not chunks:
            notes.add("no probe but the question itself, which has no word of its own", item.draft.place)
        elif item.draft.question and len(answers[bag]) > 1:
            notes.add("no probe but the question itself, whose keywords are another question's too", item.draft.place)
            chunks = ()
        result.append(replace(item, keywords=chunks))
    return result
