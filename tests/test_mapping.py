"""Which column of a table holds what: guessed, told, and refused where nothing fits."""

from pathlib import Path
from typing import Any

import pytest
from conftest import written

from kapoc.errors import DataError
from kapoc.importing.import_set import import_set
from kapoc.importing.mapping import ColumnMapping, facts_from_table, guess_mapping, kind_of_facts, with_one_name
from kapoc.importing.tables import Table, read_table


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


def test_questions_are_not_taken_for_names() -> None:
    table = table_with("Frage,Antwort", "Wer ist das?,Mira", "Wo ist es?,Lund")
    with pytest.raises(DataError, match="the column 'Frage' holds questions; name it with --question"):
        guess_mapping(table)
    assert guess_mapping(table, ColumnMapping(question="Frage", answer="Antwort"))[0].answer == "Antwort"


def test_the_letter_of_an_option_is_no_answer(tmp_path: Path) -> None:
    quiz = table_with("Question,A,B,Correct", "Who leads hall 3?,Otto,Mira,B", "Which port?,80,443,A")
    with pytest.raises(DataError, match=r"no column of answers was found"):
        guess_mapping(quiz)
    with pytest.raises(DataError, match=r"t\.csv: Correct: says which option is right \('B'\)"):
        guess_mapping(quiz, ColumnMapping(answer="Correct"))
    source = written(tmp_path, "mc.jsonl", '{"question": "Where?", "choices": ["a lake", "an oven"], "answer": 1}\n')
    with pytest.raises(DataError, match=r"answer: says which option is right \('1'\)"):
        guess_mapping(read_table(source))
    assert (
        guess_mapping(table_with("Question,Choices,Answer", "Where?,a lake or an oven,an oven"))[0].answer == "Answer"
    )
    assert guess_mapping(table_with("Q,A", "Who?,7"))[0].answer == "A"
    sums = written(tmp_path, "sums.jsonl", '{"question": "2 + 5?", "choices": ["7", "8"], "answer": "7"}\n')
    assert guess_mapping(read_table(sums))[0].answer == "answer"


def test_a_list_of_answers_is_joined_and_said(tmp_path: Path) -> None:
    source = written(tmp_path, "nq.jsonl", '{"question": "Who?", "answer": ["Mira Teldon", "Teldon"]}\n')
    _, lines = guess_mapping(read_table(source))
    assert any(line.startswith("answer: lists of texts are joined by commas") for line in lines)
    single = written(tmp_path, "one.jsonl", '{"question": "Who?", "answer": ["Mira Teldon"]}\n')
    assert not any("joined" in line for line in guess_mapping(read_table(single))[1])


@pytest.mark.parametrize("cell", ["n.a.", "#REF!", "#DIV/0!", "TBD"])
def test_a_cell_that_says_nothing_is_left_out(tmp_path: Path, cell: str) -> None:
    rows = f"Machine,Hall,Operator\nM-1,Hall 1,{cell}\nM-2,Hall 2,Ann Lee\nM-3,Hall 3,Bo Kim\n"
    knowledge, notes = import_set(written(tmp_path, "t.csv", rows))
    assert "operator" not in knowledge.facts[0].slots and "operator" in knowledge.facts[1].slots
    assert any(f"'Operator' is '{cell}' and is left out" in note for note in notes)
