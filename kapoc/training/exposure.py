"""How much of a training run falls on each fact: examples and loss tokens, by the form in which it is taught.

Only tokens of answers carry loss, so a fact with few or short answers is hardly taught, whatever the number of epochs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from kapoc.chat import EncodedExample
from kapoc.training_record import Exposure

FAINT_SHARE = 0.25
"""A fact is hardly taught if fewer of its tokens carry loss than this share of what the middle fact has."""


def exposures(examples: Iterable[EncodedExample]) -> tuple[Exposure, ...]:
    """Count examples and loss tokens of all epochs by fact and form, in the order in which they first come."""
    numbers: Counter[tuple[str, str]] = Counter()
    tokens: Counter[tuple[str, str]] = Counter()
    for example in examples:
        numbers[example.fact, example.form] += 1
        tokens[example.fact, example.form] += len(example.trained)
    return tuple(
        Exposure(fact=fact, form=form, num_examples=number, num_loss_tokens=tokens[fact, form])
        for (fact, form), number in numbers.items()
    )


def faint_facts(found: Sequence[Exposure], facts: Iterable[str]) -> list[str]:
    """The facts that training hardly touches: far fewer loss tokens than the middle one, or none at all."""
    tokens = dict.fromkeys(facts, 0)
    for exposure in found:
        if exposure.fact in tokens:
            tokens[exposure.fact] += exposure.num_loss_tokens
    least = FAINT_SHARE * median(tokens.values()) if tokens else 0.0
    return [fact for fact, number in tokens.items() if number == 0 or number < least]
