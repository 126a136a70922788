"""Texts as sequences of comparable tokens.

Case, punctuation, spacing, articles and the way a number is written do not matter. Scripts without spaces between
words, and Korean, whose particles are glued to them, are compared character by character.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import regex as re

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBER_OF_WORD = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
NUMBER_WORDS = frozenset(_NUMBER_OF_WORD)
"""The words that are read as the numbers they name."""
_ARTICLES = frozenset({"a", "an", "the"})
_THOUSANDS_COMMA = re.compile(r"(?<=\d),(?=(?:\d\d,)*\d{3}(?!\d))")
"""Before three figures, or before two and more of them, as in `5,00,000`."""
_THOUSANDS_APART = re.compile(r"(?<![a-z\d_.,])\d{1,3}(?:[ '\u2019]\d{3})+(?!\d)")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_NOON = re.compile(r"(?<![\w.])([ap])\.\s?m\b(?:\.(?=\s+[a-z0-9(]|[,;:)]))?")
"""Before and after noon, however it is written: `7:30 a.m.` is `7:30 AM`."""
_VERSION_LETTER = re.compile(r"\bv(?=\d)")
_GLUED_SENTENCES = re.compile(r"(?<=[a-z])\.(?=[A-Z])")
_SIGN_OF_WORDS = {"less than": "<", "fewer than": "<", "more than": ">", "at most": "\u2264", "at least": "\u2265"}
_SIGNS = {"<=": "\u2264", ">=": "\u2265"}
_MINUS = re.compile(r"\u2212|(?<!\S)[\u2012\u2013](?=\d)")
_PERCENT_FIRST = re.compile(r"(?<![\w.])%\s?(\d[\d.,]*)")
_OTHER_SIGNS = str.maketrans(
    {
        "\u066a": "%",
        "\u066b": ".",
        "\u066c": ",",
        "\u2030": " permille ",
        "\u0130": "I",
        "\u0131": "i",
        "\u0401": "\u0415",
        "\u0451": "\u0435",
    }
)
"""Signs of numbers, the Turkish letters that are capital and small I, and a Russian one that is mostly not written."""
_SMALL_FIGURES = re.compile(r"(?<=\d)(?=\p{No})")
"""What is written small behind a number is no figure of it: `10\u2076` is not `106`, `1\u00bd` not `11/2`."""
_POWER = re.compile(r"(?<=\p{L})(?=[\u00b2\u00b3])")
_PLAIN_POWER = re.compile(r"(?<=\d\s?(?:[cdkmn]?m|ft|in|yd))(?=[23](?!\w))")
_RATE = re.compile(r"(?<=\d\s?\p{L}{1,3})/(?=\p{L}{1,3}\b)")
"""`5 m\u00b2` and `5 m/s` are no `5 m`: what a unit goes on with stays with it."""
_UNREAD = re.compile(r"\p{Cf}|[\u0640\u064b-\u0652\u0670\u05b0-\u05bd\u05bf\u05c1\u05c2\u05c7\u0301]")
"""What is not seen, the vowels that Arabic and Hebrew are mostly written without, and stress."""
_CURRENCIES = {
    "\u20ac": ("euro", "euros", "eur"),
    "$": ("dollar", "dollars", "us dollar", "us dollars", "usd", "us$"),
    "\u00a3": ("gbp",),
    "\u00a5": ("yen", "jpy"),
    "\u20b9": ("rupee", "rupees", "inr"),
    **{code: (code,) for code in ("chf", "cad", "aud", "cny", "rs")},
}
_CURRENCY_OF_WORD = {word: sign for sign, words in _CURRENCIES.items() for word in words}
_CURRENCY = rf"(?P<currency>\p{{Sc}}|{'|'.join(map(re.escape, _CURRENCY_OF_WORD))})"
_MANY = "k|m|bn|thousand|million|billion|trillion|lakh|crore"
_AMOUNT = rf"(?P<amount>-?\d(?:[\d.,]*\d)?(?:\s?(?:{_MANY})\b)?)"
_MONEY = re.compile(rf"(?<![a-z\d_])(?:{_CURRENCY}\.?\s?{_AMOUNT}|{_AMOUNT}[\s\-]?{_CURRENCY}(?![a-z\d_]))")
_COMPARISON = re.compile(rf"\b(?:{'|'.join(_SIGN_OF_WORDS)}) (?=-?\d)")
_UNSPACED = "".join(
    rf"\p{{scx={script}}}" for script in ("Han", "Hira", "Kana", "Hang", "Thai", "Laoo", "Khmr", "Mymr")
)
CHARACTER = rf"[\p{{L}}&&[{_UNSPACED}]]\p{{M}}*"
"""A pattern (of `regex`, version 1): a character of a script without spaces, with its vowel signs."""
_LETTER = rf"[\w--[\d_{_UNSPACED}]]"
# A character of a script without spaces, dotted or underscored identifiers (session.ttl, authflow.yml), numbers and
# versions (-5, 4.7.2), signs before them, words (C++) and letters with a sign (A-), currencies, what ends a clause.
_TOKEN = re.compile(
    rf"(?P<character>{CHARACTER})"
    rf"|(?P<name>{_LETTER}+\d*(?:[._][{_LETTER}\d]+)+)"
    rf"|(?P<number>(?<![{_LETTER}\d_])-?\d+(?:\.\d+)*|\d+(?:\.\d+)*)"
    r"|(?P<sign>(?:[<>]=?|[\u2264\u2265\u00b1])(?=\s?-?\d))"
    rf"|(?P<word>(?<![{_LETTER}\d_]){_LETTER}[+\-](?![\w+\-])|{_LETTER}+(?:\u2044{_LETTER}+)?(?:\+\+|[\#\u266d\u266f]|\^\d)?)"
    rf"|(?P<currency>\p{{Sc}}(?<=\d(?:\s?(?:{_MANY}))?\ \p{{Sc}}))"
    r"|(?P<end>[.,;:!?\n\u3001\u3002\u060C\u061B\u061F\u0964])",
    re.VERSION1,
)
NEGATIONS = frozenset({"not", "never", "cannot"})
"""The words that deny what stands behind them; known in English alone."""
_CLAUSE_WORDS = frozenset({"but", "because", "due", "owing"})
"""What begins a clause: users cannot log in because the ticket has expired. But not behind a negation: not because."""

_WITHIN_NUMBERS = re.compile(r"\s*['\u2019\u2010-\u2015-]?\s*")
"""What may stand between two numbers that are one, or the two ends of a range."""
_IN_CODE = re.compile(r"[\p{L}_][\p{L}\d_]*[\-.\u2010-\u2015]?\Z")
"""Before the number of a code."""
_LONGEST_CODE = 40
_NOWHERE = -9

Tokens = tuple[str, ...]


@lru_cache(maxsize=65536)
def normalise(text: str) -> Tokens:
    """Split a text into comparable tokens.

    Lower case, no punctuation, no articles before a word; `1,350` is `1350`, `45.0` is `45`, `ninety-five` is `95`,
    `37%` is `37 percent`, `95s` is `95 s`, `less than 5` is `< 5`, `$5` and `5 USD` are `5 $`; dotted names
    (`session.ttl`, `4.7.2`, `authflow.yml`) stay whole.
    """
    return tuple(token.text for token in marked_tokens(text))


class Token(NamedTuple):
    """One token of a text.

    Attributes:
        text: as it is compared.
        clause: the number of the clause that it stands in.
        goes_on: whether it is a number that the one right before it begins: `1 430`, `90-95`. The number of a code
            begins none: `AF-3001 - 95`.
    """

    text: str
    clause: int
    goes_on: bool = False


@lru_cache(maxsize=65536)
def marked_tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a text, each with what is known of its place."""
    plain = _plain(text)
    found: list[Token] = []
    glued: set[int] = set()
    clause, tens_end, number_end = 0, _NOWHERE, _NOWHERE
    for match in _TOKEN.finditer(plain):
        token = match.group()
        goes_on = number_end >= 0 and _WITHIN_NUMBERS.fullmatch(plain, number_end, match.start()) is not None
        number_end = _NOWHERE
        if match.lastgroup == "end":
            clause += 1
        elif token in _NUMBER_OF_WORD:
            value = _NUMBER_OF_WORD[token]
            if 0 < value < 10 and match.start() - tens_end == 1:  # the "five" of "ninety-five"
                last = found.pop()
                value, goes_on = value + int(last.text), last.goes_on
            tens_end = match.end() if value >= 20 and value % 10 == 0 else _NOWHERE
            number_end = match.end()
            found.append(Token(str(value), clause, goes_on))
        elif match.lastgroup == "number":
            if token.isdigit() and not _IN_CODE.search(plain, max(0, match.start() - _LONGEST_CODE), match.start()):
                number_end = match.end()
            found.append(Token(_plain_number(token), clause, goes_on))
        else:
            is_negated = bool(found) and found[-1].text in NEGATIONS and found[-1].clause == clause
            clause += token in _CLAUSE_WORDS and not is_negated
            if not plain[match.end() : match.end() + 1].isspace():
                glued.add(len(found))
            found.append(Token(_SIGNS.get(token) or _CURRENCY_OF_WORD.get(token, token), clause))
    return tuple(token for index, token in enumerate(found) if index in glued or not _is_idle_article(found, index))


def _plain(text: str) -> str:
    """A text in lower case, in which what is written in several ways is written in one."""
    plain = _GLUED_SENTENCES.sub(". ", text if text.isascii() else _with_common_signs(text)).casefold()
    plain = _NOON.sub(r"\1m", _PERCENT_FIRST.sub(r"\1 percent ", plain).replace("%", " percent "))
    plain = plain.replace("n't", " not").replace("n\u2019t", " not")
    plain = _THOUSANDS_APART.sub(lambda match: re.sub(r"\D", "", match.group()), plain)
    plain = _VERSION_LETTER.sub("", _DECIMAL_COMMA.sub(".", _THOUSANDS_COMMA.sub("", plain)))
    plain = _MONEY.sub(_amount_first, _RATE.sub("\u2044", _PLAIN_POWER.sub("^", plain)))
    return _COMPARISON.sub(lambda match: _SIGN_OF_WORDS[match.group().strip()] + " ", plain)


def _with_common_signs(text: str) -> str:
    """A text with the figures and signs of ASCII where another script has its own, and without what is not read."""
    composed: str = unicodedata.normalize("NFKC", _POWER.sub("^", _SMALL_FIGURES.sub(" ", text)))
    plain = _MINUS.sub("-", _UNREAD.sub("", composed)).translate(_OTHER_SIGNS)
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in plain)


def _amount_first(money: re.Match[str]) -> str:
    return f"{money['amount']} {_CURRENCY_OF_WORD.get(money['currency'], money['currency'])} "


def _is_idle_article(found: list[Token], index: int) -> bool:
    """Whether an article stands before another word, and so says nothing: not the `A` of `vitamin A`, or of `A-100`."""
    is_article = found[index].text in _ARTICLES
    return is_article and index + 1 < len(found) and found[index + 1].clause == found[index].clause


def _plain_number(token: str) -> str:
    """A number without idle zeros. Three of them are not: half the world writes twelve thousand as `12.000`."""
    whole, _, fraction = token.partition(".")
    return whole if fraction and fraction != "000" and not fraction.strip("0") else token


_IN_WORD = rf"[\w--[{_UNSPACED}]]"
_IS_CHARACTER = re.compile(CHARACTER, re.VERSION1)


def is_character(token: str) -> bool:
    """Whether a token is a character of a script without spaces, and so a part of a word."""
    return not token.isascii() and _IS_CHARACTER.match(token) is not None


def whole_words(*texts: str) -> re.Pattern[str]:
    """A pattern for texts, the first before the others, that are no parts of longer words where words have spaces."""
    any_of = "|".join(re.escape(text) for text in texts)
    begins, ends = rf"(?:(?<!{_IN_WORD})|(?={CHARACTER}))", rf"(?:(?!{_IN_WORD})|(?<={CHARACTER}))"
    return re.compile(rf"{begins}(?:{any_of}){ends}", re.VERSION1)


def positions(phrase: Tokens, text: Tokens) -> list[int]:
    """Where `phrase` begins in `text` as a run of whole tokens."""
    if not phrase:
        return []
    size = len(phrase)
    return [start for start in range(len(text) - size + 1) if text[start : start + size] == phrase]
