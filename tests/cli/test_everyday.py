"""Small things of every day: versions, lists, drawings, names with arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from rlnet_bench.cli._grid import names
from rlnet_bench.cli.main import main
from rlnet_bench.networks.build import zoo_ids

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line in an empty directory; returns exit code and everything printed."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["rlnet-bench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as leave:
            code = int(leave.code or 0)
        text = capsys.readouterr()
        return code, text.out + text.err

    return call


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
