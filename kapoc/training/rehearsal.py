"""Training examples of earlier facts, mixed into every epoch of later training."""

import random
from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from kapoc.chat import EncodedExample
from kapoc.knowledge.set_file import Source
from kapoc.recipe import TrainSettings
from kapoc.training.examples import dealt, training_examples


def rehearsed_examples(
    sources: Iterable[Source], per_fact: int, settings: TrainSettings, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[list[EncodedExample]]]:
    """Of each earlier set, by its name, for each epoch so many training examples of each taught fact.

    Args:
        sources: the earlier sets.
        per_fact: how many examples a fact gets in an epoch; none of any set if 0.
        settings: of the later training: its epochs, and the seed of what is drawn.
        tokenizer: of the model.
    """
    return {
        source.knowledge.name: spread(
            training_examples(source.knowledge.taught, tokenizer),
            per_fact,
            settings.epochs,
            random.Random(f"{settings.seed} {source.knowledge.name}"),  # noqa: S311 - not for secrets
        )
        for source in (sources if per_fact else ())
    }


def spread(
    examples: Sequence[EncodedExample], per_fact: int, num_epochs: int, order: random.Random
) -> list[list[EncodedExample]]:
    """For each epoch so many examples of each fact, or all of a fact that has fewer.

    A fact's examples follow each other in random order, so that each comes once before any comes again.
    """
    pools: dict[str, list[EncodedExample]] = {}
    for example in examples:
        pools.setdefault(example.fact, []).append(example)
    for pool in pools.values():
        order.shuffle(pool)
    return dealt([(pool, min(per_fact, len(pool))) for pool in pools.values()], num_epochs)
