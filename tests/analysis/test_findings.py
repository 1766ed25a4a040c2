"""What cannot be compared is marked or refused in every table; what failed stays a row."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.comparing import compare
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.verdict import sentences
from rlnet_bench.reports import build_report, render_table

SPREAD = "mpe/simple_spread-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"


def logged_twice(results: Results, method: str) -> Results:
    """Every run of a method once more under another seed, as some public data sets log them."""
    records = []
    for r in results.records:
        again = [replace(e, seed=e.seed + 10) for e in r.evals]
        if r.method == method:
            r = replace(
                r,
                evals=(*r.evals, *again),
                seed_status={**r.seed_status, **{s + 10: v for s, v in r.seed_status.items()}},
            )
        records.append(r)
    return replace(results, records=tuple(records))


def test_copies_of_runs_count_once(make: SimpleNamespace) -> None:
    once = make.build({"a": 0.6, "b": 0.5}, (SPREAD,), seeds=(0, 1, 2, 3))
    twice = judge(logged_twice(once, "a"))
    cell = twice.board().cell("a", SPREAD)
    assert cell is not None and cell.n == 4 and not cell.estimate.has_interval
    assert cell.estimate == judge(once).board().cell("a", SPREAD).estimate
    assert twice.by_frames[SPREAD]["a"].runs.n == 4
    note = f"a on {SPREAD}: seeds 10, 11, 12, 13 repeat the numbers of another seed and count once."
    assert note in twice.notes and any(note in s.text for s in sentences(twice) if s.weight == "warning")


def test_one_run_under_two_names_is_said_once(make: SimpleNamespace) -> None:
    results = make.build({"a": 0.6, "b": 0.5}, (SPREAD,))
    first = results.find("a", SPREAD)[0]
    copied = tuple(replace(first, config={**r.config}) if r.method == "b" else r for r in results.records)
    e = judge(replace(results, records=copied))
    [said] = e.findings.sentences
    assert said.startswith(f"a and b share runs (the very same numbers) on {SPREAD}: they are one method, or one run")


def test_solved_tasks_are_no_copies(make: SimpleNamespace) -> None:
    results = make.build({"a": 1.0}, (SPREAD,), spread=0.0)
    flat = tuple(replace(r, evals=tuple(replace(e, returns=e.returns * 0.0) for e in r.evals)) for r in results.records)
    assert judge(replace(results, records=flat)).board().cell("a", SPREAD).n == 5


def test_far_below_random_is_said_and_marked(make: SimpleNamespace) -> None:
    results = make.build(
        {"qmix": -8.0, "ippo": 0.5}, (SPREAD, REFERENCE), special={("qmix", REFERENCE): {"spread": 0.0}}
    )
    e = judge(results)
    assert (
        e.board().cell("qmix", SPREAD).mark.endswith("far below the random policy (-80): scale, horizon or task differ")
    )
    assert not e.board().cell("ippo", SPREAD).mark
    text = render_table(results, "latex", "tasks")
    assert "‡" not in text and r"\textdaggerdbl" in text and "far below the random policy" in text
    assert any("far below" in s.text and s.weight == "warning" for s in sentences(e))


def test_a_diverged_run_at_its_floor_is_no_finding(make: SimpleNamespace) -> None:
    results = make.build({"a": 0.6, "b": 0.5}, (SPREAD,), special={("a", SPREAD): {"diverged": (0, 1, 2, 3)}})
    assert not judge(results).findings.below


def test_different_budgets_are_not_compared(make: SimpleNamespace) -> None:
    results = make.build({"long": 0.9, "short": 0.1}, (SPREAD,), special={("long", SPREAD): {"frames": 400_000}})
    e = judge(results)
    board = e.board()
    assert not board.is_bold("long", SPREAD) and not board.is_tied("short", SPREAD)
    assert board.verdicts[SPREAD]["D0"].reason.startswith(
        f"budgets differ on {SPREAD} (long 400,000 frames, short 100,000)"
    )
    ranking = e.rankings["D0"]
    assert ranking.reason and (ranking["short"].low, ranking["short"].high) == (1, 2)
    assert compare(e, "long", "short").sentence.startswith("No claim about long and short: budgets differ")
    assert "no claim: budgets differ" in sentences(e)[0].text
    equal = judge(make.build({"long": 0.9, "short": 0.1}, (SPREAD,)))
    assert equal.board().is_bold("long", SPREAD)


def test_where_budgets_differ_on_one_task_only_the_others_are_tested(make: SimpleNamespace) -> None:
    other = {("long", SPREAD): {"frames": 400_000}}
    found = compare(judge(make.build({"long": 0.9, "short": 0.1}, (SPREAD, REFERENCE), special=other)), "long", "short")
    unequal, equal = found.by_task[SPREAD], found.by_task[REFERENCE]
    assert unequal.test is None and unequal.again is None and unequal.untested.startswith(f"budgets differ on {SPREAD}")
    assert unequal.verdict(0.95) == "not tested" and found.suite and found.suite.test is None
    assert equal.test and found.adjusted == {REFERENCE: equal.test.p_value}  # a family of one
    assert found.sentence.startswith(f"long is better than short on 1 of 1 tasks ({REFERENCE}")
    assert found.sentence.endswith(f"No verdict over the suite: {unequal.untested}.")


def test_failed_methods_stay_rows_with_their_reason(make: SimpleNamespace, tmp_path) -> None:  # type: ignore[no-untyped-def]
    everyone = (0, 1, 2, 3, 4)
    names = {"a": 0.6, "b": 0.5, "broken": 0.4, "worse": 0.3, "worst": 0.2}
    failed = {(m, t): {"failed": everyone} for m in ("broken", "worse", "worst") for t in (SPREAD, REFERENCE)}
    results = make.build(names, (SPREAD, REFERENCE), special=failed)
    text = render_table(results, "markdown", "tasks")
    absolute = text.split("| Method")[1]
    for method in names:
        assert any(line.startswith(f"| {method} ") for line in absolute.splitlines()), method
    assert absolute.count("failed 5 of 5") >= 6 and "out of memory on the node" in absolute
    page = build_report(results, tmp_path, pdf=False).read_text()
    assert page.count("failed 5 of 5") >= 6
    assert judge(results).board().methods == (*names, "random", "nearest")


def test_a_single_failure_is_counted_beside_the_score(make: SimpleNamespace) -> None:
    results = make.build({"a": 0.6, "b": 0.5}, (SPREAD,), special={("a", SPREAD): {"failed": (4,)}})
    assert "1 failed" in render_table(results, "markdown", "tasks")


@pytest.mark.parametrize("n", [1, 2])
def test_what_few_seeds_cannot_say_is_not_said(make: SimpleNamespace, n: int) -> None:
    e = judge(make.build({"a": 0.9, "b": 0.1}, (SPREAD, REFERENCE), seeds=tuple(range(n))))
    text = " ".join(s.text for s in sentences(e))
    assert "no task" not in text and f"cannot be said with {n} seed" in text
    assert "brackets" not in text and "IQM" not in text
