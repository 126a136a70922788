"""The bundled items: numbers, balance, checksums, and nothing of the knowledge set in them."""

from collections import Counter
from pathlib import Path

import pytest

from kapoc import bundled
from kapoc.errors import DataError
from kapoc.measuring.general import (
    ABILITIES,
    CHOICE_ABILITIES,
    load_choices,
    load_completions,
    load_off_topic,
    load_texts,
)


def test_numbers() -> None:
    sizes = {ability: len(load_choices(ability)) for ability in CHOICE_ABILITIES}
    sizes["last_word"] = len(load_completions("last_word"))
    assert set(sizes) == set(ABILITIES)
    assert len(sizes) >= 6
    assert sum(sizes.values()) >= 600
    assert len(load_texts()) >= 80
    assert len(load_off_topic()) >= 100


@pytest.mark.parametrize("ability", CHOICE_ABILITIES)
def test_choices_are_unique_and_answers_balanced(ability: str) -> None:
    items = load_choices(ability)
    assert len({item.id for item in items}) == len(items)
    assert len({(item.passage, item.question, item.choices) for item in items}) == len(items)
    assert all(len(set(item.choices)) == len(item.choices) for item in items)
    counts = Counter(item.answer for item in items)
    width = len(items[0].choices)
    assert set(counts) == set(range(width))
    assert max(counts.values()) - min(counts.values()) <= len(items) // 10


def test_off_topic_prompts_and_prose_name_no_product() -> None:
    texts = [item.question for item in load_off_topic()] + [item.text for item in load_texts()]
    assert len(set(texts)) == len(texts)
    assert not [text for text in texts if any(n in text.lower() for n in ("authflow", "payflow", "dataflow"))]


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHA256SUMS", "general_world.jsonl"):
        (tmp_path / name).write_bytes(bundled.bundled(name).read_bytes())
    monkeypatch.setattr(bundled, "bundled", lambda name: tmp_path / name)
    bundled.checked.cache_clear()
    assert load_choices("world")
    bundled.checked.cache_clear()
    content = (tmp_path / "general_world.jsonl").read_text(encoding="utf-8")
    (tmp_path / "general_world.jsonl").write_text(content.replace("capital", "Capital", 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"general_world\.jsonl: its sha256 is"):
        load_choices("world")
    bundled.checked.cache_clear()
