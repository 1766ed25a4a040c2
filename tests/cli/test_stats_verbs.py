"""stats, compare, rank, power, sensitivity and run --until-decided, as a user calls them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from said import Run

from rlnet_bench.analysis.until_decided import declare, plan_file, run_until_decided
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.runs.plan import Plan, make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.worker import work

SPREAD, REFERENCE = "mpe/simple_spread-discrete-v1", "mpe/simple_reference-discrete-v1"


def write(
    path: Path, skills: dict[str, float], *, seeds: int = 8, tasks: tuple[str, ...] = (SPREAD, REFERENCE)
) -> Path:
    """A results.csv: absolute and final scores at -80 + 60 x skill, both modes, one class per method name's end."""
    rng = np.random.default_rng(0)
    lines = ["method,task,seed,frames,episode,return,kind,mode,scale,execution"]
    for method, skill in skills.items():
        for task in tasks:
            for seed in range(seeds):
                level = -80 + 60 * (skill + 0.03 * rng.standard_normal())
                for kind in ("final", "absolute"):
                    for mode, loss in (("deterministic", 0), ("sampled", 30 if method.startswith("brittle") else 1)):
                        for episode in range(3):
                            value = level - loss + rng.standard_normal()
                            execution = "C" if method.endswith("C") else "D0"
                            lines.append(f"{method},{task},{seed},1000,{episode},{value},{kind},{mode},sum,{execution}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_stats_prints_every_aggregate_with_its_interval(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2})
    code, text = run("stats", source)
    assert code == 0 and "iqm" in text and "[" in text and "includes the reference points" in text
    code, text = run("stats", source, "--json", "--solved", "0.5")
    row = json.loads(text)["aggregates"]["good"]
    assert {"iqm", "mean", "median", "optimality_gap", "lower_tail_mean"} < set(row) and len(row) == 6
    assert row["iqm"]["low"] < row["iqm"]["value"] < row["iqm"]["high"]


def test_every_verb_prints_the_same_interval(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2, "other": 0.5})
    stats, table = json.loads(run("stats", source, "--json")[1]), json.loads(run("table", source, "--json")[1])
    which = ("absolute", "deterministic", "return")
    cells = {(c["method"], c["task"]): c for c in table["per_task"] if (c["kind"], c["mode"], c["metric"]) == which}
    for method, row in stats["tasks"].items():
        assert stats["aggregates"][method] == table["aggregates"]["absolute"][method]
        for task, e in row.items():
            assert {**e, "method": method} == {k: cells[method, task][k] for k in e}
    ranks = json.loads(run("rank", source, "--json")[1])["ranks"]
    tests = {r["method"]: r for r in table["ranks"]["D0"]["ranks"]}
    for r in ranks:
        assert (r["low"], r["high"], r["mean"]) == tuple(tests[r["method"]][k] for k in ("low", "high", "value"))


def test_stats_against_rliable(run: Run, tmp_path: Path) -> None:
    code, text = run("stats", write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2}), "--engine", "rliable", "--json")
    gaps = json.loads(text)["difference"]
    assert code == 0 and abs(gaps["good"]["mean"][0]) < 1e-9


def test_compare_says_it_in_one_sentence(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "twin": 0.795, "bad": 0.2, "allC": 0.9})
    assert run("compare", "good", "bad", source)[1].startswith(
        "good is better than bad over 2 tasks with 8 seeds per method"
    )
    assert run("compare", "bad", "good", source)[1].startswith("bad is worse than good")
    text = run("compare", "good", "twin", source)[1]
    assert "not distinguishable" in text and "would tell" in text and "smallest possible" in text
    text = run("compare", "allC", "good", source)[1]
    assert "allC is of execution class C, good of class D0" in text and "allC sees more" in text
    code, text = run("compare", "allC", "good", source, "--same-class")
    assert code == 2 and "do not act on the same information" in text
    code, text = run("compare", "good", "god", source)
    assert code == 2 and "Did you mean" in text
    code, text = run("compare", source, "good", "bad")
    assert code == 2 and "compare A B SOURCE" in text
    assert "compare A B SOURCE" not in run("compare", "good", "bad", tmp_path / "nothing.csv")[1]


def test_compare_knows_what_few_seeds_cannot_tell(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.9, "bad": 0.1}, seeds=3, tasks=(SPREAD,))
    code, text = run("compare", "good", "bad", source)
    assert code == 0 and "the smallest p that these runs allow is 0.1; 4 seeds a side are the least" in text


def test_rank_stays_within_classes(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "twin": 0.8, "bad": 0.2, "allC": 0.9})
    code, text = run("rank", source, "--json")
    ranks = {r["method"]: (r["class"], r["low"], r["high"]) for r in json.loads(text)["ranks"]}
    assert code == 0 and ranks["bad"] == ("D0", 3, 3) and ranks["good"] == ("D0", 1, 2) and ranks["allC"] == ("C", 1, 1)
    assert "1-2" in run("rank", source)[1]


def test_a_verdict_over_tasks_names_those_that_go_the_other_way(run: Run, tmp_path: Path) -> None:
    tasks = (SPREAD, REFERENCE, "mpe/simple_speaker_listener-discrete-v1")
    one, two = write(tmp_path / "a.csv", {"x": 0.9, "y": 0.2}, tasks=tasks[:2]), None
    two = write(tmp_path / "b.csv", {"x": 0.3, "y": 0.5}, tasks=tasks[2:])
    both = tmp_path / "both.csv"
    both.write_text(one.read_text() + "".join(two.read_text().splitlines(keepends=True)[1:]))
    text = run("compare", "x", "y", both)[1]
    assert text.startswith("x is better than y over 3 tasks")
    assert "The mean goes the other way on mpe/simple_speaker_listener-discrete-v1 (-" in text.split("\n")[0]
    found = json.loads(run("compare", "x", "y", both, "--json")[1])
    assert found["tasks"][tasks[2]]["verdict"] == "worse" and found["suite"]["verdict"] == "better"
    low, high = found["suite"]["again"]
    assert low < found["suite"]["difference"]["low"] and high > found["suite"]["difference"]["high"]


def test_stats_predicts_new_runs(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8}, tasks=(SPREAD,))
    assert "a new mean of as many" in run("stats", source, "--predict")[1]
    [found] = json.loads(run("stats", source, "--json")[1])["predictions"]
    assert found["new_run"][0] < found["new_mean"][0] < found["new_mean"][1] < found["new_run"][1]


def test_power_from_a_pilot(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2})
    code, text = run("power", source, "--json", "--delta", 0.05, "--seeds", 10)
    found = json.loads(text)
    assert code == 0 and 0.01 < found["sd_between_runs"] < 0.06
    assert found["seeds_needed"][0]["seeds"] < 20 and found["smallest_difference"][0]["delta"] < 0.05
    assert run("power", source)[0] == 0


def test_sensitivity_shows_who_needs_deterministic_actions(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"brittle": 0.8, "steady": 0.7})
    code, text = run("sensitivity", source)
    assert code == 0 and "The order of methods changes with deterministic or sampled actions" in text
    assert "brittle > steady, then steady > brittle" in text


def test_units_of_a_task_without_reference_points(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2}, tasks=("x-v1", "y-v1"))
    assert "No suite aggregates: no task has reference points" in run("stats", source)[1]
    text = run("compare", "good", "bad", source)[1]
    assert text.startswith("good is better than bad on 2 of 2 tasks (x-v1, p < 0.001; y-v1, p < 0.001)")
    assert "No verdict over the suite: no task has reference points" in text
    assert "one by one" in run("rank", source)[1]
    code, text = run("stats", source, "--reference", "x-v1=-80,-20", "--json")
    assert code == 0 and set(json.loads(text)["aggregates"]) == {"good", "bad"}


def test_points_that_are_given_are_the_tasks_own_in_every_verb(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2}, tasks=("x-v1", "y-v1"))
    given = ("--reference", "x-v1=-80,-20", "--reference", "y-v1=-80,-20")
    assert "(`--reference TASK=LOW,HIGH` says what scores 0 and 1 there)" in run("stats", source)[1]
    code, text = run("table", source, "--which", "aggregate", "--format", "latex", *given)
    assert code == 0 and "IQM" in text and "What scores 0 and 1 was given, not measured: x-v1 -80 and -20; y-v1" in text
    stats = json.loads(run("stats", source, "--json", *given)[1])["aggregates"]
    assert json.loads(run("table", source, "--json", *given)[1])["aggregates"]["absolute"] == stats
    code, text = run("report", source, "--out", "page", *given)
    page = (tmp_path / "page" / "index.html").read_text()
    assert code == 0 and "--reference" in page and "good is first" in page and "n = 0" not in page
    for verb in ("table", "report", "sensitivity"):
        assert "expected a task out of x-v1, y-v1, found z" in run(verb, source, "--reference", "z=0,1")[1]
        assert run(verb, source, "--reference", "x-v1=1,0")[0] == 2


def test_compare_says_what_each_p_is_and_tests_no_unequal_budgets(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "r.csv", {"good": 0.8, "bad": 0.2})
    text = run("compare", "good", "bad", source)[1]
    assert "p, unadjusted" in text and "p, Holm over 2 tasks" in text
    found = json.loads(run("compare", "good", "bad", source, "--json")[1])["tasks"]
    assert sorted(t["adjusted_p"] / t["p_value"] for t in found.values()) == [pytest.approx(2), pytest.approx(2)]
    lines = source.read_text().replace(f"good,{SPREAD},", "LONG").splitlines()
    source.write_text("\n".join(x.replace("LONG", f"good,{SPREAD},").replace(",1000,", ",3000,") if "LONG" in x else x
                                for x in lines) + "\n")  # fmt: skip
    text = run("compare", "good", "bad", source)[1]
    line = next(x for x in text.splitlines() if x.startswith(f"on {SPREAD}"))
    assert f"not tested: budgets differ on {SPREAD} (good 3,000 frames, bad 1,000)" in line and "labellings" not in line
    assert "p, Holm over 1 task" in text and text.startswith(f"good is better than bad on 1 of 1 tasks ({REFERENCE}")
    assert json.loads(run("compare", "good", "bad", source, "--json")[1])["tasks"][SPREAD]["p_value"] is None


SUITE = Suite(
    name="tiny", tasks=[SPREAD], methods=["random", "coordinated"], seeds=2, budget={"frames": 100},
    evaluation={"episodes": 2, "absolute_episodes": 4},
)  # fmt: skip


def _drive(store: Store, plan: Plan) -> None:
    assert not work(store, plan.groups)


def test_until_decided_declares_first_stops_early_and_says_what_was_saved(tmp_path: Path, run: Run) -> None:
    store = Store.create(tmp_path / "store")
    plan = declare(store, SUITE, batch=5, looks=4)
    assert json.loads(plan_file(store, SUITE).read_text())["digest"] == plan.digest()
    outcome = run_until_decided(store, SUITE, plan, _drive)
    assert [(d.better, d.worse, d.look) for d in outcome.state.decisions] == [("coordinated", "random", 1)]
    assert outcome.state.saved == 0.75 and "30 of 40 planned runs were not needed" in " ".join(outcome.sentences())
    assert run_until_decided(store, SUITE, declare(store, SUITE, batch=5, looks=4), _drive) == outcome
    with pytest.raises(StoreError, match="another seed plan was declared"):
        declare(store, SUITE, batch=5, looks=3)
    assert run("stats", store.root)[0] == 0


def test_until_decided_goes_on_while_it_must(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    same = SUITE.model_copy(
        update={"methods": [*SUITE.methods, SUITE.methods[0].model_copy(update={"label": "again"})]}
    )
    outcome = run_until_decided(store, same, declare(store, same, batch=2, looks=2), _drive)
    assert outcome.state.looks_done == 2 and ("random", "again") in outcome.state.undecided
    assert any("random and again are not distinguishable with 4 seeds" in s for s in outcome.sentences())


def test_until_decided_keeps_device_and_threads(tmp_path: Path) -> None:
    planner = partial(make_plan, threads=3)
    store, grids = Store.create(tmp_path / "store"), []

    def drive(opened: Store, grid: Plan) -> None:
        grids.append(grid)
        work(opened, grid.groups)

    same = SUITE.model_copy(update={"methods": [SUITE.methods[0], SUITE.methods[0].model_copy(update={"label": "b"})]})
    plan = declare(store, same, batch=2, looks=2, planner=planner)
    run_until_decided(store, same, plan, drive, planner=planner)
    assert len(grids) == 2 and {g.config["threads"] for grid in grids for g in grid.groups} == {3}


def test_until_decided_refuses_runs_made_before_the_plan(tmp_path: Path) -> None:
    from rlnet_bench.runs.plan import make_plan

    store = Store.create(tmp_path / "store")
    plan = make_plan(SUITE)
    store.add_plan(plan)
    _drive(store, plan)
    with pytest.raises(StoreError, match="before a seed plan was declared"):
        declare(store, SUITE)
    with pytest.raises(BadInput, match="two methods to compare"):
        declare(store, SUITE.model_copy(update={"methods": SUITE.methods[:1]}))
