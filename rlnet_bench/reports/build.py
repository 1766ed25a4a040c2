"""``build_report``: results in, a folder with a page, figures, tables and files for a paper out."""

from __future__ import annotations

from pathlib import Path

from rlnet_bench.analysis.estimates import judge
from rlnet_bench.analysis.results import Results
from rlnet_bench.reports.bibliography import bibtex
from rlnet_bench.reports.figures import drawing
from rlnet_bench.reports.macros import macros
from rlnet_bench.reports.page import render
from rlnet_bench.reports.preview import preview
from rlnet_bench.reports.provenance import run_table, task_table
from rlnet_bench.reports.tables import as_text, tables
from rlnet_bench.runs.files import sweep, write_atomic, writing


def build_report(
    results: Results, out: Path, *, timings: bool = True, title: str | None = None, pdf: bool = True
) -> Path:
    """Write a report and return the path of its page.

    Writes ``index.html`` (self-contained), ``figures/`` (SVG, PDF for one and two columns, CSV),
    ``tables/`` (LaTeX, Markdown, CSV, and ``preview.tex`` that includes them all), ``macros.tex`` and
    ``references.bib``. Files of an earlier report in ``out`` that are not made again are removed.

    Args:
        results: the records; unfinished stores give a report that is marked partial.
        out: the folder, made when absent.
        timings: False leaves out seconds, hosts and paths; identical records then give identical bytes.
        title: the page's title; the suite's name and version by default.
        pdf: False leaves out the PDF figures, which take most of the time.
    """
    out = Path(out)
    estimates = judge(results, timings=timings)
    with drawing(estimates, pdf=pdf) as wait:
        made = tables(estimates)
        numbers = macros(estimates)
        figures = wait()
    page = render(estimates, figures, made, title=title, timings=timings)
    files: dict[str, bytes] = {"index.html": page.encode()}
    for figure in figures.values():
        files |= {f"figures/{name}": data for name, data in figure.files.items()}
    for table in (*made.values(), task_table(estimates), run_table(estimates)):
        files[f"tables/{table.name}.tex"] = as_text(table, "latex").encode()
        files[f"tables/{table.name}.md"] = as_text(table, "markdown").encode()
        files[f"tables/{table.name}.csv"] = as_text(table, "csv").encode()
    files["tables/preview.tex"] = preview(
        list(made), [name for name, figure in figures.items() if figure.pdfs], results.name
    ).encode()
    files["macros.tex"] = numbers.encode()
    files["references.bib"] = bibtex(estimates).encode()
    _write(out, files)
    return out / "index.html"


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Each file whole or not at all, the page after what lies beside it."""
    for folder in ("figures", "tables"):
        with writing(out / folder):
            (out / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("", "figures", "tables"):
        sweep(out / folder)
    for name, data in sorted(files.items(), key=lambda item: item[0] == "index.html"):
        write_atomic(out / name, data)
    for old in (file for folder in ("figures", "tables") for file in (out / folder).iterdir()):
        if f"{old.parent.name}/{old.name}" not in files and old.suffix in (".svg", ".pdf", ".csv", ".tex", ".md"):
            old.unlink()
