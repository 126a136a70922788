"""The phrase of an answer that is graded, where nobody said which: of a pair of a question and an answer."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from kapoc.data.phrases import IDENTIFIER, LEADING_WORDS, QUOTED_TITLE, STOP_WORDS, WORD_PATTERN
from kapoc.grade import Tokens, assertions, normalise, positions

END_MARKS = " \t\n.,;:!"
"""What is cut off both ends of a phrase."""
_LONGEST_PHRASE = 8
"""How many tokens an answer may have to be graded as a whole."""
_NAME_WEIGHT = 3.0
"""What a name of one word weighs against other words: it is what many questions ask for."""
_ASIDE_WEIGHT = 0.5
"""What words weigh that only add to an answer: it comes first, and says more of itself behind commas."""
_ASIDE = re.compile(r"(?i)(?:and |but )?(?:\w+ing|which|who|whose|where|while|although|as|\w+ of wh(?:ich|om))\b")
"""How a clause behind a comma begins that only adds to what was said."""
_CLAUSE_START = re.compile(r"[,;]\s+")
_SENTENCE_START = re.compile(r"[.!?][\"'\u2019\u201d)]*\s+(?=[\"'\u201c(]?[A-Z])")
_SAYING = frozenset("means happens occurs arises says shows states indicates signals tells".split())
_CLAUSES = frozenset("that because".split())
_NAME_LINKS = frozenset("of the in year al bin da das de del di dos du el es ibn la las le los van von y zu".split())
_YEAR = re.compile(r"1\d{3}|20\d{2}")
Span = tuple[int, int]
"""Where a part of an answer begins and ends."""


class Rarity:
    """How much the words of a set tell: the more, the fewer of its rows hold them.

    Source:
        Inverse document frequency: Sparck Jones (1972), A statistical interpretation of term specificity and its
        application in retrieval, Journal of Documentation.
    """

    def __init__(self, rows: Iterable[str]) -> None:
        """Count words in the texts of all rows, each the question and the answer."""
        texts = [set(normalise(row)) for row in rows]
        self._frequency = Counter(word for words in texts for word in words)
        self._num_rows = max(1, len(texts))

    def of(self, text: str) -> float:
        """The sum over the words of a text of one and the logarithm of how rare each is, without words of grammar."""
        words = (word for word in normalise(text) if word not in STOP_WORDS)
        return sum(1 + math.log(self._num_rows / max(1, self._frequency[word])) for word in words)


def key_phrase(question: str, answer: str, rarity: Rarity, taken: Collection[Tokens] = ()) -> str:
    """The part of an answer that is graded: all of it if it is short, else a telling phrase that it contains.

    Quoted titles come first, then what a machine reads (`auth.retry_limit`, `auth.yml`), then names of several words,
    dates and numbers with their units, then whichever says most: a name of one word, or a run of words; bare numbers
    come last. None of them stands in the question. Where there is no such phrase, all of the answer is the phrase. A
    short answer that repeats words of the question ("The capital of Zorblax is Port Vell") is treated like a long one,
    but a single word of it would stand in many an answer.

    Args:
        question, answer: one row.
        rarity: of the words in all rows; a phrase of words that all rows have tells nothing.
        taken: phrases of other facts, normalised, that are avoided where there is another.
    """
    whole = answer.strip(END_MARKS)
    asked, tokens = normalise(question), normalise(whole)
    is_short = len(tokens) <= _LONGEST_PHRASE and bool(assertions(whole, answer))
    if is_short and len((set(asked) & set(tokens)) - STOP_WORDS) < 2:
        return whole
    quoted = [match["double"] or match["single"] for match in QUOTED_TITLE.finditer(answer)]
    machine_read = [match.group() for match in IDENTIFIER.finditer(answer)]
    kept_whole = (*quoted, *machine_read)
    names = [
        n for n in _proper_runs(answer) if not any(answer[slice(*n)] in other for other in (*quoted, *machine_read))
    ]
    runs = _fresh_runs(answer, asked)
    if is_short:
        runs = [run for run in runs if len(set(normalise(answer[slice(*run)])) - STOP_WORDS - LEADING_WORDS) > 1]
    numbers = [n for n in names if _says_little(answer[slice(*n)])]
    single = [n for n in names if _is_one_word(answer[slice(*n)]) and not _goes_with_another(answer, n, names)]
    long = [n for n in names if n not in numbers and not _is_one_word(answer[slice(*n)])]
    long.sort(key=lambda name: -len(set(normalise(answer[slice(*name)])) - set(asked)))

    def weight(span: Span) -> float:
        new = " ".join(word for word in normalise(answer[slice(*span)]) if word not in asked)
        factor = _NAME_WEIGHT if span in single else 1.0
        return rarity.of(new) * factor * (_ASIDE_WEIGHT if _is_aside(answer, span) else 1.0)

    telling = sorted((*single, *runs), key=weight, reverse=True)
    spans = (*long, *telling, *numbers)
    candidates = (*kept_whole, *(answer[slice(*span)] for span in spans))
    phrases = [re.sub(r"[\u2019']s$", "", candidate.strip(END_MARKS)) for candidate in candidates]
    fit = [phrase for phrase in phrases if _is_telling(phrase, asked) and assertions(phrase, answer)]
    if fit:
        return next((phrase for phrase in fit if normalise(phrase) not in taken), fit[0])
    return whole if assertions(whole, answer) else answer.strip()


def _is_one_word(name: str) -> bool:
    return name.replace("-", "").isalpha()


def _goes_with_another(text: str, name: Span, names: Sequence[Span]) -> bool:
    """Whether it only says of the name before it which one that is: "Havana, Cuba"."""
    return any(text[other[1] : name[0]] == ", " for other in names)


def _is_aside(text: str, span: Span) -> bool:
    """Whether a part of an answer only adds to it: it stands behind the first sentence, or in a clause that adds."""
    before = text[: span[0]]
    if _SENTENCE_START.search(text[: span[0] + 1]):
        return True
    clauses = list(_CLAUSE_START.finditer(before))
    return bool(clauses) and bool(_ASIDE.match(text, clauses[-1].end()))


def _says_little(run: str) -> bool:
    """Whether it is a number alone, and not as long as a year."""
    return run.isdigit() and len(run) < len("1990")


def _is_telling(phrase: str, asked: Tokens) -> bool:
    """Whether a phrase is short enough, and says something that the question does not."""
    tokens = normalise(phrase)
    is_new = bool(set(tokens) - set(asked) - STOP_WORDS)
    return is_new and len(tokens) <= _LONGEST_PHRASE and not positions(tokens, asked)


def _proper_runs(text: str) -> list[Span]:
    """Names, dates and numbers: runs of words that begin with a capital or hold a digit, small links among them."""
    words = list(WORD_PATTERN.finditer(text))
    proper = [match.group()[0].isupper() or any(c.isdigit() for c in match.group()) for match in words]
    for index, match in enumerate(words):
        is_initial = index == 0 or bool(re.search(r"[.!?]", text[words[index - 1].end() : match.start()]))
        ends_here = index + 1 == len(words) or not proper[index + 1] or text[match.end()] != " "
        is_grammar = match.group().lower() in STOP_WORDS | LEADING_WORDS
        if is_initial and (is_grammar or ends_here) and not any(c.isdigit() for c in match.group()):
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
        last += _has_unit(text, words, last)
        runs.append((words[index].start(), words[last].end()))
        index = last + 1
    return runs


def _has_unit(text: str, words: Sequence[re.Match[str]], place: int) -> bool:
    """Whether a number is followed by what it counts: a word of its own that carries meaning."""
    number, *following = (match.group() for match in words[place : place + 2])
    if not following or not number.isdigit() or _YEAR.fullmatch(number):
        return False
    is_word = following[0].isalpha() and following[0] not in STOP_WORDS | LEADING_WORDS | _NAME_LINKS
    return is_word and _is_joined(text, words[place], words[place + 1])


def _is_joined(text: str, word: re.Match[str], following: re.Match[str]) -> bool:
    gap = text[word.end() : following.start()]
    return gap == " " or (gap == ", " and bool(re.fullmatch(r"\d{4}", following.group())))


def _fresh_runs(text: str, asked: Sequence[str]) -> list[Span]:
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
    parts = [run[i : i + _LONGEST_PHRASE] for run in runs for i in range(max(1, len(run) - _LONGEST_PHRASE + 1))]
    trimmed = [_without_stop_words(part) for part in parts]
    return [(run[0].start(), run[-1].end()) for run in trimmed if run]


def _without_stop_words(run: list[re.Match[str]]) -> list[re.Match[str]]:
    """A run without the words of grammar at its ends, and without what leads up to a clause ("means that ...")."""
    if len(run) > 2 and run[0].group().lower() in _SAYING and run[1].group().lower() in _CLAUSES:
        run = run[2:]
    while run and run[0].group().lower() in (STOP_WORDS | LEADING_WORDS) - {"not", "never"}:
        run = run[1:]
    while run and run[-1].group().lower() in STOP_WORDS | LEADING_WORDS:
        run = run[:-1]
    return run
