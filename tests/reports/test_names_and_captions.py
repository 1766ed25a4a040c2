"""Captions say what is known and no more; names of strangers are taken as they are and stay apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.foreign import parse_csv, write_csv
from rlnet_bench.reports import build_report, render_table
from rlnet_bench.reports.captions import aggregate, learning
from rlnet_bench.reports.titles import task_titles
from rlnet_bench.reports.writers import latex_escape

SPREAD = "mpe/simple_spread-discrete-v1"


def imported(path: Path, *, tasks=("x/one-two", "x/one-three"), scale="sum", mode="", seeds=5, extra="") -> Path:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    lines = ["method,task,seed,frames,episode,return,scale,mode"]
    for method in ("PPO-α", "PPO-β"):
        for task in tasks:
            for seed in range(seeds):
                for frames in (0, 1000):
                    lines.append(f"{method},{task},{seed},{frames},mean,{rng.normal()},{scale},{mode}")
    path.write_text("\n".join(lines) + "\n")
    return path


def caption(path: Path, format: str = "latex") -> str:
    return next(x for x in render_table(load_results(path), format).splitlines() if x.startswith(r"\caption"))  # type: ignore[arg-type]


def test_a_caption_says_what_an_import_says(tmp_path: Path) -> None:
    text = caption(imported(tmp_path / "a.csv"))
    assert (
        "Team return (sum over agents), final: last point of the curve" in text and "mode of actions not stated" in text
    )
    assert "fresh episodes" not in text and "deterministic" not in text and "number of episodes not stated" in text
    assert "are the last point of the curve" in text  # the importer's note stands in the caption
    text = caption(imported(tmp_path / "b.csv", scale="mean", mode="sampled"))
    assert "Team return (mean over agents)" in text and "sampled actions" in text and "sum over agents" not in text


def test_no_caption_promises_an_interval_that_is_not_there(tmp_path: Path) -> None:
    two = imported(tmp_path / "two.csv", seeds=2)
    assert "without interval" in caption(two) and "95" not in caption(two)
    five = imported(tmp_path / "five.csv", seeds=5)
    how = r"Mean over runs with its 95\% interval (bootstrap over runs, expanded percentile); n = 5 runs per cell."
    assert how in caption(five)
    for which in ("tasks", "ranks"):
        assert "95 % interval" not in render_table(load_results(two), "markdown", which)  # type: ignore[arg-type]


def test_a_plus_minus_is_explained_where_there_is_one(tmp_path: Path) -> None:
    source = imported(tmp_path / "five.csv", seeds=5)
    text = render_table(load_results(source), "latex")
    cells = text.replace(caption(source), "")
    assert (r"$\pm$" in cells) == (r"After $\pm$ stands half the width of the interval" in caption(source))
    assert r"$\pm$" in cells
    assert r"\pm" not in render_table(load_results(imported(tmp_path / "two.csv", seeds=2)), "latex")


def test_our_own_captions_say_everything(make: SimpleNamespace) -> None:
    from dataclasses import replace

    results = make.build({"a": 0.6, "b": 0.5}, (SPREAD,))
    rules = {"episodes": 32, "absolute_episodes": 320}
    told = replace(
        results, records=tuple(replace(r, config={**r.config, "evaluation": rules}) for r in results.records)
    )
    text = render_table(told, "latex", "tasks")
    assert (
        "absolute: best checkpoint of each run, re-scored on fresh episodes (320 episodes), deterministic actions"
        in text
    )
    e = judge(told)
    assert "normalised: 0 is the random policy" in aggregate(e)[0] and "sum over agents" in learning(e, "frames")[0]
    assert "floor" not in learning(e, "frames")[0]  # nothing diverged


def test_the_mode_survives_the_csv(tmp_path: Path) -> None:
    table = parse_csv(imported(tmp_path / "a.csv").read_text())
    assert len(table.unsaid_modes) == 4
    again = parse_csv(write_csv(table))
    assert again.unsaid_modes == table.unsaid_modes
    said = again.with_mode("sampled")
    assert not said.unsaid_modes and {e.mode for e in said.evaluations} == {"sampled"}
    assert not parse_csv(write_csv(said)).unsaid_modes


def test_no_two_tasks_share_a_title() -> None:
    strangers = ["x/one-two", "x/one-three", "x/plain_v2", "y/one-two", "flat", "a/b/c"]
    titles = task_titles(strangers)
    assert len({title for title, _ in titles.values()}) == len(strangers)
    assert titles["x/one-three"] == ("one-three", "x") and titles["flat"] == ("flat", "")
    ours = ["lbf/15x15-4p-5f-v1", "lbf/15x15-3p-5f-v1", SPREAD]
    assert [title for title, _ in task_titles(ours).values()] == ["15x15-4p-5f", "15x15-3p-5f", "simple_spread"]
    alone = task_titles([SPREAD, "mpe/simple_reference-discrete-v1"])
    assert alone[SPREAD] == ("simple_spread", "mpe · discrete-v1")


def test_heads_and_panels_tell_tasks_apart(tmp_path: Path) -> None:
    source = imported(tmp_path / "a.csv")
    header = next(x for x in render_table(load_results(source), "latex").splitlines() if x.startswith("Method"))
    assert "one-two" in header and "one-three" in header
    page = build_report(load_results(source), tmp_path / "report", pdf=False)
    for number, title in enumerate(("one-two", "one-three"), 1):
        assert f">{title}<" in (page.parent / f"figures/curves-frames-{number}.svg").read_text()


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("PPO-α", r"PPO-$\alpha$"), ("Ω", r"$\Omega$"), ("Α", r"$\mathrm{A}$"), ("ﬁve", "five"), ("łódź", "łódź"),
        ("名", "U+540D"),
    ],
)  # fmt: skip
def test_every_letter_keeps_its_own_form_in_latex(text: str, latex: str) -> None:
    assert latex_escape(text) == latex


def test_greek_methods_stay_apart_in_every_file(tmp_path: Path) -> None:
    page = build_report(load_results(imported(tmp_path / "a.csv")), tmp_path / "report", pdf=False)
    for file in page.parent.rglob("*.tex"):
        assert "PPO-?" not in file.read_text(encoding="utf-8")
    macros = (page.parent / "macros.tex").read_text()
    assert "{rlnet@def" not in macros and "PPO-alpha/x/one-two" in macros and "PPO-beta/x/one-two" in macros


def test_an_empty_cell_says_why_it_is_empty(make: SimpleNamespace) -> None:
    from dataclasses import replace

    from rlnet_bench.reports.table_tasks import score_table

    results = make.build({"a": 0.6, "b": 0.5}, ("mpe/simple_spread-discrete-v1", "mpe/simple_reference-discrete-v1"))
    second = results.tasks[1]
    kept = tuple(r for r in results.records if (r.method, r.task) != ("b", second))
    waiting = judge(replace(results, records=kept))
    only = tuple(replace(m, only=results.tasks[:1]) if m.label == "b" else m for m in results.methods)
    spared = judge(replace(results, records=kept, methods=only))
    for estimates, word in ((waiting, "missing 5 of 5"), (spared, "not applicable")):
        [row] = [r for g in score_table(estimates, "absolute").groups for r in g.rows if r[0].text == "b"]
        assert row[-1].text == "–" and (row[-1].under in (word, "no score yet"))
    assert row[-1].under == "not applicable"
