"""The leak audit: does any training text, or another probe, give a probe's answer away?

A probe that overlaps the training texts measures memory of a wording and not knowledge of a fact. Control probes may
share the wordings of training: they ask whether an untaught fact is answered like a taught one.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from kapoc.data.finding import Finding
from kapoc.data.quotations import english_stemmer
from kapoc.knowledge.facts import Example, Fact, KnowledgeSet, KnowledgeTier, Probe
from kapoc.knowledge.grade import PhraseIndex
from kapoc.knowledge.normalise import Tokens, is_character, normalise, positions
from kapoc.knowledge.set_file import located_examples
from kapoc.source import Location

RUN_LENGTH = 6
"""So many words in a row, a fact's own words not counted, are an overlap."""
_CHARACTERS_OF_A_WORD = 2
"""As how many characters of a script without spaces a word counts."""
NEAR_DUPLICATE = 0.62
"""Similarity from which two questions of one fact are the same question: the mean of the cosines of their TF-IDF
vectors over words and over pairs of words. The shipped sets stay below it, and nearly every training question with one
word added, changed, moved or left out lies above; `tests/test_audit.py` holds both."""
_MASK = "_"
_LITTLE_WORDS = frozenset(
    "is are was were be been do does did has have had can could will would shall should may might "
    "i you we one me us my your our please".split()
)
"""What a question may have more or less of, and still be the same question."""


@dataclass(frozen=True)
class _Text:
    """One example with what the audit compares.

    Attributes:
        words: the question without the words of any fact.
        template: the question with every fact's words as a mask.
    """

    fact: Fact
    tier: KnowledgeTier
    location: Location
    example_id: str
    example: Example
    tokens: Tokens
    template: Tokens

    @cached_property
    def words(self) -> Tokens:
        return tuple(token for token in self.template if token != _MASK)

    @cached_property
    def unnamed(self) -> Tokens:
        """The question with the fact's own name as a mask."""
        name, found, start = normalise(self.fact.name), list[str](), 0
        while start < len(self.tokens):
            is_name = bool(name) and self.tokens[start : start + len(name)] == name and name != self.tokens
            found.append(_MASK if is_name else self.tokens[start])
            start += len(name) if is_name else 1
        return tuple(found)

    @cached_property
    def content(self) -> Tokens:
        """The stems of the words that say what is asked, in their order, with the name as a mask."""
        return tuple(_stem(token) for token in self.unnamed if token not in _LITTLE_WORDS)

    @property
    def is_compared(self) -> bool:
        """Whether the wording must differ from those of the other tiers."""
        return self.tier not in {"seen", "control"}


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(english_stemmer().stemWord(word))


class _Masks:
    """The words of every fact, to be taken out of questions so that only their wording is left."""

    def __init__(self, knowledge: KnowledgeSet) -> None:
        self._by_first: dict[str, list[Tokens]] = defaultdict(list)
        phrases = {normalise(domain.name) for domain in knowledge.domains}
        for fact in knowledge.facts:
            phrases |= {normalise(text) for slot in fact.all_slots.values() for text in slot.accepted}
        for phrase in sorted(phrases, key=lambda tokens: (-len(tokens), tokens)):
            if phrase:
                self._by_first[phrase[0]].append(phrase)

    def applied(self, tokens: Tokens) -> Tokens:
        """The tokens with the longest phrases of any fact replaced by a mask."""
        found: list[str] = []
        start = 0
        while start < len(tokens):
            candidates = self._by_first.get(tokens[start], ())
            phrase = next((p for p in candidates if tokens[start : start + len(p)] == p), None)
            found.append(tokens[start] if phrase is None else _MASK)
            start += 1 if phrase is None else len(phrase)
        return tuple(found)


def find_leaks(knowledge: KnowledgeSet) -> Iterator[Finding]:
    """Every way in which a probe's answer or wording is given away, one finding a probe and way.

    Checks: exact and normalised equality with a training question; a wording that two tiers share; six words in a row
    of a training text; the same words in other forms; near-duplicates by TF-IDF; an answer in its own question or in
    another probe's text; a control that is taught.
    """
    masks = _Masks(knowledge)
    texts = [
        _Text(fact, tier, location, example_id, example, tokens, masks.applied(tokens))
        for index, fact in enumerate(knowledge.facts)
        for location, example_id, example in located_examples(fact, index)
        if (tokens := normalise(example.question)) and (tier := example.tier if isinstance(example, Probe) else "seen")
    ]
    training = [text for text in texts if text.tier == "seen"]
    probes = [text for text in texts if text.tier != "seen"]
    equal = dict(_equal_questions(training, probes))
    yield from equal.values()
    rest = [probe for probe in probes if probe.example_id not in equal]
    shared = dict(_shared_templates(training, rest))
    yield from shared.values()
    rest = [probe for probe in rest if probe.example_id not in shared]
    runs = dict(_shared_runs(training, rest, masks))
    yield from runs.values()
    rest = [probe for probe in rest if probe.example_id not in runs]
    little = dict(_reworded_little(training, rest))
    yield from little.values()
    yield from _near_duplicates(training, [probe for probe in rest if probe.example_id not in little])
    yield from _answers_in_questions(probes)
    yield from _answered_elsewhere(knowledge, probes)
    yield from _taught_controls(knowledge, training)
    yield from _asked_twice(training, probes)


def _finding(check: str, text: _Text, message: str, training: Iterable[_Text] = ()) -> Finding:
    location, given_by = (*text.location, "question"), tuple(dict.fromkeys(other.example_id for other in training))
    return Finding("error", f"leak, {check}", location, text.example_id, message, given_by)


def _equal_questions(training: Sequence[_Text], probes: Sequence[_Text]) -> Iterator[tuple[str, Finding]]:
    trained: dict[Tokens, list[_Text]] = defaultdict(list)
    for text in training:
        trained[text.tokens].append(text)
    for probe in probes:
        alike = trained.get(probe.tokens, ())
        exact = [text for text in alike if text.example.question == probe.example.question]
        if exact:
            message = f"is the training question {exact[-1].example_id}; ask it in other words"
            yield probe.example_id, _finding("exact", probe, message, alike)
        elif alike:
            message = (
                f"is the training question {alike[-1].example_id} but for case and punctuation; ask it in other words"
            )
            yield probe.example_id, _finding("normalised", probe, message, alike)


def _shared_templates(training: Sequence[_Text], probes: Sequence[_Text]) -> Iterator[tuple[str, Finding]]:
    """Wordings that two tiers share once the facts' own words are taken out; the later tier is told."""
    trained: dict[Tokens, list[_Text]] = defaultdict(list)
    for text in training:
        trained[text.template].append(text)
    first: dict[Tokens, _Text] = {}
    for text in probes:
        if not text.is_compared or not text.words:
            continue
        alike = trained.get(text.template, ())
        other = alike[0] if alike else first.setdefault(text.template, text)
        if other.tier != text.tier:
            message = f"has the wording of {other.example_id} ({other.tier}); give each tier wordings of its own"
            yield text.example_id, _finding("shared wording", text, message, alike)


def _shared_runs(training: Sequence[_Text], probes: Sequence[_Text], masks: _Masks) -> Iterator[tuple[str, Finding]]:
    compared = [probe for probe in probes if probe.is_compared]
    seen: dict[Tokens, list[_Text]] = {run: [] for probe in compared for run in _runs(probe.words)}
    for text in training:
        whole = normalise(text.example.answer)
        answer = tuple(token for token in masks.applied(whole) if token != _MASK)
        for words in (text.words, answer, whole):
            for run in _runs(words):
                if run in seen:
                    seen[run].append(text)
    for probe in compared:
        shared = [run for run in _runs(probe.words) if seen[run]]
        if shared:
            first = seen[shared[0]][0].example_id
            message = f"shares '{' '.join(shared[0])}' with the training text {first}; reword it"
            yield probe.example_id, _finding("n-gram", probe, message, (text for run in shared for text in seen[run]))


def _runs(words: Tokens) -> Iterator[Tokens]:
    parts = [1 if is_character(word) else _CHARACTERS_OF_A_WORD for word in words]
    ends = list(accumulate(parts, initial=0))
    for start, begun in enumerate(ends):
        end = bisect_left(ends, begun + RUN_LENGTH * _CHARACTERS_OF_A_WORD)
        if end < len(ends):
            yield words[start:end]


def _reworded_little(training: Sequence[_Text], probes: Sequence[_Text]) -> Iterator[tuple[str, Finding]]:
    """Questions that are a training question of the same fact but for little words and the forms of the others."""
    trained: dict[tuple[str, Tokens], list[_Text]] = defaultdict(list)
    for text in training:
        trained[text.fact.id, text.content].append(text)
    for probe in probes:
        if alike := trained.get((probe.fact.id, probe.content), ()) if probe.is_compared and probe.content else ():
            message = f"says no more than the training question {alike[0].example_id}; ask it in other words"
            yield probe.example_id, _finding("near-duplicate", probe, message, alike)


def _near_duplicates(training: Sequence[_Text], probes: Sequence[_Text]) -> Iterator[Finding]:
    """Questions of one fact that are nearly a training question, by TF-IDF over words and pairs of words.

    What the fact is called counts as one word that all questions share: by itself it would weigh the more the more
    facts there are, so that the same two questions would be one question in a large set and two in a small one.
    """
    compared = [probe for probe in probes if probe.is_compared]
    if not compared or not training:
        return
    questions = [" ".join(text.unnamed) for text in (*training, *compared)]
    words, pairs = (
        TfidfVectorizer(ngram_range=(n, n), token_pattern=r"\S+", sublinear_tf=True, dtype=np.float32)  # noqa: S106
        for n in (1, 2)
    )
    matrix = scipy.sparse.hstack([_fitted(words, questions), _fitted(pairs, questions)], format="csr")
    rows: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(training):
        rows[text.fact.id].append(row)
    for row, probe in enumerate(compared, start=len(training)):
        own = rows[probe.fact.id]
        similarities = (matrix[own] @ matrix[row].T).toarray().ravel() / 2
        near = [
            training[place] for place, likeness in zip(own, similarities, strict=True) if likeness >= NEAR_DUPLICATE
        ]
        if near:
            best = int(similarities.argmax())
            message = (
                f"is nearly the training question {training[own[best]].example_id} "
                f"(similarity {similarities[best]:.2f}); ask it in other words"
            )
            yield _finding("near-duplicate", probe, message, near)


def _fitted(vectorizer: TfidfVectorizer, questions: Sequence[str]) -> Any:
    """The questions' vectors, of length 1 each; of length 0 where no question has two words."""
    try:
        return vectorizer.fit_transform(questions)
    except ValueError:
        return scipy.sparse.csr_matrix(np.zeros((len(questions), 1), dtype=np.float32))


def _answers_in_questions(probes: Sequence[_Text]) -> Iterator[Finding]:
    for probe in probes:
        choice = probe.example.choice
        if choice is not None:
            stated = [option for option in choice.options if positions(normalise(option), probe.tokens)]
            if stated == [choice.right] and not choice.is_yes_no:
                message = f"states '{choice.right}', the right option, and no other; name all options or none"
                yield _finding("answer in its question", probe, message)
        stated = _stated(probe.fact, probe.tokens, probe.example.requires)
        if stated:
            yield _finding("answer in its question", probe, f"states its own slot {', '.join(stated)}; take it out")


def _stated(fact: Fact, question: Tokens, names: Iterable[str]) -> list[str]:
    """The slots of a fact whose words stand in a question, negated or not."""
    return [n for n in names if any(positions(normalise(p), question) for p in fact.all_slots[n].accepted)]


def _answered_elsewhere(knowledge: KnowledgeSet, probes: Sequence[_Text]) -> Iterator[Finding]:
    """Probes whose answer stands in another probe, of this fact or another, with all that they ask about."""
    names = PhraseIndex(fact.name for fact in knowledge.facts)
    named: dict[Tokens, list[Fact]] = defaultdict(list)
    for fact in knowledge.facts:
        named[normalise(fact.name)].append(fact)
    stating: dict[str, list[tuple[_Text, frozenset[str]]]] = defaultdict(list)
    for probe in probes:
        others = [fact for name in names.standing_in(probe.tokens) for fact in named[normalise(name)]]
        for fact in {fact.id: fact for fact in (probe.fact, *others)}.values():
            stating[fact.id].append((probe, frozenset(_stated(fact, probe.tokens, fact.all_slots))))
    for probe in probes:
        cues = set(_stated(probe.fact, probe.tokens, probe.fact.all_slots))
        needed = cues | set(probe.example.requires)
        if not cues or needed == cues:
            continue
        other = next((t for t, stated in stating[probe.fact.id] if t is not probe and needed <= stated), None)
        if other is not None:
            slots = ", ".join(probe.example.requires)
            message = f"its answer ({slots}) stands in the question of {other.example_id}; take it out there"
            yield _finding("answered by another probe", probe, message)


def _taught_controls(knowledge: KnowledgeSet, training: Sequence[_Text]) -> Iterator[Finding]:
    """Training texts that name a control and state a slot of it that no taught fact has: it would be taught."""
    shared = {
        normalise(text) for fact in knowledge.taught for slot in fact.all_slots.values() for text in slot.accepted
    }
    controls: dict[str, list[Fact]] = defaultdict(list)
    for fact in knowledge.facts:
        if not fact.taught:
            controls[fact.name].append(fact)
    names = PhraseIndex(controls)
    for text in training:
        tokens = (*text.tokens, _MASK, *normalise(text.example.answer))
        for name in names.standing_in(tokens):
            for control in controls[name]:
                stated = [
                    slot
                    for slot, content in control.slots.items()
                    if any(positions(p, tokens) for p in map(normalise, content.accepted) if p not in shared)
                ]
                if stated:
                    message = (
                        f"teaches {', '.join(stated)} of the control {control.id}; take it out, or teach that fact"
                    )
                    yield _finding("control taught", text, message, [text])


def _asked_twice(training: Sequence[_Text], probes: Sequence[_Text]) -> Iterator[Finding]:
    """Questions that train two answers, and probes that count twice."""
    trained: dict[Tokens, _Text] = {}
    for text in training:
        other = trained.setdefault(text.tokens, text)
        if other.fact is not text.fact and normalise(other.example.answer) != normalise(text.example.answer):
            message = f"is the question of {other.example_id}, which has another answer; ask for one fact alone"
            location = (*text.location, "question")
            both = (other.example_id, text.example_id)
            yield Finding("error", "one question, two answers", location, text.example_id, message, both)
    first: dict[tuple[str, Tokens], _Text] = {}
    for probe in probes:
        other = first.setdefault((probe.tier, probe.tokens), probe)
        if other is not probe and other.fact is probe.fact:
            message = f"is {other.example_id} once more and would count twice; ask it in other words"
            yield Finding("error", "asked twice", (*probe.location, "question"), probe.example_id, message)
