"""What a user has is read as it stands: FAQs, Markdown runbooks, passages; a mistake is named."""

import json
from pathlib import Path

import pytest
from conftest import written

from kapoc.errors import DataError
from kapoc.importing.faqs import drafts_from_faq
from kapoc.importing.import_set import import_set, set_name_of
from kapoc.importing.passages import drafts_from_passages, holds_passages
from kapoc.importing.runbooks import drafts_from_runbook


def test_questions_in_other_languages_are_read_and_the_english_rules_told(tmp_path: Path) -> None:
    """Their question marks are known, and lines that begin with `R :`."""
    pairs = (("\u6bcd\u6e2f\u5728\u54ea\u91cc", "\u4e0a\u6d77\u6e2f"), ("\u8c01\u662f\u8239\u957f", "\u674e\u660e"))
    faq = "".join(f"# {question}\uff1f\n\n{answer}\u3002\n\n" for question, answer in pairs)
    drafts, _ = drafts_from_faq(written(tmp_path, "zh.md", faq))
    assert [draft.answer for draft in drafts] == ["\u4e0a\u6d77\u6e2f\u3002", "\u674e\u660e\u3002"]
    french = (
        "# Ferries\n\nQ : O\u00f9 est l'Abel ?\nR : \u00c0 Saint-Malo.\n\nQ : Qui est capitaine ?\nR : Signe Lund.\n"
    )
    source = written(tmp_path, "fr.md", french)
    assert [draft.answer for draft in drafts_from_faq(source)[0]] == ["\u00c0 Saint-Malo.", "Signe Lund."]
    said = [line for line in import_set(source)[1] if line.startswith("language:")]
    assert len(said) == 1
    english = written(tmp_path, "en.csv", "question,answer\nWho runs Zorblax?,Mira\nHow old is it?,7\n")
    assert not [line for line in import_set(english)[1] if line.startswith("language:")]


def test_what_was_guessed_is_told_with_what_is_wrong(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "First name,Role\nMarta,cook\nMarta,smith\n")
    with pytest.raises(DataError, match=r"'Marta' stands already .*\[name: column 'First name' \(guessed; --name to"):
        import_set(source)


FAQ = """# Zorb FAQ

## Shop

### Who runs *Zorb*?

Ines Falk runs **Zorb**
since 2019.

### How do I return it?

- print the label
- drop it off.

Then wait.

### Is there nothing?

## Place

**Q: Where is Zorb?**
A: In Lund, see [the map](https://zorb.example).

**1. When does it open?**
"""


def test_a_faq_in_markdown(tmp_path: Path) -> None:
    source = written(tmp_path, "faq.md", f"{FAQ}\nAt 8:30.\n")
    drafts, notes = drafts_from_faq(source)
    assert [(d.domain, d.question, d.answer) for d in drafts] == [
        ("Shop", "Who runs Zorb?", "Ines Falk runs Zorb since 2019."),
        ("Shop", "How do I return it?", "print the label; drop it off. Then wait."),
        ("Place", "Where is Zorb?", "In Lund, see the map."),
        ("Place", "When does it open?", "At 8:30."),
    ]
    assert drafts[0].place == f"{source}:5"
    assert notes == (f"{source}:17: 'Is there nothing?' is not taken: no text stands below it",)
    assert import_set(source)[0].taught[0].training[0].question == "Who runs Zorb?"
    assert drafts_from_faq(written(tmp_path, "runbook.md", RUNBOOK)) == ((), ())


@pytest.mark.parametrize(
    ("below", "answer"),
    [
        ("Run:\n\n```sh\nzorb export \\\n  --all\n# Where?\n```", "Run: `zorb export \\ --all # Where?`"),
        (
            "| City | Limit |\n|---|---|\n| Paris | 190 EUR |\n| *Berlin* | 140 EUR |",
            "Paris: 190 EUR; Berlin: 140 EUR",
        ),
        ("It is:\n| a | b | c |\n|---|---|---|\n| x | y | z |", "It is: x: b y, c z"),
        ("| x | y |", "x: y"),
        ("> **Note:** Lynx\n>> owns it.", "Note: Lynx owns it."),
        ("500 orders.<br>See ![chart](c.png) below.", "500 orders. See below."),
    ],
)
def test_the_markdown_of_an_answer_is_text(tmp_path: Path, below: str, answer: str) -> None:
    drafts, _ = drafts_from_faq(written(tmp_path, "faq.md", f"## Which?\n\n{below}\n\n## Why?\n\nBecause.\n"))
    assert [draft.answer for draft in drafts] == [answer, "Because."]


def test_a_faq_keeps_what_stands_under_deeper_headings_and_says_what_does_not_ask(tmp_path: Path) -> None:
    text = (
        "# FAQ\n\nWelcome.\n\n## 1.2 How do I install it? {#install}\n\nDownload it.\n\n### Linux\n\nUse apt.\n\n"
        "### More\n\n"
        "## Changing the address\n\nOpen Settings.\n\n## Q3: Who signs it?\n\nMira.\n\n## 3 seats or more?\n\nMore.\n"
    )
    drafts, notes = drafts_from_faq(written(tmp_path, "faq.md", text))
    assert [(draft.question, draft.answer) for draft in drafts] == [
        ("How do I install it?", "Download it. Linux: Use apt."),
        ("Who signs it?", "Mira."),
        ("3 seats or more?", "More."),
    ]
    [note] = notes
    assert ":15: 'Changing the address' is not taken: its heading does not ask" in note


def test_underlined_headings_of_a_faq_ask(tmp_path: Path) -> None:
    text = "Shop\n====\n\nWho runs it?\n------------\n\nMira.\n\nWhere is it?\n---\nIn Lund.\n"
    drafts, _ = drafts_from_faq(written(tmp_path, "faq.md", text))
    assert [(d.domain, d.question, d.answer) for d in drafts] == [
        ("Shop", "Who runs it?", "Mira."),
        ("Shop", "Where is it?", "In Lund."),
    ]


def test_a_list_below_a_label_is_its_text(tmp_path: Path) -> None:
    text = "## E1\n**Cause:** heat\n\n**Steps:**\n\n1. Stop it.\n2. Cool `it`.\n\n**Then:**\n- Owner: Mira\n"
    (draft,), notes = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert draft.slots == {"Cause": "heat", "Steps": "Stop it; Cool it", "Owner": "Mira"}
    assert any("'Then' of 'E1' is not taken" in note for note in notes)


RUNBOOK = """# Runbook
Some prose.

## Billing

### PAY-1 Card declined
- Cause: the vault token is stale
* **Fix**: rotate `vault.token`
  and restart

```
- Cause: not this one
```
### PAY-2 Timeout
| Field | Value |
|---|---|
| Cause | the queue is full |
| **Fix:** | raise queue.depth to 41 |

### PAY-3 Nothing
Prose alone, see https://example.org.

### PAY-4 Clock
Cause: a clock drifts
Fix: start the timekeeper

## Codes
| Code | Meaning | Action |
|:--|:--|:--|
| X9 | drum jam | open the lid |
| X10 | ink low |  |
| X11 | |  |
"""


def test_a_runbook(tmp_path: Path) -> None:
    source = written(tmp_path, "runbook.md", RUNBOOK)
    drafts, notes = drafts_from_runbook(source, kind="error")
    assert [(d.name, d.domain, dict(d.slots)) for d in drafts] == [
        (
            "PAY-1 Card declined",
            "Billing",
            {"Cause": "the vault token is stale", "Fix": "rotate vault.token and restart"},
        ),
        ("PAY-2 Timeout", "Billing", {"Cause": "the queue is full", "Fix": "raise queue.depth to 41"}),
        ("PAY-4 Clock", "Billing", {"Cause": "a clock drifts", "Fix": "start the timekeeper"}),
        ("X9", "Codes", {"Meaning": "drum jam", "Action": "open the lid"}),
        ("X10", "Codes", {"Meaning": "ink low"}),
    ]
    assert (drafts[0].place, drafts[3].place) == (f"{source}:6", f"{source}:30")
    assert [note.split(": ")[0] for note in notes] == [f"{source}:11", f"{source}:20", f"{source}:32"]
    assert "the block of code of 'PAY-1 Card declined' is not taken: write a label" in notes[0]


@pytest.mark.parametrize(
    ("header", "slots", "told"),
    [
        ("Key | Value", {"Cause": "heat", "Fix": "a fan"}, False),
        ("Parameter | Value", {"Cause": "heat", "Fix": "a fan"}, False),
        ("Field | Meaning", {"Cause": "heat", "Fix": "a fan"}, False),
        ("Alarm | Meaning", {"Cause": "heat", "Fix": "a fan"}, True),
    ],
)
def test_a_table_of_two_columns_lists_the_parts_of_its_heading(
    tmp_path: Path, header: str, slots: dict[str, str], *, told: bool
) -> None:
    text = f"## E-101\n| {header} |\n|---|---|\n| Cause | heat |\n| Fix | a fan |\n"
    drafts, notes = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert [(draft.name, draft.slots) for draft in drafts] == [("E-101", slots)]
    assert any("the rows below 'Alarm' are taken for parts of 'E-101'" in note for note in notes) is told


def test_a_table_of_two_columns_whose_first_is_a_code_lists_facts(tmp_path: Path) -> None:
    text = "# Printers\n| Error code | Meaning |\n|---|---|\n| KX-11 | worn drum |\n| KX-12 | empty tray |\n"
    drafts, notes = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert [(d.name, d.domain, d.slots) for d in drafts] == [
        ("KX-11", "Printers", {"Meaning": "worn drum"}),
        ("KX-12", "Printers", {"Meaning": "empty tray"}),
    ]
    assert not notes


def test_items_are_the_headings_of_the_level_that_has_most_of_them(tmp_path: Path) -> None:
    text = "# A\n## K-1\n- Cause: heat\n### History\nNote: renamed.\n## K-2\n- Cause: cold\n"
    source = written(tmp_path, "a.md", text)
    drafts, notes = drafts_from_runbook(source)
    assert [draft.name for draft in drafts] == ["K-1", "K-2"]
    assert notes == (f"{source}:4: 'History' is not taken: items are headings of level 2",)


def test_a_heading_that_begins_with_a_code_is_called_by_it(tmp_path: Path) -> None:
    text = "# Gate: way in\n## GW-501: it stalls\n- Cause: heat\n## GW-502 \u2013 it loops\n- Title: Loop\n"
    twice = "## V2: one\n- Cause: rust\n## V2: two\n- Cause: mud\n"
    drafts, _ = drafts_from_runbook(written(tmp_path, "a.md", text + twice))
    assert [(draft.name, draft.domain, draft.slots) for draft in drafts] == [
        ("GW-501", "Gate: way in", {"Cause": "heat", "Title": "it stalls"}),
        ("GW-502", "Gate: way in", {"Title": "Loop"}),
        ("V2: one", "Gate: way in", {"Cause": "rust"}),
        ("V2: two", "Gate: way in", {"Cause": "mud"}),
    ]


def test_a_block_of_code_below_a_label_is_its_text(tmp_path: Path) -> None:
    block = "```sh\n# Fix: no heading\ndrum --new\n```\n"
    indented = "".join(f"  {line}\n" for line in block.splitlines())
    text = (
        f"## K-1\n- Fix:\n\n{block}\n## K-2\n- Fix: run\n\n{indented}- Owner: Mira\n## K-3\n- Fix: run\n{block}"
        f"## K-4\nFix: run\n\n{block}## K-5\n- Fix:\n  1. stop it\n{indented}  2. wait\n"
    )
    drafts, notes = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert [draft.slots for draft in drafts] == [
        {"Fix": "# Fix: no heading drum --new"},
        {"Fix": "run # Fix: no heading drum --new", "Owner": "Mira"},
        {"Fix": "run # Fix: no heading drum --new"},
        {"Fix": "run # Fix: no heading drum --new"},
        {"Fix": "stop it # Fix: no heading drum --new; wait"},
    ]
    assert not notes


def test_a_runbook_says_what_it_did_not_take(tmp_path: Path) -> None:
    text = "# Team\n- Owner: Mira\n## E1\n- Cause: heat\n- Cause: cold\n- Fix:\n"
    _, notes = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert any("'Team' is not taken" in note for note in notes)
    assert any("'Cause' of 'E1' stands twice" in note for note in notes)
    assert any("'Fix' of 'E1' is not taken" in note for note in notes)
    with pytest.raises(DataError, match="no item was found"):
        drafts_from_runbook(written(tmp_path, "b.md", "# Title\nProse.\n"))
    with pytest.raises(DataError, match="is empty"):
        drafts_from_runbook(written(tmp_path, "c.md", " \n"))


def test_passages(tmp_path: Path) -> None:
    asked = [{"question": "When did it open?", "answer": "1871"}, {"question": "Who opened it?", "answer": "Mira"}]
    document = {"passage": "Mira opened the line in 1871.", "title": "the line", "id": "line", "questions": asked}
    source = written(tmp_path, "a.jsonl", f"\n{json.dumps(document)}\n")
    first, second = drafts_from_passages(source)
    assert holds_passages(source)
    assert (first.id, first.question, first.answer, first.place) == (
        "line-1",
        "When did it open?",
        "1871",
        f"{source}:2",
    )
    assert second.passage == document["passage"]
    assert not holds_passages(written(tmp_path, "b.jsonl", '{"question": "Who?", "answer": "Mira"}'))


@pytest.mark.parametrize(
    "said",
    [
        {"answer": "1871"},
        {"id": "1", "answers": {"text": ["1871", "in 1871"], "answer_start": [24, 21]}},
        {"id": "1", "answers": [{"text": "1871", "answer_start": 24}], "is_impossible": False},
        {"answers": ["1871"]},
    ],
)
def test_a_paragraph_of_squad_is_a_passage(tmp_path: Path, said: dict[str, object]) -> None:
    row = {"context": "Mira opened the line in 1871.", "title": "the line", "qas": [{"question": "When?", **said}]}
    source = written(tmp_path, "a.jsonl", json.dumps(row))
    assert holds_passages(source)
    (draft,) = drafts_from_passages(source)
    assert (draft.question, draft.answer, draft.title, draft.passage) == ("When?", "1871", "the line", row["context"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a.jsonl: is empty"),
        ('{"passage": "x"', "a.jsonl:1: not valid JSON"),
        ('{"passage": ' + 5000 * "1" + "}", "a.jsonl:1: not valid JSON .a number is too long"),
        ('{"passage": ' + 9**5 * "[", "a.jsonl:1: not valid JSON .nested too deep"),
        (
            '{"passage": "x", "questions": []}',
            r'a.jsonl:1: questions: must not be empty; write \{"passage": "...", "questions": \[\{"question": "...", ',
        ),
        ('{"context": "x", "qas": [{"question": "Who?", "answers": []}]}', r"questions\[0\].answer: is missing"),
        ('{"passage": "x", "questions": [{"question": "Who?"}]}', r"a.jsonl:1: questions\[0\].answer: is missing"),
    ],
)
def test_broken_passages(tmp_path: Path, text: str, complaint: str) -> None:
    source = written(tmp_path, "a.jsonl", text)
    with pytest.raises(DataError, match=complaint):
        drafts_from_passages(source)
    assert holds_passages(source) is text.endswith("]}")


def test_a_runbook_keeps_code_as_it_is_and_numbered_lists(tmp_path: Path) -> None:
    path = tmp_path / "runbook.md"
    items = ["1. Cause: the **disk** is full", "2. Setting: `AIRFLOW__CORE__EXECUTOR`", "- File: `__init__.py`"]
    path.write_text("\n".join(["# Ops", "## Err A", *items]), encoding="utf-8")
    drafts, _ = drafts_from_runbook(str(path))
    slots = {"Cause": "the disk is full", "Setting": "AIRFLOW__CORE__EXECUTOR", "File": "__init__.py"}
    assert [draft.slots for draft in drafts] == [slots]


def test_a_runbook_keeps_lines_that_are_wrapped_and_steps_with_labels(tmp_path: Path) -> None:
    text = (
        "# K-1\nSymptom: it stops after\ntwo minutes\nFix: fuse F3, but only after\nthe switch is off\n\nNot of it.\n"
        "# K-2\n- Symptom: it hums\n- Fix:\n  - open the lid on the\n    left side\n  - press reset\n"
        "# K-3\n- Symptom: it leaks\n- Fix:\n  1. Close valve 3.\n  2. Note: wear gloves.\n  3. Drain it.\n"
        "- Team: Blue\n"
    )
    drafts, _ = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert [dict(draft.slots) for draft in drafts] == [
        {"Symptom": "it stops after two minutes", "Fix": "fuse F3, but only after the switch is off"},
        {"Symptom": "it hums", "Fix": "open the lid on the left side; press reset"},
        {"Symptom": "it leaks", "Fix": "Close valve 3; Note: wear gloves; Drain it", "Team": "Blue"},
    ]


def test_a_runbook_with_underlined_headings_and_code_in_a_line(tmp_path: Path) -> None:
    text = (
        "Pumps\n=====\n\nP-104\n-----\n- Cause: rust\n```systemctl restart pump```\n\n"
        "P-105\n---\n- Cause: hose cut\n- **Fix** \u2014 a new hose\nNote: no colon is missing here\n---\n"
    )
    drafts, notes = drafts_from_runbook(written(tmp_path, "a.md", text))
    assert [(draft.name, draft.domain, dict(draft.slots)) for draft in drafts] == [
        ("P-104", "Pumps", {"Cause": "rust"}),
        ("P-105", "Pumps", {"Cause": "hose cut", "Note": "no colon is missing here"}),
    ]
    assert [note.split(": ", 1)[1] for note in notes] == ["'Fix' of 'P-105' is not taken: write a colon behind it"]
    with pytest.raises(DataError, match=r"b\.md:3: the block of code is never closed"):
        drafts_from_runbook(written(tmp_path, "b.md", "## E-1\n- Cause: heat\n```\n## E-2\n- Cause: cold\n"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("in/errors.2024.csv", "errors-2024"),
        ("Run Book.MD", "run-book"),
        ("owner/some.data", "some-data"),
        ("owner/data:train", "data"),
        ("my_facts.yaml", "my-facts"),
        ("general.csv", "general-facts"),
        ("seen.yaml", "seen-facts"),
    ],
)
def test_a_set_is_called_as_its_file_is(source: str, name: str) -> None:
    assert set_name_of(source) == name


def test_a_name_that_reports_use_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "question,answer\nWho runs it?,Mira\n")
    with pytest.raises(DataError, match=r"--set-name text: is what reports call something else; choose another"):
        import_set(source, set_name="text")
