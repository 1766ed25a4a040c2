import json

import numpy as np
import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import RunScores, SeedPlan, next_batch


def world(means, n=20, tasks=("t",), seed=0):
    rng = np.random.default_rng(seed)
    return [RunScores.from_arrays(m, {t: rng.normal(x, 1, n) for t in tasks}) for m, x in zip("abcd", means)]


def plan(methods="ab", **options):
    return SeedPlan(tuple(methods), **{"tasks": ("t",), "n_labellings": 999, **options})


def test_plan_round_trip_and_digest():
    p = plan("abc", batch=4, pairs=(("a", "b"), ("a", "c")))
    assert SeedPlan.from_dict(json.loads(json.dumps(p.as_dict()))) == p
    assert p.digest() == SeedPlan.from_dict(p.as_dict()).digest() != plan("abc", batch=4).digest()
    assert plan("abc").pairs == (("a", "b"), ("a", "c"), ("b", "c"))
    assert p.seeds(2) == tuple(range(8)) and p.spent(4) == pytest.approx(0.05)


@pytest.mark.parametrize(
    "options", [{"batch": 1}, {"max_looks": 0}, {"tasks": ()}, {"pairs": (("a", "z"),)}, {"n_labellings": 10}]
)
def test_plans_that_make_no_sense_are_refused(options):
    with pytest.raises(BadInput, match="a seed plan needs"):
        plan(**options)
    with pytest.raises(BadInput, match="unknown key"):
        SeedPlan.from_dict({"methods": ["a", "b"], "tasks": ["t"], "stages": 3})


def test_nothing_run_yet():
    state = next_batch(plan(), [])
    assert state.looks_done == 0 and not state.is_finished
    assert state.needed == {"a": (0, 1, 2, 3, 4), "b": (0, 1, 2, 3, 4)} and state.saved == 1.0


def test_a_clear_difference_stops_early_and_saves_runs():
    state = next_batch(plan(), world([5, 0], n=5))
    assert state.is_finished and state.looks_done == 1 and state.undecided == ()
    assert [(d.better, d.worse, d.look) for d in state.decisions] == [("a", "b", 1)]
    assert (state.runs_used, state.runs_planned, state.saved) == (10, 40, 0.75)


def test_an_open_comparison_asks_for_the_next_batch_then_gives_up():
    waiting = next_batch(plan(), world([0, 0], n=5))
    assert not waiting.is_finished and waiting.needed["a"] == tuple(range(10))
    ended = next_batch(plan(), world([0, 0], n=20))
    assert ended.is_finished and ended.undecided == (("a", "b"),) and ended.looks_done == 4


def test_decided_methods_need_no_more_seeds():
    state = next_batch(plan("abc"), world([0, 0.1, 9], n=5))
    assert {(d.better, d.worse) for d in state.decisions} == {("c", "a"), ("c", "b")}
    assert state.needed == dict.fromkeys("ab", tuple(range(10)))
    a, b, c = world([0, 0.1, 9], n=20)
    short = RunScores.from_arrays("c", {"t": c.runs["t"].scores[:5]})
    assert next_batch(plan("abc"), [a, b, short]).is_finished


def test_decisions_are_replayed_not_reconsidered():
    long = world([0, 0.8], n=20, seed=3)
    states = []
    for n in (5, 10, 15, 20):
        part = [RunScores.from_arrays(m.method, {"t": m.runs["t"].scores[:n]}) for m in long]
        states.append(next_batch(plan(), part))
    final = next_batch(plan(), long)
    for state in states:
        assert state.boundaries == final.boundaries[: state.looks_done]
        assert state.decisions == final.decisions[: len(state.decisions)]
    assert states[-1] == final


def test_a_hole_in_the_seeds_waits():
    a, b = world([0, 5], n=6)
    keep = [0, 1, 2, 4, 5]
    from rlnet_bench.stats import TaskRuns

    holey = RunScores("a", {"t": TaskRuns(a.runs["t"].scores[keep], tuple(keep), ("ok",) * 5)})
    assert next_batch(plan(), [holey, b]).looks_done == 0


def test_unplanned_methods_are_refused():
    with pytest.raises(BadInput, match=r"\['c'\] are not in the seed plan"):
        next_batch(plan(), world([0, 0, 0]))


def test_constant_scores_are_never_told_apart_from_themselves():
    same = [RunScores.from_arrays(m, {"t": [0.1] * 20}) for m in "ab"]
    assert next_batch(plan(), same).decisions == ()
    apart = [RunScores.from_arrays(m, {"t": [x] * 20}) for m, x in (("a", 0.1), ("b", 0.3))]
    assert [(d.better, d.worse) for d in next_batch(plan(), apart).decisions] == [("b", "a")]
