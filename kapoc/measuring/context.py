"""Knowledge in the prompt instead of in the weights: the ceiling, and the rival, of training.

`oracle` puts the fact that is asked about beside the question: the most that a model could make of having learned it.
`retrieved` puts there what a search over the taught facts finds: what a user would get without any training.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import regex as re
from sklearn.feature_extraction.text import TfidfVectorizer

from kapoc.errors import DataError, near_miss
from kapoc.knowledge.facts import Fact
from kapoc.knowledge.normalise import CHARACTER
from kapoc.knowledge.set_file import load_knowledge

Context = Literal["none", "oracle", "retrieved"]
CONTEXTS: tuple[Context, ...] = get_args(Context)
NUM_RETRIEVED = 3
_WORD = re.compile(rf"{CHARACTER}|\w(?:(?!{CHARACTER})[\w.\-])*(?<=\w)", re.VERSION1)


def checked_context(name: str) -> Context:
    """A context by its name.

    Raises:
        DataError: there is none of that name.
    """
    for context in CONTEXTS:
        if context == name:
            return context
    raise DataError(f"context '{name}': there is none; {near_miss(name, CONTEXTS)}")


def fact_text(fact: Fact) -> str:
    """What is put in a prompt to tell a fact: its note, or its different training answers one after another."""
    if fact.note is not None:
        return fact.note
    return " ".join(dict.fromkeys(example.answer for example in fact.training))


class Retriever:
    """A search over facts by TF-IDF over words and pairs of words (scikit-learn's defaults otherwise).

    In scripts without spaces a character is taken for a word.
    """

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._texts = [fact_text(fact) for fact in facts]
        self._vectorizer = TfidfVectorizer(ngram_range=(1, 2), tokenizer=_WORD.findall, token_pattern=None)
        self._matrix = self._vectorizer.fit_transform(self._texts)

    def search(self, question: str, num_results: int = NUM_RETRIEVED) -> tuple[str, ...]:
        """The facts most like a question, best first; those that share no word with it are left out."""
        similarities = (self._matrix @ self._vectorizer.transform([question]).T).toarray().ravel()
        best = sorted(range(len(self._texts)), key=lambda index: -similarities[index])[:num_results]
        return tuple(self._texts[index] for index in best if similarities[index] > 0)


def retriever(knowledge: tuple[str, ...]) -> Retriever:
    """The search over every taught fact of the sets."""
    return _retriever(knowledge, tuple(load_knowledge(name)[1] for name in knowledge))


@lru_cache(maxsize=8)
def _retriever(knowledge: tuple[str, ...], _sha256: tuple[str, ...]) -> Retriever:
    """The search over sets with these contents."""
    return Retriever([fact for name in knowledge for fact in load_knowledge(name)[0].taught])


def with_context(question: str, facts: Sequence[str]) -> str:
    """A question with facts to answer it from; the question alone where there are none.

    The facts stand behind the question: of six ways to word it, this one let the default model answer most of the dev
    paraphrases (35 of 58; facts in front of the question, 4 of 58).
    """
    if not facts:
        return question
    return f"{question}\n\nUse this information to answer:\n" + "\n".join(facts)
