"""The report as files: complete, the same bytes twice, self-contained, safe, free of torch."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.results import Results
from rlnet_bench.reports import build_report, fragment
from rlnet_bench.reports.canvas import ONE_COLUMN, pdf_bytes
from rlnet_bench.reports.figures import plots

SPREAD = "mpe/simple_spread-discrete-v1"
NASTY = "<script>alert(1)</script> & $x_1$ \\input{/etc/passwd} %| `{}`\"'~^#"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def page(quick: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(quick, tmp_path_factory.mktemp("report"), pdf=False)


def test_every_file_is_there(page: Path) -> None:
    names = set(files_of(page.parent))
    figures = ("aggregate", "curves-frames", "curves-seconds", "profile", "improvement")
    parts = {"aggregate": 4, "curves-frames": 3, "curves-seconds": 3, "profile": 0, "improvement": 0}
    tables = (
        "aggregate", "tasks-absolute", "tasks-final", "tasks-absolute-success", "tasks-final-success", "modes",
        "ranks", "compute", "settings", "references", "runs",
    )  # fmt: skip
    svgs = {f"figures/{f}-{i}.svg" for f, n in parts.items() for i in range(1, n + 1)}
    single = {f"figures/{f}{end}.svg" for f in ("profile", "improvement") for end in ("", "-phone")}
    assert svgs | single == {n for n in names if n.endswith(".svg")}
    assert {f"figures/{f}.csv" for f in figures} <= names
    assert {f"tables/{t}.{e}" for t in tables for e in ("tex", "md", "csv")} <= names
    assert {"index.html", "macros.tex", "references.bib", "tables/preview.tex"} <= names


def test_sections_come_in_the_order_readers_expect(page: Path) -> None:
    heads = re.findall(r'<h2><span class="n">\d+</span>(.*?)</h2>', page.read_text())
    assert heads == [
        "Scores per task", "Aggregate scores", "Learning curves", "Performance profile", "Probability of improvement",
        "Final scores, success, sampled actions", "Ranks", "What acting together costs", "Compute and tuning",
        "Provenance",
    ]  # fmt: skip


def test_every_table_of_methods_has_the_tuning_column(page: Path) -> None:
    text = page.read_text()
    tables = [t for t in re.findall(r"<table.*?</table>", text, re.S) if "execution, training" in t]
    assert len(tables) >= 8
    assert all("Tuning" in t and "not stated" in t for t in tables)
    assert all("Tuning" in f.read_text() for f in (page.parent / "tables").glob("tasks-*.tex"))


def test_identical_records_give_identical_bytes(make: SimpleNamespace, tmp_path: Path) -> None:
    def results() -> Results:
        return make.build({"a": 0.6, "b": 0.3}, (SPREAD,), points=5)

    for name in ("first", "second/below"):
        build_report(results(), tmp_path / name, timings=False, pdf=False)
    first, second = files_of(tmp_path / "first"), files_of(tmp_path / "second/below")
    assert first.keys() == second.keys()
    assert [n for n in first if first[n] != second[n]] == []


def test_paper_figures_embed_fonts_and_repeat(make: SimpleNamespace, tmp_path: Path) -> None:
    results = make.build({"a": 0.6, "b": 0.3}, (SPREAD,), points=3)
    pdfs = [plots(judge(results))["improvement"].pdfs() for _ in range(2)]
    assert pdfs[0] == pdfs[1] and set(pdfs[0]) == {"1col", "2col"}
    for data in pdfs[0].values():
        assert b"/FontFile2" in data and b"/Type3" not in data and b"/CreationDate" not in data


def test_without_timings_nothing_of_clock_host_or_path(make: SimpleNamespace, tmp_path: Path) -> None:
    results = make.build({"a": 0.6, "b": 0.3}, (SPREAD,), points=5)
    slower = replace(
        results,
        records=tuple(
            replace(
                r,
                timings=tuple({**t, "train_seconds": 7 * t["train_seconds"]} for t in r.timings),
                provenance={**r.provenance, "host": "other", "started": "1999"},
            )
            for r in results.records
        ),
    )
    build_report(results, tmp_path / "one", timings=False, pdf=False)
    build_report(slower, tmp_path / "two", timings=False, pdf=False)
    first, second = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert first == second
    everything = b"".join(first.values())
    for private in (b"secret", b"/home/", b"2026-11-21", str(tmp_path).encode()):
        assert private not in everything
    assert b"0123abcd" in everything  # the commit is provenance


def test_paths_stay_out_even_with_timings(page: Path) -> None:
    assert "/home/secret" not in page.read_text() and "secret-host" in page.read_text()


def test_no_network(page: Path) -> None:
    text = page.read_text()
    loaded = re.findall(r"(?:src|srcset|data|action)=\"([^\"]+)\"|url\(([^)]+)\)|@import\s+(\S+)", text)
    assert all(x.startswith("#") for group in loaded for x in group if x)
    assert "<link" not in text and "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    for href in re.findall(r'href="([^"]+)"', text):
        if not href.startswith("#"):
            assert href.split("-1col")[0].split("-2col")[0] and (page.parent / href).exists(), href


def test_ids_are_unique_and_every_anchor_exists(page: Path) -> None:
    class Ids(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.ids: list[str] = []
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.ids += [v for k, v in attrs if k == "id" and v]

    parser = Ids()
    parser.feed(page.read_text())
    assert len(parser.ids) == len(set(parser.ids))
    assert set(re.findall(r'href="#([^"]+)"', page.read_text())) <= set(parser.ids)


def test_figures_have_alternative_text_and_their_numbers(page: Path) -> None:
    text = page.read_text()
    assert text.count('<svg role="img"') == 4 + 3 + 3 + 2 + 2 and text.count("<figcaption>") == 5
    assert "IQM, best first: central 0." in text
    rows = list(csv.DictReader(io.StringIO((page.parent / "figures/improvement.csv").read_text())))
    assert len(rows) == 20 and {r["excludes_half"] for r in rows} == {"true", "false"}


def test_partial_reports_say_so(partial: Results, tmp_path: Path) -> None:
    text = build_report(partial, tmp_path, pdf=False).read_text()
    assert "partial: 29 of 40 runs" in text and "What is missing" in text
    assert "0 of 5 done, 5 running (at 40%)" in text and "out of memory on the node" in text


def test_an_empty_store_gives_a_page(make: SimpleNamespace, tmp_path: Path) -> None:
    empty = replace(make.build({"ippo": 0.5, "mappo": 0.5}), records=())
    text = build_report(empty, tmp_path).read_text()
    assert "No suite verdict" in text and "No run has finished yet." in text


def test_nasty_names_are_text_everywhere(make: SimpleNamespace, tmp_path: Path) -> None:
    results = make.build({NASTY: 0.7, "_hidden": 0.3, "名前 🤖": 0.5}, (SPREAD,), points=4)
    page = build_report(results, tmp_path, pdf=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pdf_bytes(plots(judge(results))["aggregate"].draw, ONE_COLUMN).startswith(b"%PDF")
    text = page.read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for name, data in files_of(tmp_path).items():
        if name.endswith(".svg"):
            assert b"<script>" not in data
        if name.endswith(".tex"):
            assert b"\\input{/etc" not in data and b"$x_1$" not in data, name
    markdown = (tmp_path / "tables/ranks.md").read_text()
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if line.startswith("|")}
    assert len(widths) == 1 and "\\<script\\>" in markdown


def test_a_second_report_removes_what_is_gone(make: SimpleNamespace, tmp_path: Path) -> None:
    build_report(make.build({"a": 0.6, "b": 0.3}, (SPREAD,), points=3), tmp_path, pdf=False)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures/readme.txt").write_text("mine")
    build_report(make.build({"a": 0.6}, (SPREAD,), points=3), tmp_path, pdf=False)
    assert not (tmp_path / "figures/improvement.svg").exists()
    assert (tmp_path / "notes.txt").exists() and (tmp_path / "figures/readme.txt").exists()


def test_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, rlnet_bench.reports as r; r.build_report; r.render_table; "
        "import rlnet_bench.analysis.plain, rlnet_bench.reports.page, rlnet_bench.reports.figures; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_notebook_fragment(quick: Results) -> None:
    html = fragment(judge(quick, timings=False))
    assert "tied with" in html and "<table" in html and "<script" not in html
