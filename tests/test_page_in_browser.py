"""The HTML report in a real browser, opened from disk: nothing breaks, nothing goes out, nothing of a model runs."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import REPOSITORY
from pages import HOSTILE, base_run, made_up_page, repeated, trained_run, training_record, with_answer
from playwright.sync_api import Browser, Page, sync_playwright
from results import LAMPS

from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import RELEASE_GATE
from kapoc.judging.leaderboard import leaderboard
from kapoc.judging.pairing import pair_runs
from kapoc.record import Run, load_run
from kapoc.report.html.page import render_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser here; install one, on Debian: apt-get install chromium"
)


@dataclass
class Watched:
    """A page, and what it did that it should not."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0


Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a file as a reader would: at a size, in a colour scheme, and waits until the table of items is there."""
    contexts = []

    def open_page(path: Path, size: str = "desktop", scheme: str = "light") -> Watched:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
        )
        contexts.append(context)
        watched = Watched(context.new_page())
        page = watched.page
        page.on("console", lambda message: watched.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        start = time.monotonic()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-items]")
        watched.seconds = time.monotonic() - start
        return watched

    yield open_page
    for context in contexts:
        context.close()


def write(folder: Path, page: str) -> Path:
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def reference_runs() -> tuple[Run, Run]:
    folder = REPOSITORY / "reports" / "reference"
    return load_run(folder / "base"), load_run(folder / "plain")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference runs with everything that a page can hold beside them, and a planted item."""
    folder = REPOSITORY / "reports" / "reference"
    base, trained = reference_runs()
    trained = with_answer(trained, 700, output=HOSTILE)
    contexts = {name: load_run(folder / f"base-{name}") for name in ("oracle", "retrieved")}
    training = training_record(trained.model.weights_sha256)
    comparison = compare(base, trained, contexts=contexts, noise=load_run(folder / "base-batch16"), training=training)
    board = leaderboard(
        "reference/base",
        base,
        {"reference/trained": comparison, "reference/base-batch16": compare(base, load_run(folder / "base-batch16"))},
        RELEASE_GATE,
    )
    page = render_page(comparison, judge(comparison, RELEASE_GATE), pair_runs(base, trained), board)
    return write(tmp_path_factory.mktemp("reference"), page)


def quiet(watched: Watched) -> None:
    """Nothing was complained of, nothing was asked for but the file itself, and nothing that was planted ran."""
    assert watched.complaints == []
    assert {url.split(":")[0] for url in watched.requests} <= {"file", "data", "blob"}
    assert sum(url.startswith("file:") for url in watched.requests) == 1
    assert watched.page.evaluate("window.planted") is None


def shown(page: Page) -> list[str]:
    """The ids of the items on the table's page."""
    return page.locator("#items tbody .name").all_inner_texts()


def count(page: Page) -> str:
    return page.locator(".dt-info").inner_text()


def fastest(opened: Open, path: Path) -> float:
    """Seconds to open a page, the least of three, since other work on the machine only ever adds to them."""
    return min(opened(path).seconds for _ in range(3))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_the_reference_report_opens_from_disk(reference: Path, opened: Open, size: str, scheme: str) -> None:
    watched = opened(reference, size, scheme)
    page = watched.page
    widths = page.eval_on_selector_all("img.chart", "images => images.map(i => i.complete ? i.naturalWidth : 0)")
    assert len(widths) == 8
    assert min(widths) > 100
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{size}-{scheme}.png", full_page=True)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    found = Axe().run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in {"serious", "critical"}] == []
    quiet(watched)


def test_the_reference_report_opens_within_two_seconds(reference: Path, opened: Open) -> None:
    assert reference.stat().st_size < 3_000_000
    assert fastest(opened, reference) < 2


def test_charts_change_with_the_scheme(reference: Path, opened: Open) -> None:
    """The corner of a chart has the page's paper in either scheme."""
    corners = {}
    for scheme in ("light", "dark"):
        page = opened(reference, "desktop", scheme).page
        corners[scheme] = page.evaluate(
            """() => { const image = document.querySelector("img.chart"), canvas = document.createElement("canvas");
            const pen = canvas.getContext("2d"); pen.drawImage(image, 0, 0);
            return pen.getImageData(2, 2, 1, 1).data[0]; }"""
        )
    assert corners["light"] > 200
    assert corners["dark"] < 60


def test_search_and_filters_find_the_planted_item(reference: Path, opened: Open) -> None:
    watched = opened(reference)
    page = watched.page
    planted = reference_runs()[1].items[700]
    assert count(page) == "Showing 1 to 10 of 1,890 entries"
    page.get_by_label("search", exact=True).fill("zebrafish")
    assert shown(page) == [planted.id]
    page.get_by_label("search", exact=True).fill("<script>window.planted")
    assert shown(page) == [planted.id]
    said = page.locator("#items tbody td.of-after .said")
    assert said.inner_text().split() == HOSTILE.split()
    assert page.locator("#items script, #items img, #items svg").count() == 0
    quiet(watched)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_search_finds_an_item_whatever_ends_a_line_in_it(tmp_path: Path, opened: Open, end: str) -> None:
    after = with_answer(trained_run(), 0, output=f"first{end}zebrafish last")
    page = opened(write(tmp_path, made_up_page(base_run(), after)[0])).page
    for searched in ("first", "zebrafish", after.items[0].id):
        page.get_by_label("search", exact=True).fill(searched)
        assert after.items[0].id in shown(page)


def test_nothing_is_cut_off_on_paper(reference: Path, opened: Open) -> None:
    page = opened(reference).page
    page.set_viewport_size({"width": 720, "height": 1000})  # A4 with its margins
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    widths = page.eval_on_selector_all(".scroll table", "all => all.map(one => one.getBoundingClientRect().right)")
    assert max(widths) <= 720
    assert page.get_by_text("An extract: only the items").is_visible()


def test_filters_keep_what_they_say(reference: Path, opened: Open) -> None:
    page = opened(reference).page
    page.get_by_label("entry", exact=True).select_option("lost")
    page.get_by_label("tier", exact=True).select_option("unseen")
    page.get_by_label("form", exact=True).select_option("free")
    assert count(page).startswith("Showing 1 to 10 of 17 entries")
    page.get_by_label("domain", exact=True).select_option("dataflow")
    page.get_by_label("fact", exact=True).fill("DF-5432")
    assert shown(page)
    assert all("/DF-5432/unseen/" in name for name in shown(page))
    assert set(page.locator("#items tbody .entry").all_inner_texts()) == {"lost"}
    for name in ("entry", "tier", "form", "domain"):
        page.get_by_label(name, exact=True).select_option("all")
    page.get_by_label("fact", exact=True).fill("")
    page.get_by_label("spillover", exact=True).select_option("yes")
    assert count(page).startswith("Showing 1 to 10 of 89 entries")


def test_items_are_filtered_by_set_where_there_are_several(tmp_path: Path, opened: Open) -> None:
    two = (LAMPS, LAMPS.model_copy(update={"name": "lanterns"}))

    def mixed(run: Run) -> Run:
        items = [
            item.model_copy(update={"knowledge": "lanterns"}) if item.knowledge and number % 2 else item
            for number, item in enumerate(run.items)
        ]
        data = run.data.model_copy(update={"knowledge": two})
        return run.model_copy(update={"items": tuple(items), "data": data})

    page = opened(write(tmp_path, made_up_page(mixed(base_run()), mixed(trained_run()))[0])).page
    page.get_by_label("set", exact=True).select_option("lanterns")
    assert count(page).startswith("Showing 1 to 10 of 290 entries")
    page = opened(write(tmp_path, made_up_page(base_run(), trained_run())[0])).page
    assert page.get_by_label("set", exact=True).count() == 0


def test_differences_are_marked(tmp_path: Path, opened: Open) -> None:
    before = with_answer(base_run(), 0, output="set it to 9 s 🐟 now")
    after = with_answer(trained_run(), 0, output="set it to 8 s 🐟 then")
    page = opened(write(tmp_path, made_up_page(before, after)[0])).page
    first = page.locator("#items tbody tr").first
    assert first.locator("del").all_inner_texts() == ["9", "now"]
    assert first.locator("ins").all_inner_texts() == ["8", "then"]


def test_five_thousand_items_stay_small_and_quick(tmp_path: Path, opened: Open) -> None:
    before, after = repeated(base_run(), 5000), repeated(trained_run(), 5000)
    path = write(tmp_path, made_up_page(before, after)[0])
    assert path.stat().st_size < 10_000_000
    assert fastest(opened, path) < 4
    watched = opened(path)
    assert count(watched.page) == "Showing 1 to 10 of 5,000 entries"
    watched.page.get_by_label("search", exact=True).fill("4321 ")
    assert shown(watched.page)
    quiet(watched)
