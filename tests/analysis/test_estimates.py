"""One place computes; what it decides about bold, ties, pooling and trouble."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rlnet_bench.analysis.estimates import judge
from rlnet_bench.analysis.grid import grid_state
from rlnet_bench.analysis.plain import estimates_json
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.verdict import sentences

SPREAD = "mpe/simple_spread-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"


@pytest.fixture(scope="module")
def estimates(quick: Results):
    return judge(quick)


def test_best_and_ties_stay_within_a_class(estimates) -> None:
    board = estimates.board("absolute")
    assert {m for m in ("ippo", "mappo") if board.is_bold(m, REFERENCE)} != set()
    assert not board.is_bold("central", REFERENCE) and not board.is_tied("central", REFERENCE)
    assert not any(board.is_bold(m, REFERENCE) or board.is_tied(m, REFERENCE) for m in ("random", "nearest"))
    assert set(estimates.rankings) == {"D0", "D1", "C"}
    assert str(estimates.rankings["D0"]["weak"]) == "3"
    assert {str(estimates.rankings["D0"][m]) for m in ("ippo", "mappo")} == {"1-2"}


def test_all_tied_means_nothing_bold_and_every_method_marked(estimates) -> None:
    board = estimates.board("absolute")  # one diverged run makes spread undecided
    assert board.verdicts[SPREAD]["D0"].bold is None
    assert all(board.is_tied(m, SPREAD) and not board.is_bold(m, SPREAD) for m in ("ippo", "mappo", "weak"))


def test_a_diverged_run_counts_at_the_floor(estimates, quick: Results) -> None:
    cell = estimates.board("absolute").cell("weak", SPREAD)
    assert (cell.n, cell.runs.n_diverged) == (5, 1)
    assert cell.runs.scores.min() == quick.card(SPREAD).floor
    assert estimates.sensitivities["weak"].n_diverged == 1
    assert any("1 run diverged" in s.text and s.weight == "warning" for s in sentences(estimates))


def test_controls_are_apart(estimates) -> None:
    assert set(estimates.controls) == {"random", "nearest"}
    assert not {"random", "nearest"} & {s.method for s in estimates.pool.scores}
    assert not any("random" in pair for pair in estimates.improvement)


def test_verdict_names_the_tie_and_the_weaker_class(estimates) -> None:
    text = " ".join(s.text for s in sentences(estimates))
    assert "significantly better than weak; tied with" in text
    assert "(C) beats talker, the best of the weaker classes (D1)" in text


def test_partial_store(partial: Results) -> None:
    e = judge(partial)
    assert e.is_partial and e.pool.methods == ("ippo",)
    cell = e.grid.cell("mappo", SPREAD)
    assert cell.describe() == "0 of 5 done, 5 running (at 40%)"
    assert e.grid.cell("mappo", REFERENCE).count("missing") == 5
    assert [t.kind for t in e.grid.troubles] == ["failed"]
    assert any(s.text.startswith("Partial: 29 of 40 runs are in") for s in sentences(e))
    assert e.board("absolute").cell("ippo", SPREAD).runs.n_failed == 1


def test_nothing_at_all(make: SimpleNamespace) -> None:
    empty = replace(make.build({"ippo": 0.5, "mappo": 0.5}), records=())
    e = judge(empty)
    assert not e.pool.scores and e.is_partial and not e.by_frames
    assert sentences(e)[0].text.startswith("No suite verdict")
    json.dumps(estimates_json(e))


def test_tasks_without_bounds_are_not_pooled(make: SimpleNamespace) -> None:
    results = make.build({"ippo": 0.6, "mappo": 0.3}, (SPREAD, "other/no_reference-v1"))
    cards = {**results.cards, "other/no_reference-v1": replace(make.card_like("other/no_reference-v1"), references={})}
    e = judge(replace(results, cards=cards))
    assert e.pool.tasks == (SPREAD,)
    [note] = [
        n for n in e.pool.notes if n.startswith("other/no_reference-v1 is not pooled: its card has no random and")
    ]
    assert "no best reference point (`--reference TASK=LOW,HIGH` says" in note
    assert e.board("absolute").cell("ippo", "other/no_reference-v1").normalised is None


def test_reference_points_upside_down_are_said_not_raised(make: SimpleNamespace) -> None:
    results = make.build({"ippo": 0.6, "mappo": 0.3}, (SPREAD,))
    card = results.cards[SPREAD]
    swapped = {"random": card.references["best"], "best": card.references["random"]}
    e = judge(replace(results, cards={SPREAD: replace(card, references=swapped)}))
    assert "high > low" in e.facts[0].reason
    assert e.pool.unit == f"in units of {SPREAD}" and not e.profiles and "optimality_gap" not in e.headline["ippo"]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_seeds_have_no_interval_and_no_bold(make: SimpleNamespace, n: int) -> None:
    e = judge(make.build({"good": 0.9, "bad": 0.1}, (SPREAD,), seeds=tuple(range(n))))
    board = e.board("absolute")
    assert board.cell("good", SPREAD).estimate.low is None
    assert not board.is_bold("good", SPREAD) and not board.is_tied("bad", SPREAD)
    assert any("no claim" in s.text for s in sentences(e))


def test_a_new_rival_moves_no_other_interval(make: SimpleNamespace) -> None:
    two = judge(make.build({"a": 0.6, "b": 0.4}))
    three = judge(make.build({"a": 0.6, "b": 0.4, "c": 0.99}))
    for method in ("a", "b"):
        assert two.aggregates["absolute"][method] == three.aggregates["absolute"][method]


def test_json_is_plain_and_complete(estimates) -> None:
    data = json.loads(json.dumps(estimates_json(estimates)))
    assert data["ranks"]["D0"]["tied_with_best"] == [estimates.ties["D0"].tied[0]]
    assert {r["task"] for r in data["per_task"]} == {SPREAD, REFERENCE, SPEAKER}
    assert data["curves"]["frames"][SPREAD]["ippo"]["x"][0] == 0


def test_timings_can_stay_out(quick: Results) -> None:
    e = judge(quick, timings=False)
    assert not e.by_seconds and all(c.seconds is None for c in e.costs)
    known = judge(quick)
    assert set(known.by_seconds) == {SPREAD, REFERENCE, SPEAKER}
    # 5 seeds x 100,000 frames in 10 x 3.2 seconds of training
    assert known.costs[0].frames_per_second == pytest.approx(15_625)
    assert known.costs[0].eval_seconds == pytest.approx(11 * 0.5)
    assert known.by_seconds[SPREAD]["ippo"].band.x_T[-1] == pytest.approx(32.0)


def test_a_seed_plan_and_an_importer_s_notes_are_on_the_first_screen(make: SimpleNamespace) -> None:
    results = make.build({"a": 0.6, "b": 0.5}, (SPREAD,))
    assert not any("planned runs" in s.text for s in sentences(judge(results)))
    declared = {
        "plan": {"batch": 5, "max_looks": 4},
        "digest": "0123456789abcdef",
        "outcome": {"runs_used": 30, "runs_planned": 40, "saved": 0.25},
    }
    planned = replace(results, suite={**results.suite, "seed_plan": declared})
    [text] = [s.text for s in sentences(judge(planned)) if "planned runs" in s.text]
    assert "batches of 5, at most 4 looks" in text and "30 of 40" in text and "25% of the compute" in text
    object.__setattr__(planned, "notes", ("Returns are means over agents.",))
    assert any(s.text == "Returns are means over agents." and s.weight == "warning" for s in sentences(judge(planned)))


def test_cells_that_a_suite_never_declared_are_not_missing(quick: Results) -> None:
    left = tuple(r for r in quick.records if (r.method, r.task) != ("weak", REFERENCE))
    methods = tuple(replace(m, only=(SPREAD,)) if m.label == "weak" else m for m in quick.methods)
    for complete, found in (
        (False, replace(quick, records=left)),
        (True, replace(quick, records=left, methods=methods)),
    ):
        assert found.is_complete is complete
        assert (grid_state(found).cell("weak", REFERENCE).count("missing") == 0) is complete
        (runs,) = (s.runs[REFERENCE] for s in found.scores() if s.method == "weak")
        assert (runs.n, runs.n_missing) == (0, 0 if complete else len(quick.seeds))
