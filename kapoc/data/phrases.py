"""What stands in a question and its answer: the phrase that is graded, and the words that a probe may ask by."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from kapoc.grade import Tokens, assertions, normalise, positions

LONGEST_CHUNK = 4
"""How many words of a question are kept together at most."""
LONGEST_TITLE = 5
"""How many words a quoted title may have to be kept in one piece."""
END_MARKS = " \t\n.,;:!"
"""What is cut off both ends of a phrase."""
_LONGEST_PHRASE = 8
"""How many tokens an answer may have to be graded as a whole."""
_MOST_ALIKE = 0.6
"""Estimated likeness to the question (a cosine) up to which a probe may repeat its words: more would be a copy."""
_WORDING_WEIGHT = 600.0
"""What the words of a wording weigh against the question's own words in that estimate."""

# Words that carry the grammar of a question and not its subject.
_STOP_WORDS = frozenset(
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
_LEADING = frozenset(
    "from to into in on before after between against without by under over during than since until not never".split()
)
_ASPECTS = {
    "who": "the person", "whom": "the person", "whose": "the person", "when": "the time", "where": "the place",
    "why": "the reason", "what": "", "which": "",
}  # fmt: skip
_SAYING = frozenset("means happens occurs arises says shows states indicates signals tells".split())
_CLAUSES = frozenset("that because".split())
_NAME_LINKS = frozenset("of the in year al bin da das de del di dos du el es ibn la las le los van von y zu".split())
_QUOTED = re.compile(
    r"[\"\u201c\u201d](?P<double>[^\"\u201c\u201d]+)[\"\u201c\u201d]"
    r"|(?<!\w)[\u2018'](?P<single>[A-Z][^\u2019']+)[\u2019'](?!\w)"
)
_IDENTIFIER = re.compile(
    r"(?<![\w./:-])(?=[\w./-]*[A-Za-z]{3})(?:/[A-Za-z][\w.-]*(?:/[\w.-]*\w)+|[A-Za-z][\w-]*(?:(?:\.[a-z]|_)[\w-]*)+)(?!\w)"
)
"""What a machine reads: a setting or a file, words tied by dots or underscores; or a path that begins with a slash."""
_YEAR = re.compile(r"1\d{3}|20\d{2}")
_WORD = re.compile(r"[^\W_](?:[\w\u2019'.:%/+#-]*[\w%+#])?")


def key_phrase(question: str, answer: str, taken: Collection[Tokens] = ()) -> str:
    """The part of an answer that is graded: all of it if it is short, else a telling phrase that it contains.

    Quoted titles come first, then what a machine reads (`auth.retry_limit`, `auth.yml`), then names, dates and numbers
    with their units, then the longest run of words, and bare numbers last; none of them stands in the question. Where
    there is no such phrase, all of the answer is the phrase. A short answer that repeats words of the question ("The
    capital of Zorblax is Port Vell") is treated like a long one.

    Args:
        question, answer: one row.
        taken: phrases of other facts, normalised, that are avoided where there is another.
    """
    whole = answer.strip(END_MARKS)
    asked, tokens = normalise(question), normalise(whole)
    is_short = len(tokens) <= _LONGEST_PHRASE and bool(assertions(whole, answer))
    if is_short and len((set(asked) & set(tokens)) - _STOP_WORDS) < 2:
        return whole
    quoted = [match["double"] or match["single"] for match in _QUOTED.finditer(answer)]
    machine_read = [match.group() for match in _IDENTIFIER.finditer(answer)]
    names = [run for run in _proper_runs(answer) if not any(run in other for other in (*quoted, *machine_read))]
    names.sort(key=lambda run: (_says_little(run), -len(set(normalise(run)) - set(asked))))
    num_telling = sum(not _says_little(run) for run in names)
    runs = () if is_short else _fresh_runs(answer, asked)
    candidates = (*quoted, *machine_read, *names[:num_telling], *runs, *names[num_telling:])
    phrases = [re.sub(r"[\u2019']s$", "", candidate.strip(END_MARKS)) for candidate in candidates]
    fit = [phrase for phrase in phrases if _is_telling(phrase, asked) and assertions(phrase, answer)]
    if fit:
        return next((phrase for phrase in fit if normalise(phrase) not in taken), fit[0])
    return whole if assertions(whole, answer) else answer.strip()


def _says_little(run: str) -> bool:
    """Whether it is a number alone, and not as long as a year."""
    return run.isdigit() and len(run) < len("1990")


def _is_telling(phrase: str, asked: Tokens) -> bool:
    """Whether a phrase is short enough, and says something that the question does not."""
    tokens = normalise(phrase)
    is_new = bool(set(tokens) - set(asked) - _STOP_WORDS)
    return is_new and len(tokens) <= _LONGEST_PHRASE and not positions(tokens, asked)


def _proper_runs(text: str) -> list[str]:
    """Names, dates and numbers: runs of words that begin with a capital or hold a digit, small links among them."""
    words = list(_WORD.finditer(text))
    proper = [match.group()[0].isupper() or any(c.isdigit() for c in match.group()) for match in words]
    for index, match in enumerate(words):
        is_initial = index == 0 or bool(re.search(r"[.!?]", text[words[index - 1].end() : match.start()]))
        ends_here = index + 1 == len(words) or not proper[index + 1] or text[match.end()] != " "
        is_grammar = match.group().lower() in _STOP_WORDS | _LEADING
        if is_initial and (is_grammar or ends_here) and not any(c.isdigit() for c in match.group()):
            proper[index] = False
    runs: list[str] = []
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
        runs.append(text[words[index].start() : words[last].end()])
        index = last + 1
    return runs


def _has_unit(text: str, words: Sequence[re.Match[str]], place: int) -> bool:
    """Whether a number is followed by what it counts: a word of its own that carries meaning."""
    number, *following = (match.group() for match in words[place : place + 2])
    if not following or not number.isdigit() or _YEAR.fullmatch(number):
        return False
    is_word = following[0].isalpha() and following[0] not in _STOP_WORDS | _LEADING | _NAME_LINKS
    return is_word and _is_joined(text, words[place], words[place + 1])


def _is_joined(text: str, word: re.Match[str], following: re.Match[str]) -> bool:
    gap = text[word.end() : following.start()]
    return gap == " " or (gap == ", " and bool(re.fullmatch(r"\d{4}", following.group())))


def _fresh_runs(text: str, asked: Sequence[str]) -> list[str]:
    """Runs of words that the question does not have, cut at punctuation, the longest first."""
    words = list(_WORD.finditer(text))
    runs: list[list[re.Match[str]]] = [[]]
    for index, match in enumerate(words):
        if index and text[words[index - 1].end() : match.start()].strip():
            runs.append([])
        if set(normalise(match.group())) & set(asked) - _STOP_WORDS:
            runs.append([])
        elif len(runs[-1]) < _LONGEST_PHRASE:
            runs[-1].append(match)
    trimmed = [_without_stop_words(run) for run in runs]
    trimmed.sort(key=lambda run: -sum(match.group().lower() not in _STOP_WORDS for match in run))
    return [text[run[0].start() : run[-1].end()] for run in trimmed if run]


def _without_stop_words(run: list[re.Match[str]]) -> list[re.Match[str]]:
    """A run without the words of grammar at its ends, and without what leads up to a clause ("means that ...")."""
    if len(run) > 2 and run[0].group().lower() in _SAYING and run[1].group().lower() in _CLAUSES:
        run = run[2:]
    while run and run[0].group().lower() in (_STOP_WORDS | _LEADING) - {"not", "never"}:
        run = run[1:]
    while run and run[-1].group().lower() in _STOP_WORDS | _LEADING:
        run = run[:-1]
    return run


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
    titles = {m.start() + 1: m for m in _QUOTED.finditer(question) if len(m.group().split()) <= LONGEST_TITLE}
    for number, match in enumerate(_WORD.finditer(question)):
        if match.start() < end:
            continue
        title = titles.get(match.start())
        word = title.group() if title else _content_word(match.group(), is_early=number < _NUM_ASKING)
        is_cut = bool(question[end : match.start()].strip("\"'\u201c\u2018 ")) or _is_complete(chunks[-1], word)
        if is_cut or title or word in _LEADING or not word:
            chunks.append([])
        if word:
            chunks[-1].append(word)
        if title:
            chunks.append([])
        end = title.end() if title else match.end()
    return [" ".join(chunk) for chunk in chunks if not {*chunk} <= _LEADING]


def _content_word(word: str, *, is_early: bool) -> str:
    lower = word.lower().replace("\u2019", "'")
    if lower.endswith("n't"):
        return "not"
    if lower in _LEADING:
        return lower
    return "" if lower.split("'")[0] in _STOP_WORDS or (is_early and lower in _ASKING) else word


def _is_complete(chunk: Sequence[str], word: str) -> bool:
    """Whether a word begins a new chunk: the one before is full, or a name ends or begins here."""
    if len(chunk) == LONGEST_CHUNK:
        return True
    return bool(chunk and word and chunk[-1] not in _LEADING and _is_name(chunk[-1]) != _is_name(word))


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
            number = {"many": "the number", "much": "the amount"}
            return number.get(following, "the way" if following in _STOP_WORDS | {"to"} else "the degree")
        if word in _ASPECTS:
            return _ASPECTS[word]
    return ""


def is_identifier(text: str) -> bool:
    """Whether a text is one name for machines to read, such as `auth.retry_limit`."""
    return bool(_IDENTIFIER.fullmatch(text))


def holds(text: str, phrase: str) -> bool:
    """Whether the words of a phrase stand in a text, side by side and in their order."""
    return bool(positions(normalise(phrase), normalise(text)))
