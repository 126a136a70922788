"""All that a training run reads of its knowledge sets: gathered, counted by set, with what could not be made."""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType

from transformers import PreTrainedTokenizerBase

from kapoc.batches import Contrasts
from kapoc.chat import EncodedExample
from kapoc.data.derive import NEEDS
from kapoc.data.naming import goes_by_its_name
from kapoc.examples import contrast_training_examples, derived_training_examples, training_examples
from kapoc.knowledge import KnowledgeSet
from kapoc.recipe import TrainSettings

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class TrainingTexts:
    """All that a training run reads of its knowledge sets.

    Attributes:
        own: the sets' own training examples, the same in every epoch.
        derived: what each epoch has beside them.
        contrasts: what stands beside some of an epoch's examples.
        facts: the taught facts, as the examples call them: by their ids, with the set before them where there are
            several sets.
        notes: what was asked for and could not be made, a line each.
    """

    own: Sequence[EncodedExample]
    derived: Sequence[Sequence[EncodedExample]]
    contrasts: Sequence[Contrasts]
    facts: Sequence[str]
    notes: Sequence[str]

    def read(self, num_epochs: int | None = None) -> Iterator[EncodedExample]:
        """Every example of the first epochs, or of all, as often as it is read."""
        for derived, contrasts in islice(zip(self.derived, self.contrasts, strict=True), num_epochs):
            yield from self.own
            yield from derived
            for beside in contrasts.values():
                yield from beside


def training_texts(
    sets: Sequence[KnowledgeSet],
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
    *,
    beside: Sequence[KnowledgeSet] = (),
    rehearsed: Mapping[str, Sequence[Sequence[EncodedExample]]] = MappingProxyType({}),
) -> TrainingTexts:
    """Gather what a training run reads.

    Args:
        sets: that are taught.
        settings: of the run.
        tokenizer: of the model.
        beside: other sets that the model is taught or asked about: none of their names is taken for unknown.
        rehearsed: sets that were taught before -> of each epoch, what is trained again of them.

    Raises:
        DataError: there is no such form, or a text that the tokenizer cannot split into prompt and answer.
    """
    names, known = [known.name for known in sets], (*sets, *beside)
    own = [training_examples(one.taught, tokenizer) for one in sets]
    derived = [derived_training_examples(one, settings, tokenizer, known) for one in sets]
    contrasts = [
        contrast_training_examples(one, texts, settings, tokenizer, known)
        for one, texts in zip(sets, derived, strict=True)
    ]
    notes = [
        note
        for one, texts, its in zip(sets, derived, contrasts, strict=True)
        for note in (*_missing_forms(one, texts, settings), *_missing_contrasts(one, its, settings))
    ]
    if len(sets) + len(rehearsed) > 1:
        own = [_labelled(examples, name) for examples, name in zip(own, names, strict=True)]
        derived = [[_labelled(epoch, name) for epoch in one] for one, name in zip(derived, names, strict=True)]
        contrasts = [
            [{prompt: _labelled(its, name) for prompt, its in epoch.items()} for epoch in one]
            for one, name in zip(contrasts, names, strict=True)
        ]
    more = [*derived, *([_labelled(epoch, name) for epoch in one] for name, one in rehearsed.items())]
    return TrainingTexts(
        own=[example for examples in own for example in examples],
        derived=[[example for part in epoch for example in part] for epoch in zip(*more, strict=True)],
        contrasts=[dict(ChainMap(*map(dict, epoch))) for epoch in zip(*contrasts, strict=True)],
        facts=tuple(dict.fromkeys(example.fact for examples in own for example in examples)),
        notes=notes,
    )


def _labelled(examples: Iterable[EncodedExample], name: str) -> list[EncodedExample]:
    """The examples with the set's name before their facts, since ids are unique only in a set."""
    return [replace(one, fact=f"{name}/{one.fact}") if one.fact else one for one in examples]


def _missing_forms(
    knowledge: KnowledgeSet, derived: Sequence[Sequence[EncodedExample]], settings: TrainSettings
) -> Iterator[str]:
    if settings.derived_from > settings.epochs:
        return
    made = {example.form for epoch in derived for example in epoch}
    for form in settings.asked_forms:
        if form not in made:
            yield f"{knowledge.name}: no '{form}' texts; a fact would need {NEEDS[form]}, and no probe worded like them"


def _missing_contrasts(
    knowledge: KnowledgeSet, contrasts: Sequence[Contrasts], settings: TrainSettings
) -> Iterator[str]:
    if not settings.contrast:
        return
    if not any(contrasts):
        yield f"{knowledge.name}: no contrast examples; a fact would need a name that all its training questions hold"
    elif lacking := [fact.id for fact in knowledge.taught if not goes_by_its_name(fact)]:
        yield (
            f"{knowledge.name}: no contrast by name of {len(lacking)} of {len(knowledge.taught)} facts, since not all "
            f"their training questions hold their names: {', '.join(lacking[:_MOST_NAMED])}"
            f"{', ...' if len(lacking) > _MOST_NAMED else ''}"
        )
