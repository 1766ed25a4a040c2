"""The site: what its pages say, and in a real browser that they work, ask for nothing, and can be used by everybody."""

from __future__ import annotations

import csv
import http.server
import json
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlnet_bench.analysis.crossplay import Crossplay, Player
from rlnet_bench.analysis.team_sizes import TeamSize, TeamSizes
from rlnet_bench.leaderboard.lines import Line, chart
from rlnet_bench.leaderboard.listing import Listing, file_names, read_listing
from rlnet_bench.leaderboard.site import build_site, site_files

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "results"
AXE = ROOT / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SPREAD = "mpe/simple_spread-discrete-v1"
PAGES = ("index", "tasks", "compare", "communication", "generalisation", "methods/zoo-tag-3ppo", "methods/mappo",
         "tasks/mpe-simple-spread-discrete-v1")  # fmt: skip


def chosen(folder: Path) -> Path:
    """Two publications that will not change."""
    for name in ("mpe-v1", "networks-v1"):
        shutil.copytree(RESULTS / name, folder / name)
    return folder


def crossplay() -> Crossplay:
    players = tuple(Player(m, s, f"{m}{s}") for m in ("mappo", "ippo") for s in range(5))
    returns = -30.0 - np.add.outer(np.arange(10.0), 2 * np.arange(10.0))
    return Crossplay(SPREAD, "h", "deterministic", 8, players, returns)


def sizes() -> TeamSizes:
    scores = tuple((s, -60.0 - s) for s in range(5))
    there = tuple(-50.0 - s for s in range(5))
    four = TeamSize(4, SPREAD.replace("-discrete", "-n4-discrete"), "mappo", scores, -125.0, 0.1, "ippo", there)
    return TeamSizes("mappo", SPREAD, 3, "deterministic", "best", 320, (four,))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the published results, with a matrix and other team sizes."""
    root = tmp_path_factory.mktemp("site")
    results = chosen(root / "results")
    crossplay().write(results / "crossplay")
    sizes().write(results / "team-sizes")
    return build_site(results, root / "site").parent


@pytest.fixture(scope="module")
def listing(site: Path) -> Listing:
    return replace(read_listing(site.parent / "results"), crossplay=(), team_sizes=())


# -- files -------------------------------------------------------------------------------------------------------


def test_the_same_records_give_the_same_bytes_and_old_pages_go(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    (out / "methods").mkdir(parents=True)
    (out / "methods" / "gone.html").write_text("old")
    (out / "methods" / "mine.txt").write_text("not ours")
    build_site(site.parent / "results", out)
    theirs = {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    mine = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert mine.pop(Path("methods/mine.txt")) == b"not ours"
    assert mine == theirs


def test_the_first_page_is_small(site: Path) -> None:
    assert (site / "index.html").stat().st_size < 500_000


def test_every_number_leads_to_runs_and_digests(site: Path, listing: Listing) -> None:
    for entry in listing.entries:
        page = (site / listing.pages[f"method/{entry.method}"]).read_text()
        for score in entry.scores:
            assert score.run_id in page and (score.weights == "-" or score.weights in page)
        assert entry.task_hash[:16] in page


def test_links_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        for link in re.findall(r'href="([^"]+)"', text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file() and target.is_relative_to(site), (page, link)
            if anchor and "=" not in anchor:
                assert f'id="{anchor}"' in target.read_text(), (page, link)


def test_tables_as_files_have_the_board_s_numbers(site: Path, listing: Listing) -> None:
    for board in listing.boards:
        rows = list(csv.DictReader((site / "data" / f"{board.name}.csv").open()))
        data = json.loads((site / "data" / f"{board.name}.json").read_text())
        assert len(rows) == len(data)
        for row, same in zip(rows, data):
            task = "" if row["task"] == "all pooled" else row["task"]
            e = board.overall[row["method"]] if not task else board.estimates[row["method"], task]
            assert float(row["score"]) == pytest.approx(e.value) and same["score"] == e.value
            assert same["level"] == "V1" and same["official"] in (None, False)
        tex = (site / "data" / f"{board.name}.tex").read_text()
        assert tex.count(r"\toprule") == 1 and all(r.key.split("/")[-1] in tex for r in board.rows)


HOSTILE = (
    "<script>window.fired = 1</script>", "\"><img src=x onerror='window.fired = 2'>", "</style><svg onload=fired=3>",
    "{{ 7 * 7 }}{% raw %}", "javascript:fired=4", "</script><script>fired=5</script>", "a\u2028b`${fired=6}`",
    "../../x",
)  # fmt: skip


def hostile(listing: Listing) -> Listing:
    """Entries all of whose words would be a program, were they not text."""
    bad = dict(zip(listing.methods, HOSTILE))
    entries = tuple(
        replace(e, method=bad.get(e.method, e.method), title=HOSTILE[0], submitter=HOSTILE[1], training=HOSTILE[2],
                tuning=HOSTILE[3], flags=HOSTILE[:6], is_maintainers=False,
                scores=tuple(replace(s, run_id=HOSTILE[5], weights=HOSTILE[0]) for s in e.scores))
        for e in listing.entries
    )  # fmt: skip
    gone = replace(entries[0], method=HOSTILE[4], withdrawn=HOSTILE[0])
    players = tuple(Player(text, 0, HOSTILE[1]) for text in HOSTILE[:3])
    notes = {(HOSTILE[0], HOSTILE[1]): HOSTILE[2]}
    matrix = Crossplay(SPREAD, "h", "deterministic", 2, players, np.arange(9.0).reshape(3, 3), notes)
    size = TeamSize(4, SPREAD, HOSTILE[1], ((0, 1.0),), 0.0, 0.1, HOSTILE[2], (), HOSTILE[0])
    teams = TeamSizes(HOSTILE[1], SPREAD, 3, "deterministic", "best", 2, (size,))
    return replace(listing, entries=(*entries, gone), crossplay=(matrix,), team_sizes=(teams,))


def test_other_team_sizes_are_on_the_page_of_generalisation(site: Path) -> None:
    text = (site / "generalisation.html").read_text()
    assert f"mappo, trained on {SPREAD} with 3 agents" in text
    assert "0.863" in text or "0.87" in text  # (-62 + 125) / (-52 + 125)


def test_every_word_is_text(listing: Listing) -> None:
    files = site_files(hostile(listing))
    for name, text in files.items():
        assert ".." not in name and re.fullmatch(r"[a-z0-9./-]+", name)
        if name.endswith(".html"):
            assert "<img" not in text and "<svg onload" not in text and "<iframe" not in text
            assert "window.fired = 1</script>" not in text
    assert (
        "\u2028" not in files["compare.html"]
        and "<" not in files["compare.html"].split('compare-data">')[1].split("</")[0]
    )
    assert len(files) == len({name.lower() for name in files})


def test_names_of_files_are_plain_and_each_another() -> None:
    names = file_names(["a/b", "A b", "", "名", "x" * 200, "../..", "con"])
    assert len(set(names.values())) == 7
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}", n) for n in names.values())


def test_charts_place_points() -> None:
    svg = chart([Line([0, 10], [0, 1], "red", label="<&>")], "c", 'a "b"', references=[("best", 1.0)])
    xs = [float(x) for x in re.findall(r'class="line"[^>]* d="M([\d.]+) [\d.]+L([\d.]+)', svg)[0]]
    assert xs == [56.0, 448.0] and "&lt;&amp;&gt;" in svg and "a &quot;b&quot;" in svg
    assert chart([], "c", "nothing") == "" == chart([Line([0], [float("nan")], "red")], "c", "nothing")
    assert "nan" not in chart([Line([5], [3], "red")], "c", "one point")


def test_build_and_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import sys
    import urllib.request

    from rlnet_bench.cli.main import main

    shutil.copytree(RESULTS / "mpe-v1", tmp_path / "results" / "mpe-v1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    got: list[str] = []

    def once(server: http.server.ThreadingHTTPServer) -> None:
        import threading

        assert server.server_address[0] == "127.0.0.1"
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/index.html") as page:
            got.append(page.read().decode())
        answering.join()

    monkeypatch.setattr(http.server.ThreadingHTTPServer, "serve_forever", once)
    for line in ("leaderboard build", "leaderboard serve --out there --port 0"):
        monkeypatch.setattr(sys, "argv", ["rlnet-bench", *line.split()])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code
    assert "site/index.html: " in capsys.readouterr().out
    assert (tmp_path / "site" / "index.html").read_text() == got[0]


# -- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="chromium cannot be driven without playwright")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: Any, site: Path, name: str, said: list[str] | None = None, **options: Any) -> Any:
    """A page, and what it complains of or asks for beyond itself."""
    page = browser.new_page(**options)
    said = [] if said is None else said
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith((site.as_uri(), "blob:")) else said.append(r.url))
    page.goto(f"{site.as_uri()}/{name}.html")
    return page


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("width", "scheme"), [(1400, "light"), pytest.param(768, "dark", marks=pytest.mark.slow), (390, "light")]
)
def test_opens_without_a_complaint_and_asks_for_nothing(
    browser, site: Path, name: str, width: int, scheme: str
) -> None:
    said: list[str] = []
    page = opened(browser, site, name, said, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.locator("h1").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"
    assert said == []
    page.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_everybody_can_use_it(browser, site: Path, name: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here (make axe, needs npm)")
    page = opened(browser, site, name, viewport={"width": 1400, "height": 900}, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate(AXE.read_text())  # past the page's own policy, which lets no script in
    found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]))")
    assert found == []
    page.close()


def test_without_a_script_everything_can_be_read(browser, site: Path) -> None:
    page = opened(browser, site, "index", java_script_enabled=False)
    assert page.locator("table.board").count() == 4 and not page.locator("form.filters").is_visible()
    assert page.locator("#algorithms-mpe-v1-d0 tbody th[scope=row]").all_inner_texts()[0].startswith("mappo")
    page.close()


def heads(table: Any, body: int = 0) -> list[str]:
    return [
        t.split("\n")[0] for t in table.locator("tbody").nth(body).locator("th[scope=row]:visible").all_inner_texts()
    ]


def test_sorting_by_mouse_and_keyboard(browser, site: Path) -> None:
    page = opened(browser, site, "index")
    table = page.locator("#algorithms-networks-v1-d0 table")
    before = heads(table)
    head = table.locator("thead th", has_text="Score").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending" and heads(table) == before  # the board's own order
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending" and heads(table) == before[::-1]
    task = table.locator("thead th", has_text="simple_spread")
    task.locator("button").click()
    values = (
        table.locator("tbody")
        .nth(0)
        .locator("tr:not(.group)")
        .evaluate_all(
            "(rows, k) => rows.map(r => Number(r.cells[k].dataset.sort))", task.evaluate("th => th.cellIndex")
        )
    )
    assert values == sorted(values, reverse=True) and len(values) == len(before)
    page.close()


def test_filters(browser, site: Path) -> None:
    from playwright.sync_api import expect

    page = opened(browser, site, "index")
    said = page.locator("output[name=count]")
    assert said.inner_text() == "23 of 23 rows"
    page.locator("input[name=execution][value=C]").uncheck()
    assert not page.locator("#algorithms-networks-v1-c").is_visible() and said.inner_text() == "9 of 23 rows"
    page.locator("input[name=family][value=mpe]").uncheck()
    assert not page.locator("#algorithms-mpe-v1-d0").is_visible()
    assert page.locator("#algorithms-networks-v1-d0").is_visible()  # its methods also play other families
    page.locator("input[name=training][value=independent]").uncheck()
    assert heads(page.locator("#algorithms-networks-v1-d0 table")) == ["mappo", "mappo separate"]
    page.locator("form.filters button[type=reset]").click()
    expect(said).to_have_text("23 of 23 rows")
    page.locator("input[name=bits]").fill("100")
    assert "zoo/noise-director" not in heads(page.locator("#algorithms-networks-v1-d0 table"))
    page.locator("input[name=bits]").fill("")
    page.locator("input[name=frames]").fill("1000000")
    assert not page.locator("#algorithms-mpe-v1-d0").is_visible()
    page.close()


@pytest.mark.parametrize("kind", ["csv", "json", "tex"])
def test_what_is_shown_can_be_taken_along(browser, site: Path, kind: str, tmp_path: Path) -> None:
    page = opened(browser, site, "index", accept_downloads=True)
    page.locator("input[name=training][value=independent]").uncheck()
    section = page.locator("#algorithms-networks-v1-d0")
    with page.expect_download() as waiting:
        section.locator(f".export button[data-kind={kind}]").click()
    file = tmp_path / "taken"
    waiting.value.save_as(file)
    assert waiting.value.suggested_filename == f"algorithms-networks-v1-d0.{kind}"
    if kind == "csv":
        rows = list(csv.reader(file.open()))
        assert [r[0].split()[0] for r in rows] == ["Method", "mappo", "mappo", "random"]
        assert {len(r) for r in rows} == {len(rows[0])}
    elif kind == "json":
        assert [r["Method"] for r in json.loads(file.read_text())] == [
            "mappo by maintainers", "mappo separate by maintainers", "random control",
        ]  # fmt: skip
    else:
        text = file.read_text()
        assert text.count(r"\\") == 4 and "mappo separate" in text and "ippo" not in text.replace("mappo", "")
    page.close()


def test_the_replay_plays(browser, site: Path) -> None:
    from playwright.sync_api import expect

    page = opened(browser, site, "methods/mappo")
    player = page.locator("figure.player").first
    slider, canvas, button = player.locator("input"), player.locator("canvas"), player.locator("button")
    button.wait_for()
    last = slider.get_attribute("max")
    assert int(last) > 10 and player.locator("output").inner_text() == "step 0"
    first = canvas.evaluate("c => c.toDataURL()")
    slider.focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert player.locator("output").inner_text() == "step 7"
    assert canvas.evaluate("c => c.toDataURL()") != first
    button.click()
    assert button.inner_text() == "Pause"
    expect(button).to_have_text("Play", timeout=20_000)  # it ends by itself
    assert player.locator("output").inner_text() == f"step {last}"
    page.close()


def test_two_methods_beside_each_other(browser, site: Path, listing: Listing) -> None:
    page = opened(browser, site, "methods/mappo")
    page.get_by_role("link", name="Compare it with another method").click()
    first, second = page.locator("select[name=a]"), page.locator("select[name=b]")
    assert first.input_value() == "mappo"
    second.select_option("ippo")
    rows = page.locator("#compared tbody tr")
    tests = {t.a + t.b: t for b in listing.boards if b.suite == "mpe-v1" for r in b.rankings[SPREAD] for t in r.tests}
    verdict = next(t for t in tests.values() if {t.a, t.b} == {"ippo", "mappo"}).verdict()
    spread = rows.filter(has_text=SPREAD)
    shown = {"better": " is better", "worse": " is better"}.get(verdict, "not distinguishable")
    assert shown in spread.locator("td").nth(2).inner_text()
    assert "adjusted p" in spread.locator("td").nth(2).inner_text()
    left = spread.locator("td .value").all_inner_texts()[:2]
    page.locator("button.swap").click()
    assert rows.filter(has_text=SPREAD).locator("td .value").all_inner_texts()[:2] == left[::-1]
    assert page.url.endswith("#a=ippo&b=mappo")
    second.select_option("zoo/tag-3ppo")
    assert "are not compared" in page.locator("#compared").inner_text()
    page.close()


@pytest.mark.parametrize("with_script", [True, False])
def test_nothing_in_an_entry_runs(browser, listing: Listing, tmp_path: Path, with_script: bool) -> None:
    made = site_files(hostile(listing))
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    said: list[str] = []
    for name in (
        "index.html",
        "compare.html",
        "generalisation.html",
        *(n for n in made if n.startswith("methods/script")),
    ):
        page = opened(browser, tmp_path, name.removesuffix(".html"), said, java_script_enabled=with_script)
        if name == "index.html":
            assert HOSTILE[0] in page.locator("main").inner_text()  # it is there, as text
        if with_script:
            assert page.evaluate("typeof window.fired") == "undefined"
        page.close()
    assert said == []
