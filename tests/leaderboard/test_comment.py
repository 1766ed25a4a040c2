"""The comment that CI posts under a new submission."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.leaderboard.comment import comment, plain
from rlnet_bench.leaderboard.evidence import write_evidence
from rlnet_bench.leaderboard.verify import verify
from rlnet_bench.stats import prediction_interval

Fresh = Callable[..., Path]
RESULTS = Path(__file__).parent.parent.parent / "results"


@pytest.fixture
def evidence(fresh: Fresh, tmp_path: Path) -> tuple[Path, Path]:
    folder = fresh()
    write_evidence(tmp_path / "evidence", *verify(folder, episodes=8))
    return folder, tmp_path / "evidence"


def test_the_row_against_two_references(evidence: tuple[Path, Path]) -> None:
    text = comment(*evidence, RESULTS)
    assert text.startswith("### My model (`my-model@1`): V2-practice\n")
    (row,) = [line for line in text.splitlines() if line.startswith("| mpe")]
    cells = [c.strip() for c in row.strip("|").split("|")]
    assert cells[1:4] == ["D0", "0", "2"] and cells[5].startswith("**-")
    (ippo,) = [s for s in load_results(RESULTS / "mpe-v1").scores() if s.method == "ippo"]
    low, high = prediction_interval(ippo.runs["mpe/simple_spread-discrete-v1"].scores, 2)
    assert cells[6] == f"below [{low:.2f}, {high:.2f}]" and cells[7].startswith("below [")


def test_without_references_there_are_none(evidence: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text = comment(*evidence, tmp_path / "empty")
    assert "95%" not in text and "| mpe" in text


def test_submitted_words_are_no_markup(evidence: tuple[Path, Path]) -> None:
    file = evidence[0] / "submission.yaml"
    file.write_text(file.read_text().replace("title: My model", "title: '[x](https://y) <img> | @all **b** #1'"))
    head = comment(*evidence, RESULTS).splitlines()[0]
    assert head.startswith(r"### \[x\](https://y) \<img\> \| \@all \*\*b\*\* \#1 (`my-model@1`)")


@pytest.mark.parametrize("text", ["a\n# b", "`x`", "~~x~~", "&lt;", "a\\*b"])
def test_plain(text: str) -> None:
    assert "\n" not in plain(text)
    assert all(f"\\{c}" in plain(text) for c in text if c in "`#~&*")
