"""Every rule of the linter finds its case, in a sentence, and clean results pass."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.imported import to_results
from rlnet_bench.analysis.lint import lint
from rlnet_bench.foreign.csv import parse_csv
from rlnet_bench.foreign.summary import parse_summary
from rlnet_bench.foreign.table import CellFacts, Evaluation, ForeignTable

FACTS = CellFacts("sum", "frames", 25, "", "D0")


def made(
    methods: dict[str, CellFacts] | None = None,
    *,
    seeds: int = 5,
    end: int = 1000,
    name: str = "source",
    **change: object,
) -> ForeignTable:
    """Five seeds of two methods on one task, curve, final and absolute, with changes to every evaluation."""
    rng = np.random.default_rng(0)
    facts = {(m, "spread"): f for m, f in (methods or {"ippo": FACTS, "mappo": FACTS}).items()}
    evaluations = []
    for method, task in facts:
        for seed in range(seeds):
            for kind, frames in (("curve", 0), ("curve", end), ("final", end), ("absolute", end)):
                e = Evaluation(method, task, seed, kind, "deterministic", frames, rng.normal(size=(4, 3)))  # type: ignore[arg-type]
                evaluations.append(replace(e, **change))
    return ForeignTable(name, tuple(evaluations), facts)


def rules(*tables: ForeignTable) -> dict[str, str]:
    """Rule -> sentence."""
    return {f.rule: f.sentence for f in lint(tables)}


def test_clean_results_pass() -> None:
    assert not lint([made()])


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        ({"scale": "mean"}, "scale", ["ippo on the scale sum", "mappo on the scale mean"]),
        ({"scale": "unknown"}, "scale", ["added over agents or averaged", "mappo"]),
        ({"steps": "vector-steps"}, "steps", ["ippo in frames", "mappo in vector-steps"]),
        ({"horizon": 50}, "horizon", ["ippo: 25 steps", "mappo: 50 steps"]),
        ({"task_hash": "abc"}, "seeds-none", []),
    ],
)
def test_two_methods_that_differ(change: dict[str, object], rule: str, words: list[str]) -> None:
    found = rules(made({"ippo": FACTS, "mappo": replace(FACTS, **change)}))  # type: ignore[arg-type]
    if not words:
        assert not found  # one method knows its hash, the other does not: nothing to say
        return
    assert set(found) == {rule}
    for word in words:
        assert word in found[rule]


def test_different_hashes_under_one_name() -> None:
    facts = {"ippo": replace(FACTS, task_hash="aaa"), "mappo": replace(FACTS, task_hash="bbb")}
    assert "different tasks" in rules(made(facts))["task-hash"]


def test_a_task_of_ours_with_another_hash_or_horizon() -> None:
    task = "mpe/simple_spread-discrete-v1"
    table = made()
    moved = ForeignTable(
        "old", tuple(replace(e, task=task) for e in table.evaluations),
        {(m, task): replace(f, task_hash="0123456789abcdef", horizon=50) for (m, _), f in table.facts.items()},
    )  # fmt: skip
    found = rules(moved)
    assert "another version of the task" in found["task-hash"] and "last 50 steps" in found["horizon"]


def test_sums_beside_means_on_a_task_of_ours_are_only_said() -> None:
    """The card knows how many agents there are, so that all verbs bring both to one scale."""
    task = "mpe/simple_spread-discrete-v1"
    table = made({"ippo": FACTS, "mappo": replace(FACTS, scale="mean")})
    facts = {(m, task): f for (m, _), f in table.facts.items()}
    (found,) = lint([ForeignTable("t", tuple(replace(e, task=task) for e in table.evaluations), facts)])
    assert (found.rule, found.severity) == ("scale", "note") and "3 agents" in found.sentence


def test_budgets_that_differ_by_a_whole_factor() -> None:
    found = rules(made({"ippo": FACTS}, end=1000), made({"mappo": FACTS}, end=10_000, name="other"))
    assert "10 times as many" in found["steps"] and "parallel environments" in found["steps"]
    assert "budgets differ" in rules(made({"a": FACTS}, end=1000), made({"b": FACTS}, end=1300))["budget"]


def test_unequal_and_few_seeds() -> None:
    found = rules(made({"ippo": FACTS}), made({"mappo": FACTS}, seeds=3, name="other"))
    assert "ippo (source) 5, mappo (other) 3" in found["seeds"] and "mappo (other) 3" in found["few-seeds"]


def test_training_returns_and_best_episodes() -> None:
    assert "while exploring" in rules(made(kind="training"))["training-returns"]
    table = made({"ippo": FACTS})
    top = {
        s: max(e.returns.sum(axis=1).max() for e in table.evaluations if e.seed == s and e.kind == "curve")
        for s in range(5)
    }
    lucky = tuple(
        replace(e, returns=np.array([[top[e.seed]]])) if e.kind == "absolute" else e for e in table.evaluations
    )
    assert "best single episode" in rules(replace(table, evaluations=lucky))["best-episode"]
    assert "best-episode" not in rules(table)


def test_modes_means_copies_versions_and_tasks() -> None:
    found = rules(made({"a": FACTS}), made({"b": FACTS}, mode="sampled", name="other"))
    assert "chosen in different ways" in found["modes"]
    one = made({"a": FACTS}, returns=np.array([[1.0]]), episodes=None)
    assert any(f.rule == "means" and f.severity == "note" for f in lint([one]))
    table = made({"a": FACTS})
    copies = tuple(replace(e, returns=table.evaluations[i % 4].returns) for i, e in enumerate(table.evaluations))
    assert "they are one run" in rules(replace(table, evaluations=copies))["copies"]
    v1, v2 = (
        ForeignTable(t, tuple(replace(e, task=t) for e in table.evaluations), {("a", t): FACTS})
        for t in ("x-v1", "x-v2")
    )
    assert "different tasks" in rules(v1, v2)["task-version"]
    other = ForeignTable("y", tuple(replace(e, task="y", method="b") for e in table.evaluations), {("b", "y"): FACTS})
    assert "no runs on" in rules(v1, other)["tasks"]


def test_copies_are_found_by_the_rule_of_the_tables(make: SimpleNamespace) -> None:
    """Means alone, one per evaluation: too few at the end to tell, enough along the curve."""
    rng = np.random.default_rng(1)
    values = {s: np.cumsum(rng.random(6)) for s in range(4)}
    rows = "".join(
        f"a,x,{seed + 10 * again},{100 * k},mean,{v}\n" for seed in values for again in (0, 1)
        for k, v in enumerate(values[seed])
    )  # fmt: skip
    table = parse_csv(f"method,task,seed,frames,episode,return,scale\n{rows}".replace(",scale", ""))
    table = table.with_scale("sum")
    assert sum(f.rule == "copies" for f in lint([table])) == 4
    e = judge(to_results(table))
    assert e.findings.copies == {("a", "x"): (10, 11, 12, 13)} and e.board().cell("a", "x").n == 4


def test_far_below_random_is_found(make: SimpleNamespace) -> None:
    results = make.build({"qmix": -8.0, "ippo": 0.5}, ("mpe/simple_spread-discrete-v1",))
    found = [f for f in lint([], judged=[judge(results).findings]) if f.rule == "below-random"]
    assert len(found) == 1 and found[0].sentence.startswith("qmix on mpe/simple_spread-discrete-v1: ")
    assert found[0].severity == "problem"


def test_tables_of_means_that_contradict_themselves() -> None:
    summary = parse_summary("method,task,mean,max,min,n\na,t,5,4,1,10\nb,t,5,6,5.5,3\n", "paper.csv")
    found = [f.sentence for f in lint([], [summary])]
    assert "paper.csv, line 2: a on t has a maximum of 4, below its mean of 5." in found
    assert "paper.csv, line 3: b on t has a minimum of 5.5, above its mean of 5." in found
    assert any("3 seeds" in s for s in found) and any("different numbers of seeds (3, 10)" in s for s in found)
