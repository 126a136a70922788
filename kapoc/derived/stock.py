"""What all derived examples are made of: wordings that fit, quotations, rivals, and names that nobody has."""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import product
from typing import Any

import yaml

from kapoc.data.naming import asked_name, gone_by, is_question, told_apart
from kapoc.data.phrases import END_MARKS, as_noun, holds, is_identifier
from kapoc.data.quotations import Quotations, unended
from kapoc.derived.agreement import agreeing
from kapoc.derived.beginnings import Beginnings
from kapoc.derived.notes import ARTICLES, begins_with_name, ended, holds_slot, nameless_note, note_of, says
from kapoc.derived.own_words import OwnWords
from kapoc.derived.unknown_names import UnknownNames
from kapoc.knowledge.facts import Example, Fact, KnowledgeSet
from kapoc.knowledge.grade import Decision, grade_decision
from kapoc.knowledge.normalise import normalise

Pools = Mapping[str, Any]

_SPARE_ROUNDS = 12
"""How often the slots of a fact are gone through for one form, beyond what would be enough if every draw did."""
_MOST_RIVALS = 12
_SHORT_WORDS = 3
"""Up to so many words, an article not counted, a text stands well behind "is"."""
MOST_WORDS = 50
"""A decision stands behind so many words at most: a measured answer ends after 80 tokens."""
VERSION = "version"
"""The slot by which facts can be put in order: other numbers with dots may be dates, decimals or addresses."""
OPEN = ("statement", "slot", "combination", "scenario")
"""The forms that ask openly: what is asked for is what a fact says."""
_OF_SOFTWARE = ("setting", "file")
"""Slots of which wordings speak as of software."""
_DOUBLED_ENDS = re.compile(rf"([{END_MARKS.replace('.', '')}]|(?<!\.)\.)[?.](?=\s|$)")
"""An end mark behind another: of a title that asks, or of "5 p.m."; dots that leave something out are three."""
_ENDED_QUOTES = re.compile(rf"(?<!\.\.)([{END_MARKS}][\"\u201d\u00bb\u300d])\.(?=\s|$)")
"""A full stop behind a quotation that ends a sentence by itself."""
_NOTE = "\0"
"""Stands for a note while the wording around it is put right: what is taught stays as it is."""
_BARE_QUOTE = re.compile(r"(?<!\")(?<!: )(?<!- )\{quote\}")
"""A quotation in the grammar of its sentence: neither in quotation marks nor behind a colon or a dash."""


@lru_cache
def load_derived_wordings() -> Mapping[str, Pools]:
    """The hand-written wordings: form -> `questions` and `answers` -> pools (see the file)."""
    text = files("kapoc.derived").joinpath("wordings.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Pools] = yaml.safe_load(text)
    return found


@dataclass(frozen=True, slots=True)
class Wording:
    """A question with places for a fact's own: the same for all facts that it is asked about.

    Attributes:
        text: with fields in braces.
        slots: those that are asked for.
        called: what the question calls each of them.
    """

    text: str
    slots: tuple[str, ...]
    called: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question of a form.

    Attributes:
        text: the answer.
        note: what stands in it of a fact's note as it is; empty where it is made of slots.
    """

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """An example of a form.

    Attributes:
        fact: that the answer is about.
        example: question and answer.
        note: of the answer.
        others: the same wording where another answer is right.
    """

    fact: Fact
    example: Example
    note: str = ""
    others: tuple["Drawn", ...] = ()


class Deck:
    """The draws for one form of one fact: nothing comes twice before all that fits has come.

    Attributes:
        order: all that is random.
    """

    def __init__(self, order: random.Random, num_wanted: int = 1) -> None:
        """Draw for so many examples."""
        self.order = order
        self._num_wanted = num_wanted
        self._used: set[str] = set()

    def draw(self, pool: Sequence[str]) -> str:
        """A wording, or a quotation, of a pool."""
        fresh = [text for text in pool if text not in self._used]
        if not fresh:
            self._used.difference_update(pool)
            fresh = list(pool)
        drawn = self.order.choice(fresh)
        self._used.add(drawn)
        return drawn

    def rounds(self, slots: Sequence[str]) -> Iterator[str]:
        """The slots in a drawn order, then in another, and so on."""
        for _ in range(_SPARE_ROUNDS + self._num_wanted // max(1, len(slots))):
            yield from self.order.sample(slots, k=len(slots))


class Stock:
    """A knowledge set with what its derived examples draw on.

    Attributes:
        knowledge: the set.
        quotations: what questions may quote of it.
        own_words: what its questions are asked by in other words.
        gone_by: what all training questions about a fact name: ids -> names, or codes.
        unknown_names: names that no fact of it has, and none of the sets beside it.
    """

    def __init__(self, knowledge: KnowledgeSet, *, by_notes: bool = False, beside: Iterable[KnowledgeSet] = ()) -> None:
        self.knowledge = knowledge
        self._by_notes = by_notes
        self._owned = {slot for slot in knowledge.slots if _tells_whose(knowledge, slot)} if by_notes else set[str]()
        self.quotations = Quotations(knowledge)
        self.own_words = OwnWords(knowledge.taught)
        self.gone_by = gone_by(knowledge.taught)
        self._beginnings = Beginnings(knowledge)
        self._wordings = load_derived_wordings()
        self.unknown_names = UnknownNames(knowledge, self._wordings["names"]["words"], beside)
        apart = told_apart(knowledge)
        self._apart = {(fact.id, fact.name): apart[fact.id] for fact in knowledge.taught if fact.id in apart}
        self._domains = {domain.id: domain.name for domain in knowledge.domains}
        self._kin: dict[tuple[str, str, str, bool], list[Fact]] = defaultdict(list)
        self._long: set[tuple[str, str]] = set()
        for fact in knowledge.taught:
            for slot, domain in product(fact.slots, (fact.domain, "")):
                self._kin[fact.kind, domain, slot, is_question(fact)].append(fact)
            self._long |= {(fact.kind, name) for name, slot in fact.slots.items() if not _is_short(slot.text)}
        self._misnamed = {name for name in _OF_SOFTWARE if not _are_identifiers(knowledge, name)}
        if "setting" in self._misnamed:
            self._misnamed.add("value")  # of which wordings speak as of what a setting is set to

    def question(self, form: str, fact: Fact, slots: tuple[str, ...], deck: Deck, **fields: str) -> str:
        """A question of a form about a fact.

        Args:
            form: the form.
            fact: what is asked about.
            slots: those that are asked for; in `two_hop` the one that is quoted comes behind them.
            deck: where the wording is drawn.
            fields: what stands in it beside the fact's own.
        """
        return self.asked(self.wording(form, fact, slots, deck), fact, **fields)

    def wording(
        self,
        form: str,
        fact: Fact,
        slots: tuple[str, ...],
        deck: Deck,
        side: str = "",
        *,
        reworded: bool = False,
        one_kind: bool = True,
    ) -> Wording:
        """The wording of a question, as `question`.

        Args:
            form, fact, slots, deck: as there.
            side: where the form has wordings for each side.
            reworded: whether a paraphrase is quoted: then a wording for slots of these names, or one that says that
                it was put in other words, since the others speak of what a record says.
            one_kind: whether the texts that are compared are of one kind, such as versions of one product; else
                nothing is said but that one is higher.
        """
        pool = self._pool(form, "questions", fact, slots, side, reworded=reworded, one_kind=one_kind)
        text = deck.draw(pool)
        return Wording(text, slots, tuple(self._called(slot, deck) for slot in slots))

    def asked(self, wording: Wording, fact: Fact, **fields: str) -> str:
        """The question that a wording is for a fact."""
        return self._filled(wording.text, fact, wording.slots, fields, wording.called)

    def _called(self, slot: str, deck: Deck) -> str:
        """What a question calls a slot: half of the time by its own name, else in a word that no other slot has."""
        names = {label(name) for name in self.knowledge.slots}
        known = () if slot in self._misnamed else self._wordings["labels"].get(slot, ())
        others: list[str] = [other for other in known if other not in names]
        return deck.order.choice((*[label(slot)] * max(1, len(others)), *others))

    def answer(
        self, form: str, fact: Fact, slots: tuple[str, ...], deck: Deck, side: str = "", **fields: str
    ) -> Answer:
        """The answer to a question of a form, as `question`; `side` is `yes` or `no` where the form has these."""
        called = [label(slot) for slot in slots]
        is_whole = self._by_notes or (form in OPEN and is_question(fact))  # a phrase of its answer says less
        if is_whole and (whole := self._by_note(form, fact, slots, side, fields)):
            return whole
        pool = self._pool(form, "answers", fact, slots, side)
        return Answer(self._filled(deck.order.choice(pool), fact, slots, fields, called))

    def _by_note(
        self, form: str, fact: Fact, slots: tuple[str, ...], side: str, fields: Mapping[str, str]
    ) -> Answer | None:
        """The answer that is made of the fact's note; none where it does not answer, or would spoil a decision."""
        note, known = note_of(fact), self._wordings[form]
        templates = [known[name] for name in ("note", "other_note") if name in known]
        if not templates or note is None or not says(note, fact, slots):
            return None
        template = templates[0] if begins_with_name(note, fact) else templates[-1]
        said = note if template.endswith("{note}") else ended(note)
        called = [label(slot) for slot in slots]
        made = {
            one: self._filled(template, fact, slots, {**fields, "note": said, "side": one}, called)
            for one in (("yes", "no") if side else ("",))
        }
        decides = all(not one or self._decides(answer, one) for one, answer in made.items())
        return Answer(made[side], note) if decides else None

    def says_whose(self, fact: Fact, slot: str) -> bool:
        """Whether a comparison is answered with whose a text is: by notes, in a slot in which no two are the same."""
        return slot in self._owned and not is_question(fact) and note_of(fact) is not None

    def answer_whose(self, owner: Fact, slot: str) -> Answer:
        """The answer to a comparison that says whose the quoted text is."""
        return Answer(self._filled(self._wordings["comparison"]["record"], owner, (slot,), {}, [label(slot)]))

    def is_checked(self, fact: Fact, slot: str) -> bool:
        """Whether what a fact has in a slot can be checked in its note, told without its name: with notes alone."""
        rest = nameless_note(fact) if self._by_notes and slot != VERSION and not is_question(fact) else None
        if rest is None or not holds_slot(rest, fact, slot):
            return False
        return len(self.answer_checked(fact, fact, slot).text.split()) <= MOST_WORDS

    def answer_checked(self, first: Fact, right: Fact, slot: str) -> Answer:
        """The answer to a comparison that tells the note of the one named first, and decides by it."""
        rest = nameless_note(first) or ""
        side = "yes" if right is first else "no"
        fields = {"note": ended(rest), "side": side, "right": self.called(right)}
        text = self._filled(self._wordings["comparison"]["checked"], first, (slot,), fields, [label(slot)])
        return Answer(text, rest)

    def _decides(self, answer: str, side: str) -> bool:
        """Whether an answer says yes or no as it should, and soon enough."""
        decision = Decision(("yes", "no"), side, self.knowledge.undeciding)
        return len(answer.split()) <= MOST_WORDS and grade_decision(answer, decision).correct

    def called(self, fact: Fact) -> str:
        """The name of a fact, with its domain or kind where another fact has the same name."""
        return self._apart.get((fact.id, fact.name), fact.name)

    def start(self, slot: str, text: str) -> str:
        """What is said again of a quoted text: enough to know it by, for what is asked for stands behind it."""
        return self._beginnings.of(slot, unended(text))

    def rivals(self, fact: Fact, slot: str, deck: Deck) -> Iterator[Fact]:
        """Taught facts of the same kind that have the slot, in a drawn order; questions for a question, else names.

        Those of the same domain come first, and of these the ones whose text has the look of this fact's: a year is no
        tempting answer to who it was.
        """
        look = _look(fact.slots[slot].text)
        for domain in (fact.domain, ""):
            kin = [other for other in self._kin[fact.kind, domain, slot, is_question(fact)] if other.id != fact.id]
            drawn = deck.order.sample(kin, k=min(len(kin), _MOST_RIVALS))
            yield from sorted(drawn, key=lambda other: _look(other.slots[slot].text) != look)

    def advised(self, fact: Fact) -> tuple[str, ...]:
        """The slots that say what to do about a fact, known by their common names; none if it has no such slots."""
        keys = [tuple(key.split()) for key in self._wordings["scenario"]["questions"]["named"]]
        fit = (key for key in keys if {*key} <= fact.slots.keys() and self._misnamed.isdisjoint(key))
        return max(fit, key=len, default=())

    def _pool(
        self,
        form: str,
        part: str,
        fact: Fact,
        slots: tuple[str, ...],
        side: str = "",
        *,
        reworded: bool = False,
        one_kind: bool = True,
    ) -> Sequence[str]:
        """The wordings that fit."""
        pools: Pools = self._wordings[form][part]
        pools = pools[side] if side else pools
        if is_question(fact):
            return tuple(pools["question"])
        named: list[str] = []
        for key, wordings in pools.get("named", {}).items() if one_kind else ():
            names = tuple(key.split())
            if not self._misnamed.isdisjoint(names):
                continue
            if names == slots or (names[:1] == slots and {*names} <= fact.slots.keys()):
                named += wordings
        if reworded or any((fact.kind, slot) in self._long for slot in slots[-1:]):
            named = [wording for wording in named if not _BARE_QUOTE.search(wording)]
        if reworded and "said" in pools:
            return (*named, *pools["said"])
        if form == "scenario" and named:
            return named
        short = pools.get("short", ()) if self._is_short(fact.kind, slots) else ()
        return (*named, *short, *pools["every"])

    def _is_short(self, kind: str, slots: tuple[str, ...]) -> bool:
        """Whether the asked slot stands well in "the slot of the name is text".

        A slot that is called like the kind says what such facts are asked for, and not what they have: an event of the
        kind `person` has no person.
        """
        return bool(slots) and slots[0] != kind and (kind, slots[0]) not in self._long

    def _filled(
        self, wording: str, fact: Fact, slots: tuple[str, ...], fields: dict[str, str], called: Sequence[str]
    ) -> str:
        texts = {name: unended(slot.text) for name, slot in fact.slots.items()}
        known = texts | {
            "name": asked_name(fact) if is_question(fact) else self.called(fact),
            "domain": self._domains[fact.domain],
            "kind": "entry" if fact.kind in self.knowledge.slots else label(fact.kind),
            "slots": listed(called),
            "parts": "; ".join(f"{name}: {texts[slot]}" for name, slot in zip(called, slots, strict=True)),
        }
        if slots:
            text = texts[slots[0]]
            known |= {"slot": called[0], "text": text, "start": self.start(slots[0], text)}
        known |= fields
        if "quote" in fields:
            known["quote"] = _in_quotes(fields["quote"])
        if "note" in fields:
            known["note"] = _NOTE
        for name in {"slot", "slots", "parts"} & known.keys():
            known[name.capitalize()] = with_capital(known[name])
        text = wording.format(**known).replace("....", "...")
        for one in called if "note" not in fields else ():
            text = agreeing(text, one)
        text = _ENDED_QUOTES.sub(r"\1", _DOUBLED_ENDS.sub(r"\1", text))
        text = with_capital(text) if text.startswith(ARTICLES) else text
        return text.replace(_NOTE, fields.get("note", ""))


def askable(fact: Fact) -> tuple[str, ...]:
    """The slots that the fact's name asks for, where it is a question, or does not give away.

    A question that is decided by yes or no alone has one slot, which says what was decided.
    """
    if is_question(fact):
        wanted = {slot for example in fact.training for slot in example.requires} or set(fact.slots)
        return tuple(slot for slot in fact.slots if wanted == {slot})
    return tuple(name for name, slot in fact.slots.items() if not any(holds(fact.name, t) for t in slot.accepted))


def label(slot: str) -> str:
    """What a sentence calls a slot, or a kind."""
    return as_noun(slot.replace("_", " "))


def listed(labels: Sequence[str]) -> str:
    """Some names as in a sentence: `file, setting and value`."""
    return " and ".join(part for part in (", ".join(labels[:-1]), *labels[-1:]) if part)


def _tells_whose(knowledge: KnowledgeSet, slot: str) -> bool:
    """Whether no two taught facts have one text in a slot; by a `version` two are put in order, which asks for both."""
    texts = [normalise(fact.slots[slot].text) for fact in knowledge.taught if slot in fact.slots]
    return slot != VERSION and len({*texts}) == len(texts)


def _are_identifiers(knowledge: KnowledgeSet, slot: str) -> bool:
    """Whether most texts of a slot are names for machines: the setting of a novel is no configuration key."""
    texts = [fact.slots[slot].text for fact in knowledge.taught if slot in fact.slots]
    return 2 * sum(map(is_identifier, texts)) > len(texts)


def _is_short(text: str) -> bool:
    return len(text.split()) - text.lower().startswith(ARTICLES) <= _SHORT_WORDS


def _look(text: str) -> tuple[bool, bool]:
    """Whether a text holds a digit, and whether it begins with a capital."""
    return any(character.isdigit() for character in text), text[:1].isupper()


def _in_quotes(quote: str) -> str:
    """A quotation as it stands between double quotation marks: its own are single ones, or those."""
    whole = quote[1:-1] if quote.startswith('"') and quote.endswith('"') and quote.count('"') == 2 else quote
    return whole.replace('"', "'")


def with_capital(text: str) -> str:
    """A text as a sentence begins."""
    return text[:1].upper() + text[1:]


Maker = Callable[[Stock, Fact, Deck, str], Iterator[Drawn]]
"""Makes examples of a form for a fact, one by one; of a form with two sides, those of the side that it is given."""
