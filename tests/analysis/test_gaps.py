"""Gaps: differences of learners that differ in one thing, with intervals, and only where learning has stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlnet_bench.analysis.gaps import measured_gaps, write_gaps
from rlnet_bench.analysis.results import Results
from rlnet_bench.cli import list_
from rlnet_bench.envs import cards
from rlnet_bench.envs.cards import Gap, gaps_from_yaml
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.reading.yaml import load

SPREAD = "mpe/simple_spread-discrete-v1"
PLAYERS: dict[str, dict[str, Any]] = {
    "ippo": {"observe": "own", "memory": "none"},
    "ippo-all": {"observe": "all", "memory": "none"},
    "ippo-gru": {"observe": "own", "memory": "gru"},
    "central": {"observe": "own", "memory": "none"},
}


def settled(results: Results, rising: str = "") -> Results:
    """The records as runs of the gaps suite, whose curves have stopped (but for one method's)."""
    made = []
    for r in results.records:
        method = "central" if r.method == "central" else "ippo"
        config = {**r.config, "method": method, "settings": PLAYERS[r.method]}
        evals = []
        for e in r.evals:
            if e.kind == "curve" and r.method != rising:
                final = next(x for x in r.evals if x.kind == "final" and x.mode == e.mode and x.seed == e.seed)
                e = replace(e, returns=np.full_like(e.returns, final.returns.mean()))
            elif e.kind == "curve":
                e = replace(e, returns=np.full_like(e.returns, (-80.0 + 60.0 * e.frames / 100_000) / 3))
            evals.append(e)
        made.append(replace(r, config=config, evals=tuple(evals)))
    return replace(results, records=tuple(made))


def made(make: SimpleNamespace, **skills: float) -> Results:
    known = {"ippo": 0.2, "ippo-all": 0.5, "ippo-gru": 0.2, "central": 0.9}
    results = make.build({**known, **skills}, (SPREAD,), controls={}, spread=0.02)
    return replace(results, cards={SPREAD: make.with_references(task_card(SPREAD))})


def test_gaps_by_hand(make: SimpleNamespace) -> None:
    results = settled(made(make))
    [row] = measured_gaps(results).values()
    scores = {s.method: (s.runs[SPREAD].scores + 80.0) / 60.0 for s in results.scores("final")}
    for name, (a, b) in {
        "information": ("ippo-all", "ippo"), "coordination": ("central", "ippo-all"), "memory": ("ippo-gru", "ippo"),
    }.items():  # fmt: skip
        gap = row[name]
        assert gap.value == pytest.approx(scores[a].mean() - scores[b].mean(), abs=1e-4)
        assert gap.low is not None and gap.high is not None and gap.low < gap.value < gap.high
        assert (gap.runs, gap.frames, gap.mode) == (5, 100_000, "deterministic")
    assert row["information"].low > 0.2 and row["memory"].low < 0 < row["memory"].high


def test_where_somebody_still_learns_there_is_no_gap(make: SimpleNamespace) -> None:
    [row] = measured_gaps(settled(made(make), rising="ippo-all")).values()
    reason = "still learning: ippo-all gained 0.25 in the last quarter"
    assert row["information"] == Gap(reason=reason, suite=row["information"].suite, frames=100_000, runs=5,
                                     mode="deterministic")  # fmt: skip
    assert row["coordination"].value is None and row["memory"].value is not None
    assert str(row["information"]) == "still learning"


def test_what_was_not_run_is_absent(make: SimpleNamespace) -> None:
    results = settled(made(make))
    some = replace(results, records=tuple(r for r in results.records if r.method in ("ippo", "ippo-gru")))
    assert list(measured_gaps(some)[SPREAD]) == ["memory"]
    with pytest.raises(BadInput, match=r"no two of `ippo`.*`rlnet-bench run gaps` makes them"):
        measured_gaps(replace(results, records=()))


def test_written_merged_and_listed(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gaps.yaml"
    found = measured_gaps(settled(made(make), rising="ippo-gru"))
    write_gaps(path, {SPREAD: {"memory": Gap(0.5)}, "lbf/8x8-2p-2f-coop-v1": {"memory": Gap(0.25, 0.2, 0.3)}})
    write_gaps(path, found)
    read = gaps_from_yaml(load(path).data, "gaps.yaml")
    assert read[SPREAD] == found[SPREAD] and read["lbf/8x8-2p-2f-coop-v1"]["memory"] == Gap(0.25, 0.2, 0.3)
    path.write_text("a: {b: 1}")
    with pytest.raises(BadInput, match="expected gaps"):
        write_gaps(path, found)

    before = task_card(SPREAD).hash()
    fake: Callable[[], dict[str, dict[str, Gap]]] = lambda: read  # noqa: E731
    monkeypatch.setattr(cards, "gaps", fake)
    monkeypatch.setenv("COLUMNS", "400")
    list_.list_(list_.Kind.tasks)
    lines = capsys.readouterr().out.splitlines()
    [spread] = [x for x in lines if x.startswith(SPREAD)]
    gap = found[SPREAD]["information"]
    assert f"{gap.value:.2f} [{gap.low:.2f}, {gap.high:.2f}]" in spread and "still learning" in spread
    assert all("not measured" in x for x in lines if x.startswith("mpe/simple_reference"))
    list_.list_(list_.Kind.tasks, json=True)
    rows = {r["id"]: r for r in json.loads(capsys.readouterr().out)}
    assert rows[SPREAD]["information_gap"] == asdict(gap) and rows[SPREAD]["memory_gap"]["value"] is None
    assert rows["mpe/simple_reference-discrete-v1"]["memory_gap"] is None
    assert task_card(SPREAD).hash() == before
