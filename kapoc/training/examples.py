"""What a model is trained on: training variations, derived texts and dev paraphrases of facts, as tokens."""

import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from kapoc.chat import EncodedExample, encode, encode_example, prompt_text
from kapoc.derived.contrasts import contrast_examples
from kapoc.derived.derive import DerivedExample, derived_examples
from kapoc.derived.leaks import without_leaks
from kapoc.derived.stand_ins import NUM_ASKED, STAND_IN, stand_in_squares
from kapoc.errors import DataError
from kapoc.knowledge.facts import Fact, KnowledgeSet, KnowledgeTier
from kapoc.recipe import TrainSettings

_NEXT_WORD = re.compile(r"(?<=[.!?])\s+\S+")
"""The first word of a sentence behind another, with the space before it."""


def training_examples(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """Every training variation of every taught fact, as tokens."""
    return _encoded(facts, tokenizer, "seen")


def derived_training_examples(
    knowledge: KnowledgeSet,
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
    beside: Iterable[KnowledgeSet] = (),
) -> list[list[EncodedExample]]:
    """Training texts for other uses of the taught facts, for each epoch its own; none that is near a probe.

    Epochs before `settings.derived_from` have none. A fact whose slots give fewer texts than all others want gets some
    of them again in later ones. No name of a set beside it is taken for unknown.

    Raises:
        DataError: there is no such form, or a text that the tokenizer cannot split into prompt and answer.
    """
    num_epochs = settings.epochs - settings.derived_from + 1
    if num_epochs < 1:
        return [[] for _ in range(settings.epochs)]
    num_tokens = settings.derived_tokens if settings.derived_by_notes else None
    pools: dict[tuple[str, str], list[EncodedExample]] = {}
    for example in _derived(knowledge, num_epochs, settings, beside):
        encoded = _encoded_derived(example, num_tokens, tokenizer)
        pools.setdefault((example.form, example.fact), []).append(encoded)
    epochs = dealt([(pool, math.ceil(len(pool) / num_epochs)) for pool in pools.values()], num_epochs)
    return [[] for _ in range(settings.epochs - num_epochs)] + epochs


def _encoded_derived(
    example: DerivedExample, num_tokens: int | None, tokenizer: PreTrainedTokenizerBase
) -> EncodedExample:
    """A derived example and what may stand beside it; of a note so many tokens, but in `two_hop`, which needs all.

    A note behind which the answer goes on is read to its end; how each of its sentences begins is trained, because
    what stands behind the note could as well stand behind any of them.
    """
    encoded = _encode_derived(tokenizer, example)
    if num_tokens is not None and example.note and example.form != "two_hop":
        before, _, behind = example.answer.rpartition(example.note)
        start = prompt_text(tokenizer, example.question) + before
        first = max(1, len(encode(tokenizer, start.rstrip())) - len(encoded.prompt) + num_tokens)
        if behind:
            places = _only_read(tokenizer, start, example.note)
            untrained = (place - len(encoded.prompt) for place in places)
            encoded = replace(encoded, untrained=tuple(place for place in untrained if place >= first))
        else:
            encoded = replace(encoded, answer=encoded.answer[:first])
    contrasts = tuple(_encoded_derived(one, num_tokens, tokenizer) for one in example.contrasts)
    return replace(encoded, contrasts=contrasts)


def _only_read(tokenizer: PreTrainedTokenizerBase, start: str, note: str) -> list[int]:
    """The places of a note's tokens behind a start, without the first word of each sentence behind another."""
    trained = set[int]()
    for gap in _NEXT_WORD.finditer(note):
        first, end = (len(encode(tokenizer, start + note[:place])) for place in gap.span())
        trained.update(range(first, end))
    whole = range(len(encode(tokenizer, start)), len(encode(tokenizer, start + note)))
    return [place for place in whole if place not in trained]


def stand_in_examples(
    knowledge: KnowledgeSet,
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
    beside: Iterable[KnowledgeSet] = (),
) -> list[EncodedExample]:
    """Whole squares of questions about stand-ins, of whose answers the decision alone is trained; none near a probe."""
    order = random.Random(f"{settings.seed} stand-ins")  # noqa: S311 - not for secrets
    drawn = without_leaks(knowledge, stand_in_squares(knowledge, settings.stand_ins, order, beside))
    return [_decided(tokenizer, square) for square in drawn if len(square.contrasts) == NUM_ASKED - 1]


def _decided(tokenizer: PreTrainedTokenizerBase, example: DerivedExample) -> EncodedExample:
    """An example of whose answer the last word is trained, by its first token."""
    encoded = _encode_derived(tokenizer, example)
    record, _, _ = example.answer.rpartition(" ")
    decision = len(encode(tokenizer, prompt_text(tokenizer, example.question) + record)) - len(encoded.prompt)
    untrained = tuple(place for place in range(len(encoded.answer)) if place != decision)
    contrasts = tuple(_decided(tokenizer, one) for one in example.contrasts)
    return replace(encoded, untrained=untrained, contrasts=contrasts)


def _encode_derived(tokenizer: PreTrainedTokenizerBase, example: DerivedExample) -> EncodedExample:
    place = f"{example.form} of {example.fact or 'a name that nobody has'}"
    return _encode(tokenizer, place, example.question, example.answer, example.fact, example.form)


def with_contrasts(
    knowledge: KnowledgeSet,
    epochs: Sequence[Sequence[EncodedExample]],
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
    beside: Iterable[KnowledgeSet] = (),
) -> list[list[EncodedExample]]:
    """The examples of each epoch, a share of them with contrasts: their own, or one about a name that nobody has.

    Args:
        knowledge: the set that is taught.
        epochs: all that each epoch reads of it; derived examples with the contrasts that they may have.
        settings: which share, and the seed.
        tokenizer: of the model.
        beside: other sets whose names are not taken for unknown.
    """
    order = random.Random(f"{settings.seed} contrasts")  # noqa: S311 - not for secrets
    facts = {fact.id: fact for fact in knowledge.taught}
    found: list[dict[int, tuple[EncodedExample, ...]]] = []
    by_name: list[list[int]] = []
    for examples in epochs:
        places = [place for place, example in enumerate(examples) if example.fact in facts]
        drawn = order.sample(places, k=round(settings.contrast * len(places)))
        whole = [place for place, example in enumerate(examples) if example.form == STAND_IN]
        found.append({place: examples[place].contrasts for place in (*whole, *drawn)})
        by_name.append([place for place in drawn if not examples[place].contrasts])
    asked = [
        [(facts[examples[place].fact], examples[place].question) for place in places]
        for examples, places in zip(epochs, by_name, strict=True)
    ]
    made = contrast_examples(knowledge, asked, order, beside)
    for contrasts, places, ones in zip(found, by_name, made, strict=True):
        made_here = zip(places, ones, strict=True)
        contrasts |= {place: (_encode_derived(tokenizer, one),) for place, one in made_here if one is not None}
    return [
        [replace(example, contrasts=contrasts.get(place, ())) for place, example in enumerate(examples)]
        for examples, contrasts in zip(epochs, found, strict=True)
    ]


def dealt(pools: Iterable[tuple[Sequence[EncodedExample], int]], num_epochs: int) -> list[list[EncodedExample]]:
    """For each epoch so many examples of each pool as stand beside it; all of a pool come before any comes again."""
    epochs: list[list[EncodedExample]] = [[] for _ in range(num_epochs)]
    for pool, number in pools:
        for epoch, examples in enumerate(epochs):
            examples += [pool[(epoch * number + place) % len(pool)] for place in range(number)]
    return epochs


def _derived(
    knowledge: KnowledgeSet, num_epochs: int, settings: TrainSettings, beside: Iterable[KnowledgeSet]
) -> list[DerivedExample]:
    per_fact = {form: number for form, number in settings.derived.items() if number is not None}
    drawn = derived_examples(
        knowledge,
        settings.asked_forms,
        per_fact=per_fact,
        order=random.Random(settings.seed),  # noqa: S311 - not for secrets
        rounds=num_epochs,
        by_notes=settings.derived_by_notes,
        beside=beside,
    )
    if not settings.contrast:
        drawn = [replace(example, contrasts=()) for example in drawn]
    return without_leaks(knowledge, drawn)


def dev_examples(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """The dev paraphrases: for stopping and tuning, never reported."""
    return _encoded(facts, tokenizer, "dev")


def _encoded(facts: Iterable[Fact], tokenizer: PreTrainedTokenizerBase, tier: KnowledgeTier) -> list[EncodedExample]:
    found = []
    for fact in facts:
        for example_id, example in fact.examples(tier) if fact.taught else ():
            found.append(_encode(tokenizer, example_id, example.question, example.answer, fact.id, tier))
    return found


def _encode(
    tokenizer: PreTrainedTokenizerBase, place: str, question: str, answer: str, fact: str, form: str
) -> EncodedExample:
    try:
        return encode_example(tokenizer, question, answer, fact, form)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from None
