"""``make gpu``: what holds on the CPU holds on a GPU, and what a GPU is worth. At most 8 minutes; code 2 without CUDA.

The smoke set: stepping every family of ours under ``torch.cuda.set_sync_debug_mode("error")``, VMAS without it, one
training each of IPPO, MAPPO, IPPO with memory and two networks, and a checkpoint that continues to the bit. Then a
table: IPPO's frames per second over replicas and environments.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from rlnet_bench import rng
from rlnet_bench.envs.check import check_env
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.methods import find_method
from rlnet_bench.networks.method import network_method
from rlnet_bench.runs.checkpoint import flatten

SPREAD, LBF, BALANCE = "mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1", "vmas/balance-continuous-v1"
REPLICAS, ENVIRONMENTS = (1, 8, 32), (256, 1024, 4096, 16384)
MINUTES = 8
MOST = 1 << 18  # environments of all replicas together: what fits into the smallest GPU worth the name
SMOKE = {"num_envs": 64, "rollout_steps": 25}


def learner(device: str, name: str, task: str = SPREAD, seeds: int = 2, **settings: Any) -> Any:
    """A fresh learner on a device."""
    method = network_method(name)[0] if name.startswith("zoo/") else find_method(name)
    config = method.configure(settings)
    return method.learner(
        task_card(task), config, range(seeds), total_frames=10**9, training_reward="team_mean", device=device
    )


def stepping(device: str, task: str) -> str:
    """The conformance test of a task's environments, the watch over synchronisations included."""
    report = check_env(task, num_envs=16, steps=60, device=device)
    report.raise_if_failed()
    return f"{sum(c.outcome == 'passed' for c in report.checks)} checks; {report['cuda'].sentence}"


def wrapped(device: str) -> str:
    """VMAS steps on the device; whether it waits for it is VMAS's own affair."""
    env = make_env(BALANCE, 64, device)
    now: Any = env.reset(rng.env_keys((0,), rng.Stream.USER, 64, device))
    for _ in range(120):
        now = env.step(torch.zeros(64, 4, 2, device=device))
    expect(bool(now.reward.isfinite().all()), "a reward is no number")
    return "120 steps"


def training(device: str, name: str, **settings: Any) -> str:
    """Three iterations give finite metrics and move every parameter."""
    made = learner(device, name, **SMOKE, **settings)
    before = [p.detach().clone() for p in made.optimiser.parameters]
    for _ in range(3):
        metrics = made.iterate()
    expect(all(bool(x.isfinite().all()) for x in metrics.values()), "a metric is no number")
    expect(not any(torch.equal(p, q) for p, q in zip(made.optimiser.parameters, before)), "a parameter did not move")
    expect(made.optimiser.parameters[0].device.type == device, f"the weights are not on {device}")
    return f"{made.frames * 2:,} frames"


def resuming(device: str, name: str) -> str:
    """A learner that takes over a state goes on to the bit."""
    one, two = (learner(device, name, **SMOKE) for _ in range(2))
    one.iterate()
    two.load_state_dict(one.state_dict())
    for made in (one, two):
        made.iterate()
    a, b = (flatten(made.state_dict())[1] for made in (one, two))
    different = [path for path in a if not torch.equal(a[path], b[path])]
    expect(not different, f"differs after resume: {', '.join(different[:5])}")
    return f"{len(a)} tensors"


def expect(holds: bool, otherwise: str) -> None:
    """Raise AssertionError with a sentence."""
    if not holds:
        raise AssertionError(otherwise)


def smoke(device: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Names of the smoke set, and what to run."""
    yield "stepping mpe", partial(stepping, device, SPREAD)
    yield "stepping lbf", partial(stepping, device, LBF)
    yield "stepping vmas", partial(wrapped, device)
    yield "training ippo", partial(training, device, "ippo")
    yield "training mappo", partial(training, device, "mappo")
    yield "training ippo with memory", partial(training, device, "ippo", memory="gru")
    yield "training zoo/tag-3ppo", partial(training, device, "zoo/tag-3ppo")
    yield "training zoo/tag-mixed", partial(training, device, "zoo/tag-mixed")
    yield "resuming ippo", partial(resuming, device, "ippo")
    yield "resuming zoo/tag-3ppo", partial(resuming, device, "zoo/tag-3ppo")


def frames_per_second(device: str, replicas: int, envs: int, seconds: float = 3.0) -> float:
    """IPPO on simple_spread, rollouts of 25 steps, all replicas together."""
    made = learner(device, "ippo", seeds=replicas, num_envs=envs, rollout_steps=25)
    made.iterate()
    made.iterate()
    synchronise(device)
    start, count = time.perf_counter(), 0
    while not count or time.perf_counter() - start < seconds:
        made.iterate()  # ends with a copy to the host
        count += 1
    synchronise(device)
    return count * made.frames_per_iteration * replicas / (time.perf_counter() - start)


def synchronise(device: str) -> None:
    """Wait until everything is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def main(
    device: str = "cuda", replicas: Sequence[int] = REPLICAS, environments: Sequence[int] = ENVIRONMENTS,
    seconds: float = 3.0,
) -> int:  # fmt: skip
    """Print the smoke set and the table; 0 if all is well, 1 if something failed, 2 without a device."""
    if device == "cuda" and not torch.cuda.is_available():
        print("make gpu: there is no CUDA device here, so nothing was run.", file=sys.stderr)
        return 2
    end, failed = time.monotonic() + 60 * MINUTES, 0
    for name, run in smoke(device):
        try:
            print(f"ok      {name}: {run()}", flush=True)
        except Exception as error:  # every line of the set is run
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    print("\nIPPO on simple_spread, frames/s of all replicas\nenvironments" + "".join(f"{r:>14}" for r in replicas))
    for envs in environments:
        cells = []
        for r in replicas:
            fits = r * envs <= MOST and time.monotonic() < end
            cells.append(f"{frames_per_second(device, r, envs, seconds):14,.0f}" if fits else f"{'-':>14}")
        print(f"{envs:12,}" + "".join(cells), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
