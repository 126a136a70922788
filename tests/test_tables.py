"""Tables of every kind of file are read as they stand; a mistake is named with its line."""

import json
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from conftest import written

from kapoc.errors import DataError
from kapoc.importing.import_set import import_set
from kapoc.importing.mapping import ColumnMapping, facts_from_table, guess_mapping
from kapoc.importing.tables import read_table

ROWS = ({"question": "Who runs Zorblax?", "answer": "Mira, the elder"}, {"question": "How old is it?", "answer": "7"})


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
