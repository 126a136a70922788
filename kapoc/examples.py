"""What a model is trained on: training variations, derived texts and dev paraphrases of facts, as tokens."""

import math
import random
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from kapoc.batches import Contrasts
from kapoc.chat import EncodedExample, encode_example
from kapoc.data.contrasts import contrast_examples
from kapoc.data.derive import DEFAULT_PER_FACT, DerivedExample, derived_examples
from kapoc.data.derived_leaks import without_leaks
from kapoc.data.derived_stock import note_of
from kapoc.errors import DataError
from kapoc.knowledge import Fact, KnowledgeSet, KnowledgeTier
from kapoc.recipe import TrainSettings


def training_examples(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """Every training variation of every taught fact, as tokens."""
    return _encoded(facts, tokenizer, "seen")


def derived_training_examples(
    knowledge: KnowledgeSet, settings: TrainSettings, tokenizer: PreTrainedTokenizerBase
) -> list[list[EncodedExample]]:
    """Training texts for other uses of the taught facts, for each epoch its own; none that is near a probe.

    Epochs before `settings.derived_from` have none. A fact whose slots give fewer texts than all others want gets some
    of them again in later ones.

    Raises:
        DataError: there is no such form.
    """
    num_epochs = settings.epochs - settings.derived_from + 1
    if num_epochs < 1:
        return [[] for _ in range(settings.epochs)]
    numbers = {
        form: DEFAULT_PER_FACT.get(form) if number is None else number for form, number in settings.derived.items()
    }
    notes = {fact.id: note_of(fact) for fact in knowledge.taught}
    pools: dict[tuple[str, str], list[EncodedExample]] = {}
    for example in _derived(knowledge, numbers, num_epochs, settings):
        encoded = encode_example(tokenizer, example.question, example.answer, example.fact, example.form)
        note = notes.get(example.fact)
        if settings.derived_tokens is not None and note and example.form != "two_hop" and example.answer.endswith(note):
            before = len(tokenizer.encode(example.answer[: -len(note)].rstrip(), add_special_tokens=False))
            encoded = replace(encoded, answer=encoded.answer[: before + settings.derived_tokens])
        pools.setdefault((example.form, example.fact), []).append(encoded)
    epochs = dealt([(pool, math.ceil(len(pool) / num_epochs)) for pool in pools.values()], num_epochs)
    return [[] for _ in range(settings.epochs - num_epochs)] + epochs


def contrast_training_examples(
    sets: Sequence[KnowledgeSet],
    derived: Sequence[Sequence[Sequence[EncodedExample]]],
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Contrasts]:
    """For each epoch, what stands beside a share of its examples; every epoch has names of its own.

    Args:
        sets: that are taught.
        derived: of each set, and of each epoch, what is trained beside the set's own training examples.
        settings: which share, and the seed.
        tokenizer: of the model.
    """
    parts = [_contrasts_of(*one, settings, tokenizer) for one in zip(sets, derived, strict=True)]
    return [dict(ChainMap(*epoch)) for epoch in zip(*parts, strict=True)]


def _contrasts_of(
    knowledge: KnowledgeSet,
    derived: Sequence[Sequence[EncodedExample]],
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
) -> list[dict[tuple[int, ...], EncodedExample]]:
    """The same of one set."""
    order = random.Random(f"{settings.seed} contrasts")  # noqa: S311 - not for secrets
    facts, own = {fact.id: fact for fact in knowledge.taught}, training_examples(knowledge.taught, tokenizer)
    chosen: list[tuple[int, EncodedExample]] = []
    for epoch, more in enumerate(derived):
        about_facts = [example for example in (*own, *more) if example.fact in facts]
        drawn = order.sample(about_facts, k=round(settings.contrast * len(about_facts)))
        chosen += [(epoch, example) for example in drawn]
    made = contrast_examples(knowledge, [(facts[example.fact], example.question) for _, example in chosen], order)
    found: list[dict[tuple[int, ...], EncodedExample]] = [{} for _ in derived]
    for (epoch, example), contrast in zip(chosen, made, strict=True):
        if contrast is not None:
            found[epoch][example.prompt] = encode_example(
                tokenizer, contrast.question, contrast.answer, contrast.fact, contrast.form
            )
    return found


def dealt(pools: Iterable[tuple[Sequence[EncodedExample], int]], num_epochs: int) -> list[list[EncodedExample]]:
    """For each epoch so many examples of each pool as stand beside it; all of a pool come before any comes again."""
    epochs: list[list[EncodedExample]] = [[] for _ in range(num_epochs)]
    for pool, number in pools:
        for epoch, examples in enumerate(epochs):
            examples += [pool[(epoch * number + place) % len(pool)] for place in range(number)]
    return epochs


def _derived(
    knowledge: KnowledgeSet, numbers: Mapping[str, int | None], num_epochs: int, settings: TrainSettings
) -> list[DerivedExample]:
    order = random.Random(settings.seed)  # noqa: S311 - not for secrets
    forms = [form for form, number in numbers.items() if number != 0]
    per_fact = {form: num_epochs * number for form, number in numbers.items() if number is not None}
    if not forms:
        return []
    drawn = derived_examples(knowledge, forms, per_fact=per_fact, order=order, by_notes=settings.derived_by_notes)
    return without_leaks(knowledge, drawn)


def dev_examples(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """The dev paraphrases: for stopping and tuning, never reported."""
    return _encoded(facts, tokenizer, "dev")


def _encoded(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase, tier: KnowledgeTier) -> list[EncodedExample]:
    found = []
    for fact in facts:
        for example_id, example in fact.examples(tier) if fact.taught else ():
            try:
                found.append(encode_example(tokenizer, example.question, example.answer, fact.id, tier))
            except ValueError as error:
                raise DataError(f"{example_id}: {error}") from None
    return found
