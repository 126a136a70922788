"""What a fact is called: by a name, by a question, or by a name that another fact has, too."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

from kapoc.data.phrases import QUESTION_MARKS, ends_asking, holds
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.normalise import Tokens, normalise

_ASKING = re.compile(
    r"(?i)(who|whom|whose|what|when|where|which|why|how|is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|"
    r"shall|should|may|might|must|please|tell|give|name|describe|explain|list|say|"
    r"(in|on|at|by|to|for|from|of|with|under|into|during|until|since) (whom|what|which|whose|how|where|when))\b"
)
"""How a question begins, or a request."""
_ASKED_LATER = re.compile(
    r"(?i), (?:(and|but|so) )?(who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|has|have|can)\b"
)
"""How a question begins behind a clause."""
_CODE = re.compile(r"(?<![\w.-])(?=[\w/-]*\d\d)[A-Z][\w/-]*\d(?![\w-]|\.\d)")
"""A code such as AF-3001: from a capital to a digit, with two digits side by side; no date, and no version."""
LONGEST_TERM = 3
"""Up to so many words, what begins like a question may be a term, and what ends like one a term with a mark."""


def is_question(fact: Fact) -> bool:
    """Whether the name of a fact is a question, as that of an imported pair of question and answer.

    It ends in a question mark, or it is a training question that does, or that reads like one, or the only one. What is
    also asked for in a sentence is no question: a code, or a term of a glossary ("List comprehension").
    """
    return _is_question(fact.name, tuple(example.question for example in fact.training))


@lru_cache(maxsize=65536)
def _is_question(fact_name: str, questions: tuple[str, ...]) -> bool:
    name = fact_name.rstrip(QUESTION_MARKS + " ")
    asked = [question.strip() for question in questions]
    same = [question for question in asked if question.rstrip(QUESTION_MARKS + " ") == name]
    others = [question for question in asked if question.rstrip(QUESTION_MARKS + " ") != name]
    is_marked = any(ends_asking(question) for question in same)
    reads_so = bool(_ASKING.match(name)) or (is_marked and bool(_ASKED_LATER.search(name)))
    may_be_term = not reads_so or (len(name.split()) <= LONGEST_TERM and not is_marked)
    is_term = may_be_term and any(holds(question, fact_name) for question in others)
    return ends_asking(fact_name) or (bool(same) and (reads_so or is_marked or not others) and not is_term)


def codes_in(text: str) -> list[str]:
    """The codes that stand in a text, such as AF-3001, each once."""
    return list(dict.fromkeys(match.group() for match in _CODE.finditer(text)))


def gone_by(taught: Iterable[Fact]) -> dict[str, str]:
    """What all training questions about a fact name, and what tells it from all others but for what is asked.

    A fact goes by its name; one whose name is a question by the one code in it, where at least two codes of such facts
    begin alike: so a user names things, and a year or a product is not named so.

    Returns:
        Ids -> names or codes; without the facts that training questions ask about in other words.
    """
    facts = list(taught)
    found = {fact.id: codes[0] for fact in facts if is_question(fact) and len(codes := codes_in(fact.name)) == 1}
    heads = Counter(_head(code) for code in set(found.values()))
    named = {fact.id: fact.name for fact in facts if goes_by_its_name(fact)}
    return named | {
        fact.id: found[fact.id]
        for fact in facts
        if fact.id in found and heads[_head(found[fact.id])] > 1
        if all(holds(example.question, found[fact.id]) for example in fact.training)
    }


def _head(code: str) -> str:
    """What stands before the first digit."""
    return re.split(r"\d", code, maxsplit=1)[0]


def goes_by_its_name(fact: Fact) -> bool:
    """Whether all training questions name the fact, so that the name tells it from all others."""
    return not is_question(fact) and all(holds(example.question, fact.name) for example in fact.training)


def asked_name(fact: Fact) -> str:
    """What a question calls a fact; without the mark where that is a question itself."""
    return fact.name.rstrip(QUESTION_MARKS + " ") if is_question(fact) else fact.name


def name_of(question: str) -> str:
    """What a fact is called of which only a question is known: that question; a few words may be a term with a mark."""
    text = question.strip()
    return text.rstrip(QUESTION_MARKS + " ") if len(text.split()) <= LONGEST_TERM else text


def told_apart(knowledge: KnowledgeSet) -> dict[str, str]:
    """What to call the taught facts whose names others have, too: with the domain behind it, or the kind.

    "Export" of two products is "Export (Alpha)" and "Export (Beta)": asked about by the bare name, each would be told
    what is true of the other.

    Returns:
        Ids -> names; without the facts whose names are theirs alone, or questions.
    """
    domains = {domain.id: domain.name for domain in knowledge.domains}
    groups: dict[Tokens, list[Fact]] = defaultdict(list)
    for fact in knowledge.facts:
        if not is_question(fact):
            groups[normalise(fact.name)].append(fact)
    names: dict[str, str] = {}
    for facts in (group for group in groups.values() if len(group) > 1):
        by_domain, by_kind = Counter(fact.domain for fact in facts), Counter(fact.kind for fact in facts)
        for fact in facts:
            parts = (domains[fact.domain], fact.kind.replace("_", " "))
            what = parts[:1] if by_domain[fact.domain] == 1 else parts[1:] if by_kind[fact.kind] == 1 else parts
            names[fact.id] = f"{fact.name} ({', '.join(what)})"
    return {fact.id: names[fact.id] for fact in knowledge.taught if fact.id in names}
