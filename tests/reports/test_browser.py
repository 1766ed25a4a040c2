"""The page in a real browser: with and without JavaScript, light, dark and narrow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
    assert page.locator("#frames svg").first.is_visible() and not page.locator("#seconds svg").first.is_visible()
    page.locator("label[for=tab-seconds]").click()
    assert page.locator("#seconds svg").first.is_visible()
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
    head = table.locator("thead th", has_text=re.compile("^\\s*IQM"))
    before = table.locator("tbody").nth(0).locator("th[scope=row]").all_inner_texts()
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    after = table.locator("tbody").nth(0).locator("th[scope=row]").all_inner_texts()
    assert [x.strip() for x in after] == [x.strip() for x in before[::-1]] == ["weak", "ippo", "mappo"]
    assert "Class D0" in table.locator("tbody").nth(0).locator("tr").first.inner_text()
    page.close()


@pytest.mark.parametrize("with_script", [True, False])
def test_methods_are_picked_and_highlighted_with_and_without_script(browser, address: str, with_script: bool) -> None:
    page = browser.new_page(java_script_enabled=with_script)
    page.goto(address)
    box, lines = page.locator(".pick label", has_text="mappo").locator("input"), page.locator("#frames .m1")
    assert page.locator("#frames .panel").count() == 3 and lines.count() > 3 and lines.first.is_visible()
    assert page.locator(".pick legend").all_inner_texts() == ["Class D0", "Class D1", "Class C"]
    box.uncheck()
    assert not lines.first.is_visible() and page.locator("#frames .m0").first.is_visible()
    box.check()
    page.locator(".pick label", has_text="weak").hover()
    if with_script:  # only then can a style be asked for
        playwright.expect(lines.first).to_have_css("opacity", "0.12")
        playwright.expect(page.locator("#frames .m2").first).to_have_css("opacity", "1")
    page.close()


def test_no_half_of_a_table_is_hidden_on_a_phone(browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(address)
    inside = """() => [...document.querySelectorAll('.scroll')]
        .filter(x => !x.closest('details:not([open])'))
        .every(x => x.scrollWidth <= x.clientWidth + 1)"""
    assert page.evaluate(inside)
    shown = page.evaluate("getComputedStyle(document.querySelector('#tasks td'), '::before').content")
    assert "Class" in shown
    page.close()


def test_prints_both_sets_of_curves(browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.emulate_media(media="print")
    assert page.locator("#frames svg").first.is_visible() and page.locator("#seconds svg").first.is_visible()
    assert len(page.pdf()) > 20_000
    page.close()


HOSTILE = (
    "<script>window.fired = 1</script>", "\"><img src=x onerror='window.fired = 2'>", "</style><svg onload=fired=3>",
    "{{ 7 * 7 }}{% raw %}", "javascript:fired=4", "</title><iframe src=//example.invalid></iframe>",
    "a\u2028b`${fired=5}`",
)  # fmt: skip


@pytest.mark.parametrize("with_script", [True, False])
def test_nothing_in_a_record_runs_or_is_asked_for(
    browser, make: SimpleNamespace, tmp_path: Path, with_script: bool
) -> None:
    """Labels, tasks, descriptions, reasons, settings and provenance that would be a program, were they not text."""
    tasks = tuple(f"evil/{text}" for text in HOSTILE[:3])
    skills = {text: 0.1 * i for i, text in enumerate(HOSTILE)}
    special = {(HOSTILE[0], tasks[0]): {"diverged": (3,)}, (HOSTILE[1], tasks[1]): {"failed": (2,)}}
    made = make.build(skills, tasks, special=special)
    evil = {text: text for text in HOSTILE}
    records = tuple(
        replace(
            r, provenance={**evil, "packages": evil}, reason=HOSTILE[1],
            config={**r.config, "settings": evil, "training_reward": HOSTILE[0]},
            divergences=tuple({**d, "tensor": HOSTILE[1]} for d in r.divergences),
        )
        for r in made.records
    )  # fmt: skip
    methods = tuple(replace(m, summary=HOSTILE[i % 7], citation=HOSTILE[i % 7]) for i, m in enumerate(made.methods))
    suite = {**made.suite, "description": " ".join(HOSTILE)}
    results = replace(made, records=records, methods=methods, suite=suite)
    address = build_report(results, tmp_path / "page", pdf=False).as_uri()
    page = browser.new_page(java_script_enabled=with_script)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.on("dialog", lambda d: said.append(d.message))
    page.goto(address)
    assert page.locator("#verdict .lead").first.is_visible()
    assert HOSTILE[0] in page.locator("body").inner_text()  # it is there, as text
    if with_script:
        assert page.evaluate("typeof window.fired") == "undefined"
        for link in page.locator("a[href]").all()[:40]:
            assert not (link.get_attribute("href") or "").lower().startswith(("javascript:", "data:", "//"))
    assert (said, asked) == ([], [address])
    page.close()
