"""What the board lists of the maintainers' publications."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.leaderboard.entries import Entry, entries

RESULTS = Path(__file__).parent.parent.parent / "results"


@pytest.fixture(scope="module")
def listed() -> list[Entry]:
    return entries(RESULTS)


def test_every_published_cell_is_listed_once(listed: list[Entry]) -> None:
    cells = []
    for file in RESULTS.glob("*/suite.json"):
        results = load_results(file.parent)
        cells += [(m.label, file.parent.name, t) for m in results.methods for t in results.tasks
                  if results.find(m.label, t)]  # fmt: skip
    ours = [(e.method, e.source.name, e.task) for e in listed if e.source.parent == RESULTS]
    assert sorted(ours) == sorted(cells)
    assert len({e.key for e in listed}) == len(listed)


def test_scores_are_those_of_the_records(listed: list[Entry]) -> None:
    results = load_results(RESULTS / "mpe-v1")
    (cell,) = [s for s in results.scores() if s.method == "ippo"]
    entry = next(e for e in listed if (e.method, e.suite, e.task) == ("ippo", "mpe-v1", results.tasks[0]))
    assert entry.score == pytest.approx(cell.runs[results.tasks[0]].scores.mean())
    assert [s.seed for s in entry.scores] == list(results.seeds)
    assert entry.is_maintainers and not entry.needs_rerun and entry.execution == "D0"


def test_nothing_that_nobody_scored_again_is_ranked(listed: list[Entry]) -> None:
    assert not [e for e in listed if e.is_ranked and e.level in ("V0", "V1", "V2-practice")]
