"""The HTML page holds what the comparison says, fetches nothing, and takes no text of a model for markup."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from conftest import REPOSITORY
from pages import HOSTILE, base_run, made_up_page, trained_run, training_record, with_answer
from results import everything, make_items, make_run, nothing

from kapoc.judging.compare import compare
from kapoc.judging.comparison import Comparison
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import RELEASE_GATE
from kapoc.judging.leaderboard import leaderboard
from kapoc.judging.pairing import pair_runs
from kapoc.record import load_run
from kapoc.report.charts import comparison_charts
from kapoc.report.drawing import COLOURS
from kapoc.report.html.items import changed_parts, island
from kapoc.report.html.page import render_page
from kapoc.report.plot import leaderboard_plot
from kapoc.report.prompts import frame_of
from kapoc.report.sections import sections

REFERENCE = REPOSITORY / "reports" / "reference"
MARKS = ("blue", "orange", "green", "grey")


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of every heading, script and cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def items(self) -> Any:
        """The data of the table of items."""
        return json.loads(next(text for text in self.texts["script"] if text.startswith('{"columns"')))


@pytest.fixture(scope="module")
def reference() -> tuple[str, Comparison]:
    base, trained = load_run(REFERENCE / "base"), load_run(REFERENCE / "plain")
    contexts = {name: load_run(REFERENCE / f"base-{name}") for name in ("oracle", "retrieved")}
    return made_up_page(base, trained, contexts=contexts, noise=load_run(REFERENCE / "base-batch16"))


def test_the_reference_page_is_small_and_has_every_section(reference: tuple[str, Comparison]) -> None:
    page, comparison = reference
    assert len(page.encode()) < 3_000_000
    elements = Elements(page)
    headings = elements.texts["h2"]
    assert {section.title for section in sections(comparison)} <= set(headings)
    for heading in ("Verdict", "Ledger", "Can these numbers be believed?", "Where the numbers come from", "Every item"):
        assert heading in headings
    assert "Verdict: FAIL: control spillover, off-topic spillover, text kept." in elements.texts["p"]
    for section in sections(comparison):
        for row in section.rows:
            assert set(row) <= {*elements.texts["td"], *elements.texts["th"], ""}
    assert len(elements.items()["rows"]) == 1890
    marks = [attributes for tag, attributes in elements.found if tag == "th"]
    named = [text for text, mark in zip(elements.texts["th"], marks, strict=True) if mark["scope"] == "row"]
    assert {"seen", "Can it use them?", "seen learned", "architecture"} <= set(named)
    for value in (comparison.before.weights_sha256, comparison.validity.documents_sha256, "2.13.0+cpu", "cpu"):
        assert value in elements.texts["td"]
    assert "--base default" in page


def test_every_chart_has_a_table_and_a_text_beside_it(reference: tuple[str, Comparison]) -> None:
    images = [attributes for tag, attributes in Elements(reference[0]).found if tag == "img"]
    assert len(images) == 5
    for image in images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert "table below" in image["alt"]


def test_the_page_asks_for_nothing(reference: tuple[str, Comparison]) -> None:
    page, _ = reference
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in Elements(page).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_the_page_has_a_light_and_a_dark_scheme(reference: tuple[str, Comparison]) -> None:
    page, _ = reference
    assert "@media (prefers-color-scheme: dark)" in page
    assert '<meta name="color-scheme" content="light dark">' in page


def test_on_paper_nothing_is_folded_and_the_table_of_items_is_called_an_extract(
    reference: tuple[str, Comparison],
) -> None:
    page, _ = reference
    assert 'addEventListener("beforeprint"' in page
    on_paper = page[page.index("@media print") : page.index("</style>")]
    assert ".scroll { overflow: visible; }" in on_paper and ".on-paper { display: block; }" in on_paper
    told = [attributes for tag, attributes in Elements(page).found if "on-paper" in attributes.get("class", "")]
    assert len(told) == 1 and "An extract: only the items that the table showed" in page


def test_tables_without_headings_are_stacked_on_a_phone(reference: tuple[str, Comparison]) -> None:
    classes = [attributes.get("class", "") for tag, attributes in Elements(reference[0]).found if tag == "table"]
    assert classes.count("pairs") == 2  # in short, and whether the numbers can be believed


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("role", "least"), [("ink", 7.0), ("muted", 4.5), *[(r, 3.0) for r in MARKS]])
def test_marks_and_texts_of_charts_stand_out_in_both_schemes(role: str, least: float) -> None:
    for paper, colour in zip(COLOURS["paper"], COLOURS[role], strict=True):
        bright, dim = sorted((luminance(paper), luminance(colour)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= least


def test_an_answer_that_is_markup_stays_text() -> None:
    before, after = base_run(), trained_run()
    hostile = with_answer(with_answer(after, 0, output=HOSTILE), 365, output=HOSTILE, spillover=("<i>F1</i>",))
    clean, _ = made_up_page(before, after)
    page, comparison = made_up_page(before, hostile)
    assert HOSTILE in [line.after for line in comparison.spilled]
    tags = [tag for tag, _ in Elements(page).found]
    assert sorted(set(tags)) == sorted({tag for tag, _ in Elements(clean).found})
    assert tags.count("script") == 3
    assert "\u2028" not in page[page.index('id="items-data"') :]
    items = Elements(page).items()
    row = next(row for row in items["rows"] if items["texts"][row[0]] == after.items[0].id)
    assert items["texts"][row[len(items["columns"]) + 3]] == HOSTILE


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = island({"a": "</script><!--&\u2028\u2029"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028\u2029"}


def test_a_name_that_is_markup_stays_text() -> None:
    before, after = base_run(), trained_run()
    named = after.model_copy(update={"model": after.model.model_copy(update={"name": "<u>x</u>"})})
    page, _ = made_up_page(before, named)
    assert "<u>" not in page[: page.index('id="items-data"')]
    assert "&lt;u&gt;x&lt;/u&gt; against tiny on lamps" in page


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ("set it to 9 s", "set it to 8 s", ([10, 1, 2], [10, 1, 2])),
        ("same", "same", ([4], [4])),
        ("old words", "new", ([0, 9], [0, 3])),
        ("", "new", ([0, 0], [0, 3])),
        ("a b", "b", ([0, 2, 1], [0, 0, 1])),
        ("a", "a b", ([1, 0], [1, 2])),
    ],
)
def test_what_two_answers_do_not_share_is_found(before: str, after: str, parts: tuple[list[int], list[int]]) -> None:
    assert changed_parts(before, after) == parts


def test_parts_that_are_not_marked_are_the_same() -> None:
    before, after = "the lamp is amber, because of line 2.", "a lamp was amber because of the line 3. Fix: none"
    shared = []
    for text, lengths in zip((before, after), changed_parts(before, after), strict=True):
        ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
        assert ends[-1] == len(text)
        shared.append("".join(text[end - length : end] for end, length in list(zip(ends, lengths, strict=True))[::2]))
    assert shared[0] == shared[1] != ""


def test_questions_are_shown_without_their_template() -> None:
    prompts = [f"<|system|>\nbe kind<|end|>\n<|user|>\n{q}<|end|>\n<|assistant|>\n" for q in ("What is A?", "Why B?")]
    frame = frame_of(prompts)
    assert [frame.question(prompt) for prompt in prompts] == ["What is A?", "Why B?"]
    assert frame.question("plain prose") == "plain prose"
    assert frame_of(["What is A?", "What is B?"]) == ("", "")
    assert frame_of(["one\nalone"]) == ("", "")


@pytest.mark.parametrize(("num_items", "told"), [(1, " A hollow mark has none."), (2, "")])
def test_a_mark_without_an_interval_is_hollow_and_the_caption_says_so(num_items: int, told: str) -> None:
    texts = [tuple(i for i in make_items(nothing, bits) if i.form == "text")[:num_items] for bits in (1.0, 1.05)]
    [chart] = comparison_charts(compare(*map(make_run, texts)))
    assert chart.caption == f"Forgetting in its units, each with its 95% interval.{told}"
    marks = chart.svg[chart.svg.index('<g id="PathCollection_1">') :]
    assert marks[: marks.index("</g>")].count("fill: var(--paper); stroke: var(--blue)") == bool(told)


def test_the_caption_of_a_leaderboard_speaks_of_a_line_only_where_one_is_drawn() -> None:
    base, good = base_run(), trained_run()
    half = make_items(lambda tier, n: everything(tier, n) * (n % 2), divergence=0.1)
    less = make_run(half, weights="2" * 64, base_sha256="0" * 64)
    for runs, drawn in (([good], False), ([good, less], True)):
        found = {str(number): compare(base, run) for number, run in enumerate(runs)}
        board = leaderboard("base", base, found, RELEASE_GATE)
        page = render_page(found["0"], judge(found["0"], RELEASE_GATE), pair_runs(base, good), board)
        [caption] = [text for text in Elements(page).texts["figcaption"] if "Pareto front" in text]
        assert ("dashed line" in caption) is drawn
        assert ("stroke-dasharray: 4" in leaderboard_plot(board)) is drawn


def test_the_items_say_of_which_set_they_are() -> None:
    items = Elements(made_up_page(base_run(), trained_run())[0]).items()
    place = items["columns"].index("set")
    assert {items["texts"][row[place]] for row in items["rows"]} == {"lamps", ""}


def test_a_training_record_brings_its_curves() -> None:
    page, _ = made_up_page(base_run(), trained_run(), training=training_record())
    elements = Elements(page)
    assert {"Learning curve", "The way back to the base"} <= set(elements.texts["h2"])
    assert (
        "By epoch: loss, nats per answer token; dev answers exact, %; KL(base || model), nats per token."
        in (elements.texts["figcaption"])
    )
    without = training_record(alphas=(), epochs=[training_record().epochs[0].model_copy(update={"divergence": None})])
    headings = Elements(made_up_page(base_run(), trained_run(), training=without)[0]).texts["h2"]
    assert "Learning curve" in headings
    assert "The way back to the base" not in headings


def test_without_a_verdict_and_without_a_tier_there_is_a_page() -> None:
    few = [make_run(make_items(score), limit=1) for score in (nothing, everything)]
    limited = compare(*few)
    page = render_page(limited, None, pair_runs(*few))
    assert "Verdict: none." in page
    assert "only 1 items a task were asked" in page
    bare = [make_run(tuple(item for item in run.items if item.tier == "seen")) for run in few]
    page = render_page(compare(*bare), None, pair_runs(*bare))
    assert "nothing was asked in the tier" in page
    assert len(Elements(page).items()["rows"]) == 120


def test_no_own_text_names_a_place_in_the_network(reference: tuple[str, Comparison]) -> None:
    page, _ = reference
    own = re.sub(r'<script type="(text/plain|application/json)".*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r"https?://\S+", own)
