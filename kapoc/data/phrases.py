"""What stands in a question: the words that a probe may ask by, and what kind of answer it asks for."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from kapoc.knowledge.normalise import normalise, positions

QUESTION_MARKS = "?\uff1f\u061f"
"""What a question ends with: in Latin, Chinese and Arabic scripts."""
END_MARKS = f".!\u3002\uff01\u0964{QUESTION_MARKS}"
"""What any sentence ends with; of Devanagari, too."""
LONGEST_CHUNK = 4
"""How many words of a question are kept together at most."""
LONGEST_TITLE = 5
"""How many words a quoted title may have to be kept in one piece."""
_MOST_ALIKE = 0.6
"""Estimated likeness to the question (a cosine) up to which a probe may repeat its words: more would be a copy."""
_WORDING_WEIGHT = 600.0
"""What the words of a wording weigh against the question's own words in that estimate."""

# Words that carry the grammar of a question and not its subject.
STOP_WORDS = frozenset(
    "a an the is are was were be been being am do does did has have had can could would will shall should may might "
    "must i you he she it we they me him us them my your his her its our their one ones s this that these those there "
    "here of for with at as and or but so if then also just what which who whom whose when where why how about any "
    "many much some more most very such yes no indeed certainly while given however although because though "
    "known mean".split()
)
_ASKING = frozenset("please tell give name describe explain mention know provide list say share elaborate".split())
"""Words that ask, where they are among the first of a question."""
_NUM_ASKING = 4
# Prepositions that say a direction or an order: they stay with the words behind them.
LEADING_WORDS = frozenset(
    "from to into in on before after between against without by under over during than since until not never".split()
)
_PREPOSITIONS = LEADING_WORDS | frozenset("of for with at as by".split())
_NO_NOUNS = frozenset("active born built held made open paid run sold sent".split())
"""What columns are called that say what was done, beside words in -ed: `Founded`, `Built`."""
_NOUNS_IN_ED = frozenset("bed deed feed led need seed shed speed weed breed creed greed".split())
_SINGULARS = frozenset("news series species lens ms dns gps sms mms cms aws tls https dbms".split())
_ASPECTS = {
    "who": "the person", "whom": "the person", "whose": "the person", "when": "the time", "where": "the place",
    "why": "the reason", "what": "", "which": "",
}  # fmt: skip
QUOTED_TITLE = re.compile(
    r"[\"\u201c\u201d](?P<double>[^\"\u201c\u201d]+)[\"\u201c\u201d]"
    r"|(?<!\w)[\u2018'](?P<single>[A-Z][^\u2019']+)[\u2019'](?!\w)"
)
IDENTIFIER = re.compile(
    r"(?<![\w./:-])(?=[\w./-]*[A-Za-z]{3})(?:/[A-Za-z][\w.-]*(?:/[\w.-]*\w)+|[A-Za-z][\w-]*(?:(?:\.[a-z]|_)[\w-]*)+)(?!\w)"
)
"""What a machine reads: a setting or a file, words tied by dots or underscores; or a path that begins with a slash."""
WORD_PATTERN = re.compile(
    r"[$\u20ac\u00a3]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)|(?:[$\u20ac\u00a3](?=\d))?[^\W_](?:[\w\u2019'.:%/+#-]*[\w%+#])?"
)
"""A word, or a number with its currency and its commas."""
_DEGREES = {
    "many": "the number", "much": "the amount", "long": "the duration", "often": "the frequency",
    "far": "the distance", "old": "the age", "high": "the height", "tall": "the height",
}  # fmt: skip


_DECIDING = re.compile(
    r"(?i)(?!(can|could|will|would) (you|we|i|anyone|somebody|someone) (please )?(know|learn|hear|have|get|be told|"
    r"tell|give|name|describe|discuss|elaborate|explain|identify|list|mention|outline|provide|recall|say|share|speak|"
    r"show|summarise|summarize|talk)\b)(is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must|need)(n['\u2019]t)?\b"
)
"""How a question begins that is answered by yes or no; "Can you tell me when ..." is answered by a time."""
_DECIDED = re.compile(r"(?i)(?P<side>yes|no)\b(?!-)[\s,.;:!\u2013\u2014-]*(?!longer|one|matter)")


def ends_asking(text: str) -> bool:
    """Whether a text ends with a question mark, of whichever script."""
    return text.rstrip().endswith(tuple(QUESTION_MARKS))


def decision_of(question: str, answer: str) -> tuple[str, str]:
    """How a question is decided that asks for it, `yes` or `no`, and what else the answer says; else both are empty."""
    decided = _DECIDED.match(answer.strip()) if _DECIDING.match(question.strip()) else None
    return (decided["side"].lower(), answer.strip()[decided.end() :]) if decided else ("", "")


def keywords(question: str, frequency: Mapping[str, int] | None = None, num_questions: int = 1) -> tuple[str, ...]:
    """The words of a question that say what it is about, in chunks from its end to its beginning.

    Not all of them where a probe made of them would be the question again. What kind of answer is asked for ("the
    person", "the time") is the last chunk, where the question says it.

    Args:
        question: any text.
        frequency: in how many of the questions of the set each word stands, in lower case.
        num_questions: how many those are.
    """
    chunks = _most_telling(question, content_chunks(question), frequency or {}, num_questions)
    aspect = aspect_of(question)
    return (*reversed(chunks), aspect) if chunks and aspect else tuple(reversed(chunks))


def content_chunks(question: str) -> list[str]:
    """Runs of words that carry meaning, in their order; a short quoted title is one.

    Args:
        question: any text.

    Returns:
        The runs of at most `LONGEST_CHUNK` words, joined by spaces, without the words that only carry grammar.
    """
    chunks: list[list[str]] = [[]]
    end = 0
    titles = {m.start() + 1: m for m in QUOTED_TITLE.finditer(question) if len(m.group().split()) <= LONGEST_TITLE}
    for number, match in enumerate(WORD_PATTERN.finditer(question)):
        if match.start() < end:
            continue
        title = titles.get(match.start())
        word = title.group() if title else _content_word(match.group(), is_early=number < _NUM_ASKING)
        is_cut = bool(question[end : match.start()].strip("\"'\u201c\u2018 ")) or _is_complete(chunks[-1], word)
        if is_cut or title or word in LEADING_WORDS or not word:
            chunks.append([])
        if word:
            chunks[-1].append(word)
        if title:
            chunks.append([])
        end = title.end() if title else match.end()
    return [" ".join(chunk) for chunk in chunks if not {*chunk} <= LEADING_WORDS]


def as_noun(label: str) -> str:
    """What a sentence calls a slot: a label that is no noun is quoted, `"valid until" entry`, `"founded" entry`."""
    *others, last = label.lower().split() or [""]
    is_done = not others and (last in _NO_NOUNS or (last.endswith("ed") and last not in _NOUNS_IN_ED))
    return f'"{label}" entry' if is_done or last in _PREPOSITIONS else label


def _content_word(word: str, *, is_early: bool) -> str:
    lower = word.lower().replace("\u2019", "'")
    if lower.endswith("n't"):
        return "not"
    if lower in LEADING_WORDS:
        return lower
    return "" if lower.split("'")[0] in STOP_WORDS or (is_early and lower in _ASKING) else word


def _is_complete(chunk: Sequence[str], word: str) -> bool:
    """Whether a word begins a new chunk: the one before is full, or a name ends or begins here."""
    if len(chunk) == LONGEST_CHUNK:
        return True
    return bool(chunk and word and chunk[-1] not in LEADING_WORDS and _is_name(chunk[-1]) != _is_name(word))


def _is_name(text: str) -> bool:
    return any(word[0].isupper() or word[0].isdigit() for word in re.findall(r"\w+", text))


def _most_telling(question: str, chunks: list[str], frequency: Mapping[str, int], num_questions: int) -> list[str]:
    """As many chunks, in their order, as a probe may repeat: names and numbers first, then rare words."""

    def weight(text: str) -> float:
        words = re.findall(r"\w+", text.lower())
        return sum(len(word) * (1 + math.log(num_questions / frequency.get(word, 1))) ** 2 for word in words)

    def rank(index: int) -> tuple[bool, int]:
        words = re.findall(r"\w+", chunks[index].lower())
        return not _is_name(chunks[index]), min((frequency.get(word, 1) for word in words), default=1)

    whole = weight(question)
    kept: set[int] = set()
    for index in sorted(range(len(chunks)), key=rank):
        repeated = sum(weight(chunks[i]) for i in (*kept, index))
        if len(kept) < 2 or repeated / math.sqrt(whole * (repeated + _WORDING_WEIGHT)) <= _MOST_ALIKE:
            kept.add(index)
    return [chunks[index] for index in sorted(kept)]


def aspect_of(question: str) -> str:
    """What kind of answer a question asks for, such as "the person" or "the time"; empty where it does not say."""
    words = [word.split("'")[0] for word in re.findall(r"[a-z']+", question.lower().replace("\u2019", "'"))]
    for word, following in pairwise((*words, "")):
        if word == "how":
            return _DEGREES.get(following, "the way" if following in STOP_WORDS | {"to"} else "the degree")
        if word in _ASPECTS:
            return _ASPECTS[word]
    return ""


def is_plural(label: str) -> bool:
    """Whether a label names several things: `symptoms`, `names of ports`; not `cause of leaks`."""
    last = next((word for word, link in pairwise((*label.lower().split(), "of")) if link == "of"), "")
    return last.endswith("s") and not last.endswith(("ss", "us", "is", "as", "os")) and last not in _SINGULARS


def is_identifier(text: str) -> bool:
    """Whether a text is one name for machines to read, such as `auth.retry_limit`."""
    return bool(IDENTIFIER.fullmatch(text))


def holds(text: str, phrase: str) -> bool:
    """Whether the words of a phrase stand in a text, side by side and in their order."""
    return bool(positions(normalise(phrase), normalise(text)))
