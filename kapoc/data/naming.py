"""What a fact is called: by a name, by a question, or by a name that another fact has, too."""

import re
from collections import Counter, defaultdict

from kapoc.data.phrases import holds
from kapoc.grade import Tokens, normalise
from kapoc.knowledge import Fact, KnowledgeSet

_ASKING = re.compile(
    r"(?i)(who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|"
    r"please|tell|give|name|describe|explain|list|say)\b"
)
"""How a question begins, or a request."""


def is_question(fact: Fact) -> bool:
    """Whether the name of a fact is a question, as that of an imported pair of question and answer.

    It ends in a question mark, or it is one of the training questions and reads like one. A term of a glossary that is
    also asked for by itself is no question, unless nothing else is asked.
    """
    name = fact.name.rstrip("? ")
    asked = [example.question.strip() for example in fact.training]
    same = [question for question in asked if question.rstrip("? ") == name]
    is_asking = _ASKING.match(name) or any(question.endswith("?") for question in same)
    return fact.name.endswith("?") or (bool(same) and (bool(is_asking) or len(same) == len(asked)))


def goes_by_its_name(fact: Fact) -> bool:
    """Whether all training questions name the fact, so that the name tells it from all others."""
    return not is_question(fact) and all(holds(example.question, fact.name) for example in fact.training)


def asked_name(fact: Fact) -> str:
    """What a question calls a fact; without the mark where that is a question itself."""
    return fact.name.rstrip("? ") if is_question(fact) else fact.name


def told_apart(knowledge: KnowledgeSet) -> KnowledgeSet:
    """The set with its taught facts so named that no two have the same name: with the domain behind it, or the kind.

    "Export" of two products is "Export (Alpha)" and "Export (Beta)": asked about by the bare name, each would be told
    what is true of the other.
    """
    domains = {domain.id: domain.name for domain in knowledge.domains}
    groups: dict[Tokens, list[Fact]] = defaultdict(list)
    for fact in knowledge.facts:
        if not is_question(fact):
            groups[normalise(fact.name)].append(fact)
    names: dict[str, str] = {}
    for facts in groups.values():
        if len(facts) > 1:
            by_domain, by_kind = Counter(fact.domain for fact in facts), Counter(fact.kind for fact in facts)
            for fact in facts:
                parts = (domains[fact.domain], fact.kind.replace("_", " "))
                what = parts[:1] if by_domain[fact.domain] == 1 else parts[1:] if by_kind[fact.kind] == 1 else parts
                names[fact.id] = f"{fact.name} ({', '.join(what)})"
    if not names:
        return knowledge
    facts_now = [
        f.model_copy(update={"name": names[f.id]}) if f.taught and f.id in names else f for f in knowledge.facts
    ]
    return knowledge.model_copy(update={"facts": tuple(facts_now)})
