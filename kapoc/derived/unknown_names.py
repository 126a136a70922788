"""Names of facts that do not exist, in the likeness of those that do."""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import regex

from kapoc.data.naming import codes_in, gone_by, is_question
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.grade import PhraseIndex
from kapoc.knowledge.normalise import Tokens, normalise, positions

_OTHER_SCRIPT = regex.compile(r"(?!\p{Latin})\p{L}")
_LETTER = re.compile(r"[^\W\d_]")
_CODE = re.compile(r"(?P<head>(?:\S*[^\W\d_](?:\S*\D)?)?)(?P<digits>\d{2,})(?P<tail>\S*)")
_NUMBERED = re.compile(r"(?P<head>.*\s)(?P<digits>\d{1,3})(?P<tail>)")
_LAST, _NEXT, _NEAR, _SAME_HEAD, _OTHER_HEAD = "last", "next", "near", "same head", "other head"
_CHANGES = {_LAST: 20, _NEXT: 20, _NEAR: 20, _SAME_HEAD: 25, _OTHER_HEAD: 15}
"""How often an invented code has another last digit than a taught one, a digit that is one higher or lower, is any slip
of the pen away from it, has other digits, or other letters too."""
_MOST_TRIES = 60
_TAUGHT_WORDS_ALONE = 0.4
"""How often a name of words is put together of taught ones alone."""
_MARKS = "\"'.,;:!?()"
_ARTICLES = frozenset({"a", "an", "the"})
_PREPOSITIONS = frozenset("about against at between by during for from in into of on over to under with".split())
_GRAMMAR = _ARTICLES | _PREPOSITIONS


class UnknownNames:
    """Invents names that no fact has, each once until they are forgotten.

    Only the names of taught facts go into them, or the codes in those that are questions, and words that are given: a
    control fact must stay as unheard of as it was.

    Args:
        knowledge: the set whose names they are like.
        words: for names that are words: taught names alone soon give no new ones. One that stands in a control's name
            is left out.
        beside: other sets that the model is taught or asked about; their names are not invented either.
    """

    def __init__(self, knowledge: KnowledgeSet, words: Sequence[str] = (), beside: Iterable[KnowledgeSet] = ()) -> None:
        facts = [fact for known in (knowledge, *beside) for fact in known.facts]
        of_controls = {token for fact in facts if not fact.taught for token in normalise(fact.name)}
        self._words = [word for word in words if of_controls.isdisjoint(normalise(word))]
        names = [name for fact in facts for name in (fact.name, *codes_in(fact.name))]
        self._own = frozenset(map(normalise, names))
        self._known = set(self._own)
        self._names = PhraseIndex(names)
        self._holding: dict[str, set[Tokens]] = defaultdict(set)
        for name in self._own:
            for token in name:
                self._holding[token].add(name)
        self._saying: dict[str, list[Tokens]] = defaultdict(list)
        for tokens in {normalise(text) for fact in facts for text in _texts_of(fact)}:
            for token in dict.fromkeys(tokens):
                self._saying[token].append(tokens)
        by_kind: dict[str, list[str]] = defaultdict(list)
        coded = gone_by(knowledge.taught)
        self._codes = {fact.id: code for fact in knowledge.taught if (code := coded.get(fact.id)) and is_question(fact)}
        for fact in knowledge.taught:
            if fact.id in self._codes or not is_question(fact):
                by_kind[fact.kind].append(self._codes.get(fact.id, fact.name))
        self._by_kind = {kind: _Names(names) for kind, names in by_kind.items()}

    def forget(self) -> None:
        """Let the names that were invented so far come again."""
        self._known = set(self._own)

    def like(self, fact: Fact, order: random.Random) -> str | None:
        """A new name in the likeness of a taught fact's, or none where none was found.

        A code gets other digits, seldom other letters, and so does a short number at the end of a name that is no
        description; any other name gets words of another one, or is put together of two others where its own gives
        nothing new. Of a fact whose name is a question the code in it gets other digits.
        """
        own = self._codes.get(fact.id, fact.name)
        code, names = _CODE.fullmatch(own), self._by_kind[fact.kind]
        if code is None and not _is_description(own):
            code = _NUMBERED.fullmatch(own)
        for attempt in range(_MOST_TRIES):
            base = own if attempt < _MOST_TRIES // 2 else order.choice(names.all)
            name = _other_code(code, order) if code else self._other_words(base, names, order)
            if name is not None and self._is_free(name):
                self._known.add(normalise(name))
                return name
        return None

    def _other_words(self, name: str, names: "_Names", order: random.Random) -> str | None:
        """A name that is put together of taught ones or, where these are no descriptions, of one and a word."""
        takes_words = bool(self._words) and not _is_description(name) and not _OTHER_SCRIPT.search(name)
        if not takes_words or order.random() < _TAUGHT_WORDS_ALONE:
            return _recombined(name, names, order)
        words = [word.strip(_MARKS) for other in (name, order.choice(names.all)) for word in other.split()]
        taught = [word for word in words if len(word) > 2 and word.isalpha() and word.lower() not in _GRAMMAR]
        if not taught:
            return _recombined(name, names, order)
        pair = [order.choice(taught), order.choice(self._words)]
        return " ".join(order.sample(pair, k=2)) if pair[0].lower() != pair[1].lower() else None

    def _is_free(self, name: str) -> bool:
        """Whether no fact has this name, none stands in it, it is no part of one, with words between or not, and no
        text of the sets says it.
        """
        tokens = normalise(name)
        if not tokens or tokens in self._known:
            return False
        if self._names.standing_in(tokens):
            return False
        rarest = min((self._holding.get(token, ()) for token in tokens), key=len)
        if any(set(tokens) <= set(other) for other in rarest):
            return False
        said = min((self._saying.get(token, ()) for token in tokens), key=len)
        return not any(positions(tokens, text) for text in said)


def _texts_of(fact: Fact) -> Iterator[str]:
    """All that a set says of a fact."""
    for slot in fact.slots.values():
        yield from slot.accepted
    for example in (*fact.training, *fact.probes):
        yield from (example.question, example.answer)


class _Names:
    """The taught names of a kind, and what new ones are put together of."""

    def __init__(self, names: Sequence[str]) -> None:
        self.all = names
        self.long = [name for name in names if len(_core(name)) > 1]
        self.firsts: dict[int, list[str]] = defaultdict(list)  # by their place: behind an article, or not
        self.lasts: list[str] = []
        for name in self.long:
            words, core = name.split(), _core(name)
            self.firsts[core[0]].append(words[core[0]])
            self.lasts.append(words[core[-1]])


def _other_code(code: re.Match[str], order: random.Random) -> str | None:
    head, digits, tail = code["head"], code["digits"], code["tail"]
    change = order.choices(list(_CHANGES), weights=list(_CHANGES.values()))[0]
    if change == _LAST:
        digits = digits[:-1] + order.choice("0123456789".replace(digits[-1], ""))
    elif change in (_NEXT, _NEAR):
        digits = order.choice(list(_next(digits) if change == _NEXT else _slips(digits)))
    else:
        digits = "".join(_digit(index, order) for index in range(max(2, len(digits))))
    if change == _OTHER_HEAD and not head[-1:].isspace() and _LETTER.search(head):
        head = _other_letter(head, order)
    return f"{head}{digits}{tail}"


def _next(digits: str) -> Iterator[str]:
    """The numbers of which one digit is one higher or lower."""
    for index, digit in enumerate(digits):
        for other in (int(digit) - 1, int(digit) + 1):
            if 0 <= other <= 9 and (index or other):
                yield f"{digits[:index]}{other}{digits[index + 1 :]}"


def _slips(digits: str) -> Iterator[str]:
    """The numbers that differ in one digit, or by two neighbours that changed places."""
    for index, digit in enumerate(digits):
        for other in "0123456789":
            if other != digit and (index or other != "0"):
                yield digits[:index] + other + digits[index + 1 :]
        if index and digit != digits[index - 1] and (index > 1 or digit != "0"):
            yield digits[: index - 1] + digit + digits[index - 1] + digits[index + 1 :]


def _digit(index: int, order: random.Random) -> str:
    return order.choice("0123456789" if index else "123456789")


def _other_letter(head: str, order: random.Random) -> str:
    place = order.choice([match.start() for match in _LETTER.finditer(head)])
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    letter = order.choice([other for other in letters if other != head[place].upper()])
    return head[:place] + (letter if head[place].isupper() else letter.lower()) + head[place + 1 :]


def _recombined(name: str, names: _Names, order: random.Random) -> str | None:
    """A name that begins like another, or two halves where all names are single words.

    A description ends like a third one too: with one new word it may well describe a taught fact after all, as the
    English league final does where the English league title was taught.
    """
    if not names.long:
        other = order.choice(names.all)
        return None if " " in name + other else name[: (len(name) + 1) // 2] + other[len(other) // 2 :].lower()
    base = name if len(_core(name)) > 1 else order.choice(names.long)
    words, core = base.split(), _core(base)
    firsts, lasts = names.firsts[core[0]], names.lasts
    words[core[0]] = order.choice([first for first in firsts if first.isalpha() and first != words[core[0]]] or firsts)
    if _is_description(base):
        words[core[-1]] = order.choice([last for last in lasts if last != words[core[-1]]] or lasts)
    return " ".join(words)


def _is_description(name: str) -> bool:
    return not {*name.lower().split()}.isdisjoint(_ARTICLES | _PREPOSITIONS)


def _core(name: str) -> range:
    """The places of a name's words up to its first preposition, without an article before them."""
    words = name.lower().split()
    end = next((index for index, word in enumerate(words) if word in _PREPOSITIONS), len(words))
    return range(int(words[0] in _ARTICLES), end)
