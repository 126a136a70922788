"""What training says of each fact is counted, and a fact that it hardly touches is found."""

from kapoc.chat import EncodedExample
from kapoc.training.exposure import exposures, faint_facts


def _example(fact: str, form: str, size: int) -> EncodedExample:
    return EncodedExample((1, 2, 3), tuple(range(size)), fact, form)


def test_loss_tokens_are_counted_by_fact_and_form_over_all_epochs() -> None:
    examples = [
        _example("A", "seen", 10),
        _example("A", "reverse", 4),
        _example("B", "seen", 7),
        _example("A", "seen", 3),
    ]
    found = exposures(examples * 3)
    assert [(e.fact, e.form, e.num_examples, e.num_loss_tokens) for e in found] == [
        ("A", "seen", 6, 39),
        ("A", "reverse", 3, 12),
        ("B", "seen", 3, 21),
    ]


def test_a_fact_with_few_loss_tokens_or_none_is_named() -> None:
    examples = [_example(fact, "seen", 40) for fact in ("A", "B", "C")] + [
        _example("D", "seen", 9),
        _example("", "unknown", 1),
    ]
    assert faint_facts(exposures(examples * 2), ["A", "B", "C", "D", "E"]) == ["D", "E"]
    assert faint_facts(exposures(examples * 2), ["A", "B", "C"]) == []
