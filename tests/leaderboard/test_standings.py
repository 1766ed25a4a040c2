"""Boards: who is on which, and that ranks and ties are those of the code that ranks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlnet_bench.analysis.estimates import judge
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.leaderboard.entries import Entry, Score, entries
from rlnet_bench.leaderboard.listing import Listing, read_listing
from rlnet_bench.leaderboard.standings import MOST, Standing, standings

RESULTS = Path(__file__).parent.parent.parent / "results"
SPREAD = "mpe/simple_spread-discrete-v1"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two publications that will not change."""
    root = tmp_path_factory.mktemp("results")
    for name in ("mpe-v1", "networks-v1"):
        shutil.copytree(RESULTS / name, root / name)
    return root


@pytest.fixture(scope="module")
def listing(results: Path) -> Listing:
    return read_listing(results)


def made(listing: Listing, name: str, values: list[float], **changes: object) -> Entry:
    """An entry on spread with a run for each value."""
    some = next(e for e in listing.entries if e.task == SPREAD and not e.is_control)
    scores = tuple(Score(k, f"{name}-{k}", "ok", v, 1.0, 32, 0.5, "w") for k, v in enumerate(values))
    return replace(some, method=name, scores=scores, **{"level": "V3", "suite": "s-v1", **changes})  # type: ignore[arg-type]


def board(listing: Listing, found: list[Entry], anchors: tuple[str, ...] = ()) -> Standing:
    (one,) = standings(found, {SPREAD: listing.cards[SPREAD]}, anchors)
    return one


@pytest.mark.parametrize("suite", ["mpe-v1", "networks-v1"])
def test_a_board_of_a_suite_has_the_report_s_ranks_scores_and_ties(listing: Listing, suite: str) -> None:
    estimates = judge(load_results(RESULTS / suite))
    for found in (b for b in listing.boards if b.suite == suite):
        ranking = estimates.rankings[found.execution]
        ties = estimates.ties[found.execution]
        for r in ranking.ranks:
            place = found.places[""][r.method]
            assert (place.rank, place.low, place.high) == (r.rank, r.low, r.high)
            theirs = estimates.headline[r.method]["mean"]
            assert found.overall[r.method].value == pytest.approx(theirs.value)
        for task in found.tasks:
            of_task = estimates.board("absolute", metric="return")
            for row in found.rows:
                assert found.estimates[row.key, task].low == of_task.cells[row.key][task].estimate.low
                place = found.places[task][row.key]
                assert (place.is_bold, place.is_tied) == (
                    of_task.is_bold(row.key, task),
                    of_task.is_tied(row.key, task),
                )
        assert {k for k, p in found.places[""].items() if p.is_bold} == ({ties.bold} - {None})


def test_boards_are_by_division_protocol_and_class(listing: Listing) -> None:
    assert [b.name for b in listing.boards] == [
        "algorithms-mpe-v1-d0", "algorithms-networks-v1-d0", "algorithms-networks-v1-d1", "algorithms-networks-v1-c",
    ]  # fmt: skip
    for found in listing.boards:
        assert not any(r.any.is_control for r in found.rows) and all(r.any.is_control for r in found.controls)


def test_only_what_is_verified_ranks_and_the_rest_is_told_where_it_would_stand(listing: Listing) -> None:
    high, middle, low = [9.0, 9.1, 9.2, 9.3, 9.4], [5.0, 5.1, 5.2, 5.3, 5.4], [1.0, 1.1, 1.2, 1.3, 1.4]
    found = board(listing, [made(listing, "unverified", high, level="V1"), made(listing, "b", middle),
                            made(listing, "c", low)])  # fmt: skip
    places = found.places[SPREAD]
    assert [(places[k].low, places[k].high, places[k].is_official) for k in ("b", "c", "unverified")] == [
        (1, 1, True), (2, 2, True), (1, 1, False),
    ]  # fmt: skip
    assert [r.key for r in found.order] == ["b", "c", "unverified"]
    assert places["b"].is_bold and not places["c"].is_bold


def test_ties_are_said_and_few_runs_claim_nothing(listing: Listing) -> None:
    same = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = board(listing, [made(listing, "a", same), made(listing, "b", [x + 0.1 for x in same])])
    assert all(p.is_tied and not p.is_bold and (p.low, p.high) == (1, 2) for p in found.places[SPREAD].values())
    few = board(listing, [made(listing, "a", [9.0, 9.1]), made(listing, "b", [1.0, 1.1])])
    assert all(p.reason and not p.is_tied and not p.is_bold for p in few.places[SPREAD].values())


def test_crowds_are_tested_against_the_best_and_the_anchors(listing: Listing) -> None:
    rng = np.random.default_rng(0)
    levels = {f"m{k:02}": 0.1 * k for k in range(MOST + 2)} | {"best": 50.0, "low": -50.0}
    found = board(
        listing, [made(listing, m, list(v + 0.01 * rng.standard_normal(5))) for m, v in levels.items()], ("low", "m05")
    )
    (ranking,) = found.rankings[SPREAD]
    assert len(ranking.tests) == 33 + 32 + 31  # everybody with the best, with one anchor, with the other
    assert {x for t in ranking.tests for x in (t.a, t.b)} == set(levels)
    assert all({t.a, t.b} & {"best", "low", "m05"} for t in ranking.tests)
    places = found.places[SPREAD]
    assert places["best"].low == places["best"].rank == 1 and places["best"].is_bold
    assert places["low"].high == len(levels) and places["m20"].low >= 2


def test_versions_are_rows_of_their_own_and_withdrawn_ones_none(listing: Listing) -> None:
    first, second = made(listing, "a", [1.0] * 5), made(listing, "a", [2.0] * 5, version=2)
    found = board(listing, [first, second])
    assert [r.key for r in found.rows] == [f"a v{first.version}", "a v2"]
    gone = replace(listing, entries=(*listing.entries, replace(second, withdrawn="a bug")))
    assert all(r.any.version != 2 or r.any.method != "a" for b in gone.boards for r in b.rows)


def test_entries_read_nothing_twice(results: Path) -> None:
    asked: list[Path] = []

    def load(place: Path) -> object:
        asked.append(place)
        return load_results(place)

    entries(results, load)  # type: ignore[arg-type]
    assert len(asked) == len(set(asked)) == 2
