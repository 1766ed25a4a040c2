"""Dependence, information and benefit by hand; k of n seeds; how many bits are enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlnet_bench.analysis.protocol import benefit, judge
from rlnet_bench.reports.canvas import PAGE, svg_text
from rlnet_bench.reports.plot_degradation import draw
from rlnet_bench.runs.ablations import FILE, read_ablations, write_ablations
from rlnet_bench.runs.records import DamagedRecord
from rlnet_bench.stats import wilson

ABOUT = {"mode": "deterministic", "weights": "best"}


def lines(shuffled: list[float], p: list[float], coarse: dict[int, float]) -> list[dict[str, Any]]:
    """Three seeds whose intact score is 1; task 0 to 1."""
    out: list[dict[str, Any]] = []
    for seed in range(3):
        base = {"seed": seed, **ABOUT}
        out += [
            {"kind": "intact", "value": 0.0, **base, "team": [0.9, 1.1]},
            {"kind": "shuffled", "value": 0.0, **base, "team": [shuffled[seed] - 0.1, shuffled[seed] + 0.1]},
            {"kind": "broadcast", "value": 0.0, **base, "reason": "needs training"},
            *({"kind": "bits", "value": float(b), **base, "team": [x, x]} for b, x in coarse.items()),
            {"kind": "information", "value": 0.0, **base, "r2": 0.4, "p": p[seed]},
        ]
    return out


def test_by_hand() -> None:
    found = judge(lines([0.5, 0.97, 0.5], [0.01, 0.01, 0.2], {1: 0.9, 2: 0.985, 4: 1.0}), 1.0)
    assert [s.dependence for s in found.seeds] == pytest.approx([0.5, 0.03, 0.5])
    assert [s.p for s in found.seeds] == pytest.approx([0.03, 0.03, 0.2])  # Holm
    assert [s.formed for s in found.seeds] == [True, False, False]  # depends too little; tells nothing
    assert found.formed == 1 and found.interval == pytest.approx(tuple(float(x) for x in wilson(1, 3)))
    assert found.effective_bits == 2
    assert found.sentence().startswith("1 of 3 seeds formed a protocol (0.0") and "2 bits" in found.sentence()
    points = {(p.kind, p.value): p for p in found.points}
    assert points["bits", 1.0].drop == pytest.approx(0.1) and points["broadcast", 0.0].reason == "needs training"
    assert points["shuffled", 0.0].low is not None and points["shuffled", 0.0].low < 0.66 < points["shuffled", 0.0].high  # type: ignore[operator]


def test_without_a_scale_nothing_is_decided() -> None:
    found = judge(lines([0.5] * 3, [0.01] * 3, {1: 1.0}), None, "its card has no best reference point")
    assert found.formed is None and found.effective_bits is None and found.seeds[0].normalised is None
    assert "undefined: its card has no best" in found.sentence()


def test_benefit() -> None:
    mean, low, high = benefit([1.0, 1.2, 1.1], [0.5, 0.7, 0.6])
    assert mean == pytest.approx(0.5) and low is not None and high is not None and low < 0.5 < high
    assert benefit([1.0], [0.5]) == (0.5, None, None)


def test_lines_are_chained_to_the_record(tmp_path: Path) -> None:
    write_ablations(tmp_path, lines([0.5] * 3, [0.1] * 3, {1: 1.0}))
    assert [x["kind"] for x in read_ablations(tmp_path)][:3] == ["intact", "shuffled", "broadcast"]
    file = tmp_path / FILE
    file.write_text(file.read_text().replace("[0.4, 0.6]", "[0.5, 0.6]", 1))
    with pytest.raises(DamagedRecord, match=r"ablations\.jsonl: line 2 \(seed 0\): chain digest"):
        read_ablations(tmp_path)


def test_the_picture_has_a_panel_per_kind() -> None:
    data = lines([0.5] * 3, [0.1] * 3, {1: 0.5, 2: 0.9})
    for seed in range(3):
        for kind, values in (("delay", (1.0, 2.0)), ("drop", (0.1, 0.5))):
            data += [{"kind": kind, "value": v, "seed": seed, **ABOUT, "team": [1 - v / 9, 1 - v / 8]} for v in values]
    protocol = judge(data, 1.0)
    text = svg_text(lambda size: draw(protocol, size), PAGE)
    assert text.count("bits per number") and text.count("steps late") and text.count("share of steps lost")
