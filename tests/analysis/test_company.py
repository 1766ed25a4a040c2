"""No number depends on who else is in the table, on the verb that asks, or on the order of names."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlnet_bench.analysis import Estimates, judge
from rlnet_bench.analysis.comparing import compare, starts_shared
from rlnet_bench.analysis.pooling import pool
from rlnet_bench.analysis.references import facts_of
from rlnet_bench.analysis.results import Results
from rlnet_bench.reports import render_table
from rlnet_bench.stats.scores import RunScores

SPREAD = "mpe/simple_spread-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"


def less(results: Results, method: str, task: str) -> Results:
    """The results without a method's runs on a task."""
    return replace(results, records=tuple(r for r in results.records if (r.method, r.task) != (method, task)))


def said(e: Estimates) -> str:
    """Everything about the D0 methods, as text that shows a moved digit."""
    names = [m.label for m in e.classes["D0"]]
    pairs = {f"{a}>{b}": x.as_dict() for (a, b), x in e.improvement.items() if a in names and b in names}
    return json.dumps(
        {
            "aggregates": {
                k: {m: {s: x.as_dict() for s, x in e.aggregates[k][m].items()} for m in names} for k in e.aggregates
            },
            "ranks": [repr(r) for r in e.rankings["D0"].ranks],
            "p": [t.adjusted_p for t in e.rankings["D0"].tests],
            "pairs": pairs,
            "profiles": {m: [e.profiles[m].x_T.tolist(), e.profiles[m].low_T.tolist()] for m in names},
            "curves": {t: {m: e.by_frames[t][m].band.low_T.tolist() for m in names} for t in e.by_frames},
            "tasks": {
                f"{b.kind} {b.mode} {b.metric} {m} {t}": c.estimate.as_dict()
                for b in e.boards for m in names for t, c in b.cells.get(m, {}).items()
            },
        }
    )  # fmt: skip


def test_a_gap_of_one_class_moves_no_digit_of_another(quick: Results) -> None:
    whole, gap = judge(quick), judge(less(quick, "central", SPREAD))
    assert said(whole) == said(gap)
    assert "central" in whole.pool.methods and "central" not in gap.pool.methods
    assert gap.pool.coverage("central") == "2 of 3 tasks" and gap.pool.tasks == whole.pool.tasks
    assert any(f"central has no aggregate: 2 of 3 tasks, without {SPREAD}" in n for n in gap.pool.notes)
    lines = render_table(less(quick, "central", SPREAD), "markdown", "aggregate").splitlines()
    assert "2 of 3 tasks" in next(x for x in lines if "central" in x)


def test_the_order_and_number_of_methods_move_no_digit(quick: Results) -> None:
    turned = replace(quick, methods=tuple(reversed(quick.methods)))
    lone = replace(
        quick,
        methods=tuple(m for m in quick.methods if m.label != "central"),
        records=tuple(r for r in quick.records if r.method != "central"),
    )
    first = json.loads(said(judge(quick)))
    for other in (json.loads(said(judge(turned))), json.loads(said(judge(lone)))):
        for key in ("aggregates", "profiles", "curves", "tasks", "pairs"):
            assert other[key] == first[key], key


def test_ranks_and_p_values_name_their_family(quick: Results) -> None:
    ranking = judge(quick).rankings["D0"]
    assert ranking.family == "all 3 pairs of 3 methods"


@pytest.mark.parametrize("tasks", [(SPREAD,), (SPREAD, REFERENCE)])
def test_exchanging_two_methods_turns_the_sign_and_nothing_else(make: SimpleNamespace, tasks: tuple[str, ...]) -> None:
    results = make.build({"zeta": 0.6, "alpha": 0.52}, tasks, special={("alpha", SPREAD): {"seeds": tuple(range(7))}})
    e = judge(results)
    there, back = compare(e, "zeta", "alpha"), compare(e, "alpha", "zeta")
    assert there.suite is not None and back.suite is not None and there.iqm is not None and back.iqm is not None
    for x, y in [(there.suite, back.suite), *((there.by_task[t], back.by_task[t]) for t in tasks)]:
        assert x.test.p_value == y.test.p_value and x.test.statistic == -y.test.statistic
        assert x.difference.value == -y.difference.value
        assert (x.difference.low, x.difference.high) == (-y.difference.high, -y.difference.low)
        assert (x.chance.low, x.chance.high) == (1 - y.chance.high, 1 - y.chance.low)
        assert x.again == pytest.approx((-y.again[1], -y.again[0]))
        assert x.difference.n_per_task == y.difference.n_per_task_b
    assert (there.iqm.low, there.iqm.high) == (-back.iqm.high, -back.iqm.low)
    assert there.adjusted == back.adjusted


def test_the_pair_of_a_comparison_is_the_pair_of_the_matrix(quick: Results) -> None:
    e = judge(quick)
    suite = compare(e, "talker", "ippo").suite
    assert suite is not None and suite.chance == e.improvement["talker", "ippo"]


def test_pools_are_of_declared_tasks_only() -> None:
    facts = [facts_of(card) for card in _cards()]
    scores = [
        RunScores.from_arrays("whole", {SPREAD: [-50.0, -40.0], REFERENCE: [-50.0, -40.0]}),
        RunScores.from_arrays("part", {SPREAD: [-30.0, -20.0], REFERENCE: []}),
    ]
    found = pool(scores, facts)
    assert (found.tasks, found.methods) == ((SPREAD, REFERENCE), ("whole",)) and found.lacking == {"part": (REFERENCE,)}
    alone = pool(scores[:1], facts)
    assert np.array_equal(alone.scores[0].pooled().values_N, found.scores[0].pooled().values_N)
    nobody = pool(scores[1:], facts)
    assert not nobody.scores and nobody.why == "no method has scored runs on every pooled task"


def _cards():  # type: ignore[no-untyped-def]
    from synthetic import card_like

    return [card_like(SPREAD), card_like(REFERENCE)]


def test_starts_are_shared_by_equal_seeds_of_one_protocol(make: SimpleNamespace) -> None:
    results = make.build({"a": 0.6, "b": 0.5}, (SPREAD,))
    known = {"episodes": 32, "absolute_episodes": 320}
    told = tuple(replace(r, config={**r.config, "evaluation": known}) for r in results.records)
    e = judge(replace(results, records=told))
    assert starts_shared(e, "a", "b", SPREAD)
    assert any("still resamples each side's runs" in n for n in compare(e, "a", "b").notes)
    odd = tuple(
        replace(r, config={**r.config, "evaluation": {**known, "episodes": 8}}) if r.method == "b" else r for r in told
    )
    assert not starts_shared(judge(replace(results, records=odd)), "a", "b", SPREAD)
    assert not starts_shared(judge(results), "a", "b", SPREAD)  # nothing is known of imported runs
