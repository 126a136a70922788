"""The phrase of an answer that is graded, where nobody said which: of a pair of a question and an answer."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile

from kapoc.data.phrases import LEADING_WORDS, STOP_WORDS, aspect_of, decision_of
from kapoc.importing.answer_parts import (
    LONGEST_PHRASE,
    Span,
    code_in,
    fresh_runs,
    is_amount,
    is_bare_number,
    is_number,
    names_and_amounts,
    quoted,
    read_by_machines,
    without_marks,
)
from kapoc.knowledge.grade import assertions
from kapoc.knowledge.normalise import Tokens, normalise, positions

END_MARKS = " \t\n.,;:!\u3002\uff0c\uff01\u0964\u06d4"
"""What is cut off both ends of a phrase."""
_NAME_WEIGHT = 3.0
"""What a name of one word weighs against other words: it is what many questions ask for."""
_ASIDE_WEIGHT = 0.5
"""What words weigh that only add to an answer: it comes first, and says more of itself behind commas."""
_ASIDE = re.compile(r"(?i)(?:and |but )?(?:\w+ing|which|who|whose|where|while|although|as|\w+ of wh(?:ich|om))\b")
"""How a clause behind a comma begins that only adds to what was said."""
_PRONOUNS = frozenset("he it she that there they this we you".split())
"""How a short answer begins that is a sentence: of "It opens at 8:30" only the time is graded."""
_LONGEST_CODE = 2 * LONGEST_PHRASE
"""How many tokens a piece of code may have that is graded as a whole."""
_AMOUNT_ASPECTS = {f"the {what}" for what in "number amount duration frequency distance age height degree time".split()}
_AMOUNT_NOUNS = frozenset(
    "age allowance amount angle budget capacity charge code cost count date day deadline delay depth discount distance "
    "duration extension fee fine frequency height hour interval length limit max maximum min minimum minute month "
    "number percentage period phone pin port price quota radius range rate ratio retention salary score share size "
    "speed sum target temperature threshold time timeout tolerance total ttl uptime value version voltage volume wage "
    "weight width year".split()
)
"""What a question asks for that is answered by an amount: "What is the price of ...", "Which port ..."."""
_AMOUNT_VERBS = frozenset("cost measure weigh".split())
_READ_BY_MACHINES = frozenset(
    "address button command configuration endpoint field file flag header key link menu option page parameter path "
    "property setting switch tab url variable".split()
)
"""What a question asks for that is answered by code, an address or a title, even where it names an amount, too."""
_NOUNS_END = frozenset("at by can did do does for from if in must of on per should that to when which who with".split())
"""What ends the nouns behind "What is the"."""
_CLAUSE_OF_TIME = re.compile(
    r"(?i)\s*when (?:an?|the|this|that|my|your|his|her|its|our|their|i|you|he|she|it|we|they)\b"
)
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

    Code comes first, then quoted titles, then what a machine reads (an address, `auth.retry_limit`, `auth.yml`), then
    names of several words, and amounts with their units where the question asks for one; then whichever says most: a
    name of one word, a run of words, or an amount that was not asked for. Bare numbers come last, and only where the
    question asks for an amount. Where it asks for an amount, or who, and the answer names one, code and what a machine
    reads come behind that: "see also" is no answer. None of them stands in the question. Where there is no such phrase,
    all of the answer is the phrase. A short answer that repeats words of the question ("The capital of Zorblax is Port
    Vell") is treated like a long one, but a single word of it that is no name would stand in many an answer.

    Args:
        question, answer: one row.
        rarity: of the words in all rows; a phrase of words that all rows have tells nothing.
        taken: phrases of other facts, normalised, that are avoided where there is another.
    """
    text = without_marks(answer)
    whole = " ".join(answer.split()).strip(END_MARKS)
    asked, tokens = normalise(question), normalise(text)
    code = [piece for piece in code_in(answer) if _is_telling(piece, asked, _LONGEST_CODE)]
    is_short = len(tokens) <= LONGEST_PHRASE and bool(assertions(whole, answer))
    num_repeated = len((set(asked) & set(tokens)) - STOP_WORDS) if is_short else LONGEST_PHRASE
    is_code = any(2 * len(normalise(piece)) >= len(tokens) for piece in code)
    first = tokens[:1] if tokens[:1] not in (("yes",), ("no",)) else tokens[1:2]
    if num_repeated == 0 and not is_code and _PRONOUNS.isdisjoint(first):
        return whole
    pieces = (*quoted(text), *read_by_machines(text))
    names = [n for n in names_and_amounts(text, asked) if not any(text[slice(*n)] in other for other in pieces)]
    amounts = [] if _asks_for_amount(question) else [n for n in names if _is_beside(text[slice(*n)], asked, tokens)]
    runs = fresh_runs(text, asked) if num_repeated > 1 or amounts else []
    if is_short:
        runs = [run for run in runs if len(set(normalise(text[slice(*run)])) - STOP_WORDS - LEADING_WORDS) > 1]
    ranked = _ranked(text, asked, [n for n in names if n not in amounts], amounts, runs, rarity)
    spans = tuple(text[slice(*span)] for span in ranked)
    asides: tuple[str, ...] = (*code, *pieces) if any(_answers(text[slice(*name)], question) for name in names) else ()
    candidates = (*spans, *asides) if asides else (*pieces, *spans)
    phrases = [re.sub(r"[\u2019']s$", "", " ".join(candidate.split()).strip(END_MARKS)) for candidate in candidates]
    at_once = [] if asides else code
    telling = (*at_once, *(phrase for phrase in phrases if _is_telling(phrase, asked)))
    if fit := [phrase for phrase in telling if assertions(phrase, answer)]:
        return next((phrase for phrase in fit if normalise(phrase) not in taken), fit[0])
    return whole if assertions(whole, answer) else answer.strip()


def _asks_for_amount(question: str) -> bool:
    """Whether an amount, a time or a number answers a question; or one may, beside a yes or a no."""
    if decision_of(question, "yes")[0]:
        return True
    if aspect := aspect_of(question):
        return aspect in _AMOUNT_ASPECTS and not _CLAUSE_OF_TIME.match(question)
    words = re.findall(r"[a-z]+", question.lower().replace("\u2019", "'").replace("what's", "what is"))
    asking = next((place + 1 for place, word in enumerate(words) if word in ("what", "which")), 0)
    verb, *nouns = words[asking:] or [""]
    if verb in _NOUNS_END:
        return not _AMOUNT_VERBS.isdisjoint(words)
    if verb in ("is", "are", "was", "were") or not asking:
        nouns = list(takewhile(lambda word: word not in _NOUNS_END, nouns if asking else words))
    else:
        nouns = [verb, *nouns[:1]]
    return not _AMOUNT_NOUNS.isdisjoint(word.removesuffix(end) for word in nouns for end in ("", "s"))


def _answers(name: str, question: str) -> bool:
    """Whether a name or an amount is of the sort that the question asks for: who, or how much."""
    if not _READ_BY_MACHINES.isdisjoint(normalise(question)):
        return False
    is_number = is_amount(name) or is_bare_number(name)
    if aspect_of(question) == "the person":
        return not is_number
    return is_number and _asks_for_amount(question) and not decision_of(question, "yes")[0]


def _is_beside(name: str, asked: Tokens, tokens: Tokens) -> bool:
    """Whether it is an amount that is not most of the answer, or a bare number, where the question asks for neither."""
    said, amount = (set(part) - set(asked) - STOP_WORDS - LEADING_WORDS for part in (tokens, normalise(name)))
    return is_bare_number(name) or (is_amount(name) and 2 * len(amount) <= len(said))


def _ranked(
    answer: str,
    asked: Tokens,
    names: Sequence[Span],
    amounts: Sequence[Span],
    runs: Sequence[Span],
    rarity: Rarity,
) -> tuple[Span, ...]:
    """Names of several words and amounts asked for, then whatever says most, then bare numbers that are asked for."""
    numbers = [n for n in names if _says_little(answer[slice(*n)])]
    single = [n for n in names if _is_one_word(answer[slice(*n)]) and not _goes_with_another(answer, n, names)]
    long = [n for n in names if n not in numbers and not _is_one_word(answer[slice(*n)])]
    long.sort(key=lambda name: _num_new(answer[slice(*name)], asked), reverse=True)
    others = [amount for amount in amounts if not is_bare_number(answer[slice(*amount)])]

    def weight(span: Span) -> float:
        new = " ".join(word for word in normalise(answer[slice(*span)]) if word not in asked)
        factor = _NAME_WEIGHT if span in single else 1.0
        return rarity.of(new) * factor * (_ASIDE_WEIGHT if _is_aside(answer, span) else 1.0)

    return (*long, *sorted((*single, *runs, *others), key=weight, reverse=True), *numbers)


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


def _is_telling(phrase: str, asked: Tokens, longest: int = LONGEST_PHRASE) -> bool:
    """Whether a phrase is short enough, and says something that the question does not."""
    tokens = normalise(phrase)
    is_new = bool(set(tokens) - set(asked) - STOP_WORDS)
    return is_new and len(tokens) <= longest and not positions(tokens, asked)
