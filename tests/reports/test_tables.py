"""Paper tables: content, escaping, structure, and compilation where TeX is present."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import rlnet_bench
from rlnet_bench.analysis import judge
from rlnet_bench.analysis.results import Results
from rlnet_bench.errors import BadInput
from rlnet_bench.reports import build_report, render_table
from rlnet_bench.reports.macros import slug
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.tables import tables
from rlnet_bench.reports.writers import latex_escape

SPREAD, REFERENCE = "mpe/simple_spread-discrete-v1", "mpe/simple_reference-discrete-v1"


def rows_of(markdown: str, first: str) -> list[str]:
    return [line for line in markdown.splitlines() if line.startswith(f"| {first} ")]


def test_marks_and_counts(quick: Results) -> None:
    text = render_table(quick, "markdown", "tasks")
    [absolute, final] = rows_of(text, "weak")
    assert "4 ok + 1 diverged" in absolute and "†" in absolute and "**" not in absolute
    assert "4 ok + 1 diverged" in final
    best = [line for name in ("ippo", "mappo") for line in rows_of(text, name)]
    assert any("**−" in line for line in best)
    for name in ("central", "talker", "random", "nearest"):
        assert not any("**" in line or "†" in line for line in rows_of(text, name))
    assert "Class D0, all methods tied (not resolved): mpe/simple\\_spread-discrete-v1." in text
    assert text.index("*Class D0*") < text.index("*Class D1*") < text.index("*Class C*") < text.index("*Controls*")


def test_the_tie_mark_has_one_home() -> None:
    """Another mark is one edit; only how LaTeX writes characters names it again."""
    package = Path(rlnet_bench.__file__).parent
    sources = [f for ending in ("*.py", "*.j2") for f in package.rglob(ending)]
    homes = {
        f.relative_to(package).as_posix()
        for f in sources
        if "\u2020" in f.read_text() or "textdagger{" in f.read_text()
    }
    assert homes == {"reports/table.py", "reports/writers.py"}


def test_few_seeds(make: SimpleNamespace) -> None:
    four = render_table(make.build({"a": 0.6, "b": 0.2}, (SPREAD,), seeds=(0, 1, 2, 3)), "markdown")
    assert "range −" in rows_of(four, "a")[0] and "[" not in rows_of(four, "a")[0] and "**" not in four
    assert "too few runs to compare" in four
    two = render_table(make.build({"a": 0.6, "b": 0.2}, (SPREAD,), seeds=(0, 1)), "markdown")
    assert "runs −" in rows_of(two, "a")[0]


def test_csv_is_tidy(quick: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(render_table(quick, "csv", "tasks"))))
    assert len(rows) == 2 * 7 * 3 and {r["kind"] for r in rows} == {"absolute", "final"}
    weak = next(r for r in rows if r["method"] == "weak" and r["task"] == SPREAD)
    assert (weak["runs"], weak["diverged"], weak["tied"], weak["best"]) == ("5", "1", "true", "false")


def test_what_a_channel_costs(make: SimpleNamespace) -> None:
    plain = make.build(
        {"ippo": 0.6, "central": 0.9}, (SPREAD, REFERENCE), special={("ippo", SPREAD): {"diverged": (3,)}}
    )
    assert "channel" not in tables(judge(plain))
    needs = {"execution": "C", "actor_parameters": 200, "bits_up": 3456, "bits_down": 1.5, "hops": 2}
    infos = [replace(m, execution="C", columns={SPREAD: needs}) if m.label == "central" else m for m in plain.methods]
    records = []
    for r in plain.records:
        lines = [e for e in r.evals if e.kind == "absolute" and e.mode == "deterministic"]
        late = [replace(e, kind="delay-1", returns=e.returns - 10.0) for e in lines]
        records.append(replace(r, evals=(*r.evals, *late)) if (r.method, r.task) == ("central", SPREAD) else r)
    results = replace(plain, methods=tuple(infos), records=tuple(records))
    text = render_table(results, "markdown", "channel")
    cells = ["C", "not stated", "200", "3.46k", "1.5", "2"]
    assert [line.split(" | ")[1:7] for line in rows_of(text, "central")] == [cells]
    [own] = rows_of(text, "ippo")  # on the other task nobody needs a channel
    assert own.count(" = |") == 6 and " 0 | 0 | 0 |" in own
    rows = {
        r["score"]: r
        for r in csv.DictReader(io.StringIO(render_table(results, "csv", "channel")))
        if r["method"] == "central"
    }
    assert set(rows) == {"absolute", "delay-1"}
    assert float(rows["absolute"]["value"]) - float(rows["delay-1"]["value"]) == pytest.approx(30.0)  # three agents
    assert text in render_table(results, "markdown", "tasks")
    assert "around the channel" not in render_table(results, "markdown", "tasks")
    signals = [replace(m, columns={REFERENCE: needs}) if m.label == "central" else m for m in infos]
    bypass = render_table(replace(results, methods=tuple(signals)), "markdown", "tasks")
    assert r"simple\_reference-discrete-v1 is a channel task: central passes information around the channel" in bypass


def test_every_latex_file_is_well_formed(quick: Results, tmp_path: Path) -> None:
    build_report(quick, tmp_path, pdf=False)
    for path in sorted((tmp_path / "tables").glob("*.tex")):
        if path.name != "preview.tex":
            check_latex(path.read_text())


@pytest.mark.parametrize("which", ["tasks", "aggregate", "ranks"])
def test_latex_is_well_formed(quick: Results, which: str) -> None:
    check_latex(render_table(quick, "latex", which))


def test_many_tasks_are_turned(make: SimpleNamespace) -> None:
    tasks = tuple(f"fam/task_{i}-discrete-v1" for i in range(6))
    text = render_table(make.build({"a": 0.6, "b": 0.2}, tasks, points=2), "latex", "tasks")
    check_latex(text)
    assert re.search(r"^Task & a & b & random & nearest \\\\$", text, re.MULTILINE)
    assert re.search(r"^Tuning .*not stated", text, re.MULTILINE)  # as every table says


def check_latex(text: str) -> None:
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[{}]", "", body)
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"[^\x00-\xff]", body), "only Latin-1 reaches TeX"
    for table in body.split(r"\begin{tabular}")[1:]:
        spec, _, rest = table.partition("\n")
        width = len(re.sub(r">\{\S*?\}p\{\w+\}", "p", spec.removeprefix("{").removesuffix("}")))
        for line in rest.partition(r"\end{tabular}")[0].splitlines():
            if line.endswith(r"\\") and r"\multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == width - 1, line


def test_escape() -> None:
    assert latex_escape(r"a\b{c}_$^~") == (r"a\textbackslash{}b\{c\}\_\$\textasciicircum{}\textasciitilde{}")
    assert latex_escape("名\n前\x00") == "U+540D U+524D"


def test_unknown_table(quick: Results) -> None:
    with pytest.raises(BadInput, match="latex, markdown, csv"):
        render_table(quick, "html")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="tasks, aggregate, ranks"):
        render_table(quick, "csv", "everything")  # type: ignore[arg-type]


def test_macros_and_references_follow_the_data(quick: Results, tmp_path: Path) -> None:
    cited = [replace(m, citation="yu2022mappo") if m.id == "weak" else m for m in quick.methods]
    quick = replace(quick, methods=tuple(cited))
    build_report(quick, tmp_path, pdf=False, timings=False)
    macros = (tmp_path / "macros.tex").read_text()
    e = judge(quick).aggregates["absolute"]["mappo"]["iqm"]
    assert rf"\rlnet@def{{mappo/iqm/value}}{{{e.value:.3f}}}" in macros
    assert rf"\rlnet@def{{mappo/{slug(SPREAD)}/final}}" in macros and r"\rlnet@def{mappo/rank}{1--2}" in macros
    bib = (tmp_path / "references.bib").read_text()
    keys = re.findall(r"@\w+\{([^,]+),", bib)
    assert {"ippo2020", "yu2022mappo", "lowe2017maddpg", "agarwal2021precipice"} <= set(keys) and len(keys) == len(
        set(keys)
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="TeX (pdflatex) is not installed")
def test_preview_compiles(quick: Results, tmp_path: Path) -> None:
    build_report(quick, tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "preview.tex"]
    run = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]


def test_settings_that_differ_by_task_are_all_shown(make: SimpleNamespace) -> None:
    results = make.build({"a": 0.6}, (SPREAD, REFERENCE))
    wide = [
        replace(r, config={**r.config, "settings": {"learning_rate": 5e-4, "hidden": [99, 99]}})
        if (r.method, r.task) == ("a", REFERENCE)
        else r
        for r in results.records
    ]
    table = tables(judge(replace(results, records=tuple(wide))))["settings"]
    shown = {row[0].text: row[1].text for group in table.groups for row in group.rows}
    assert shown["learning_rate"] == "0.0005"
    assert shown["hidden"] == "[64, 64] (simple_spread); [99, 99] (simple_reference)"


def test_no_cell_of_a_sheet_is_a_formula() -> None:
    cells = ("=1+1", "+1", "-2+3+cmd|' /C calc'!A0", "@x", "plain")
    text = Numbers(("a", "b", "c", "d", "e", "f"), ((*cells, -1.5),)).csv()
    row = next(csv.reader(io.StringIO(text.splitlines()[1])))
    assert row == [*("'" + c for c in cells[:4]), "plain", "-1.5"]


def test_a_control_that_sends_noise_shows_its_scores(make: SimpleNamespace) -> None:
    results = make.build({"noise": 0.6}, (SPREAD,))
    sends = {"execution": "D0", "actor_parameters": 9, "bits_up": 0, "bits_down": 1024, "hops": 1}
    records = []
    for r in results.records:
        late = [replace(e, kind="delay-1") for e in r.evals if (e.kind, e.mode) == ("absolute", "deterministic")]
        records.append(replace(r, evals=(*r.evals, *late)))
    noisy = replace(results, methods=(replace(results.methods[0], columns={SPREAD: sends}),), records=tuple(records))
    [row] = rows_of(render_table(noisy, "markdown", "channel"), "noise")
    assert "=" not in row and row.count("–") == 5  # without a channel, and four numbers of bits, were not scored
