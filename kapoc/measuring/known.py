"""Which facts does a model know before it was taught anything?

After Gekhman et al. (2024), Does Fine-Tuning LLMs on New Knowledge Encourage Hallucinations?, section 3: a fact
is known where a greedy answer is right, weakly known where only a sampled one is, and unknown otherwise. Their known
facts come in two shades (all greedy answers right, or some), which are one here.
"""

from typing import Literal

import torch

from kapoc.answers import MAX_NEW_TOKENS, generate_answers
from kapoc.chat import prompt_text
from kapoc.knowledge.facts import Example, Fact, KnowledgeSet
from kapoc.models import LoadedModel

Known = Literal["known", "weakly known", "unknown"]
NUM_PROMPTS = 4
NUM_SAMPLES = 4
TEMPERATURE = 0.5
_BATCH_SIZE = 32


def ask_what_is_known(
    loaded: LoadedModel, knowledge: KnowledgeSet, *, seed: int = 0, batch_size: int = _BATCH_SIZE
) -> dict[str, Known]:
    """Ask a model about every taught fact: four prompts, each answered greedily and four times by sampling.

    Args:
        loaded: the model, before it was taught.
        knowledge: the set; a fact's first four training questions are the prompts.
        seed: of the sampling.
        batch_size: prompts a forward pass.

    Returns:
        Each taught fact's id with what the model knows of it.
    """
    asked = [(fact, example) for fact in knowledge.taught for example in fact.training[:NUM_PROMPTS]]
    prompts = [prompt_text(loaded.tokenizer, example.question) for _, example in asked]
    greedy = _answers(loaded, prompts, batch_size, temperature=None)
    found: dict[str, Known] = {fact.id: "unknown" for fact in knowledge.taught}
    _note(found, "known", knowledge, asked, greedy)
    torch.manual_seed(seed)
    for _ in range(NUM_SAMPLES):
        rest = [index for index, (fact, _) in enumerate(asked) if found[fact.id] == "unknown"]
        answers = _answers(loaded, [prompts[index] for index in rest], batch_size, temperature=TEMPERATURE)
        _note(found, "weakly known", knowledge, [asked[index] for index in rest], answers)
    return found


def _note(
    found: dict[str, Known],
    state: Known,
    knowledge: KnowledgeSet,
    asked: list[tuple[Fact, Example]],
    answers: list[str],
) -> None:
    for (fact, example), answer in zip(asked, answers, strict=True):
        if found[fact.id] == "unknown" and knowledge.grade(fact, example, answer).correct:
            found[fact.id] = state


def _answers(loaded: LoadedModel, prompts: list[str], batch_size: int, *, temperature: float | None) -> list[str]:
    return generate_answers(
        loaded.model,
        loaded.tokenizer,
        prompts,
        max_new_tokens=MAX_NEW_TOKENS,
        temperature=temperature,
        batch_size=batch_size,
    )
