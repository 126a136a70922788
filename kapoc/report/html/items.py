"""Every item with both outputs as compact JSON, for the table that a reader searches and filters."""

import json
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from kapoc.judging.compare import ledger_entry
from kapoc.judging.pairing import Pair
from kapoc.record import TIERS, Item
from kapoc.report.prompts import Frame, frame_of

COLUMNS = ("item", "fact", "tier", "form", "kind", "domain", "set", "entry", "spillover", "question", "expected")
"""What a row holds first, each a number of a text; see `items_island`."""
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_FRAMED = {"free", "choice", "off_topic"}
_LARGEST_PRODUCT = 250_000


def items_island(pairs: Sequence[Pair]) -> str:
    """The items, tier by tier, as JSON that can stand inside a `<script>` element.

    `texts` holds every different text once. A row of `rows` holds the numbers of the texts of `COLUMNS`, then for
    before and after the number of the output, that of what was said of it, and the lengths of its parts in
    characters, by turns the same as in the other output and different from it.
    """
    numbers: dict[str, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(text, len(numbers))

    frame = item_frame(pairs)
    rows: list[list[Any]] = []
    for before, after in sorted(pairs, key=lambda pair: TIERS.index(pair[0].tier)):
        row: list[Any] = [number(text) for text in _columns(before, after, frame)]
        for item, lengths in zip((before, after), changed_parts(before.output, after.output), strict=True):
            row += [number(item.output), number(_grade(item)), lengths]
        rows.append(row)
    return island({"columns": COLUMNS, "texts": list(numbers), "rows": rows})


def item_frame(pairs: Sequence[Pair]) -> Frame:
    """The chat template around the questions of knowledge."""
    return frame_of(before.prompt for before, _ in pairs if before.form in _FRAMED and before.tier != "general")


def island(content: object) -> str:
    """JSON that no HTML parser and no JavaScript engine can take for anything else."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@lru_cache(maxsize=4096)
def changed_parts(before: str, after: str) -> tuple[list[int], list[int]]:
    """Cut two texts into parts that they share, by turns with parts that they do not, word by word.

    Returns:
        Of each text the lengths of its parts in characters; the first part is a shared one, and may be empty.
    """
    if before == after:
        return [len(before)], [len(after)]
    first, second = _WORD.findall(before), _WORD.findall(after)
    if len(first) * len(second) > _LARGEST_PRODUCT or not (first and second):
        return [0, len(before)], [0, len(after)]
    parts: tuple[list[int], list[int]] = ([], [])
    for what, i, j, k, m in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        for lengths, words in zip(parts, (first[i:j], second[k:m]), strict=True):
            if (what == "equal") == bool(len(lengths) % 2):
                lengths.append(0)  # two parts of one sort are never neighbours, so an empty one stands between
            lengths.append(sum(map(len, words)))
    return parts


def _columns(before: Item, after: Item, frame: Frame) -> list[str]:
    return [
        before.id,
        before.cluster if before.knowledge else "",
        before.tier,
        before.form.replace("_", "-"),
        before.kind,
        before.domain,
        before.knowledge,
        _entry(before, after),
        ", ".join(after.spillover),
        frame.question(before.prompt).strip(),
        before.reference,
    ]


def _entry(before: Item, after: Item) -> str:
    if before.form == "text":
        return "text"
    if before.form == "off_topic":
        return "spillover" if after.spillover else "no spillover"
    return ledger_entry(before, after)


def _grade(item: Item) -> str:
    if item.form == "text":
        kl = "" if item.divergence is None else f", KL {item.divergence:.4f} nats per token"
        return f"{item.score:.4f} bits per byte{kl}"
    if item.form == "off_topic":
        return "taught answers in it" if item.spillover else "nothing taught in it"
    grade = "right" if item.score == 1 else "wrong" if item.score == 0 else f"score {item.score:g}"
    return f"{grade}: {item.reason}" if item.reason and item.score != 1 else grade
