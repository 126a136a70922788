"""What a user has is read as it stands: tables of every kind, Markdown runbooks, passages; a mistake is named."""

import json
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from kapoc.errors import DataError
from kapoc.importing.faqs import drafts_from_faq
from kapoc.importing.import_set import import_set, set_name_of
from kapoc.importing.mapping import ColumnMapping, facts_from_table, guess_mapping, kind_of_facts, with_one_name
from kapoc.importing.passages import drafts_from_passages, holds_passages
from kapoc.importing.runbooks import drafts_from_runbook
from kapoc.importing.tables import Table, read_table

ROWS = ({"question": "Who runs Zorblax?", "answer": "Mira, the elder"}, {"question": "How old is it?", "answer": "7"})


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("facts.csv", 'question,answer\nWho runs Zorblax?,"Mira, the elder"\n\nHow old is it?,7\n'),
        ("facts.csv", "\ufeffquestion;answer\nWho runs Zorblax?;Mira, the elder\nHow old is it?;7\n"),
        ("facts.csv", "question;answer\nWho runs Zorblax?;Mira, the elder\n\n\nHow old is it?;7\n"),
        ("facts.csv", "question|answer\nWho runs Zorblax?|Mira, the elder\nHow old is it?|7\n"),
        ("facts.csv", "question\tanswer\r\nWho runs Zorblax?\tMira, the elder\r\nHow old is it?\t7\r\n"),
        ("facts.tsv", "question\tanswer\nWho runs Zorblax?\tMira, the elder\nHow old is it?\t7\n"),
        ("facts.jsonl", "\n".join(json.dumps(row) for row in (ROWS[0], ROWS[1] | {"answer": 7}))),
        ("facts.json", json.dumps([ROWS[0], ROWS[1] | {"answer": 7.0}], indent=1)),
    ],
)
def test_one_table_in_every_kind_of_file(tmp_path: Path, name: str, text: str) -> None:
    table = read_table(written(tmp_path, name, text))
    assert table.columns == ("question", "answer")
    assert table.rows == ROWS


@pytest.mark.parametrize(
    ("header", "rows", "columns"),
    [
        ("Artikel;Preis, EUR", ("Alfa;12,50", "Beta;14,00"), 2),
        ("Artikel;Preis, netto;Lager, Ort", ("Alfa;12 EUR;Halle 1",), 3),
        ("Artikel\tPreis, EUR", ("Alfa\t12,50",), 2),
        ("name,cause; fix", ("E1,heat", "E2,cold"), 2),
        ("name,a|b,c", ('E1,"x, y",z', "E2,v,w"), 3),
        ("name", ("E1", "E2"), 1),
    ],
)
def test_the_delimiter_is_that_of_all_rows(tmp_path: Path, header: str, rows: tuple[str, ...], columns: int) -> None:
    assert len(read_table(written(tmp_path, "a.csv", "\n".join((header, *rows)))).columns) == columns


def test_named_fields_in_a_cell_are_columns(tmp_path: Path) -> None:
    """As question-answering data on the Hub has them; the source text of JSON is never taught."""
    path = tmp_path / "squad.jsonl"
    row = {"id": "a", "question": "Which colour?", "answers": {"text": ["red", "a red"], "answer_start": [4, 2]}}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    table = read_table(str(path))
    assert table.columns == ("id", "question", "answers.text", "answers.answer_start")
    assert table.rows[0]["answers.text"] == "red"
    with pytest.raises(DataError, match="no column of answers was found; name it with --answer"):
        guess_mapping(table)
    assert guess_mapping(table, ColumnMapping(answer="answers.text"))[0].answer == "answers.text"
    with pytest.raises(DataError, match="--question, --answer: are all the column 'question'"):
        guess_mapping(table, ColumnMapping(question="question", answer="question"))


def test_a_list_of_named_fields_is_no_text(tmp_path: Path) -> None:
    row = json.dumps({"name": "Zeppa", "facts": [{"q": "When?", "a": "1998"}], "town": "Lund"})
    table = read_table(written(tmp_path, "a.jsonl", row))
    with pytest.raises(DataError, match=r'a.jsonl: facts: holds lists of named fields.*: \{"passage": "...", "quest'):
        facts_from_table(table, guess_mapping(table)[0])
    assert facts_from_table(table, guess_mapping(table, ColumnMapping(slots=("town",)))[0])[0].slots == {"town": "Lund"}


def test_a_date_that_no_calendar_has_is_told(tmp_path: Path) -> None:
    path = tmp_path / "dates.parquet"
    far = pa.array([2**40], pa.timestamp("s"))
    pyarrow.parquet.write_table(pa.table({"name": ["Abel"], "launched": far}), path)
    with pytest.raises(DataError, match=r"dates\.parquet: holds a date that no calendar has"):
        read_table(str(path))


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "facts.parquet"
    pyarrow.parquet.write_table(pa.table({"question": ["Who?", "Where?"], "answer": [None, 3]}), path)
    table = read_table(str(path))
    assert table.rows == ({"question": "Who?", "answer": ""}, {"question": "Where?", "answer": "3"})
    assert table.place(1) == f"{path}:2"


def test_parquet_of_pandas_has_days_as_days_and_no_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "launches.parquet"
    days = pd.to_datetime(["2024-05-01 00:00", "2024-06-02 12:30"])
    pd.DataFrame({"ship": ["Abel", "Bruna"], "launched": days}, index=[7, 9]).to_parquet(path)
    table = read_table(str(path))
    assert table.columns == ("ship", "launched")
    assert [row["launched"] for row in table.rows] == ["2024-05-01", "2024-06-02 12:30:00"]


def test_a_row_knows_its_line(tmp_path: Path) -> None:
    csv = read_table(written(tmp_path, "a.csv", 'q,a\n"a text\nof two lines?",1\n\nnext?,2\n'))
    assert [csv.place(0), csv.place(1)] == [f"{tmp_path}/a.csv:2", f"{tmp_path}/a.csv:5"]
    listed = read_table(written(tmp_path, "a.json", '[\n {"q": "x", "a": "y"},\n\n {"q": "z", "a": "]"}\n]'))
    assert [listed.place(0), listed.place(1)] == [f"{tmp_path}/a.json:2", f"{tmp_path}/a.json:4"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "", "a.csv: is empty"),
        ("a.csv", "question,answer\n", "a.csv: has no rows"),
        (
            "a.csv",
            "question,answer\nWho?,Mira\nWhere?,here,there\n",
            "a.csv:3: row: has 3 cells where the header has 2",
        ),
        ("a.csv", "question,answer\nWho?\n", "a.csv:2: row: has 1 cells"),
        ("a.csv", 'question,answer\nWho?,"Mira\n', "a.csv:2: not valid CSV"),
        ("a.csv", "Who runs Zorblax?,Mira\nHow old?,7\n", "a.csv:1: header: 'Who runs Zorblax?' does not look like"),
        (
            "a.csv",
            "product,2023,2024\nLamp,7,8\n",
            "a.csv:1: header: '2023' does not look like the name of a column; rename",
        ),
        ("a.jsonl", '{"q": "Who?"}\n{"q": "a fish \\ud83d"}\n', "a.jsonl:2: q: holds half of a character (\\ud83d)"),
        ("a.csv", "question,\nWho?,Mira\nWhere?,here\n", "a.csv:2: row: has 2 cells where the header has 1"),
        ("a.csv", "question,,answer\nWho?,,Mira\n", "a.csv:1: header: column 2 has no name"),
        ("a.csv", "a,a\n1,2\n", "a.csv:1: header: the column 'a' stands twice"),
        ("a.jsonl", '{"question": "Who?"}\n{"question": \n', "a.jsonl:2: not valid JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: holds a list"),
        (
            "a.json",
            '{"question": "Who?"}',
            'a.json: holds one JSON value, not a list; write one of rows, such as [{"question": "Who runs it?", ',
        ),
        ("a.json", '[{"question": "Who?"},\n', "a.json:2: not valid JSON"),
        ("a.parquet", "no parquet", "a.parquet: not valid Parquet"),
        (
            "a.xlsx",
            "x",
            "a.xlsx: the kind of file is not known; save it as one of .csv, .tsv, .jsonl, .json, .parquet, .md",
        ),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(written(tmp_path, name, text))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/{complaint}")
    assert "\n" not in message


def test_absent_and_badly_encoded_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("question,answer\nWhere?,Köln\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv: not UTF-8 at byte 24"):
        read_table(str(tmp_path / "a.csv"))
    for name in ("b.csv", "b.parquet"):
        with pytest.raises(DataError, match="no such file"):
            read_table(str(tmp_path / name))


@pytest.mark.parametrize(
    ("silent", "says"),
    [
        (pa.ArrowInvalid(""), r"a\.parquet: not valid Parquet \(ArrowInvalid\); write it again"),
        (OverflowError(), r"a\.parquet: holds a date that no calendar has \(OverflowError\)"),
    ],
)
def test_a_library_that_says_nothing_is_told_by_what_it_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Exception, says: str
) -> None:
    def refuse(*_: object) -> None:
        raise silent

    (tmp_path / "a.parquet").touch()
    monkeypatch.setattr("pyarrow.parquet.read_table", refuse)
    with pytest.raises(DataError, match=says):
        read_table(str(tmp_path / "a.parquet"))


def test_a_dataset_that_cannot_be_loaded_is_one_line() -> None:
    with pytest.raises(DataError, match="nobody/nothing:test: cannot be loaded from the Hugging Face hub") as caught:
        read_table("nobody/nothing:test")
    assert "\n" not in str(caught.value)


def table_of(*columns: str) -> Table:
    return Table("t.csv", columns, ({column: f"text {column}" for column in columns},), (2,))


def test_columns_are_guessed_from_their_names_and_told() -> None:
    mapping, lines = guess_mapping(table_of("Key", "Prompt", "Response", "Product"))
    assert (mapping.question, mapping.answer, mapping.id, mapping.domain) == ("Prompt", "Response", "Key", "Product")
    assert "question: column 'Prompt' (guessed; --question to change)" in lines
    given, lines = guess_mapping(table_of("Key", "Prompt", "Response", "Text"), ColumnMapping(answer="Text", id="Key"))
    assert (given.answer, given.id) == ("Text", "Key")
    assert lines == ("question: column 'Prompt' (guessed; --question to change)", "not used: columns Response")


def test_without_questions_the_columns_are_slots() -> None:
    mapping, lines = guess_mapping(table_of("Error", "Cause", "Fix", "Service"))
    assert (mapping.name, mapping.slots, mapping.domain) == ("Error", ("Cause", "Fix"), "Service")
    assert "slots: columns Cause, Fix (guessed; --slots to change)" in lines
    mapping, _ = guess_mapping(table_of("Code", "Cause", "Fix"), ColumnMapping(slots=("Fix",)))
    assert (mapping.name, mapping.slots) == ("Code", ("Fix",))


def table_with(columns: str, *rows: str) -> Table:
    names = tuple(columns.split(","))
    cells = tuple(dict(zip(names, row.split(","), strict=True)) for row in rows)
    return Table("t.csv", names, cells, tuple(range(2, 2 + len(rows))))


def test_a_product_that_each_row_is_about_names_it() -> None:
    mapping, _ = guess_mapping(table_with("Product,Price,Weight", "Torvik,49 EUR,1 kg", "Grindal,89 EUR,2 kg"))
    assert (mapping.name, mapping.domain, mapping.slots) == ("Product", None, ("Price", "Weight"))
    mapping, _ = guess_mapping(table_with("Product,Part,Weight", "Torvik,lid,1 kg", "Torvik,cup,2 kg"))
    assert (mapping.name, mapping.domain, mapping.slots) == ("Part", "Product", ("Weight",))


def test_columns_that_are_a_name_together_are_joined() -> None:
    people = table_with("Last Name,first_name,Room", "Schmidt,Anna,3.14", "Keller,Anna,2.07", "Prince,,1.01")
    table, name, (line,) = with_one_name(people, None)
    mapping, _ = guess_mapping(table, ColumnMapping(name=name))
    assert [draft.name for draft in facts_from_table(table, mapping)] == ["Anna Schmidt", "Anna Keller", "Prince"]
    assert (
        mapping.slots == ("Room",) and line == "name: columns 'first_name' and 'Last Name' (guessed; --name to change)"
    )
    table, name, lines = with_one_name(people, "Last Name, Room")
    assert name is not None and table.rows[0][name] == "Schmidt 3.14" and not lines


@pytest.mark.parametrize("columns", ["first_name,last_name,title", "question,first_name,surname", "first_name,room"])
def test_names_are_not_joined_where_another_column_may_name_the_row(columns: str) -> None:
    table = table_of(*columns.split(","))
    assert with_one_name(table, None) == (table, None, ())


def test_a_column_whose_name_has_a_comma_is_one_column() -> None:
    table = table_of("City, State", "Mayor")
    assert with_one_name(table, "City, State") == (table, "City, State", ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("first,lost", "--name: there is no column 'lost'; did you mean 'last'"),
        ("first,first", "has the column 'first' twice"),
    ],
)
def test_a_name_of_columns_that_cannot_be_joined_is_refused(given: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        with_one_name(table_of("first", "last", "room"), given)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (table_with("Employee,Title,Phone", "Ann Bell,Buyer,4010", "Bob Crane,Buyer,4011"), "Employee"),
        (table_with("id,Employee,Title", "7,Ann Bell,Planner", "8,Bob Crane,Buyer"), "Employee"),
        (table_with("Employee,Title,id", "Ann Bell,Planner,7", "Bob Crane,Buyer,8"), "Employee"),
        (table_with("Team,Topic,Lead", "Lynx,Tea,Ann", "Lynx,Rum,Bob"), "Topic"),
        (table_with("Date,Topic,Lead", "2024-01-01,Tea,Ann", "2024-01-02,Rum,Bob"), "Topic"),
        (table_with("Team,Name,Lead", "Lynx,Tea,Ann", "Otter,Rum,Bob"), "Name"),
    ],
)
def test_a_title_names_a_row_where_no_column_before_it_does(table: Table, name: str) -> None:
    mapping, lines = guess_mapping(table)
    assert mapping.name == name
    assert [line for line in lines if line.startswith("name:")] == [
        f"name: column '{name}' (guessed; --name to change)"
    ]


@pytest.mark.parametrize("columns", ["Device,Input,Output", "Motor,kW,A", "Call,Response,Team", "Task,Q,Lead"])
def test_a_column_that_may_be_an_answer_is_a_slot_without_a_question(columns: str) -> None:
    first, *others = columns.split(",")
    mapping, lines = guess_mapping(table_of(first, *others))
    assert (mapping.question, mapping.answer, mapping.name, mapping.slots) == (None, None, first, tuple(others))
    assert not any(line.startswith(("question:", "answer:")) for line in lines)


@pytest.mark.parametrize(
    ("columns", "given"),
    [("Device,Output", {"answer": "Output"}), ("Device,Q", {"question": "Q"}), ("Question,Text", {})],
)
def test_a_question_without_answers_is_refused_with_the_columns(columns: str, given: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=rf"was found; name it with --.* its columns are {columns.replace(',', ', ')}$"):
        guess_mapping(table_of(*columns.split(",")), ColumnMapping(**given))
    with pytest.raises(DataError, match="no column of answers was found"):
        guess_mapping(table_with("prompt,text", "Who runs it?,Mira"))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("SKU", "SKU"),
        ("GPS", "GPS"),
        ("Ticket ref", "ticket"),
        ("Fehler-Nr.", "fehler"),
        ("errorCode", "error"),
        ("Item num", None),
        ("Machines", None),
    ],
)
def test_facts_are_called_as_the_column_of_their_names(column: str, kind: str | None) -> None:
    assert kind_of_facts(ColumnMapping(name=column, slots=("Cause",))) == kind


def test_what_has_a_code_is_asked_about_by_it() -> None:
    mapping, _ = guess_mapping(table_with("Code,Title,Cause", "KX-4471,Lid open,heat", "KX-4502,Lid open,frost"))
    assert (mapping.id, mapping.name, mapping.slots) == ("Code", "Code", ("Title", "Cause"))
    assert guess_mapping(table_of("Code", "Title", "Cause"), ColumnMapping(name="Title"))[0].name == "Title"


def test_the_question_behind_one_instruction_for_all_is_taken() -> None:
    same = table_with("instruction,input,output", "Answer it.,Who runs it?,Mira", "Answer it.,Where is it?,Lund")
    assert guess_mapping(same)[0].question == "input"
    other = table_with("instruction,input,output", "Who runs it?,,Mira", "Where is it?,,Lund")
    assert guess_mapping(other)[0].question == "instruction"


def test_questions_are_not_taken_for_names() -> None:
    table = table_with("Frage,Antwort", "Wer ist das?,Mira", "Wo ist es?,Lund")
    with pytest.raises(DataError, match="the column 'Frage' holds questions; name it with --question"):
        guess_mapping(table)
    assert guess_mapping(table, ColumnMapping(question="Frage", answer="Antwort"))[0].answer == "Antwort"


def test_what_was_guessed_is_told_with_what_is_wrong(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "First name,Role\nMarta,cook\nMarta,smith\n")
    with pytest.raises(DataError, match=r"'Marta' stands already .*\[name: column 'First name' \(guessed; --name to"):
        import_set(source)


@pytest.mark.parametrize("form", [("role", "content", "user", "assistant"), ("from", "value", "human", "gpt")])
def test_chat_data_is_read(tmp_path: Path, form: tuple[str, str, str, str]) -> None:
    who, what, asks, answers = form
    turns = [{who: "system", what: "Be kind."}, {who: asks, what: "Who runs it?"}, {who: answers, what: "Mira."}]
    rows = [{"conversations": turns, "domain": "Shop"}, {"conversations": turns[1:], "domain": "Shop"}]
    table = read_table(written(tmp_path, "chat.jsonl", "\n".join(map(json.dumps, rows))))
    assert table.rows[0] == table.rows[1] == {"question": "Who runs it?", "answer": "Mira.", "domain": "Shop"}
    more = json.dumps({"messages": [*turns[1:], {who: asks, what: "And where?"}]})
    with pytest.raises(DataError, match=rf"b.jsonl:1: messages: holds the turns {asks}, {answers}, {asks}; a fact is"):
        read_table(written(tmp_path, "b.jsonl", more))
    parts = json.dumps({"messages": [turns[1], {who: answers, what: [{"type": "text"}]}]})
    with pytest.raises(DataError, match="holds content that is no text"):
        read_table(written(tmp_path, "c.jsonl", parts))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_numbers_are_read_as_they_are_written(tmp_path: Path, name: str) -> None:
    row = '{"name": "Torvik", "price": 49.90, "dose": 0.00005, "year": 1987, "size": 3.0}'
    table = read_table(written(tmp_path, name, f"[{row}]" if name == "a.json" else row))
    assert list(table.rows[0].values()) == ["Torvik", "49.90", "0.00005", "1987", "3"]


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


@pytest.mark.parametrize(
    ("columns", "given", "complaint"),
    [
        (
            ("Question", "Answer"),
            {"question": "Qestion"},
            "--question: there is no column 'Qestion'; did you mean 'Quest",
        ),
        (("Question", "Text"), {}, "no column of answers was found; name it with --answer"),
        (
            ("Question", "Answer"),
            {"slots": ("Answer",), "question": "Question"},
            "--slots: goes with rows that have no",
        ),
        (("Name",), {}, "nothing to ask"),
    ],
)
def test_columns_that_cannot_be_used(columns: tuple[str, ...], given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        guess_mapping(table_of(*columns), ColumnMapping(**given))


def test_drafts_of_both_shapes(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "q,a,taught\nWho runs it?,Mira,yes\nWho ran it?,Tol,No\n")
    table = read_table(source)
    first, second = facts_from_table(table, guess_mapping(table)[0])
    assert (first.question, first.answer, first.taught, first.kind) == ("Who runs it?", "Mira", True, "question")
    assert (second.taught, second.place) == (False, f"{source}:3")
    table = read_table(written(tmp_path, "b.csv", "Code,Cause,Fix\nE1,heat,\n"))
    (draft,) = facts_from_table(table, guess_mapping(table, ColumnMapping(slots=("Cause", "Fix")))[0], kind="error")
    assert (draft.name, draft.id, draft.kind, draft.slots) == ("E1", "E1", "error", {"Cause": "heat"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("q,a\nWho?,\n", "a.csv:2: a: is empty"),
        ("name,cause\n,heat\n", "a.csv:2: name: is empty"),
        ("name,cause\nE1,heat\nE2,\n", "a.csv:3: cause: all are empty"),
        ("q,a,taught\nWho?,Mira,maybe\n", "a.csv:2: taught: 'maybe' is neither yes nor no"),
    ],
)
def test_rows_that_cannot_be_facts(tmp_path: Path, text: str, complaint: str) -> None:
    table = read_table(written(tmp_path, "a.csv", text))
    with pytest.raises(DataError, match=complaint):
        facts_from_table(table, guess_mapping(table)[0])


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


def test_a_table_of_empty_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(",,\n,,\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no rows"):
        read_table(str(tmp_path / "empty.csv"))


def test_the_delimiter_that_a_spreadsheet_says_is_used(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a.csv", "sep=;\nquestion;answer\nWho, and why?;Mira\n"))
    assert table.rows == ({"question": "Who, and why?", "answer": "Mira"},)
    assert table.place(0) == f"{tmp_path}/a.csv:3"


def test_parquet_of_short_numbers_and_bytes_is_read_as_it_was_written(tmp_path: Path) -> None:
    columns = {"dose": pa.array([0.1, 2.35, None], pa.float32()), "code": pa.array([b"Q-8", b"R", b""])}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = read_table(str(tmp_path / "a.parquet")).rows
    assert rows == ({"dose": "0.1", "code": "Q-8"}, {"dose": "2.35", "code": "R"}, {"dose": "", "code": ""})


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


def test_rows_on_one_line_are_told_by_their_numbers(tmp_path: Path) -> None:
    rows = [{"question": "Who runs it?", "answer": "Mira"}, {"question": "Where is it?", "answer": ""}]
    with pytest.raises(DataError, match=r"a\.json: row 2: answer: is empty"):
        import_set(written(tmp_path, "a.json", json.dumps(rows)))
    with pytest.raises(DataError, match=r"b\.json:3: answer: is empty"):
        import_set(written(tmp_path, "b.json", "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"))


@pytest.mark.parametrize("title", ["Contacts of 2024", "Contacts of 2024;;"])
def test_a_title_above_the_header_is_no_header(tmp_path: Path, title: str) -> None:
    source = written(tmp_path, "a.csv", f"{title}\nid;question;answer\n1;Who runs it?;Mira\n2;Where is it?;Bern\n")
    with pytest.raises(DataError, match=r"a\.csv:1: 'Contacts of 2024' stands above the rows and names no columns"):
        import_set(source)


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder; name a file in it"):
        import_set(str(tmp_path))
