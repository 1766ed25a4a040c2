"""A declared trial: what counts as winning, as not inferior, as undecided, by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.trial import TaskTrial, judge_trial, sentences
from rlnet_bench.cli import trial as verb
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.suite import load_suite

DEV, ONE, TWO = (f"mpe/simple_spread{x}-discrete-v1" for x in ("", "-n4", "-n5"))
TRIAL = {"primary": "net", "comparators": ["ippo", "gnn"], "controls": ["noise"], "margin": 0.1, "kind": "final"}


def made(make: SimpleNamespace, skills: dict[str, float], special: Any = None, **trial: Any) -> Results:
    """Runs with a spread of 0.05 whose first test task has the skills less 0.02, the second less 0.04."""
    found = make.build(skills, (DEV, ONE, TWO), controls={}, special=special)
    cards = {t: make.with_references(task_card(t)) for t in found.tasks}
    return replace(found, cards=cards, suite={**found.suite, "test": [ONE, TWO], "trial": {**TRIAL, **trial}})


def judged(results: Results) -> dict[str, TaskTrial]:
    return {t.task: t for t in judge_trial(judge(results))[1]}


def scores(results: Results, method: str, task: str) -> np.ndarray:
    found = next(s for s in results.scores("final") if s.method == method)
    return (found.runs[task].scores + 80.0) / 60.0


def test_it_wins_where_it_is_better_than_each(make: SimpleNamespace) -> None:
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2})
    found = judged(results)
    assert [t.outcome for t in found.values()] == ["undecided", "wins", "wins"]
    assert [t.is_test for t in found.values()] == [False, True, True]
    for task in (ONE, TWO):
        mine, theirs = scores(results, "net", task), scores(results, "gnn", task)
        gnn = found[task].comparators[1]
        assert gnn.difference == pytest.approx(mine.mean() - theirs.mean())
        welch = stats.ttest_ind(mine, theirs, equal_var=False)
        assert (gnn.low, gnn.high) == pytest.approx(tuple(welch.confidence_interval(0.95)))
        assert (gnn.at_least, gnn.at_most) == pytest.approx(tuple(welch.confidence_interval(0.90)))
        assert gnn.p == pytest.approx(2 / len(list(combinations(range(10), 5))))  # complete separation
        assert found[task].adjusted_p == pytest.approx(2 * gnn.p)  # Holm over two tasks with equal p
        assert found[task].beats_controls
    assert found[DEV].adjusted_p is None


def test_one_comparator_that_is_as_good_spoils_the_win(make: SimpleNamespace) -> None:
    found = judged(made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.9, "noise": 0.2}))
    assert {found[t].outcome for t in (ONE, TWO)} <= {"not inferior", "undecided"}
    assert max(c.beats for c in found[ONE].comparators) > 0.05


@pytest.mark.parametrize(("gnn", "outcome"), [(0.9, "not inferior"), (1.3, "inferior")])
def test_margin(make: SimpleNamespace, gnn: float, outcome: str) -> None:
    tight = {(m, t): {"spread": 0.005} for m in ("net", "gnn", "ippo") for t in (ONE, TWO)}
    found = judged(made(make, {"net": 0.9, "ippo": 0.89, "gnn": gnn, "noise": 0.2}, tight))
    assert found[ONE].outcome == outcome
    assert found[ONE].comparators[1].seeds == 0


def test_where_nobody_is_further_than_the_margin_from_random_nothing_was_learned(make: SimpleNamespace) -> None:
    """Random play itself would be not inferior there."""
    skills = {"net": 0.10, "ippo": 0.09, "gnn": 0.10, "noise": 0.1}
    tight = {(m, t): {"spread": 0.003} for m in skills for t in (ONE, TWO)}
    results = made(make, skills, tight)
    found = judged(results)
    assert [found[t].outcome for t in (ONE, TWO)] == ["nothing learned", "nothing learned"]
    assert all(c.at_least > -0.1 for c in found[ONE].comparators)
    assert "above random play" in sentences(*judge_trial(judge(results)))[0]
    assert judged(made(make, skills, tight, margin=0.05))[ONE].outcome == "not inferior"


def test_undecided_says_how_many_seeds_would_tell(make: SimpleNamespace) -> None:
    wide = {(m, ONE): {"spread": 0.3} for m in ("net", "gnn")}
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.9, "noise": 0.2}, wide)
    found = judged(results)[ONE]
    assert found.outcome == "undecided"
    mine, theirs = scores(results, "net", ONE), scores(results, "gnn", ONE)
    distance, variance = mine.mean() - theirs.mean() + 0.1, mine.var(ddof=1) + theirs.var(ddof=1)
    n = found.comparators[1].seeds
    enough, one_less = (
        (stats.t.ppf(0.95, 2 * k - 2) + stats.t.ppf(0.8, 2 * k - 2)) ** 2 * variance / k <= distance**2
        for k in (n, n - 1)
    )
    assert enough and not one_less and n > 5
    said = sentences(*judge_trial(judge(results)))
    assert any(f"about {found.comparators[1].seeds} seeds against gnn would decide" in s for s in said)


def test_what_has_not_run_is_open_and_still_counts_in_the_family(make: SimpleNamespace) -> None:
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2})
    kept = tuple(r for r in results.records if (r.method, r.task) != ("gnn", TWO))
    found = judged(replace(results, records=kept))
    assert (found[TWO].outcome, found[TWO].open) == ("open", "gnn without two runs")
    assert found[ONE].adjusted_p == pytest.approx(2 * found[ONE].comparators[1].p)


def only(record: RunRecord, *seeds: int) -> RunRecord:
    """Some seeds of a record."""
    kept = {s: v for s, v in record.seed_status.items() if s in seeds}
    return replace(record, seed_status=kept, evals=tuple(e for e in record.evals if e.seed in seeds))


def test_with_fewer_runs_than_declared_it_says_so(make: SimpleNamespace) -> None:
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2})
    assert not any(t.short for t in judged(results).values())
    part = tuple(only(r, 0, 1, 2) if (r.method, r.task) == ("net", ONE) else r for r in results.records)
    cut = replace(results, records=part)
    assert {t: f.short for t, f in judged(cut).items()} == {DEV: "", ONE: "net 3 of 5", TWO: ""}
    first, second, _ = sentences(*judge_trial(judge(cut)))
    assert "Runs are missing (net 3 of 5)" in first and "Runs are missing" not in second


def test_more_seeds_are_asked_for_than_there_are(make: SimpleNamespace) -> None:
    wide = {(m, ONE): {"spread": 0.3} for m in ("net", "gnn")}
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.9, "noise": 0.2}, wide)
    two = replace(results, records=tuple(only(r, 0, 1) if r.task == ONE else r for r in results.records))
    wanted = [c for c in judged(two)[ONE].comparators if not (c.at_least > -0.1 or c.at_most < -0.1)]
    assert wanted and all(c.seeds > 2 for c in wanted)


def test_other_budgets_are_not_judged(make: SimpleNamespace) -> None:
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2})
    longer = tuple(
        replace(r, config={**r.config, "frames": 10 * r.config["frames"]}) if (r.method, r.task) == ("net", ONE) else r
        for r in results.records
    )
    found = judged(replace(results, records=longer))
    assert [found[t].outcome for t in (ONE, TWO)] == ["open", "wins"]
    assert found[ONE].open.startswith(f"budgets differ on {ONE} (net ")
    assert found[TWO].adjusted_p == pytest.approx(2 * found[TWO].comparators[1].p)


def test_early_learning_is_said(make: SimpleNamespace) -> None:
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2})
    frames, curves, _ = results.curve("gnn", ONE)
    mean = ((curves + 80.0) / 60.0).mean(axis=0)
    by_hand = mean[-1] - np.interp(75_000, frames, mean)
    found = judged(results)[ONE]
    assert found.gain == pytest.approx(by_hand)
    assert found.is_early == (by_hand > 0.02)


def test_the_mode_is_that_of_the_family(make: SimpleNamespace) -> None:
    found = judged(made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2}))
    assert {t.mode for t in found.values()} == {"deterministic"}
    lbf = make.build({"net": 0.9, "ippo": 0.3}, ("lbf/x",), controls={})
    trial = {"primary": "net", "comparators": ["ippo"]}
    [task] = judged(replace(lbf, suite={**lbf.suite, "test": ["lbf/x"], "trial": trial})).values()
    assert task.mode == "sampled"


SUITE = """
name: mine
tasks: {{development: [mpe/simple_spread-discrete-v1], test: [{test}]}}
methods: [random, ippo, mappo, ia2c]
seeds: 2
budget: {{frames: 1000}}
trial: {{primary: {primary}, comparators: [{comparators}]}}
"""
NAVIGATE = "mpe/simple_reference-discrete-v1"


def written(folder: Path, test: str = NAVIGATE, primary: str = "ippo", comparators: str = "mappo, ia2c") -> Path:
    path = folder / "mine.yaml"
    path.write_text(SUITE.format(test=test, primary=primary, comparators=comparators))
    return path


def test_a_suite_declares_it(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path))
    assert suite.trial is not None
    assert suite.trial.comparators == ["mappo", "ia2c"]
    assert suite.model_dump()["trial"]["margin"] == 0.1
    part = load_suite(written(tmp_path), ["methods=[random, ippo]"])
    assert part.trial is None
    assert "trial" not in part.model_dump()  # suites without one are written as they always were


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"primary": "ipo"}, "trial: expected labels of `methods` (random, ippo, mappo, ia2c), found ipo"),
        ({"comparators": "mappo, ippo"}, "expected every method once"),
        ({"comparators": ""}, "trial.comparators"),
        ({"test": ""}, "trial: it is judged on test tasks"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadInput, match=r"mine\.yaml") as caught:
        load_suite(written(tmp_path, **change))
    assert sentence in str(caught.value)


def test_results_without_a_trial(make: SimpleNamespace) -> None:
    with pytest.raises(BadInput, match="declares no trial"):
        judge_trial(judge(make.build({"ippo": 0.5})))


def test_the_verb(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    results = made(make, {"net": 0.9, "ippo": 0.3, "gnn": 0.5, "noise": 0.2})
    kept = tuple(r for r in results.records if (r.method, r.task) != ("gnn", TWO))
    monkeypatch.setattr(verb, "judged_source", lambda *a: judge(replace(results, records=kept)))
    verb.trial()
    out = capsys.readouterr().out
    assert f"{ONE}: net is better than each comparator" in out
    assert f"{TWO}: open (gnn without two runs)" in out
    assert "net on 2 test tasks: 1 wins, 1 open." in out
