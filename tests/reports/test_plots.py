"""rb.plots: seaborn-like functions on axes of the caller's, from estimates or from tidy frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import rlnet_bench as rb
from rlnet_bench.analysis import judge
from rlnet_bench.analysis.results import Results
from rlnet_bench.reports import plots

SPREAD = "mpe/simple_spread-discrete-v1"


@pytest.fixture
def ax():  # type: ignore[no-untyped-def]
    return Figure().subplots()


def test_the_front_door_has_them() -> None:
    assert rb.plots is plots


def test_bars_stand_at_the_estimates(quick: Results, ax) -> None:  # type: ignore[no-untyped-def]
    e = judge(quick)
    table = {m: e.headline[m]["iqm"] for m in e.sorted_methods}
    assert plots.aggregates(table, ax, palette={"ippo": "#123456"}) is ax
    assert [t.get_text() for t in ax.get_yticklabels()] == list(table)
    assert sorted(p.get_width() for p in ax.patches) == pytest.approx(sorted(x.value for x in table.values()))
    assert any(p.get_facecolor()[:3] == pytest.approx((0x12 / 255, 0x34 / 255, 0x56 / 255)) for p in ax.patches)
    other = Figure().subplots()
    plots.aggregates(plots.estimates_frame(table), other)
    assert [p.get_width() for p in other.patches] == [p.get_width() for p in ax.patches]


def test_curves_take_a_frame_of_anybody_s(ax) -> None:  # type: ignore[no-untyped-def]
    x = np.arange(4.0)
    steep = {"a": x, "b": 2 * x}
    frame = pd.concat(
        pd.DataFrame({"method": m, "x": x, "value": y, "low": y - 1, "high": y + 1}) for m, y in steep.items()
    )
    plots.curves(frame, ax, palette={"a": "red", "b": "blue"})
    assert [line.get_label() for line in ax.lines] == ["a", "b"] and len(ax.collections) == 2
    assert np.array_equal(ax.lines[1].get_ydata(), 2 * x)
    bare = Figure().subplots()
    plots.curves(frame.assign(low=np.nan, high=np.nan), bare)
    assert not bare.collections


def test_no_curve_is_cut_by_its_axes(quick: Results) -> None:
    from rlnet_bench.reports.canvas import PANEL
    from rlnet_bench.reports.plot_curves import panels

    e = judge(quick)  # one run of `weak` diverged: its floor lies far below
    for draw in panels(e, "frames").values():
        [ax] = draw(PANEL).axes
        low, high = ax.get_ylim()
        drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
        assert low <= drawn.min() and drawn.max() <= high


def test_the_heat_map_shows_every_pair(quick: Results, ax) -> None:  # type: ignore[no-untyped-def]
    e = judge(quick)
    plots.improvement(e.improvement, ax, order=e.sorted_methods)
    assert len(ax.texts) == len(e.improvement) == 20
    assert sum("•" in t.get_text() for t in ax.texts) == sum(x.excludes(0.5) for x in e.improvement.values())
    small = Figure().subplots()
    plots.improvement(e.improvement, small, fontsize=3)  # too small to read: dots alone
    assert not small.texts and len(small.collections) == 2


def test_profiles_are_steps(quick: Results, ax) -> None:  # type: ignore[no-untyped-def]
    plots.profiles(judge(quick).profiles, ax)
    assert {line.get_drawstyle() for line in ax.lines} == {"steps-post"}
