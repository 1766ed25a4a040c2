"""Every network of the zoo against its motors alone, in turns in one run (`-s` shows the figures).

Goal: no layered feed-forward network of PPO learners over twice the time of `zoo/flat` with the same motors, at 64 and
at 1,024 environments, one thread (for seven vertices 1.5). Chains, recurrent vertices, gradients over edges, other
methods and models in one piece print their ratio. Nothing is asserted about time: seconds are this process's own, and a
ratio is the median over rounds of a network's iteration to the mean of flat's before and after it.

A part: ``python tests/benchmarks/test_network_speed.py 1024 zoo/tag-2ppo zoo/tag-3ppo``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import task_card
from rlnet_bench.networks.build import load_network, zoo_ids
from rlnet_bench.networks.graph import Graph, expand
from rlnet_bench.networks.method import network_method

TASK, STEPS, GOAL = "mpe/simple_spread-n4-discrete-v1", 25, 2.0
ROUNDS = {64: 5, 1024: 3}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def kind(graph: Graph) -> str:
    """What is not layered, feed-forward or PPO about it; else ``layered``."""
    vertices = [n.vertex for n in graph.nodes]
    if graph.spec.model:
        return "one piece"
    if any(v.learner.startswith("method:") for v in vertices):
        return "other methods"
    if any(v.memory == "gru" for v in vertices):
        return "gru"
    if any(v.gradient == "through" for v in vertices):
        return "through"
    motors = set(graph.motors)
    return "chain" if any({k.superior, k.subordinate} <= motors for k in graph.links) else "layered"


def learner(name: str, num_envs: int) -> Any:
    method = network_method(name)[0]
    config = method.configure({"num_envs": num_envs, "rollout_steps": STEPS})
    return method.learner(task_card(TASK), config, (0,), total_frames=10**9, training_reward="team_mean")


def seconds(made: Any) -> float:
    start = time.process_time()
    made.iterate()
    return time.process_time() - start


def ratios(names: Sequence[str], num_envs: int) -> Iterator[tuple[str, float]]:
    """(network, time of an iteration over that of flat)."""
    flat = learner("zoo/flat", num_envs)
    flat.iterate()
    for name in names:
        made = learner(name, num_envs)
        made.iterate()
        before, rounds = seconds(flat), []
        for _ in range(ROUNDS[num_envs]):
            own, after = seconds(made), seconds(flat)
            rounds.append(own / ((before + after) / 2))
            before = after
        yield name, median(rounds)


def show(names: Sequence[str], num_envs: int) -> list[str]:
    """Print the ratios as they are found; returns the names."""
    shown = []
    for name, ratio in ratios(names, num_envs):
        what = kind(expand(load_network(name), task_card(TASK)))
        verdict = "" if what != "layered" else "reached" if ratio <= GOAL else "missed"
        print(f"{num_envs:5d} environments  {name:24s} {what:14s} {ratio:5.2f} x flat  {verdict}", flush=True)
        shown.append(name)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", ROUNDS)
def test_every_network_against_its_motors_alone(num_envs: int) -> None:
    names = [n for n in zoo_ids() if n != "zoo/flat"]
    print()
    assert show(names, num_envs) == names


def test_kinds() -> None:
    card = task_card(TASK)
    found = {n: kind(expand(load_network(f"zoo/{n}"), card)) for n in ("tag-3ppo", "bayes-net", "hammer", "cmat")}
    assert found == {"tag-3ppo": "layered", "bayes-net": "chain", "hammer": "through", "cmat": "one piece"}
    assert len(expand(load_network("zoo/tag-3ppo"), card).nodes) == 7


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(sys.argv[2:] or [n for n in zoo_ids() if n != "zoo/flat"], int(sys.argv[1]))
