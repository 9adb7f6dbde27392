"""Files that are sent, opened from the disk in a browser that has no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from palimpsest.evidence.compare import read_and_compare
from palimpsest.inspector.comparison import files_side_by_side, render_comparison_file
from palimpsest.inspector.report import (
    build_document_report,
    build_report,
    render_document_report,
    render_report,
)
from tests.inspector.browser import needs_chromium, started
from tests.inspector.hostile_archive import catalogue_of, hostile_archive, snapshot_of

pytestmark = needs_chromium


class Sent(NamedTuple):
    """Files that were sent, of hostile articles but for the last."""

    report: Path
    document: Path
    comparison: Path
    examples: Path


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Sent:
    place = tmp_path_factory.mktemp("sent")
    catalogue = catalogue_of(snapshot_of(hostile_archive(place)), place)
    report = build_report("<b>press</b>", catalogue)
    first = report["pairs"][0]["left"]["document_id"]
    files = Sent(*(place / f"{name}.html" for name in Sent._fields))
    files.report.write_bytes(render_report(report, "html").encode())
    files.document.write_bytes(
        render_document_report(build_document_report("<b>", catalogue, first)).encode()
    )
    left, right, *_ = sorted(one for one in (place / "in").iterdir() if "2024" in one.name)
    files.comparison.write_bytes(_compared(left, right))
    left, right = (examples / name for name in _ALIKE)
    files.examples.write_bytes(_compared(left, right))
    return files


_ALIKE = (
    "tarn-wire/2024-11-12-lantern-bridge-closed.txt",
    "marrowick-tidings/2024-11-13-two-shores-one-queue.txt",
)


def _compared(left: Path, right: Path) -> bytes:
    return render_comparison_file(
        files_side_by_side(read_and_compare(str(left), str(right)))
    ).encode()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as browser:
        yield browser


class Opened(NamedTuple):
    """A page, what its console said, and what it has loaded."""

    page: Any
    said: list[str]
    loaded: list[str]


def opened(browser: Any, path: Path, **options: Any) -> Opened:
    """Open a file without network."""
    page = browser.new_context(offline=True, **options).new_page()
    found = Opened(page, [], [])
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("requestfinished", lambda request: found.loaded.append(request.url))
    page.goto(path.as_uri())
    return found


@pytest.mark.parametrize("name", Sent._fields)
def test_file_opens_without_network_and_no_script_of_an_article_runs(
    name: str, sent: Sent, browser: Any
) -> None:
    path = getattr(sent, name)
    found = opened(browser, path)
    assert found.said == []
    assert found.loaded == [path.as_uri()]
    assert found.page.evaluate("window.ran") is None
    is_hostile = "<script>window.ran = 1</script>" in found.page.inner_text("main")
    assert is_hostile == (name != "examples")
    assert found.page.evaluate("getComputedStyle(document.body).margin") == "0px"  # ours is taken


def test_policy_refuses_what_escaping_would_have_let_through(sent: Sent, browser: Any) -> None:
    """Should markup of an article get into a file one day, the policy still stands."""
    smuggled = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
    path = sent.report.with_name("smuggled.html")
    text = sent.report.read_text(encoding="utf-8")
    path.write_text(text.replace("<h1", f"{smuggled}<h1", 1), encoding="utf-8")
    found = opened(browser, path)
    assert found.page.evaluate("window.ran") is None
    assert len(found.said) >= 2
    assert found.loaded == [path.as_uri()]


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("report", "light"), ("document", "dark"), ("comparison", "light"), ("examples", "dark")],
)
def test_file_is_accessible(name: str, scheme: str, sent: Sent, browser: Any) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="axe-playwright-python is not installed; it is in the extra dev",
    )
    page = opened(browser, getattr(sent, name), color_scheme=scheme).page
    found = axe.Axe().run(page)
    violations = [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found.response["violations"]
    ]
    assert violations == []


@pytest.mark.parametrize("name", Sent._fields)
def test_file_fits_a_phone(name: str, sent: Sent, browser: Any) -> None:
    page = opened(browser, getattr(sent, name), viewport={"width": 390, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def lit(page: Any) -> list[list[str]]:
    """Return which stretches are lit: the side, and the passages that they are in."""
    script = """() => [...document.querySelectorAll(".sides .passage.lit")].map(
        (one) => [one.closest("article").dataset.side, one.dataset.passage])"""
    fragments: list[list[str]] = page.evaluate(script)
    return fragments


@pytest.mark.parametrize("name", ["comparison", "examples"])
def test_keys_step_through_passages(name: str, sent: Sent, browser: Any) -> None:
    page = opened(browser, getattr(sent, name)).page
    count = page.locator(".chips li").count()
    assert count > 2
    for key, number in [*(("n", n) for n in range(1, count + 1)), ("n", 1), ("p", count)]:
        page.keyboard.press(key)
        stretches = lit(page)
        assert {side for side, _ in stretches} == {"L", "R"}
        assert all(str(number) in passages.split() for _, passages in stretches)
        assert page.evaluate("location.hash") == f"#L{number}"
        focused = page.evaluate("document.activeElement.dataset.passage")
        assert str(number) in focused.split()


def test_click_on_one_side_scrolls_the_other_into_view(sent: Sent, browser: Any) -> None:
    view = {"viewport": {"width": 1000, "height": 420}, "reduced_motion": "reduce"}
    page = opened(browser, sent.examples, **view).page
    last = page.locator(".chips li").count()
    assert not page.evaluate(_WITHIN, f"#L{last}")
    page.locator(f"#R{last} .number").click()
    assert page.evaluate(_WITHIN, f"#L{last}")
    assert {tuple(one) for one in lit(page)} == {("L", str(last)), ("R", str(last))}


_WITHIN = """(wanted) => {
    const one = document.querySelector(wanted).getBoundingClientRect();
    const pane = document.querySelector(wanted).closest("article").getBoundingClientRect();
    return one.top >= pane.top && one.top < pane.bottom;
}"""


def test_passages_link_to_the_other_side_without_script(sent: Sent, browser: Any) -> None:
    found = opened(browser, sent.examples, java_script_enabled=False)
    found.page.locator("#L2 .number").click()
    assert found.page.url.endswith("#R2")


def test_print_shows_both_sides_in_full(sent: Sent, browser: Any) -> None:
    page = opened(browser, sent.examples, viewport={"width": 720, "height": 1000}).page
    page.emulate_media(media="print")
    left, right = (page.locator("article").nth(n).bounding_box() for n in (0, 1))
    assert left["y"] == right["y"]  # beside one another
    assert page.evaluate(
        "[...document.querySelectorAll('article')].every((one) => one.scrollHeight <= one.clientHeight + 2)"
    )
    assert page.pdf(format="A4").startswith(b"%PDF")
