"""Which facts a model knows: by heart, only now and then, or not at all."""

from pathlib import Path

import pytest

from kapoc.answers import generate_answers
from kapoc.knowledge.set_file import load_knowledge
from kapoc.measuring import known
from kapoc.models import load_model


def test_three_states(llama_folder: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge, _ = load_knowledge(knowledge_file)
    answers = {fact.id: fact.training[0].answer for fact in knowledge.taught}

    def answer(loaded: object, prompts: list[str], batch_size: int, *, temperature: float | None) -> list[str]:
        """ZX-11 is always right, ZX-24 only when sampled, the others never."""
        right = {"ZX-11"} if temperature is None else {"ZX-11", "ZX-24"}
        return [next((answers[i] for i in right if i in prompt), "no idea") for prompt in prompts]

    monkeypatch.setattr(known, "_answers", answer)
    found = known.ask_what_is_known(load_model(str(llama_folder)), knowledge)
    assert found == {
        "ZX-11": "known", "ZX-24": "weakly known", "ZX-37": "unknown", "ZX-42": "unknown", "ZX-58": "unknown",
    }  # fmt: skip


def test_a_random_model_knows_nothing_and_the_same_seed_says_the_same(llama_folder: Path, knowledge_file: Path) -> None:
    knowledge, _ = load_knowledge(knowledge_file)
    loaded = load_model(str(llama_folder))
    first = known.ask_what_is_known(loaded, knowledge, seed=3)
    assert set(first.values()) == {"unknown"}
    assert first == known.ask_what_is_known(loaded, knowledge, seed=3)


def test_when_all_is_known_nothing_is_sampled(
    llama_folder: Path, knowledge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowledge, _ = load_knowledge(knowledge_file)
    loaded = load_model(str(llama_folder))
    answers = [example.answer for fact in knowledge.taught for example in fact.training]
    asked: list[tuple[int, float | None]] = []

    def answer(_: object, __: object, prompts: list[str], *, temperature: float | None, **___: object) -> list[str]:
        asked.append((len(prompts), temperature))
        return answers if prompts else []

    monkeypatch.setattr(known, "generate_answers", answer)
    assert set(known.ask_what_is_known(loaded, knowledge).values()) == {"known"}
    assert asked[0] == (len(answers), None)
    assert all(number == 0 for number, _ in asked[1:])
    monkeypatch.undo()
    nothing = generate_answers(loaded.model, loaded.tokenizer, [], temperature=0.5, max_new_tokens=4, batch_size=2)
    assert nothing == []
