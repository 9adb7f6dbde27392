"""The pages of palimpsest inspect in a browser: whole, quiet, accessible, and without a mouse.

``make browse ARCHIVE=DIR`` shows them of another archive than that of the examples.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from palimpsest.records.settings import ReadSettings
from tests.cli.test_inspect import InspectProcess
from tests.inspector.browser import needs_chromium, started
from tests.inspector.hostile_archive import hostile_archive
from tests.pipeline.corpora import ingest, settings_of

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed; it is in the extra dev"
)
pytestmark = needs_chromium

OTHER_ARCHIVE = os.environ.get("PALIMPSEST_ARCHIVE")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
OTHERS = [("dark", DESK), ("light", PHONE)] if OTHER_ARCHIVE else []
"""Left out in the suite: each scheme and each width is seen once there."""


class Site(NamedTuple):
    """A server that shows an archive, and addresses on it."""

    address: str
    paths: list[str]
    pair: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as browser:
        yield browser


def site_of(browser: Any, address: str) -> Site:
    """Return addresses of each kind of page, as the overview leads to them."""
    context = browser.new_context()
    overview = context.request.get(f"{address}index.json").json()
    pair = max(overview["pairs"], key=lambda one: one["left"]["name"] != one["right"]["name"])
    left, right = (pair[side]["document_id"] for side in ("left", "right"))
    text = overview["reused"][0]["text_id"]
    paths = [
        "",
        "documents?words=the",
        f"documents/{right}",
        f"documents/{right}/bytes/0",
        f"compare/{left}/{right}",
        f"paragraphs/{text}",
        f"explain/documents/{left}/{right}",
        "rejects",
        "documents/nothing",
    ]
    context.close()
    return Site(address, paths, f"compare/{left}/{right}")


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("site")
    archive = place / "press"
    if OTHER_ARCHIVE:
        archive = Path(OTHER_ARCHIVE)
    else:
        ingest(examples, archive, settings_of(read=ReadSettings(date_from_path="%Y-%m-%d")))
    server = InspectProcess(archive, "--port", "0", state=place / "state")
    yield site_of(browser, server.address())
    server.interrupt()


@pytest.fixture(scope="module")
def hostile(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("attacked")
    server = InspectProcess(hostile_archive(place), "--port", "0", state=place / "state")
    yield site_of(browser, server.address())
    server.interrupt()


class Visit(NamedTuple):
    """A page, what went wrong on it, and which addresses it loaded."""

    page: Any
    faults: list[str]
    loaded: list[str]


def visit(browser: Any, address: str, **options: Any) -> Visit:
    """Open a page and note what it says and loads."""
    page = browser.new_context(**{"viewport": DESK, **options}).new_page()
    faults: list[str] = []
    loaded: list[str] = []
    page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: faults.append(str(one)))
    page.on("dialog", lambda one: (faults.append(one.message), one.dismiss()))
    page.on("request", lambda one: loaded.append(one.url))
    page.goto(address)
    return Visit(page, faults, loaded)


def serious(page: Any) -> list[str]:
    """Return what axe finds that is serious, or worse."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [("light", DESK), ("dark", PHONE), *OTHERS],
    ids=lambda one: one if isinstance(one, str) else f"{one['width']}px",
)
def test_pages_are_accessible_without_errors_and_load_from_one_origin(
    browser: Any, site: Site, scheme: str, viewport: dict[str, int]
) -> None:
    for path in site.paths:
        page, faults, loaded = visit(
            browser, site.address + path, color_scheme=scheme, viewport=viewport
        )
        assert [one for one in faults if "404" not in one] == [], path
        assert all(one.startswith(site.address) for one in loaded), path
        assert serious(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.context.close()


def assert_in_view(pane: Any, part: Any) -> None:
    """Wait until a part of a pane has come into view, which takes a while where it is far away."""
    until = time.monotonic() + 10
    while True:
        around, found = pane.bounding_box(), part.bounding_box()
        if around["y"] - 1 <= found["y"] < around["y"] + around["height"]:
            return
        assert time.monotonic() < until, (around, found)
        time.sleep(0.05)


def test_keys_step_through_passages_on_both_sides(browser: Any, site: Site) -> None:
    page, _, _ = visit(browser, site.address + site.pair)
    numbers = page.locator(".chips a").all_inner_texts()
    assert len(numbers) > 1
    seen = []
    for _ in numbers:
        page.keyboard.press("n")
        lit = page.locator(".sides .passage.lit").all()
        seen.append(lit[0].get_attribute("data-passage"))
        for side in page.locator(".sides article").all():
            assert_in_view(side, side.locator(".passage.lit").first)
    assert sorted(map(int, seen)) == sorted(map(int, numbers))
    page.keyboard.press("p")
    lit = page.locator(".sides .passage.lit").first.get_attribute("data-passage")
    assert lit == seen[-2]
    page.context.close()


def test_click_on_one_side_scrolls_the_other_into_view(browser: Any, site: Site) -> None:
    page, _, _ = visit(browser, site.address + site.pair)
    left, right = page.locator(".sides article").all()
    last = left.locator("a.passage[id]").last
    number = last.get_attribute("data-passage")
    last.click()
    assert_in_view(right, right.locator(f'a.passage[data-passage="{number}"]').first)
    page.context.close()


def test_comparison_is_reachable_by_keyboard(browser: Any, site: Site) -> None:
    page, _, _ = visit(browser, site.address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Side by side":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare/**")
    assert page.locator(".sides article").count() == 2
    page.context.close()


def test_passages_link_to_the_other_side_without_script(browser: Any, site: Site) -> None:
    page, _, _ = visit(browser, site.address + site.pair, java_script_enabled=False)
    link = page.locator(".sides article").first.locator("a.passage").first
    target = link.get_attribute("href")
    assert target.startswith("#R")
    link.click()
    assert page.url.endswith(target)
    assert page.locator(f"article >> nth=1 >> [id='{target[1:]}']").count() == 1
    page.context.close()


def test_script_in_titles_texts_and_names_of_files_does_not_run(
    browser: Any, hostile: Site
) -> None:
    for path in hostile.paths:
        page, faults, loaded = visit(browser, hostile.address + path)
        assert [one for one in faults if "404" not in one] == [], path
        assert all(one.startswith(hostile.address) for one in loaded), path
        assert page.locator("script").count() == 1, path
        assert page.evaluate("typeof window.ran") == "undefined", path
        page.context.close()
