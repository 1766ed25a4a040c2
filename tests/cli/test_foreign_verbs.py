"""import, export, lint, table and report on results that came from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from said import Run

from rlnet_bench.analysis.exported import from_results
from rlnet_bench.analysis.imported import to_results
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.envs.registry import task_card
from rlnet_bench.foreign import read_csv
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.worker import work

HEAD = "method,task,seed,frames,episode,return"
SUITE = Suite(
    name="tiny", tasks=["mpe/simple_spread-discrete-v1"], methods=["random", "coordinated"], seeds=3,
    budget={"frames": 100}, evaluation={"episodes": 2, "absolute_episodes": 4},
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished store of two controls."""
    made = Store.create(tmp_path_factory.mktemp("store") / "store")
    plan = make_plan(SUITE)
    made.add_plan(plan)
    assert not work(made, plan.groups)
    return made


def tidy(path: Path, scale: bool = True) -> Path:
    """Two methods, two unknown tasks, five seeds, a curve of two points."""
    rng = np.random.default_rng(0)
    lines = [HEAD + ",scale" * scale]
    for method, skill in (("ours", 2.0), ("theirs", 1.0)):
        for task in ("x-v1", "y-v1"):
            for seed in range(5):
                for frames in (0, 1000):
                    for episode in range(3):
                        value = skill * frames / 1000 + 0.1 * rng.standard_normal()
                        lines.append(f"{method},{task},{seed},{frames},{episode},{value}" + ",sum" * scale)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_import_asks_for_the_scale_and_writes_what_every_verb_reads(run: Run, tmp_path: Path) -> None:
    source = tidy(tmp_path / "raw.csv", scale=False)
    code, text = run("import", source, "--format", "csv", "--out", "results.csv")
    assert code == 2 and "--scale sum" in text and not (tmp_path / "results.csv").exists()
    code, text = run("import", source, "--format", "csv", "--scale", "sum", "--out", "folder", "--json")
    assert code == 0 and json.loads(text)["runs"] == 20
    assert run("import", source, "--format", "csv", "--scale", "sum", "--out", "folder")[0] == 2  # there is one already
    for source in ("folder", "folder/results.csv"):
        assert "ours is better than theirs" in run("compare", "ours", "theirs", source)[1]
    assert run("lint", "folder") == (0, "0 problems in 1 source(s), 4 cells.\n")


@pytest.mark.parametrize("format", ["markdown", "latex", "csv"])
def test_tables_without_a_suite(run: Run, tmp_path: Path, format: str) -> None:
    code, text = run("table", tidy(tmp_path / "results.csv"), "--format", format)
    assert code == 0 and "ours" in text and "x-v1" in text and "last point of the curve" in text


def test_a_table_in_the_terminal_is_no_markup(run: Run, tmp_path: Path) -> None:
    source = tidy(tmp_path / "results.csv")
    source.write_text(source.read_text().replace("x-v1", "x_y-v1"))
    code, text = run("table", source)
    assert code == 0 and "x_y" in text and "\\_" not in text and "|" not in text and "**" not in text
    assert max(map(len, text.splitlines())) < 200
    assert "- Mean over runs with its 95% interval (bootstrap over runs, expanded percentile); n = 5 runs" in text
    assert "| Method" in run("table", source, "--format", "markdown")[1]


def test_table_json_is_strict(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run("table", tidy(tmp_path / "results.csv"), "--json")
    start = text.index("{")
    found, _ = json.JSONDecoder(parse_constant=lambda c: pytest.fail(c)).raw_decode(text[start:])
    assert code == 0 and found["tasks"]


def test_lint_finds_scores_far_below_random(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"qmix,mpe/simple_spread-discrete-v1,{s},100,mean,{-551 - s},sum\n" for s in range(5))
    (tmp_path / "r.csv").write_text(f"{HEAD},scale\n{rows}")
    code, text = run("lint", tmp_path / "r.csv")
    assert code == 1 and "far below the random policy (-79" in text and "[below-random]" in text


def test_report_without_a_suite(run: Run, tmp_path: Path) -> None:
    code, text = run("report", tidy(tmp_path / "results.csv"), "--out", "page")
    assert code == 0 and "ours" in (tmp_path / "page" / "index.html").read_text()


def test_a_task_of_ours_is_normalised_and_needs_its_scale(run: Run, tmp_path: Path) -> None:
    task = "mpe/simple_spread-discrete-v1"
    rows = "".join(f"m,{task},{s},100,0,{-20 - s},{{0}}\n" for s in range(5))
    path = tmp_path / "r.csv"
    path.write_text(f"{HEAD},scale\n" + rows.format("unknown"))
    code, text = run("stats", path)
    assert code == 2 and "--scale sum" in text
    path.write_text(f"{HEAD},scale\n" + rows.format("sum"))
    summed = to_results(read_csv(path)).scores("final")[0].runs[task].scores
    path.write_text(f"{HEAD},scale\n" + rows.format("mean"))
    meant = to_results(read_csv(path)).scores("final")[0].runs[task].scores
    np.testing.assert_allclose(meant, 3 * summed)  # three agents
    low, high = (task_card(task).references[k].value for k in ("random", "best"))
    aggregates = json.loads(run("stats", path, "--json")[1])["aggregates"]
    assert aggregates["m"]["mean"]["value"] == pytest.approx(float((meant.mean() - low) / (high - low)))


def test_names_in_foreign_files_import_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "r.csv").write_text(f"{HEAD},scale\nm,trap:factory,0,1,0,1,sum\nm,vmas:trap.py,0,1,0,1,sum\n")
    assert run("stats", "r.csv")[0] == 0


def test_training_returns_are_never_scored(run: Run, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text('Step,"a-t-0 - train/return"\n1,2\n')
    code, text = run("import", "w.csv", "--format", "wandb", "--runs", "{method}-{task}-{seed}", "--scale", "sum")
    assert code == 0 and "nothing that may be scored" in text
    assert run("stats", "results.csv")[0] == 2
    code, text = run("lint", "results.csv")
    assert code == 1 and "[training-returns]" in text


def test_diverged_runs_of_unknown_tasks_need_a_floor(run: Run, tmp_path: Path) -> None:
    rows = "m,t,0,5,0,1,sum,ok,{0}\nm,t,1,0,0,,sum,diverged,{0}\n"
    (tmp_path / "r.csv").write_text(f"{HEAD},scale,status,floor\n" + rows.format(""))
    code, text = run("stats", "r.csv")
    assert code == 2 and "column `floor`" in text
    (tmp_path / "r.csv").write_text(f"{HEAD},scale,status,floor\n" + rows.format("-7"))
    code, text = run("stats", "r.csv", "--json")
    assert code == 0 and json.loads(text)["tasks"]["m"]["t"]["value"] == -3.0


def test_export_and_import_keep_every_number(run: Run, store: Store) -> None:
    assert run("export", store.root, "--out", "a.json")[0] == 0
    assert run("import", "a.json", "--format", "marl-eval", "--scale", "sum", "--out", "b.csv")[0] == 0
    ours, theirs = load_results(store).scores("absolute"), load_results("b.csv").scores("absolute")
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.pooled().values_N, b.pooled().values_N)
    assert run("export", store.root, "--format", "csv", "--out", "c.csv")[0] == 0
    back = from_results(load_results("c.csv"))
    assert {e.kind for e in back.evaluations} == {"curve", "final", "absolute"}
    assert back.facts["random", SUITE.tasks[0]].execution == "D0"
    assert run("lint", store.root)[0] == 0
    assert run("export", store.root, "--out", "a.json")[0] == 2  # never overwritten unasked


@pytest.mark.parametrize(
    "words",
    [
        ("stats",), ("stats", "absent.csv"), ("rank", "absent"), ("lint", "absent"), ("export", "absent"),
        ("import", "absent.csv", "--format", "csv"), ("import", "absent", "--format", "benchmarl"),
        ("import", "absent", "--format", "epymarl"), ("import", "absent", "--format", "wandb"),
        ("import", "absent", "--format", "csv", "--columns", "x"), ("table", "absent.csv"), ("report", "absent"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(run: Run, words: tuple[str, ...]) -> None:
    code, text = run(*words)
    assert code == 2 and "Traceback" not in text and text.startswith("rlnet-bench: ")
