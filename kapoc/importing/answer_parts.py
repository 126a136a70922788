"""The parts of an answer that may be what was asked for: titles, addresses, settings, names, amounts, runs of words."""

import re
from collections.abc import Iterator, Sequence

from kapoc.data.phrases import IDENTIFIER, LEADING_WORDS, QUOTED_TITLE, STOP_WORDS, WORD_PATTERN
from kapoc.knowledge.normalise import NUMBER_WORDS, normalise

Span = tuple[int, int]
"""Where a part of an answer begins and ends."""
LONGEST_PHRASE = 8
"""How many tokens a part may have that is graded as a whole."""
_ADDRESS = re.compile(r"https?://[^\s<>\"')\]]*[\w/]|[\w.+-]+@\w[\w-]*(?:\.[\w-]+)+")
"""A page or a mailbox."""
_MENU_PATH = re.compile(r"[A-Z][\w-]*(?: > [A-Z][\w-]*)+")
"""What to click in turn: `Settings > Network`."""
_SAYING = frozenset("means happens occurs arises says shows states indicates signals tells".split())
_CLAUSES = frozenset("that because".split())
_FENCED = re.compile(r"(?ms)^[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<code>.*?)(?:\n[ \t]*(?P=fence)[ \t]*$|\Z)")
_IN_BACKTICKS = re.compile(r"(?<!`)`(?P<code>[^`\n]+)`(?!`)")
_MARKS = re.compile(r"(?m)^[ \t]*(?:\d{1,3}[.)][ \t]|(?:`{3,}|~{3,})[^\n`]*$)")
"""What stands at the beginning of a line and is no text: the number of a list's item, and the fence of a block."""
_MONTHS = frozenset("january february march april may june july august september october november december".split())
_NAME_LINKS = frozenset("of the in year al bin da das de del di dos du el es ibn la las le los van von y zu".split())
_NO_UNITS = frozenset("unless except per plus apiece till".split())
_HALVES_OF_DAYS = frozenset({"a.m", "p.m", "am", "pm"})
_YEAR = re.compile(r"1\d{3}|20\d{2}")
_PLAIN_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NUMBER_WORDS = NUMBER_WORDS - {"zero", "one"}  # "one of the first" is no amount


def read_by_machines(text: str) -> Iterator[str]:
    """Addresses, paths through a menu, settings and files (`auth.retry_limit`, `auth.yml`), in this order."""
    addresses = [match.group() for match in _ADDRESS.finditer(text)]
    yield from addresses
    yield from (match.group() for match in _MENU_PATH.finditer(text))
    found = (match.group() for match in IDENTIFIER.finditer(text))
    yield from (name for name in found if not any(name in address for address in addresses))


def code_in(text: str) -> Iterator[str]:
    """What stands in blocks of code, and then between backticks: without these marks, each in one line."""
    for pattern in (_FENCED, _IN_BACKTICKS):
        yield from (" ".join(match["code"].split()) for match in pattern.finditer(text))


def without_marks(text: str) -> str:
    """A text of the same length in which semicolons and spaces stand for the marks of lists and of blocks of code."""
    return _MARKS.sub(lambda match: ";".ljust(len(match.group())), text)


def quoted(text: str) -> Iterator[str]:
    """What stands in quotation marks, titles among it."""
    yield from (match["double"] or match["single"] for match in QUOTED_TITLE.finditer(text))


def names_and_amounts(text: str, asked: Sequence[str]) -> list[Span]:
    """Names, dates and amounts: runs of words that begin with a capital or are numbers, small links among them.

    An amount takes in what it counts: the word behind it, and one more where the question asks with that word ("27
    vacation days" where it was "How many vacation days").

    Args:
        text: an answer.
        asked: the question, normalised.
    """
    words = list(WORD_PATTERN.finditer(text))
    proper = [match.group()[0].isupper() or is_number(match.group()) for match in words]
    for index, match in enumerate(words):
        is_initial = index == 0 or bool(re.search(r"[.!?]", text[words[index - 1].end() : match.start()]))
        ends_here = index + 1 == len(words) or not proper[index + 1] or text[match.end()] != " "
        is_grammar = match.group().lower() in STOP_WORDS | LEADING_WORDS
        if is_initial and (is_grammar or ends_here) and not is_number(match.group()):
            proper[index] = False
    runs: list[Span] = []
    index = 0
    while index < len(words):
        if not proper[index]:
            index += 1
            continue
        last = probe = index
        while probe + 1 < len(words) and _is_joined(text, words[probe], words[probe + 1]):
            probe += 1
            if proper[probe]:
                last = probe
            elif words[probe].group() not in _NAME_LINKS:
                break
        last += _num_unit_words(text, words, last, asked)
        runs.append((words[index].start(), words[last].end()))
        index = last + 1
    return runs


def is_number(word: str) -> bool:
    """Whether a word is a number, or holds one: `95`, `4.2`, `13th`, `twelve`."""
    return any(character.isdigit() for character in word) or not _NUMBER_WORDS.isdisjoint(word.lower().split("-"))


def is_amount(name: str) -> bool:
    """Whether a part of an answer is an amount or a date, and no name that holds a number (`hall 3`, `3rd floor`)."""
    first = re.split(r"[\s-]", name, maxsplit=1)[0].lower()
    is_counted = bool(re.match(r"[$\u20ac\u00a3]?\d(?!\d*(?:st|nd|rd|th)\b)", first)) or first in _NUMBER_WORDS
    return is_counted or first in _MONTHS or bool(re.match(r"[A-Z]{3} \d", name))


def is_bare_number(name: str) -> bool:
    """Whether it is a number alone, without a unit or a currency."""
    return bool(_PLAIN_NUMBER.fullmatch(name))


def _num_unit_words(text: str, words: Sequence[re.Match[str]], place: int, asked: Sequence[str]) -> int:
    """How many words behind a number say what it counts, or which half of the day it is."""
    number, *following = (match.group() for match in words[place : place + 3])
    is_whole = bool(_PLAIN_NUMBER.fullmatch(number)) or not any(c.isdigit() for c in number)
    if not following or not is_number(number) or _YEAR.fullmatch(number):
        return 0
    if following[0].lower() in _HALVES_OF_DAYS:
        return int(_is_joined(text, *words[place : place + 2]))
    is_ordinal = bool(re.fullmatch(r"\d+(?:st|nd|rd|th)", number))
    if not (is_whole or is_ordinal) or not _is_unit(text, words, place + 1):
        return 0
    goes_on = following[0].lower() in asked and len(following) > 1 and _is_unit(text, words, place + 2)
    return 1 + goes_on


def _is_unit(text: str, words: Sequence[re.Match[str]], place: int) -> bool:
    word = words[place].group()
    no_unit = STOP_WORDS | LEADING_WORDS | _NAME_LINKS | _NO_UNITS
    return word.isalpha() and word.lower() not in no_unit and _is_joined(text, words[place - 1], words[place])


def _is_joined(text: str, word: re.Match[str], following: re.Match[str]) -> bool:
    gap = text[word.end() : following.start()]
    return gap == " " or (gap == ", " and bool(re.fullmatch(r"\d{4}", following.group())))


def fresh_runs(text: str, asked: Sequence[str]) -> list[Span]:
    """Runs of words that the question does not have, cut at punctuation; of a long one all its short parts."""
    words = list(WORD_PATTERN.finditer(text))
    runs: list[list[re.Match[str]]] = [[]]
    for index, match in enumerate(words):
        if index and text[words[index - 1].end() : match.start()].strip():
            runs.append([])
        if set(normalise(match.group())) & set(asked) - STOP_WORDS:
            runs.append([])
        else:
            runs[-1].append(match)
    parts = [run[i : i + LONGEST_PHRASE] for run in runs for i in range(max(1, len(run) - LONGEST_PHRASE + 1))]
    trimmed = [_without_stop_words(part) for part in parts]
    return [(run[0].start(), run[-1].end()) for run in trimmed if run]


def _without_stop_words(run: list[re.Match[str]]) -> list[re.Match[str]]:
    """A run without the words of grammar at its ends, and without what leads up to it ("means", "means that")."""
    if len(run) > 1 and run[0].group().lower() in _SAYING:
        run = run[2:] if len(run) > 2 and run[1].group().lower() in _CLAUSES else run[1:]
    while run and run[0].group().lower() in (STOP_WORDS | LEADING_WORDS) - {"not", "never"}:
        run = run[1:]
    while run and run[-1].group().lower() in STOP_WORDS | LEADING_WORDS:
        run = run[:-1]
    return run
