"""What things cost as they grow, on log-log axes (`-s` shows the figures; ``SCALING_SVG=FILE`` keeps the picture).

Stepping over batch sizes 1 to 16,384, a step over agents, training over environments, replicas and vertices. One
thread, seconds of this process's own time, best of a few turns. Nothing is asserted about time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.mpe.policies import uniform_actions
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.methods import Method, find_method
from rlnet_bench.networks.build import Network, continuous
from rlnet_bench.networks.method import network_method

BATCHES = (1, 4, 16, 64, 256, 1024, 4096, 16384)
SPREAD, LBF, BALANCE = "mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1", "vmas/balance-continuous-v1"
TURNS, SECONDS = 3, 0.05
Curve = dict[int, float]  # x -> y


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def best(call: Callable[[], object]) -> float:
    """Seconds of one call: the least mean of a few turns, after a warm-up."""
    call()
    found = float("inf")
    for _ in range(TURNS):
        count, start = 0, time.process_time()
        while not count or time.process_time() - start < SECONDS:
            call()
            count += 1
        found = min(found, (time.process_time() - start) / count)
    return found


def stepping(task: str, batch: int) -> float:
    """Seconds of one step of the whole batch, uniform actions drawn beforehand, resets included."""
    card = task_card(task)
    keys = rng.env_keys([0], rng.Stream.USER, batch)
    env = make_env(card, batch)
    env.reset(keys)
    actions = [uniform_actions(rng.fold(keys, step), card) for step in range(8)]
    return best(lambda: [env.step(a) for a in actions]) / len(actions)


def training(method: type[Method], task: str, seeds: int = 1, **settings: object) -> float:
    """Seconds per frame and seed of one iteration, with rollouts of 25 steps."""
    config = method.configure({"rollout_steps": 25, **settings})
    learner = method.learner(task_card(task), config, range(seeds), total_frames=10**9, training_reward="team_mean")
    return best(learner.iterate) / (learner.frames_per_iteration * seeds)


def network(vertices: int, folder: Path) -> type[Method]:
    """A director over so many managers less itself and three motors, each motor with one superior."""
    spec = (
        Network(f"wide-{vertices}").vertex("director", action=continuous(8))
        .vertex("manager", count=vertices - 4, action=continuous(8)).motors("motor")
        .edge("director", "manager").edge("manager", "motor", deal="balanced").build()
    )  # fmt: skip
    file = folder / f"{vertices}.yaml"
    file.write_text(spec.to_yaml())
    return network_method(str(file))[0]


class Panel(NamedTuple):
    """One picture."""

    title: str
    x: str
    y: str
    curves: Mapping[str, Curve]


def measured(folder: Path) -> Iterator[Panel]:
    """Panel by panel."""
    ippo = find_method("ippo")
    tasks = {"spread, 3 agents": SPREAD, "LBF 8x8, 2 players": LBF, "VMAS balance": BALANCE}
    many = "mpe/simple_spread-n{}-discrete-v1".format
    yield Panel("stepping", "environments", "environment steps per second", {
        name: {b: b / stepping(task, b) for b in BATCHES} for name, task in tasks.items()
    })  # fmt: skip
    yield Panel("agents", "agents", "seconds per step of the batch", {
        f"spread, {b} environments": {n: stepping(many(n), b) for n in (2, 5, 10, 20, 40)} for b in (16, 256)
    })  # fmt: skip
    yield Panel("environments", "environments of a seed", "frames per second of IPPO", {
        "spread": {b: 1 / training(ippo, SPREAD, num_envs=b) for b in (4, 16, 64, 256, 1024)}
    })  # fmt: skip
    yield Panel("replicas", "seeds side by side", "frames per second of IPPO, all seeds", {
        f"spread, {b} environments a seed": {r: 1 / training(ippo, SPREAD, r, num_envs=b) for r in (1, 2, 5, 10)}
        for b in (16, 64)
    })  # fmt: skip
    yield Panel("vertices", "vertices", "seconds per iteration of 64 x 25 frames", {
        "a director and managers over 3 motors": {
            v: 64 * 25 * training(network(v, folder), SPREAD, num_envs=64) for v in (5, 7, 10, 19, 35)
        }
    })  # fmt: skip


def picture(found: Sequence[Panel]) -> str:
    """All panels, as SVG."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    from rlnet_bench.reports.canvas import PAGE, figure, svg_text

    def draw(size: object) -> object:
        fig = figure(PAGE, 6.0)
        for place, panel in enumerate(found, 1):
            ax = fig.add_subplot(2, 3, place)
            for name, curve in panel.curves.items():
                ax.loglog(list(curve), list(curve.values()), marker="o", markersize=2.5, linewidth=1, label=name)
            ax.set_title(panel.title)
            ax.set_xlabel(panel.x)
            ax.set_ylabel(panel.y)
            ax.grid(True)
            ax.minorticks_off()
            for axis, low_high in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                is_short = low_high[1] < 40 * low_high[0]  # a power of ten alone says nothing there
                axis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_short else (1,)))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))  # not as mathematics
            if len(panel.curves) > 1:
                ax.legend(fontsize=7)
        return fig

    return svg_text(draw, PAGE)  # type: ignore[arg-type]


@pytest.mark.slow
def test_cost_as_things_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for panel in measured(tmp_path):
        found.append(panel)
        with capsys.disabled():
            print(f"\n{panel.title}: {panel.y}, by {panel.x}", flush=True)
            for name, curve in panel.curves.items():
                print(f"  {name}: " + ", ".join(f"{at:,}: {value:.4g}" for at, value in curve.items()), flush=True)
    svg = picture(found)
    assert "$" not in svg  # no label is left as the source of a formula
    if target := os.environ.get("SCALING_SVG"):
        Path(target).write_text(svg)
