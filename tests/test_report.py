"""What stands in the report is what the comparison says."""

import hashlib
import io
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from results import BASE, everything, make_items, make_run, nothing
from rich.console import Console

from kapoc.cli.console import show
from kapoc.errors import DataError, OutputError
from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import RELEASE_GATE
from kapoc.judging.leaderboard import leaderboard
from kapoc.record import Item, Run, load_run, save_run
from kapoc.report import markdown, terminal
from kapoc.report.in_short import in_short, short_section
from kapoc.report.numbers import interval, p_value, percent, points
from kapoc.report.sections import verdict_section
from kapoc.report.spilled import spilled_section
from kapoc.writing import write_atomically

TRAINED = make_run(make_items(everything, bits=1.05, spilled=60, last_word=-2.25), weights="1" * 64)
COMPARISON = compare(BASE, TRAINED)
VERDICT = judge(COMPARISON, RELEASE_GATE)


def test_numbers_are_written_one_way() -> None:
    assert percent(0.98765) == "98.8%"
    assert points(-0.057) == "-5.7"
    assert interval((-0.084, 0.031)) == "[-8.4, +3.1]"
    assert (p_value(1.0), p_value(0.0004), p_value(0.0412)) == ("1", "<.001", ".041")
    near = (0.0504, 0.0496, 0.05, 0.0506, 0.0494, 0.04996)
    assert [p_value(p) for p in near] == [".0504", ".0496", ".050", ".051", ".049", ".04996"]
    assert [p_value(p, level=0.01) for p in (0.0104, 0.0096, 0.01, 0.0504)] == [".0104", ".0096", ".010", ".050"]
    assert [p_value(p) for p in (0.9994, 0.9998, 1.0)] == [".999", ">.999", "1"]


@pytest.mark.parametrize(
    ("share", "written"),
    [(0, "0.0%"), (1 / 2900, "<0.1%"), (0.0005, "0.1%"), (2899 / 2900, ">99.9%"), (1, "100.0%"), (-0.0004, "-0.0%")],
)
def test_a_share_that_is_nearly_all_or_nothing_is_not_written_as_either(share: float, written: str) -> None:
    assert percent(share) == written


def test_the_p_values_of_a_gate_are_told_from_its_own_level() -> None:
    checks = tuple(check.model_copy(update={"p_claim": 0.0104, "p_opposite": 0.0504}) for check in VERDICT.checks)
    rows = verdict_section(VERDICT.model_copy(update={"alpha": 0.01, "checks": checks})).rows
    assert {(row[6], row[7]) for row in rows} == {(".0104", ".050")}


def test_a_models_text_makes_no_tag_link_image_or_cell() -> None:
    page = markdown.table(["answer"], [["![logo](https://example.com/a.png) | <img src=x>\nend\rof [it](x)"]])
    assert page.splitlines()[-1] == "| ![logo]\\(https://example.com/a.png) \\| &lt;img src=x> end of [it]\\(x) |"


WRITTEN = [
    r"a | b", r"a \| b", r"a \\| b", "|", "\\", r"ends \ ", r"ends \\", "`tick` and ``two`` | `", r"`a\`",
    "*em* _em_ **b** __init__ ~~gone~~ ~x~", "2 * 3 * 4 and a*b*c", "oven.rama_ci, a__b_ and _c", r"\*not\* \_",
    "&lt;b&gt; &amp; & &#x7c; &copy;", "<b>x</b> <!-- c <a@b.c>", r"\<b>", "[l](x) ![i](x) [l] (x)", r"[l]\(x)", "](",
    "# h", "- li", "* li", "+ li", "3. li", "12) li", "> q", "[x]: /url", "---", "```", "~~~", "[+0.1, -0.2]", "-5.7",
    "c:\\dir\\new_file.txt", "a&b; A&B;", "***", "_ _", "שלום | _עולם_",
]  # fmt: skip


def rendered(page: str, tag: str) -> str:
    """What a viewer shows of the first element of this tag."""
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page)
    found = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    assert found, html
    return unescape(found[1])


@pytest.mark.parametrize("text", WRITTEN)
def test_a_viewer_shows_what_a_model_wrote(text: str) -> None:
    page = markdown.table(["answer", "next"], [[text, "end"], ["last", "end"]])
    assert rendered(page, "td") == text.strip()
    assert rendered(markdown.plain(text), "p") == text.strip()


@pytest.mark.parametrize("text", ["Red costs $5, blue $6", "Set $HOME|$PATH", "$x_1$", "a$$b"])
def test_dollars_make_no_formula(text: str) -> None:
    page = markdown.table(["answer"], [[text]])
    for shown in (rendered(page, "td"), rendered(markdown.plain(text), "p")):
        assert re.sub("</?span>", "", shown) == text
        assert "<span>$</span>" in shown
    assert not re.search(r"(?<!\\)\$", page)


@pytest.mark.parametrize(
    "text",
    ["oven.rama_ci is 5 < 6 * 2", "Red costs $5", "5 $", "[+0.1, +0.2]", "-5.7", r"c:\dir", "AT&T", "1 *", "*"],
)
def test_what_is_no_markup_is_written_as_it_is(text: str) -> None:
    assert markdown.table(["a"], [[text]]).splitlines()[-1] == f"| {text} |".replace("<", "&lt;")


HOSTILE = "<img src=https://example.com/m>\n![it](https://example.com/n)\u2028# heading"


def test_what_steers_a_screen_is_shown_by_its_code() -> None:
    assert markdown.plain("red \x1b[31m and \x07 bell") == r"red \x1b[31m and \x07 bell"


def test_no_text_of_a_run_makes_a_tag_an_image_or_a_line_outside_the_tables() -> None:
    def named(run: Run, **changes: object) -> Run:
        return run.model_copy(update={"model": run.model.model_copy(update={"name": HOSTILE}), **changes})

    hostile = named(TRAINED, versions={HOSTILE: "1"}, command=f"kapoc bench ```\n````\n{HOSTILE}")
    comparison = compare(named(BASE), hostile)
    data = comparison.data.model_copy(update={"general": (HOSTILE,)})  # in the note of a section
    board = leaderboard(HOSTILE, BASE, {HOSTILE: comparison, "b": COMPARISON}, RELEASE_GATE)
    verdict = judge(comparison, RELEASE_GATE)
    for page in (
        markdown.render(comparison.model_copy(update={"data": data}), verdict, board, "plot.svg"),
        markdown.render_summary(comparison, verdict),
    ):
        prose = page.partition("\n`````\n")[0]
        assert "<img" not in prose and "![it](" not in prose and "\n# heading" not in page
        assert "> **Note:** the runs differ in package versions: &lt;img src=https://example.com/m> ![it]\\(" in prose
    assert "\n`````\nkapoc bench --model tiny\nkapoc bench ``` ```` <img" in markdown.render(comparison, verdict)


@pytest.mark.parametrize(("text", "written"), [("a/1", "`a/1`"), ("a`b``c", "```a`b``c```"), ("`a", "`` `a ``")])
def test_code_ends_where_it_should(text: str, written: str) -> None:
    assert markdown.code(text) == written


@pytest.mark.parametrize(("plot", "link"), [("r.svg", "(r.svg)"), ("my report (1).svg", "(my%20report%20%281%29.svg)")])
def test_the_plot_is_shown_whatever_its_file_is_called(plot: str, link: str) -> None:
    board = leaderboard("base", BASE, {"a": COMPARISON, "b": COMPARISON}, RELEASE_GATE)
    assert f"![recall against forgetting, the runs numbered as in the table]{link}\n" in markdown.render(
        COMPARISON, VERDICT, board, plot
    )


def test_markdown_page() -> None:
    page = markdown.render(COMPARISON, VERDICT)
    assert "**Verdict: FAIL: control spillover, text kept.**" in page
    seen = COMPARISON.tiers["seen"]
    assert f"| seen | 120 | 30 | 0.0% | 100.0% | +100.0 | {interval(seen.interval)} | &lt;.001 | 120 | 0 | +" in page
    assert "| spillover, control | 120 | 0.0% | 50.0% | +50.0 |" in page
    assert "| log-probability, last_word, nats | 100 | -1.702 | -1.952 | -0.250 | [-0.250, -0.250] | &lt;.001 |" in page
    assert "log-probability, world" not in page
    assert "| bits per byte | 30 | 2.9333 | 2.9833 | +0.0500 | [+0.0500, +0.0500] | &lt;.001 |" in page
    assert "| seen | 120 | 100.0% |" in page
    assert page.count("| learned | right | wrong \\| &lt;b> | right |") == 360
    assert page.rstrip().endswith("kapoc bench --model tiny\nkapoc bench --model tiny\n```")


def test_a_single_spilled_answer_stands_beside_its_question_and_not_its_template() -> None:
    def framed(run: Run) -> Run:
        prompts = {item.id: f"<user>\n{item.prompt} of {item.tier}?<end>\n" for item in run.items}
        return run.model_copy(
            update={"items": tuple(item.model_copy(update={"prompt": prompts[item.id]}) for item in run.items)}
        )

    one = compare(framed(BASE), framed(make_run(make_items(everything, spilled=1), weights="1" * 64)))
    assert [row[1] for row in spilled_section(one).rows] == ["question 0 of control?"]


def test_in_short_says_what_was_learned_forgotten_and_spilled() -> None:
    said = dict(in_short(COMPARISON))
    seen, text = COMPARISON.tiers["seen"], COMPARISON.forgetting.bits_per_byte
    assert list(said) == [
        "Did it learn the facts?",
        "Can it use them?",
        "What did it forget?",
        "Does it say them where they do not belong?",
    ]
    learned = f"Questions of the training: 0.0% to 100.0% right, +100.0 points {interval(seen.interval)}; the same in"
    assert said["Did it learn the facts?"].startswith(learned)
    assert "by kind" not in said["Can it use them?"]  # there is one kind
    assert text is not None and "General ability: 50.0% to 50.0% right, +0.0 points [" in said["What did it forget?"]
    words = (
        "; log-probability of the right words, last word (higher is better): -1.702 to -1.952 nats, -0.250 [-0.250, "
        "-0.250]; bits per byte"
    )
    assert words in said["What did it forget?"]
    assert said["What did it forget?"].endswith("2.9333 to 2.9833, +0.0500 [+0.0500, +0.0500].")
    control, other = (interval(COMPARISON.spillover[name].interval) for name in ("control", "off_topic"))
    assert said["Does it say them where they do not belong?"] == (
        f"In 60 of 120 answers about facts that were never taught (control), 0 before, +50.0 points {control}; "
        f"in 0 of 100 answers to prompts about something else (off-topic), 0 before, +0.0 points {other}."
    )


def test_in_short_names_the_kinds_best_first_and_what_was_known_and_is_lost() -> None:
    def unseen(better: Callable[[int], float]) -> tuple[Item, ...]:
        return tuple(
            item.model_copy(update={"kind": "yes_no" if number % 2 else "reverse", "score": better(number)})
            for number, item in enumerate(item for item in make_items(nothing) if item.tier == "unseen")
        )

    known = make_run(unseen(lambda number: float(number < 40)))
    after = make_run(unseen(lambda number: float(number < 10 or number % 2)), weights="1" * 64)
    said = dict(in_short(compare(known, after)))
    assert list(said) == ["Can it use them?", "What did it forget?"]
    assert said["Can it use them?"].endswith("right after, by kind: yes no 60 of 60, reverse 5 of 60.")
    # of items 0 to 39 those below 10 and the odd ones are right: 10 + 15
    assert said["What did it forget?"] == "Still right: 25 of the 40 unseen questions that were right before."


def test_in_short_says_that_answers_no_longer_end() -> None:
    unended = compare(BASE, make_run(make_items(everything, ended=False), weights="1" * 64))
    assert unended.ended is not None
    told = f"answers that end by themselves: 100.0% to 0.0%, -100.0 points {interval(unended.ended.interval)}."
    assert dict(in_short(unended))["What did it forget?"].endswith(told)
    kept = make_run(make_items(everything, ended=False, last_word=-1.9), weights="1" * 64)
    assert "log-probability" not in dict(in_short(compare(BASE, kept)))["What did it forget?"]
    assert "end by themselves" not in dict(in_short(COMPARISON))["What did it forget?"]


def test_where_nothing_in_short_was_measured_there_is_no_such_section() -> None:
    controls = [
        make_run(tuple(item.model_copy(update={"ended": None}) for item in run.items if item.tier == "control"))
        for run in (BASE, TRAINED)
    ]
    empty = compare(*controls).model_copy(update={"spillover": {}})
    assert list(short_section(empty)) == []
    assert "In short" not in markdown.render(empty, None)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(terminal.comparison_table(empty))
    assert "In short" not in console.export_text()


def test_in_short_says_why_there_is_no_interval() -> None:
    runs = [make_run(tuple(item for item in run.items if item.id == "general/text/t0/0")) for run in (BASE, TRAINED)]
    told = "Bits per byte of prose (lower is better): 1.0000 to 1.0500, +0.0500 (one item: no interval)."
    assert dict(in_short(compare(*runs))) == {"What did it forget?": told}


def test_markdown_without_a_verdict_says_so() -> None:
    limited = compare(make_run(make_items(nothing), limit=1), make_run(make_items(everything), limit=1))
    page = markdown.render(limited, None)
    assert "**Verdict: none. These runs cannot be judged; see the notes.**" in page and "## Verdict" not in page
    assert "> **Note:** only 1 items a task were asked" in page


def test_terminal_shows_the_same_numbers() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(terminal.comparison_table(COMPARISON), terminal.verdict_table(VERDICT), terminal.run_table(BASE))
    text = console.export_text()
    for part in (
        "100.0%",
        "+50.0",
        "+0.0500",
        "control spillover",
        "verdict: FAIL",
        "Did it learn the facts? Questions",
    ):
        assert part in text


def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    save_run(TRAINED, tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert again.model_copy(update={"items_sha256": ""}) == TRAINED
    assert compare(load_run(tmp_path / "run"), TRAINED).tiers["seen"].difference == 0


@pytest.mark.parametrize(
    ("name", "written", "half"),
    [
        ("items.jsonl", r"\ud83d", r"\ud83d"),
        ("items.jsonl", r"\\\uDE00 x", r"\uDE00"),
        ("run.json", r"\ude00\ud83d", r"\ude00"),
        ("items.jsonl", r"\ud83d\ude00", None),
        ("items.jsonl", r"\\ud83d", None),
    ],
)
def test_a_run_with_half_of_a_character_is_refused(tmp_path: Path, name: str, written: str, half: str | None) -> None:
    save_run(TRAINED, tmp_path)
    lines = (tmp_path / name).read_text(encoding="utf-8").split("\n")
    number = next(n for n, line in enumerate(lines) if n > 1 and ('"tiny"' in line or '"right"' in line))
    lines[number] = lines[number].replace('"tiny"', f'"{written}"').replace('"right"', f'"{written}"')
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    sealed = hashlib.sha256((tmp_path / "items.jsonl").read_bytes()).hexdigest()
    old = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["items_sha256"]
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    (tmp_path / "run.json").write_text(text.replace(old, sealed), encoding="utf-8")
    if half is None:
        assert load_run(tmp_path).num_items == TRAINED.num_items
        return
    said = f"{name}:{number + 1}: {half} is half of a character (a lone surrogate); measure again"
    with pytest.raises(DataError, match=re.escape(said)):
        load_run(tmp_path)


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.md"
    write_atomically(path, "old")

    write_text = Path.write_text

    def full(self: Path, text: str, encoding: str) -> int:
        write_text(self, text[: len(text) // 2], encoding=encoding)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    with pytest.raises(OutputError, match="No space left on device"):
        save_run(TRAINED, tmp_path / "run")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert not (tmp_path / "run" / "run.json").exists()
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["page.md"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == []


def test_what_makes_a_run_of_a_folder_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def fill_up(path: Path, text: str) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        path.write_text(text, encoding="utf-8")

    monkeypatch.setattr("kapoc.record.write_atomically", fill_up)
    with pytest.raises(OutputError, match="No space left on device"):
        save_run(TRAINED, tmp_path / "run")
    assert written == ["items.jsonl"]
    with pytest.raises(DataError, match="no run here"):
        load_run(tmp_path / "run")


def test_line_numbers_are_not_turned_into_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    show("facts.yaml:100: [x] is :ok:")
    assert capsys.readouterr().out == "facts.yaml:100: [x] is :ok:\n"
