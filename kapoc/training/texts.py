"""All that a training run reads of its knowledge sets: gathered, counted by set, with what could not be made."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from transformers import PreTrainedTokenizerBase

from kapoc.chat import EncodedExample
from kapoc.data.naming import gone_by
from kapoc.derived.derive import NEEDS
from kapoc.derived.notes import note_of
from kapoc.derived.stand_ins import STAND_IN
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.recipe import TrainSettings
from kapoc.training.examples import (
    derived_training_examples,
    stand_in_examples,
    training_examples,
    with_contrasts,
)

_MOST_NAMED = 8
_BY_NAME = "a fact would need a name, or a question about a code, that all its training questions hold"

_FOR_STAND_INS = (
    "two facts of a kind would need a slot with other texts, short and no yes or no, and names that are no questions"
)
_NO_OTHER = "no other name could be made of theirs; a code of several digits, or names of several words, can be varied"
_SURELY = 5  # contrasts to be expected; of so many, none at all is no chance


@dataclass(frozen=True, slots=True)
class TrainingTexts:
    """All that a training run reads of its knowledge sets.

    Attributes:
        own: the sets' own training examples.
        epochs: what each epoch reads: these, what is derived or taught again, and their contrasts.
        facts: the taught facts, as the examples call them: by their ids, with the set before them where there are
            several sets.
        notes: what was asked for and could not be made, a line each.
        settings: of the run, without stand-ins where no set gives any.
    """

    own: Sequence[EncodedExample]
    epochs: Sequence[Sequence[EncodedExample]]
    facts: Sequence[str]
    notes: Sequence[str]
    settings: TrainSettings

    def read(self, num_epochs: int | None = None) -> Iterator[EncodedExample]:
        """Every example of the first epochs, or of all, contrasts among them, as often as it is read."""
        for epoch in self.epochs[:num_epochs]:
            for example in epoch:
                yield example
                yield from example.contrasts


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
    known = (*sets, *beside)
    parts: dict[str, Sequence[Sequence[EncodedExample]]] = {
        one.name: _epochs_of(one, settings, tokenizer, known) for one in sets
    }
    notes = [*settings.idle, *(note for one in sets for note in _missing(one, parts[one.name], settings))]
    parts |= rehearsed
    if len(parts) > 1:
        parts = {name: [_labelled(epoch, name) for epoch in epochs] for name, epochs in parts.items()}
    epochs = [[example for part in epoch for example in part] for epoch in zip(*parts.values(), strict=True)]
    if stand_ins := [example for example in epochs[0] if example.form == STAND_IN]:
        epochs[0] = stand_ins  # nothing is learned beside them, of whatever set
    taught = [example for one in sets for example in parts[one.name][-1] if example.form == "seen"]
    return TrainingTexts(
        own=[replace(example, contrasts=()) for example in taught],
        epochs=epochs,
        facts=tuple(dict.fromkeys(example.fact for example in taught)),
        notes=notes,
        settings=settings if stand_ins else settings.model_copy(update={"stand_ins": 0}),
    )


def _epochs_of(
    knowledge: KnowledgeSet,
    settings: TrainSettings,
    tokenizer: PreTrainedTokenizerBase,
    known: Sequence[KnowledgeSet],
) -> list[list[EncodedExample]]:
    own = training_examples(knowledge.taught, tokenizer)
    derived = derived_training_examples(knowledge, settings, tokenizer, known)
    stand_ins = stand_in_examples(knowledge, settings, tokenizer, known)
    epochs = [[*own, *more] for more in derived]
    if stand_ins:
        epochs[0] = stand_ins
    return with_contrasts(knowledge, epochs, settings, tokenizer, known)


def _labelled(examples: Iterable[EncodedExample], name: str) -> list[EncodedExample]:
    """The examples, and their contrasts, with the set's name before their facts: ids are unique only in a set."""
    return [
        replace(one, fact=one.fact and f"{name}/{one.fact}", contrasts=tuple(_labelled(one.contrasts, name)))
        for one in examples
    ]


def _missing(
    knowledge: KnowledgeSet, epochs: Sequence[Sequence[EncodedExample]], settings: TrainSettings
) -> Iterator[str]:
    """What the settings ask for and the set does not give."""
    made = {example.form for epoch in epochs for example in epoch}
    for form in settings.asked_forms if settings.derived_from <= settings.epochs else ():
        if form not in made:
            yield f"{knowledge.name}: no '{form}' texts; a fact would need {NEEDS[form]}, and no probe worded like them"
    if settings.stand_ins and STAND_IN not in made:
        yield f"{knowledge.name}: no stand-ins; {_FOR_STAND_INS}"
    is_by_note = settings.derived_by_notes and settings.asked_forms
    if is_by_note and all(note_of(fact) is None for fact in knowledge.taught):
        yield f"{knowledge.name}: derived_by_notes does nothing; no fact has one answer to all its training questions"
    if not settings.contrast:
        return
    named = gone_by(knowledge.taught)
    lacking = [fact.id for fact in knowledge.taught if fact.id not in named]
    if len(lacking) == len(knowledge.taught):
        yield f"{knowledge.name}: no contrasts by name; {_BY_NAME}"
    elif lacking:
        yield f"{knowledge.name}: no contrasts by name of {_named(lacking, knowledge)}; {_BY_NAME}"
    read = Counter(one.fact for epoch in epochs for one in epoch if one.form == "seen")
    beside = {one.fact for epoch in epochs for one in epoch if any(not other.fact for other in one.contrasts)}
    unmade = [
        fact.id
        for fact in knowledge.taught
        if fact.id not in {*beside, *lacking} and settings.contrast * read[fact.id] >= _SURELY
    ]
    if unmade:
        yield f"{knowledge.name}: no contrasts by name of {_named(unmade, knowledge)}; {_NO_OTHER}"


def _named(ids: Sequence[str], knowledge: KnowledgeSet) -> str:
    few = ", ".join(ids[:_MOST_NAMED]) + (", ..." if len(ids) > _MOST_NAMED else "")
    return f"{len(ids)} of {len(knowledge.taught)} facts ({few})"
