"""The page in a real browser: with and without JavaScript, light, dark and narrow."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlnet_bench.analysis.results import Results
from rlnet_bench.reports import build_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="chromium cannot be driven without playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def address(quick: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_report(quick, tmp_path_factory.mktemp("page"), pdf=False).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize("with_script", [True, False])
@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (1360, "dark"), (400, "light")])
def test_opens_without_a_complaint(
    browser, address: str, tmp_path: Path, with_script: bool, width: int, scheme: str
) -> None:
    page = browser.new_page(
        java_script_enabled=with_script, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(address)
    assert page.locator("h1").inner_text() == "quick v1: results"
    assert page.locator("#verdict .lead").first.is_visible()
    assert page.locator("#frames svg").is_visible() and not page.locator("#seconds svg").is_visible()
    page.locator("label[for=tab-seconds]").click()
    assert page.locator("#seconds svg").is_visible()
    shot = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert len(shot) > 50_000
    if with_script:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"
    assert (said, asked) == ([], [address])
    page.close()


def test_sorting_stays_within_classes(browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    table = page.locator("#aggregate table")
    head = table.locator("thead th").nth(2)
    before = table.locator("tbody").nth(0).locator("th[scope=row]").all_inner_texts()
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    after = table.locator("tbody").nth(0).locator("th[scope=row]").all_inner_texts()
    assert [x.strip() for x in after] == [x.strip() for x in before[::-1]] == ["weak", "ippo", "mappo"]
    assert "Class D0" in table.locator("tbody").nth(0).locator("tr").first.inner_text()
    page.close()


def test_prints_both_sets_of_curves(browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.emulate_media(media="print")
    assert page.locator("#frames svg").is_visible() and page.locator("#seconds svg").is_visible()
    assert len(page.pdf()) > 20_000
    page.close()
