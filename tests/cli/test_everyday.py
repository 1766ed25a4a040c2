"""Small things of every day: versions, lists, drawings, names with arguments."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from said import Run

import rlnet_bench as rb
from rlnet_bench.cli._grid import names
from rlnet_bench.errors import BadInput, in_python
from rlnet_bench.learning.policy import Policy
from rlnet_bench.networks.build import zoo_ids
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.worker import work

TINY = Suite(
    name="tiny", tasks=["mpe/simple_spread-discrete-v1"], methods=["random"], seeds=2, budget={"frames": 100},
    evaluation={"episodes": 2, "absolute_episodes": 2},
)  # fmt: skip


def test_errors_in_python_name_arguments(run: Run) -> None:
    with pytest.raises(BadInput, match=r"^overrides 'x': expected key.path=value"):
        rb.load_suite("quick", ["x"])
    code, text = run("plan", "quick", "--set", "x")
    assert code == 2 and "--set 'x': expected key.path=value" in text
    assert (
        in_python("use --workers 2, or `rlnet-bench run --workers 2`")
        == "use workers 2, or `rlnet-bench run --workers 2`"
    )


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"rlnet-bench {version('rlnet-bench')}\n")


def test_plan_takes_what_run_takes(run: Run) -> None:
    added = ("--method", "coordinated", "--network", "zoo/tag-3ppo", "--task", "mpe/simple_reference-discrete-v1")
    code, text = run(
        "plan", "quick", "--methods", "random", "--tasks", "mpe/simple_spread-discrete-v1", *added, "--json"
    )
    groups = json.loads(text)["groups"]
    assert code == 0
    assert {g["config"]["label"] for g in groups} == {"random", "coordinated", "zoo/tag-3ppo"}
    assert len({g["config"]["task"] for g in groups}) == 2


def test_commas_within_the_arguments_of_a_task_do_not_split_it() -> None:
    mine = "vmas:my_scenario.py:n_agents=3,max_steps=200,action=discrete"
    assert names(f"x/y, {mine},random") == ["x/y", mine, "random"]
    assert names("pz:factory?a=1&b=2,x") == ["pz:factory?a=1&b=2", "x"]


@pytest.mark.parametrize(("ending", "magic"), [("svg", b"<svg"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_drawings_are_what_their_ending_says(run: Run, tmp_path: Path, ending: str, magic: bytes) -> None:
    assert run("network", "draw", "zoo/bridged-3ppo", "--out", f"a.{ending}")[0] == 0
    run("network", "draw", "zoo/bridged-3ppo", "--out", f"b.{ending}")
    first = (tmp_path / f"a.{ending}").read_bytes()
    assert first.startswith(magic) and first == (tmp_path / f"b.{ending}").read_bytes()
    run("network", "draw", "zoo/tag-3ppo", "--out", f"b.{ending}")
    assert first != (tmp_path / f"b.{ending}").read_bytes()


def test_an_unknown_ending_is_refused(run: Run, tmp_path: Path) -> None:
    code, text = run("network", "draw", "zoo/tag-3ppo", "--out", "a.gif")
    assert code == 2 and ".svg, .pdf or .png, found .gif" in text and not (tmp_path / "a.gif").exists()


def test_networks_are_listed_with_what_they_are(run: Run) -> None:
    rows = {r["id"]: r for r in json.loads(run("list", "networks", "--json")[1])}
    assert sorted(rows) == zoo_ids()
    assert rows["zoo/tag-3ppo"]["class"] == "C" and rows["zoo/tag-3ppo"]["vertices of 3 agents"] > 3
    assert all(r["description"] for r in rows.values())


def test_of_two_suites_the_newest_is_taken_and_said(run: Run, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    for name in ("first", "second"):
        plan = make_plan(TINY.model_copy(update={"name": name}))
        store.add_plan(plan)
        assert not work(store, plan.groups)
    for verb in ("table", "stats", "status"):
        code, text = run(verb, "store") if verb != "status" else run(verb, "--store", "store")
        assert code == 0 and "holds second-v1, first-v1: this is second-v1, the newest" in text, text
    assert "the newest" not in run("table", "store", "--suite", "first")[1]


def test_results_and_policies_are_handy_in_python(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    plan = make_plan(TINY)
    store.add_plan(plan)
    assert not work(store, plan.groups)
    results = rb.load_results(store.root)
    assert repr(results) == "<Results tiny-v1: 1 method, 1 task, 2 of 2 runs ended>"
    html = results._repr_html_()
    assert html.startswith("<table>") and "<th>random</th>" in html and "2 ok" in html and "<Results" not in html
    policy = rb.load_policy(next((tmp_path / "store" / "runs").iterdir()))
    assert rb.evaluate(policy, episodes=3).team.shape == (2, 3)
    assert rb.evaluate(policy, "mpe/simple_spread-discrete-v1", episodes=1).team.shape == (2, 1)
    with pytest.raises(BadInput, match="seeds: expected one for each of the policy's 2 replicas, found 3"):
        rb.evaluate(policy, seeds=[1, 2, 3])
    with pytest.raises(BadInput, match="episodes: expected at least 1"):
        rb.evaluate(policy, episodes=0)
    with pytest.raises(BadInput, match=r"card: Policy .*knows no task"):
        rb.evaluate(Policy())
