"""The phrase of an answer that is graded, where nobody said which: of a pair of a question and an answer."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from kapoc.data.answer_parts import (
    LONGEST_PHRASE,
    Span,
    fresh_runs,
    is_number,
    names_and_amounts,
    quoted,
    read_by_machines,
)
from kapoc.data.phrases import LEADING_WORDS, STOP_WORDS
from kapoc.grade import Tokens, assertions, normalise, positions

END_MARKS = " \t\n.,;:!"
"""What is cut off both ends of a phrase."""
_NAME_WEIGHT = 3.0
"""What a name of one word weighs against other words: it is what many questions ask for."""
_ASIDE_WEIGHT = 0.5
"""What words weigh that only add to an answer: it comes first, and says more of itself behind commas."""
_ASIDE = re.compile(r"(?i)(?:and |but )?(?:\w+ing|which|who|whose|where|while|although|as|\w+ of wh(?:ich|om))\b")
"""How a clause behind a comma begins that only adds to what was said."""
_PRONOUNS = frozenset("he it she that there they this we you".split())
"""How a short answer begins that is a sentence: of "It opens at 8:30" only the time is graded."""
_CLAUSE_START = re.compile(r"[,;]\s+")
_SENTENCE_START = re.compile(r"[.!?][\"'\u2019\u201d)]*\s+(?=[\"'\u201c(]?[A-Z])")


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

    Quoted titles come first, then what a machine reads (an address, `auth.retry_limit`, `auth.yml`), then names of
    several words, dates and amounts with their units, then whichever says most: a name of one word, or a run of words;
    bare numbers come last. None of them stands in the question. Where there is no such phrase, all of the answer is the
    phrase. A short answer that repeats words of the question ("The capital of Zorblax is Port Vell") is treated like a
    long one, but a single word of it that is no name would stand in many an answer.

    Args:
        question, answer: one row.
        rarity: of the words in all rows; a phrase of words that all rows have tells nothing.
        taken: phrases of other facts, normalised, that are avoided where there is another.
    """
    whole = answer.strip(END_MARKS)
    asked, tokens = normalise(question), normalise(whole)
    is_short = len(tokens) <= LONGEST_PHRASE and bool(assertions(whole, answer))
    num_repeated = len((set(asked) & set(tokens)) - STOP_WORDS) if is_short else LONGEST_PHRASE
    if num_repeated == 0 and _PRONOUNS.isdisjoint(tokens[:1] if tokens[0] not in ("yes", "no") else tokens[1:2]):
        return whole
    pieces = (*quoted(answer), *read_by_machines(answer))
    names = [n for n in names_and_amounts(answer, asked) if not any(answer[slice(*n)] in other for other in pieces)]
    runs = fresh_runs(answer, asked) if num_repeated > 1 else []
    if is_short:
        runs = [run for run in runs if len(set(normalise(answer[slice(*run)])) - STOP_WORDS - LEADING_WORDS) > 1]
    ranked = _ranked(answer, asked, names, runs, rarity)
    candidates = (*pieces, *(answer[slice(*span)] for span in ranked))
    phrases = [re.sub(r"[\u2019']s$", "", candidate.strip(END_MARKS)) for candidate in candidates]
    fit = [phrase for phrase in phrases if _is_telling(phrase, asked) and assertions(phrase, answer)]
    if fit:
        return next((phrase for phrase in fit if normalise(phrase) not in taken), fit[0])
    return whole if assertions(whole, answer) else answer.strip()


def _ranked(
    answer: str, asked: Tokens, names: Sequence[Span], runs: Sequence[Span], rarity: Rarity
) -> tuple[Span, ...]:
    """Names of several words and amounts first, then names of one word and runs by what they say, then bare numbers."""
    numbers = [n for n in names if _says_little(answer[slice(*n)])]
    single = [n for n in names if _is_one_word(answer[slice(*n)]) and not _goes_with_another(answer, n, names)]
    long = [n for n in names if n not in numbers and not _is_one_word(answer[slice(*n)])]
    long.sort(key=lambda name: _num_new(answer[slice(*name)], asked), reverse=True)

    def weight(span: Span) -> float:
        new = " ".join(word for word in normalise(answer[slice(*span)]) if word not in asked)
        factor = _NAME_WEIGHT if span in single else 1.0
        return rarity.of(new) * factor * (_ASIDE_WEIGHT if _is_aside(answer, span) else 1.0)

    return (*long, *sorted((*single, *runs), key=weight, reverse=True), *numbers)


def _num_new(name: str, asked: Tokens) -> int:
    """How many words of a name the question does not have; of amounts, two at least, since a price may be one word."""
    number = len(set(normalise(name)) - set(asked))
    return max(2, number) if any(map(is_number, name.split())) else number


def _is_one_word(name: str) -> bool:
    return name.replace("-", "").isalpha()


def _goes_with_another(text: str, name: Span, names: Sequence[Span]) -> bool:
    """Whether it only says of the name before it which one that is: "Havana, Cuba"."""
    return any(text[other[1] : name[0]] == ", " for other in names)


def _is_aside(text: str, span: Span) -> bool:
    """Whether a part of an answer only adds to it: it stands behind the first sentence, or in a clause that adds."""
    if _SENTENCE_START.search(text[: span[0] + 1]):
        return True
    clauses = list(_CLAUSE_START.finditer(text[: span[0]]))
    return bool(clauses) and bool(_ASIDE.match(text, clauses[-1].end()))


def _says_little(run: str) -> bool:
    """Whether it is a number alone, and not as long as a year."""
    return run.isdigit() and len(run) < len("1990")


def _is_telling(phrase: str, asked: Tokens) -> bool:
    """Whether a phrase is short enough, and says something that the question does not."""
    tokens = normalise(phrase)
    is_new = bool(set(tokens) - set(asked) - STOP_WORDS)
    return is_new and len(tokens) <= LONGEST_PHRASE and not positions(tokens, asked)
